"""Teams, channels and address books of the emulator: a client that expects more of Graph than it gives fails here."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from connectors.emulator import MailboxKind, TeamKind, Tenant, TenantProfile
from connectors.emulator.server import Emulator
from connectors.emulator.teams import OTHER_TENANT
from tests.contract.raw_client import RawClient, connected

NOW = datetime(2026, 3, 2, tzinfo=UTC)
OPT_IN = "include-unknown-enum-members"


@pytest.fixture
async def client() -> AsyncIterator[RawClient]:
    profile = TenantProfile(short_pages=0.3, empty_pages=0.1, expanded_replies=2)
    tenant = Tenant(users=30, now=NOW, history=timedelta(days=14), profile=profile)
    async with Emulator(tenant) as emulator, connected(emulator) as raw:
        yield raw


def team_of(raw: RawClient, kind: TeamKind = TeamKind.NORMAL) -> str:
    return raw.emulator.tenant.teams_of(kind)[0]


async def channels_of(raw: RawClient, team: str, way: str = "channels") -> list[dict[str, str]]:
    return await raw.all(f"/teams/{team}/{way}", Prefer=OPT_IN)


async def test_a_list_of_teams_gives_three_properties(client: RawClient) -> None:
    """Whatever is selected; the rest needs a request for each team."""
    teams = await client.all("/teams?$top=2")
    assert {frozenset(team) for team in teams} == {frozenset({"id", "displayName", "description"})}
    assert len(teams) == len(list(client.emulator.tenant.teams.all()))
    assert await client.all("/teams?$select=id,visibility") == [{"id": team["id"]} for team in teams]
    whole = await client.get(f"/teams/{team_of(client, TeamKind.ARCHIVED)}?$select=id,isArchived,summary")
    assert (set(whole.body) - {"@odata.context"}, whole.body["isArchived"]) == ({"id", "isArchived", "summary"}, True)


@pytest.mark.parametrize("below", ["", "/channels", "/allChannels", "/channels/getAllMessages"])
async def test_a_team_that_cannot_be_opened_is_404(client: RawClient, below: str) -> None:
    """Although it is listed."""
    answer = await client.get(f"/teams/{team_of(client, TeamKind.MISSING)}{below}")
    assert (answer.status, answer.code) == (404, "NotFound")


async def test_a_shared_channel_shows_under_two_teams_and_says_who_hosts_it(client: RawClient) -> None:
    """`/channels` has what a team hosts; `/allChannels` also what others, in any tenant, let it into."""
    host, guest = team_of(client), team_of(client, TeamKind.ARCHIVED)
    hosted = await channels_of(client, host)
    (shared,) = [channel for channel in hosted if channel["membershipType"] == "shared"]
    seen = await channels_of(client, guest, "allChannels")
    assert shared in seen
    assert f"/teams/{host}/channels/{shared['id']}" in shared["@odata.id"]
    assert {channel["tenantId"] for channel in seen} == {client.emulator.tenant_id, OTHER_TENANT}
    assert await channels_of(client, guest, "incomingChannels") == [each for each in seen if each["id"] not in {
        channel["id"] for channel in await channels_of(client, guest)
    }]  # fmt: skip


async def test_membership_types_of_later_versions_need_the_opt_in(client: RawClient) -> None:
    """A shared channel is of an unknown type without it."""
    host = team_of(client)
    plain = await client.all(f"/teams/{host}/channels?$select=id,membershipType")
    assert {channel["membershipType"] for channel in plain} == {"standard", "private", "unknownFutureValue"}
    chosen = await client.all(f"/teams/{host}/channels?$filter=membershipType%20eq%20'shared'")
    assert len(chosen) == 1


async def test_messages_of_another_tenant_s_channel_are_refused(client: RawClient) -> None:
    """They are read where the channel is hosted."""
    foreign = next(
        channel for channel in await channels_of(client, team_of(client), "incomingChannels")
        if channel["tenantId"] == OTHER_TENANT
    )  # fmt: skip
    answer = await client.get(f"/teams/{team_of(client)}/channels/{quote(foreign['id'])}/messages")
    assert answer.status == 403


async def test_threads_come_by_their_last_change_and_replies_in_pieces(client: RawClient) -> None:
    """Roots only; replies when expanded, and those that are too many by a link of their own."""
    team = team_of(client)
    channel = quote((await channels_of(client, team))[0]["id"])
    roots = await client.all(f"/teams/{team}/channels/{channel}/messages?$top=5")
    assert {root["replyToId"] for root in roots} == {None}
    threads = await client.all(f"/teams/{team}/channels/{channel}/messages?$top=50&$expand=replies")
    active = []
    for thread in threads:
        replies = list(thread["replies"])
        assert len(replies) <= 2
        if "replies@odata.nextLink" in thread:
            replies += await client.all(thread["replies@odata.nextLink"])
        listed = await client.all(f"/teams/{team}/channels/{channel}/messages/{thread['id']}/replies?$top=50")
        assert replies == listed
        assert {reply["replyToId"] for reply in replies} <= {thread["id"]}
        active.append(max(message["lastModifiedDateTime"] for message in (thread, *replies)))
    assert active == sorted(active, reverse=True)
    assert active != sorted((thread["lastModifiedDateTime"] for thread in threads), reverse=True)


@pytest.mark.parametrize(
    "query", ["$filter=lastModifiedDateTime%20gt%202026-02-20T00:00:00Z", "$top=51", "$orderby=id"]
)
async def test_messages_of_a_channel_cannot_be_filtered(client: RawClient, query: str) -> None:
    """Nor ordered, nor asked for in large pages."""
    team = team_of(client)
    channel = quote((await channels_of(client, team))[0]["id"])
    assert (await client.get(f"/teams/{team}/channels/{channel}/messages?{query}")).status == 400


async def test_the_export_of_a_team_is_flat_and_leaves_shared_channels_out(client: RawClient) -> None:
    """Roots and replies side by side, filtered by their last change, under a link in another spelling."""
    team = team_of(client)
    first = await client.get(f"/teams/{team}/channels/getAllMessages?$top=3")
    assert f"/teams('{team}')/channels/getallMessages?" in (first.next_link or "")
    messages = await client.all(f"/teams/{team}/channels/getAllMessages?$top=50", Prefer=OPT_IN)
    hosted = {channel["id"]: channel["membershipType"] for channel in await channels_of(client, team)}
    kinds = {hosted[message["channelIdentity"]["channelId"]] for message in messages}
    assert kinds == {"standard", "private"}
    assert len({bool(message["replyToId"]) for message in messages}) == 2
    since = max(message["lastModifiedDateTime"] for message in messages)
    later = await client.all(
        f"/teams/{team}/channels/getAllMessages?$filter=lastModifiedDateTime%20gt%20{since}", Prefer=OPT_IN
    )
    assert later == []


async def test_an_address_book_is_a_tree_of_folders(client: RawClient) -> None:
    """`/contacts` is the default folder alone; the list of folders may or may not name that one."""
    tenant = client.emulator.tenant
    users = [user for user in tenant.users_of(MailboxKind.NORMAL) if len(tenant.truth.contacts(user)) > 5][:4]
    lists_default = set()
    for user in users:
        found = {contact["id"] for contact in await client.all(f"/users/{user}/contacts")}
        folders = await client.all(f"/users/{user}/contactFolders")
        lists_default.add("Contacts" in {folder["displayName"] for folder in folders})
        below = [await client.all(f"/users/{user}/contactFolders/{each['id']}/childFolders") for each in folders]
        assert any(below)
        for folder in (*folders, *(each for children in below for each in children)):
            found |= {each["id"] for each in await client.all(f"/users/{user}/contactFolders/{folder['id']}/contacts")}
        assert found == {contact["id"] for contact in tenant.truth.contacts(user, immutable_ids=False)}
    assert lists_default == {True, False}


async def test_a_moved_contact_keeps_its_immutable_id_only(client: RawClient) -> None:
    """And only where the header asks for it."""
    tenant = client.emulator.tenant
    user = tenant.users_of(MailboxKind.NORMAL)[0]
    (contact,) = tenant.deliver_contacts(user, folder="press")
    before = {each["id"] for each in tenant.truth.contacts(user, immutable_ids=False)}
    tenant.edit_contact(user, contact, folder="contacts")
    moved = {each["id"] for each in await client.all(f"/users/{user}/contacts", Prefer='IdType="ImmutableId"')}
    assert contact in moved
    assert len(before - {each["id"] for each in await client.all(f"/users/{user}/contacts")}) >= 1


@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("Contacts.Read", "/users/{user}/contactFolders"),
        ("Team.ReadBasic.All", "/teams"),
        ("Channel.ReadBasic.All", "/teams/{team}/allChannels"),
        ("ChannelMessage.Read.All", "/teams/{team}/channels/getAllMessages"),
    ],
)
async def test_each_needs_its_role(client: RawClient, role: str, path: str) -> None:
    """403 without it, in the words of the service."""
    client.emulator.app.revoke(role)
    await client.renew()
    user = client.emulator.tenant.users_of(MailboxKind.NORMAL)[0]
    answer = await client.get(path.format(user=user, team=team_of(client)))
    assert answer.status == 403
    assert role in answer.message or answer.code == "ErrorAccessDenied"
