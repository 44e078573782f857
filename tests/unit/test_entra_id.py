"""Entra ID: what is asked for, and who is enumerated."""

import pytest

from connectors.entra_id import connector, directory_users, group_member_ids
from connectors.graph.source import GraphSource
from connectors.options import ConnectorOptions
from pipeline.errors import UnitFailed
from pipeline.model import Page, Principal, PrincipalKind, Unit
from tests.graph_server import ScriptedGraph, answer, page, scripted_graph

SELECT = {
    "entra_users": ("id", "department"),
    "entra_groups": ("id", "mail"),
    "entra_group_members": ("id",),
    "mailbox_settings": ("timeZone", "userPurpose"),
}
DEFAULTS = ConnectorOptions()
PEOPLE = (
    b'[{"id":"a","userType":"Member","accountEnabled":true,"mail":"a@x.test"},'
    b'{"id":"b","userType":"Guest"},{"id":"c","userType":null,"accountEnabled":false},{"id":"d","extra":1}]'
)


def _sources(graph: ScriptedGraph, options: ConnectorOptions = DEFAULTS) -> dict[str, GraphSource]:
    made = connector(graph.client, select=SELECT, options=options)
    return {source.dataset: source for source in made.sources if isinstance(source, GraphSource)}


async def _asked(
    dataset: str, principal: Principal, options: ConnectorOptions = DEFAULTS
) -> tuple[str, dict[str, str]]:
    async with scripted_graph(answer({}) if dataset == "mailbox_settings" else page()) as graph:
        _ = [got async for got in _sources(graph, options)[dataset].pages(Unit(dataset, principal))]
        (request,) = graph.requests
        return request.raw_path, dict(request.headers)


async def test_users_are_asked_for_what_rules_and_scope_need() -> None:
    """One collection of large pages, which gives way to other readers of the directory."""
    path, headers = await _asked("entra_users", Principal.tenant("t"))
    selected = "id,userType,accountEnabled,mail,userPrincipalName,department"
    assert path == f"/v1.0/users?$select={selected}&$top=999"
    assert headers["x-ms-throttle-priority"] == "low"


async def test_groups_members_and_settings_are_asked_for() -> None:
    """Each with its smallest request."""
    assert (await _asked("entra_groups", Principal.tenant("t")))[0] == "/v1.0/groups?$select=id,mail&$top=999"
    group = Principal(PrincipalKind.GROUP, "g/1")
    assert (await _asked("entra_group_members", group))[0] == "/v1.0/groups/g%2F1/members?$select=id&$top=999"
    transitive, _ = await _asked("entra_group_members", group, ConnectorOptions(transitive_members=True))
    assert transitive == "/v1.0/groups/g%2F1/transitiveMembers?$select=id&$top=999"
    user = Principal(PrincipalKind.USER, "u1")
    assert (await _asked("mailbox_settings", user))[0] == "/v1.0/users/u1/mailboxSettings?$select=timeZone,userPurpose"


async def test_everybody_but_guests_may_have_a_mailbox() -> None:
    """Disabled accounts own shared mailboxes; no user type means member; guests only where they are wanted."""
    async with scripted_graph(page()) as graph:
        without = _sources(graph)["entra_users"].enumerated(Page(PEOPLE))
        with_guests = _sources(graph, ConnectorOptions(include_guests=True))["entra_users"].enumerated(Page(PEOPLE))
    assert [principal.id for principal in without] == ["a", "c", "d"]
    assert [principal.id for principal in with_guests] == ["a", "b", "c", "d"]
    assert {principal.kind for principal in without} == {PrincipalKind.USER}


async def test_groups_are_enumerated() -> None:
    """Each is a principal whose members are read."""
    async with scripted_graph(page()) as graph:
        sources = _sources(graph)
        (group,) = sources["entra_groups"].enumerated(Page(b'[{"id":"g"}]'))
        assert sources["entra_group_members"].enumerated(Page(b'[{"id":"g"}]')) == ()
    assert (group.kind, group.id) == (PrincipalKind.GROUP, "g")


def test_what_scope_decisions_need() -> None:
    """Type, state and address of each user; members by id."""
    users = directory_users(Page(PEOPLE))
    assert [(user.id, user.is_guest, user.account_enabled, user.mail) for user in users] == [
        ("a", False, True, "a@x.test"),
        ("b", True, None, None),
        ("c", False, False, None),
        ("d", False, None, None),
    ]
    assert "a@x.test" not in repr(users)
    assert group_member_ids(Page(b'[{"@odata.type":"#microsoft.graph.user","id":"m"}]')) == ["m"]


def test_records_of_another_form_fail_the_unit() -> None:
    """Not the program, and without repeating what they hold."""
    with pytest.raises(UnitFailed) as failed:
        directory_users(Page(b'[{"id":{"secret":"x"}}]'))
    assert (failed.value.code, "secret" in str(failed.value)) == ("unexpected_record", False)
