"""Teams and channels: listed first, read one by one, the same teams after a resume."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from connectors.entra_scope import EntraScope
from connectors.msft_teams.teams import Teams
from connectors.options import ConnectorOptions
from pipeline.errors import DatasetDenied, FailReason, SkipReason, UnitFailed, UnitSkipped
from pipeline.model import Principal, PrincipalKind, Unit
from pipeline.scope import Scope, Wanted
from tests.graph_server import Answer, ScriptedGraph, answer, page, refusal, scripted_graph

SELECT = {"teams_teams": ("visibility", "summary"), "teams_channels": ("membershipType",)}
TEAM = Principal(PrincipalKind.TEAM, "t1")


def _teams(graph: ScriptedGraph) -> Teams:
    return Teams(graph.client, select=SELECT, options=ConnectorOptions())


def _answers(answers: Mapping[str, Answer]) -> Answer:
    def handle(request: web.Request) -> Any:
        return answers[request.path](request)

    return handle


async def _records(teams: Teams, number: int) -> list[dict[str, Any]]:
    source = teams.sources[number]
    pages = [got async for got in source.pages(Unit(source.dataset, TEAM))]
    return [record for got in pages for record in json.loads(got.records)]


async def test_every_listed_team_is_a_principal_once() -> None:
    """Over all pages, and with the id alone: the list gives nothing else that is needed."""
    first = page({"id": "t1"}, {"id": "t2"}, next_link="/v1.0/teams/more")
    last = page({"id": "t2"}, {"id": "t3"})
    async with scripted_graph(_answers({"/v1.0/teams": first, "/v1.0/teams/more": last})) as graph:
        prepared = await _teams(graph).prepare([], saved=None)
        (asked, _) = graph.requests
    assert prepared.principals == [Principal(PrincipalKind.TEAM, name) for name in ("t1", "t2", "t3")]
    assert parse_qs(urlsplit(asked.raw_path).query) == {"$select": ["id"], "$top": ["50"]}


async def test_a_resumed_run_has_the_teams_it_had() -> None:
    """Nothing is listed again."""
    async with scripted_graph(page({"id": "t1"})) as graph:
        first = await _teams(graph).prepare([], saved=None)
        again = await _teams(graph).prepare([], saved=first.saved)
        assert len(graph.requests) == 1
    assert again.principals == first.principals
    assert again.saved == first.saved


async def test_a_team_that_hides_its_members_fails_alone() -> None:
    """Whether anybody in scope is in it nobody knows; the other teams are read, and a resumed run says the same."""
    answers = {
        "/v1.0/users": page({"id": "a", "userPrincipalName": "a@x.test"}, {"id": "b", "userPrincipalName": "b@x.test"}),
        "/v1.0/teams": page({"id": "t1"}, {"id": "t2"}, {"id": "t3"}),
        "/v1.0/groups/t1": answer({"id": "t1", "visibility": "HiddenMembership"}),
        "/v1.0/groups/t1/transitiveMembers": page(),
        "/v1.0/groups/t2": answer({"id": "t2"}),
        "/v1.0/groups/t2/transitiveMembers": page({"id": "a"}),
        "/v1.0/groups/t3": answer({"id": "t3"}),
        "/v1.0/groups/t3/transitiveMembers": page({"id": "b"}),
    }
    async with scripted_graph(_answers(answers)) as graph:
        scope = Scope(Wanted(exclude_users=["b"]), EntraScope([graph.client]), forms=lambda each: iter((each,)))
        await scope.settle(None)
        teams = Teams(graph.client, select=SELECT, options=ConnectorOptions(scope=scope))
        first = await teams.prepare([], saved=None)
        again = await teams.prepare([], saved=first.saved)

    for prepared in (first, again):
        assert {team.id for team in prepared.principals} == {"t1", "t2"}
        assert {team for _, team in prepared.failed} == {TEAM}
        assert {dataset for dataset, _ in prepared.failed} == {source.dataset for source in teams.sources}
        assert {str(failure) for failure in prepared.failed.values()} == {"failed: permission (HiddenMembership)"}


async def test_teams_of_none_of_which_members_can_be_read_are_a_failure() -> None:
    """As long as one can be, the others fail alone; if all fail, there is one cause."""
    answers = {
        "/v1.0/users": page({"id": "a", "userPrincipalName": "a@x.test"}, {"id": "b", "userPrincipalName": "b@x.test"}),
        "/v1.0/teams": page({"id": "t1"}),
        "/v1.0/groups/t1": refusal(500),
    }
    async with scripted_graph(_answers(answers)) as graph:
        scope = Scope(Wanted(exclude_users=["b"]), EntraScope([graph.client]), forms=lambda each: iter((each,)))
        await scope.settle(None)
        with pytest.raises(UnitFailed):
            await Teams(graph.client, select=SELECT, options=ConnectorOptions(scope=scope)).prepare([], saved=None)


@pytest.mark.parametrize(
    ("told", "error", "reason"),
    [
        (refusal(403, "Forbidden", message="Missing role permissions on the request."), DatasetDenied, "permission"),
        (refusal(500), UnitFailed, "service_error"),
        (refusal(404, "NotFound"), UnitFailed, "unknown_error"),
    ],
)
async def test_a_list_that_cannot_be_read_is_a_failure(told: Answer, error: type[UnitFailed], reason: str) -> None:
    """Never a skip: that would look as if there were no teams."""
    async with scripted_graph(told) as graph:
        with pytest.raises(error) as caught:
            await _teams(graph).prepare([], saved=None)
    assert caught.value.reason == FailReason(reason)


async def test_a_team_is_read_by_itself() -> None:
    """With the properties the rules keep; one that cannot be opened is skipped."""
    async with scripted_graph(answer({"id": "t1", "visibility": "public"}), refusal(404, "NotFound")) as graph:
        teams = _teams(graph)
        assert await _records(teams, 0) == [{"id": "t1", "visibility": "public"}]
        with pytest.raises(UnitSkipped) as skipped:
            await _records(teams, 0)
        asked = graph.requests[0]
    assert asked.path == "/v1.0/teams/t1"
    assert parse_qs(urlsplit(asked.raw_path).query) == {"$select": ["id,visibility,summary"]}
    assert skipped.value.reason is SkipReason.DELETED_PRINCIPAL


async def test_channels_are_those_the_team_hosts() -> None:
    """Asked with the opt-in that tells shared ones from unknown ones, and without a page size, which Graph has not."""
    async with scripted_graph(page({"id": "c", "membershipType": "shared"})) as graph:
        assert await _records(_teams(graph), 1) == [{"id": "c", "membershipType": "shared"}]
        (asked,) = graph.requests
    assert asked.path == "/v1.0/teams/t1/channels"
    assert parse_qs(urlsplit(asked.raw_path).query) == {"$select": ["id,membershipType"]}
    assert asked.headers["Prefer"] == "include-unknown-enum-members"


async def test_how_teams_are_planned() -> None:
    """Snapshots of teams and channels, messages by window after the settle time."""
    async with scripted_graph(page()) as graph:
        sources = {source.dataset: source for source in _teams(graph).sources}
    assert {name: source.windowed for name, source in sources.items()} == {
        "teams_teams": False,
        "teams_channels": False,
        "teams_channel_messages": True,
    }
    assert {source.principals for source in sources.values()} == {PrincipalKind.TEAM}
    assert sources["teams_channel_messages"].settle == ConnectorOptions().settle_teams
