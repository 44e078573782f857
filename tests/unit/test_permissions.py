"""The table of permissions agrees with what the connectors say, with the rules, and with itself."""

import re

import pytest

from config.model import CONNECTOR_NAMES, Profile, Settings
from config.permissions import NEEDS, ROLES, Need, least_roles, needs_of
from connectors.graph.client import GraphClient
from connectors.graph.network import Network
from connectors.graph.source import GraphSource
from connectors.graph.throttle import Governor
from connectors.options import ConnectorOptions
from connectors.registry import build
from pipeline.sanitize.rules import PROFILES, built_in_rules

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# What the basic permissions of mail and calendar do not open.
MORE_THAN_BASIC = {"body", "bodyPreview", "uniqueBody", "attachments", "extensions"}


class NoTokens:
    """For clients that are made and never used."""

    async def token(self) -> str:
        raise AssertionError("nothing is asked for")

    def invalidate(self, refused: str, *, claims: str = "") -> None:
        raise AssertionError("nothing is asked for")


def stated_roles(profile: Profile = "strict") -> dict[str, tuple[str, ...]]:
    """The roles each connector names for each dataset it reads."""
    client = GraphClient(graph="https://graph.example", tokens=NoTokens(), governor=Governor(), network=Network())
    select = {dataset: rules.select(profile) for dataset, rules in built_in_rules().items()}
    stated = {}
    for name in CONNECTOR_NAMES:
        for source in build(name, client=client, select=select, options=ConnectorOptions()).sources:
            inner = getattr(source, "_source", source)
            assert isinstance(inner, GraphSource)
            stated[source.dataset] = inner._collection.roles
    return stated


def needs_for(dataset: str) -> list[Need]:
    return [need for need in NEEDS if need.dataset == dataset]


def test_every_dataset_of_the_rules_has_a_need_of_its_connector() -> None:
    """What the rules know can be read: each dataset stands in the table, under the same connector."""
    for dataset, rules in built_in_rules().items():
        assert {need.connector for need in needs_for(dataset)} == {rules.connector}, dataset


def test_connectors_name_roles_of_the_table() -> None:
    """The roles in a connector's error messages are ones that the table holds sufficient."""
    stated = stated_roles()
    assert stated
    for dataset, roles in stated.items():
        sufficient = {role for need in needs_for(dataset) for role in need.sufficient}
        assert set(roles) <= sufficient, dataset


def test_no_profile_leaves_a_dataset_without_a_need_or_asks_twice_for_one_role() -> None:
    """Each dataset has its needs in every profile, each with a role of its own, and is optional in all or in none."""
    for dataset in {need.dataset for need in NEEDS}:
        for profile in PROFILES:
            fitting = [need for need in needs_for(dataset) if need.profiles is None or profile in need.profiles]
            assert fitting, (dataset, profile)
            assert len({need.role for need in fitting}) == len(fitting), (dataset, profile)
            assert len({need.optional for need in fitting}) == 1, (dataset, profile)


def test_a_dataset_behind_several_lists_needs_a_role_for_each() -> None:
    """Messages of channels take the lists of teams and of channels, reports the meeting they belong to."""
    roles = {dataset: [need.role for need in needs_for(dataset)] for dataset in built_in_rules()}
    assert roles["teams_channel_messages"] == ["Team.ReadBasic.All", "Channel.ReadBasic.All", "ChannelMessage.Read.All"]
    assert roles["teams_attendance_reports"] == ["OnlineMeetings.Read.All", "OnlineMeetingArtifact.Read.All"]
    assert roles["entra_group_members"] == ["Group.ReadBasic.All", "GroupMember.ReadBasic.All"]


@pytest.mark.parametrize("profile", PROFILES)
def test_the_calendar_names_the_role_that_opens_what_the_profile_selects(profile: Profile) -> None:
    """What a refusal tells the operator to grant is what the table says of the profile."""
    need = next(need for need in needs_for("calendar_events") if need.profiles and profile in need.profiles)
    assert stated_roles(profile)["calendar_events"][0] == need.role


@pytest.mark.parametrize("dataset", ["mail_messages", "calendar_events"])
def test_a_basic_role_is_asked_for_only_where_it_opens_all_that_is_read(dataset: str) -> None:
    """Where the rules read bodies the least role is one that opens bodies, elsewhere it is the basic one."""
    for profile in PROFILES:
        reads_more = bool(MORE_THAN_BASIC & set(built_in_rules()[dataset].select(profile)))
        need = next(need for need in needs_for(dataset) if need.profiles is None or profile in need.profiles)
        assert ("ReadBasic" in need.role) is not reads_more, profile


def test_roles_that_are_asked_for_have_ids() -> None:
    """Least roles and their equals are in the list of roles, each with an id of its own."""
    for need in NEEDS:
        assert {need.role, *need.instead} <= ROLES.keys()
    ids = [role.id for role in ROLES.values()]
    assert len(set(ids)) == len(ids)
    assert all(GUID.fullmatch(each) for each in ids)


def test_no_least_role_can_write() -> None:
    """Nothing that is asked for lets the exporter change anything."""
    assert not [role for role in ROLES if "Write" in role or "Send" in role or "FullControl" in role]


def test_a_role_needed_anyway_serves_what_it_can() -> None:
    """Chats need no role of their own where messages of chats are read, which needs a wider one."""
    chats, messages = needs_for("teams_chats"), needs_for("teams_chat_messages")
    assert least_roles([*chats, *messages]) == {"Chat.Read.All": [*chats, *messages]}
    assert least_roles(chats) == {"Chat.ReadBasic.All": chats}


@pytest.mark.parametrize("groups", [True, False])
def test_groups_in_the_scope_need_their_members_read(groups: bool) -> None:
    """Also where no group data leaves; named for what would stop: the whole run."""

    def roles(**scope: object) -> set[tuple[str, str]]:
        found = settings_of({"scope": scope, "privacy": {"salt": "env:SALT", "groups": groups}})
        return {(need.role, need.dataset) for need in needs_of(found, ("entra-id",))}

    wanted = {("Group.ReadBasic.All", "scope"), ("GroupMember.ReadBasic.All", "scope")}
    for key in ("include_groups", "exclude_groups"):
        assert wanted <= roles(**{key: ["board@x.test"]})
    assert not wanted & roles(exclude_users=["ann@x.test"])


def settings_of(sections: dict[str, object]) -> Settings:
    return Settings.model_validate(
        {
            "tenant": {"id": "11111111-2222-3333-4444-555555555555"},
            "connectors": {"entra-id": {}},
            "destination": "s3://bucket/data",
            "state": "s3://bucket/state",
            **sections,
        }
    )
