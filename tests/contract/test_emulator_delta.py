"""Delta queries of the emulator: a client that believes less of them than the service does loses records here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import pytest

from connectors.emulator import Effect, Emulator, Fault, MailboxKind, Tenant, TenantProfile
from tests.contract.raw_client import RawClient, connected

NOW = datetime(2026, 3, 2, tzinfo=UTC)
IMMUTABLE = 'IdType="ImmutableId"'
MESSAGE_TIMES = ("received", "lastModified")
FEBRUARY = "startDateTime=2026-02-20T00:00:00Z&endDateTime=2026-03-01T00:00:00Z"
MARCH = "startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-03-15T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Told:
    """What one round told, and where the next begins."""

    pages: list[list[dict[str, Any]]]
    delta_link: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [record for page in self.pages for record in page]

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record in self.records if "@removed" not in record]

    @property
    def removed(self) -> dict[str, str]:
        return {record["id"]: record["@removed"]["reason"] for record in self.records if "@removed" in record}


async def round_of(raw: RawClient, path: str, **headers: str) -> Told:
    """A whole round; each of its pages leads to the next one or to the next round, never to both."""
    pages: list[list[dict[str, Any]]] = []
    while True:
        answer = await raw.get(path, **headers)
        assert answer.status == 200, answer.body
        pages.append(answer.records)
        assert ("@odata.deltaLink" in answer.body) != (answer.next_link is not None)
        if answer.next_link is None:
            return Told(pages, str(answer.body["@odata.deltaLink"]))
        path = answer.next_link


@pytest.fixture
async def client() -> AsyncIterator[RawClient]:
    """A tenant with short and empty pages."""
    profile = TenantProfile(mailboxes=MappingProxyType({MailboxKind.OVER_QUOTA: 1}), short_pages=0.3, empty_pages=0.1)
    async with tenant_with(profile) as raw:
        yield raw


@asynccontextmanager
async def tenant_with(profile: TenantProfile, *, history: timedelta = timedelta(days=14)) -> AsyncIterator[RawClient]:
    """A client of a tenant with this profile."""
    tenant = Tenant(users=40, now=NOW, history=history, profile=profile)
    async with Emulator(tenant) as emulator, connected(emulator) as raw:
        yield raw


async def advance(raw: RawClient, **delta: float) -> None:
    raw.emulator.tenant.clock.advance(timedelta(**delta))
    await raw.renew()


class TestRounds:
    """What all delta queries have in common."""

    async def test_a_link_shows_nothing_of_the_query_and_cannot_be_edited(self, client: RawClient) -> None:
        """The query is in the token: it goes on being applied, and nothing can be added to it."""
        told = await round_of(client, "/users/delta?$select=id,displayName")
        assert "select" not in told.delta_link
        assert {tuple(record) for record in told.records} == {("displayName", "id")}
        await advance(client, days=6)
        later = await round_of(client, told.delta_link)
        assert later.records
        assert {tuple(record) for record in later.records} == {("displayName", "id")}
        for edited in (f"{told.delta_link}&$select=mail", told.delta_link.replace("$delta", "$skip")):
            assert (await client.get(edited)).status == 400

    async def test_an_empty_page_may_come_anywhere(self, client: RawClient) -> None:
        """Also as the first of a round, without ending it."""
        client.emulator.faults.replace([Fault(kind="usersDelta", effect=Effect.EMPTY_PAGE, times=1)])
        told = await round_of(client, "/users/delta?$select=id")
        assert told.pages[0] == []
        assert set(told.ids) == set(client.emulator.tenant.user_ids)

    async def test_another_process_makes_the_changes(self, client: RawClient) -> None:
        """Over the control endpoint: what the next rounds tell, and that there is none for one mailbox."""
        tenant = client.emulator.tenant
        one, other, group = *tenant.user_ids[:2], tenant.groups.ids[5]
        mail = await round_of(client, inbox(one) + "?$select=id", Prefer=IMMUTABLE)
        members = await round_of(client, "/groups/delta?$select=members")
        orders: list[dict[str, Any]] = [
            {"move_message": {"user_id": one, "message_id": mail.ids[0], "folder": "archive"}},
            {"join_group": {"user_id": one, "group_id": group}},
            {"leave_group": {"user_id": other, "group_id": group}},
            {"remove_group": {"group_id": tenant.groups.ids[7]}},
        ]
        for order in orders:
            assert await deliver(client, order) == 200
        assert (await round_of(client, mail.delta_link, Prefer=IMMUTABLE)).removed == {mail.ids[0]: "deleted"}
        told = await round_of(client, members.delta_link)
        assert told.removed == {tenant.groups.ids[7]: "changed"}
        (record,) = [record for record in told.records if record["id"] == group]
        assert {each["id"]: "@removed" in each for each in record["members@delta"]} == {one: False, other: True}
        assert await deliver(client, {"forget_sync_states": {"user_id": one}}) == 200
        assert (await client.get(mail.delta_link)).status == 410
        assert await deliver(client, {"move_message": {"user_id": one, "message_id": "x", "folder": "inbox"}}) == 400

    @pytest.mark.parametrize(
        ("role", "path"),
        [
            ("User.Read.All", "/users/delta"),
            ("Mail.ReadBasic.All", "/users/{user}/mailFolders/inbox/messages/delta"),
            ("Calendars.ReadBasic.All", "/users/{user}/calendarView/delta?" + MARCH),
        ],
    )
    async def test_the_role_of_the_list_opens_its_changes(self, client: RawClient, role: str, path: str) -> None:
        """And no other does."""
        path = path.format(user=client.emulator.tenant.user_ids[0])
        await client.renew(client.emulator.register(roles=(role,)))
        assert (await client.get(path)).status == 200
        await client.renew(client.emulator.register(roles=("Team.ReadBasic.All",)))
        assert (await client.get(path)).status == 403


class TestDirectory:
    """Users and groups."""

    async def test_all_users_come_first_and_some_of_them_twice(self, client: RawClient) -> None:
        """Whoever takes records for objects counts too many."""
        told = await round_of(client, "/users/delta?$select=id", Prefer="odata.maxpagesize=7")
        assert max(len(page) for page in told.pages) == 7
        assert set(told.ids) == set(client.emulator.tenant.user_ids)
        assert len(told.ids) > len(set(told.ids))

    async def test_what_is_deleted_can_come_back_for_thirty_days(self, client: RawClient) -> None:
        """`changed` when it goes, `deleted` when it is gone for good; each is told in one round."""
        tenant = client.emulator.tenant
        link = (await round_of(client, "/users/delta?$select=id")).delta_link
        groups = (await round_of(client, "/groups/delta?$select=id")).delta_link
        user, group = tenant.user_ids[3], tenant.groups.ids[5]
        tenant.remove_user(user)
        tenant.remove_group(group)
        reasons, of_group = [], []
        for _ in range(7):
            await advance(client, days=5, hours=1)
            told, told_of_groups = await round_of(client, link), await round_of(client, groups)
            link, groups = told.delta_link, told_of_groups.delta_link
            reasons.append(told.removed.get(user))
            of_group.append(told_of_groups.removed.get(group))
            assert user not in told.ids
            assert group not in told_of_groups.ids
        assert reasons == of_group == ["changed", None, None, None, None, "deleted", None]

    async def test_what_came_back_or_changed_is_told_again(self, client: RawClient) -> None:
        """A restored user, with the memberships; a restored group, with its team; a blocked user's one property."""
        tenant = client.emulator.tenant
        user, blocked, team = tenant.user_ids[3], tenant.user_ids[4], tenant.groups.ids[8]
        tenant.remove_user(user)
        tenant.remove_group(team)
        links = [
            (await round_of(client, f"/{path}")).delta_link
            for path in ("users/delta?$select=id,accountEnabled,displayName", "groups/delta?$select=id,members")
        ]
        await advance(client, hours=1)
        tenant.restore_user(user)
        tenant.restore_group(team)
        tenant.block_user(blocked)
        users, groups = [await round_of(client, link, Prefer="return=minimal") for link in links]
        assert {"id": blocked, "accountEnabled": False} in users.records
        assert {user, blocked} <= set(users.ids)
        assert team in groups.ids
        assert user in {each["id"] for group in groups.records for each in group.get("members@delta", ())}
        assert team in {each["id"] for each in await client.all("/teams")}
        with pytest.raises(KeyError):
            tenant.restore_user(blocked)

    async def test_a_group_is_gone_from_every_list(self, client: RawClient) -> None:
        """It is 404, in no list, and a member of no group; its team is gone, too."""
        tenant = client.emulator.tenant
        nested, team = tenant.groups.ids[2], tenant.groups.ids[8]
        link = (await round_of(client, "/groups/delta?$select=id,members")).delta_link
        for group in (nested, team):
            tenant.remove_group(group)
            assert (await client.get(f"/groups/{group}")).status == 404
        assert not {nested, team} & {group["id"] for group in await client.all("/groups?$select=id")}
        assert nested not in {member["id"] for member in await client.all(f"/groups/{tenant.groups.ids[1]}/members")}
        assert team not in {each["id"] for each in await client.all("/teams")}
        told = await round_of(client, link)
        (outer,) = [record for record in told.records if record["id"] == tenant.groups.ids[1]]
        assert outer["members@delta"] == [{"id": nested, "@removed": {"reason": "deleted"}}]

    async def test_the_members_of_a_group_are_spread_over_pages(self, client: RawClient) -> None:
        """Each record has a part of them; only all parts together are the group."""
        tenant = client.emulator.tenant
        told = await round_of(client, "/groups/delta", Prefer="odata.maxpagesize=5")
        everybody = tenant.groups.ids[0]
        pages = [[record for record in page if record["id"] == everybody] for page in told.pages]
        assert sum(bool(page) for page in pages) > 2
        assert sum(len(page) for page in pages) == 4
        for group in tenant.groups.ids:
            members = {
                (member["@odata.type"], member["id"])
                for record in told.records
                if record["id"] == group
                for member in record.get("members@delta", ())
            }
            assert members == {(each["@odata.type"], each["id"]) for each in tenant.truth.members(group)}

    async def test_later_rounds_tell_who_came_and_who_left(self, client: RawClient) -> None:
        """Not who stayed; whoever is deleted leaves all groups."""
        tenant = client.emulator.tenant
        group = tenant.groups.ids[6]
        members = [member["id"] for member in tenant.truth.members(group)]
        stranger = next(user for user in tenant.user_ids if user not in members)
        link = (await round_of(client, "/groups/delta?$select=members")).delta_link
        await advance(client, hours=1)
        tenant.join_group(stranger, group)
        tenant.leave_group(members[0], group)
        tenant.remove_user(members[1])
        told = await round_of(client, link)
        (record,) = [record for record in told.records if record["id"] == group]
        assert set(record) == {"id", "members@delta"}
        changes = {each["id"]: each.get("@removed") for each in record["members@delta"]}
        gone = {"reason": "deleted"}
        assert changes == {stranger: None, members[0]: gone, members[1]: gone}
        (everybody,) = [record for record in told.records if record["id"] == tenant.groups.ids[0]]
        assert everybody["members@delta"] == [{"id": members[1], "@removed": gone}]

    async def test_latest_is_a_round_without_records(self, client: RawClient) -> None:
        """Who knows all there is starts from now."""
        told = await round_of(client, "/users/delta?$deltatoken=latest&$select=id")
        assert told.records == []
        user = client.emulator.tenant.user_ids[0]
        client.emulator.tenant.remove_user(user)
        assert (await round_of(client, told.delta_link)).removed == {user: "changed"}

    async def test_a_token_is_good_for_seven_days(self, client: RawClient) -> None:
        """Then it is 410, and `Location` begins again with the same query."""
        told = await round_of(client, "/users/delta?$select=id")
        await advance(client, days=7)
        assert (await client.get(told.delta_link)).status == 200
        await advance(client, seconds=1)
        gone = await client.get(told.delta_link)
        assert (gone.status, gone.code) == (410, "resyncRequired")
        assert gone.headers["Location"].endswith("/users/delta?$select=id&$deltatoken=")
        again = await round_of(client, gone.headers["Location"])
        assert set(again.ids) == set(client.emulator.tenant.user_ids)
        assert {tuple(record) for record in again.records} == {("id",)}

    async def test_a_filter_names_ids_and_minimal_leaves_unchanged_properties_out(self, client: RawClient) -> None:
        """`return=minimal` counts after the first round, and is confirmed."""
        tenant = client.emulator.tenant
        one, other, third = tenant.user_ids[:3]
        path = f"/users/delta?$filter=id%20eq%20'{one}'%20or%20id%20eq%20'{other}'"
        told = await round_of(client, path, Prefer="return=minimal")
        assert set(told.ids) == {one, other}
        assert "displayName" in told.records[0]
        tenant.remove_user(third)
        assert third not in (await round_of(client, told.delta_link)).removed
        every = await round_of(client, "/users/delta?$select=id,displayName")
        await advance(client, days=6)
        small = await client.get(every.delta_link, Prefer="return=minimal")
        assert small.headers["Preference-Applied"] == "return=minimal"
        assert {tuple(record) for record in small.records if "@removed" not in record} == {("id",)}

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ("$top=5", 400),
            ("$orderby=displayName", 400),
            ("$expand=manager", 400),
            ("$count=true", 400),
            ("$filter=displayName%20eq%20'x'", 400),
            ("$filter=id%20eq%20'x'%20and%20id%20eq%20'y'", 400),
            ("$filter=" + "%20or%20".join(f"id%20eq%20'{n}'" for n in range(51)), 400),
            ("$select=id,nonsense", 400),
            ("$select=id,mailboxSettings", 501),
            ("$deltatoken=invented", 400),
        ],
    )
    async def test_other_queries_are_refused(self, client: RawClient, query: str, status: int) -> None:
        """$select, a filter by ids, and nothing else."""
        assert (await client.get(f"/users/delta?{query}")).status == status


class TestMessages:
    """The messages of one folder."""

    async def test_a_folder_comes_whole_in_pages_of_the_preferred_size(self, client: RawClient) -> None:
        """And nothing of other folders, with a type on every record."""
        tenant = client.emulator.tenant
        user = tenant.user_ids[0]
        told = await round_of(
            client, inbox(user) + "?$select=receivedDateTime", Prefer=f"odata.maxpagesize=9, {IMMUTABLE}"
        )
        held = tenant.truth.messages(user, NOW - timedelta(days=14), NOW)
        folder = (await client.get(f"/users/{user}/mailFolders/inbox")).body["id"]
        assert told.ids == [each["id"] for each in held[::-1] if each["parentFolderId"] == folder]
        assert max(len(page) for page in told.pages) == 9
        assert all(record["@odata.type"].startswith("#microsoft.graph.") for record in told.records)
        assert "/mailfolders('inbox')/messages/delta?$deltatoken=" in told.delta_link

    async def test_changes_come_once_more_and_deletions_as_tombstones(self, client: RawClient) -> None:
        """New mail, also mail dated back; what happened at the instant of the token is told again."""
        tenant = client.emulator.tenant
        user = tenant.user_ids[0]
        first = await round_of(client, inbox(user) + "?$select=id", Prefer=IMMUTABLE)
        old = first.ids[-1]
        tenant.remove_message(user, old)
        second = await round_of(client, first.delta_link, Prefer=IMMUTABLE)
        replayed = await round_of(client, second.delta_link, Prefer=IMMUTABLE)
        assert second.removed == replayed.removed == {old: "deleted"}
        await advance(client, hours=1)
        delivered = inbox_of(tenant, user, tenant.deliver_messages(user, count=12, at=NOW - timedelta(days=3)))
        third = await round_of(client, second.delta_link, Prefer=IMMUTABLE)
        assert delivered
        assert set(delivered) <= set(third.ids)
        await advance(client, hours=1)
        fourth = await round_of(client, third.delta_link, Prefer=IMMUTABLE)
        assert not {old, *delivered} & {record["id"] for record in fourth.records if "@removed" in record}

    async def test_rounds_add_up_to_the_folder(self, client: RawClient) -> None:
        """Whoever merges all rounds by id has what a list gives, and nothing besides."""
        tenant = client.emulator.tenant
        user, held, link = tenant.user_ids[0], set[str](), inbox(tenant.user_ids[0]) + "?$select=id"
        for day in range(5):
            told = await round_of(client, link, Prefer=f"odata.maxpagesize=20, {IMMUTABLE}")
            link = told.delta_link
            for record in told.records:
                (held.discard if "@removed" in record else held.add)(record["id"])
            listed = await client.all(f"/users/{user}/mailFolders/inbox/messages?$select=id&$top=500", Prefer=IMMUTABLE)
            assert held == {message["id"] for message in listed}
            tenant.remove_message(user, sorted(held)[day])
            await advance(client, days=1)

    async def test_a_message_deleted_between_pages_shifts_nothing(self, client: RawClient) -> None:
        """A delta round does not lose the message that moves up."""
        tenant = client.emulator.tenant
        user = tenant.user_ids[0]
        whole = await round_of(client, inbox(user) + "?$select=id", Prefer=IMMUTABLE)
        size = f"odata.maxpagesize=5, {IMMUTABLE}"
        page = await client.get(inbox(user) + "?$select=id", Prefer=size)
        for message in whole.ids[:3]:
            tenant.remove_message(user, message)
        rest = await round_of(client, page.next_link or "", Prefer=size)
        assert [*(record["id"] for record in page.records), *rest.ids] == whole.ids

    @pytest.mark.parametrize("prefer", [IMMUTABLE, ""])
    async def test_a_message_that_is_moved_goes_here_and_comes_there(self, client: RawClient, prefer: str) -> None:
        """Removed from one folder, new in the other; its default id is another one there, the immutable one is not."""
        tenant = client.emulator.tenant
        user = tenant.user_ids[0]
        archive = inbox(user).replace("inbox", "archive")
        there = await round_of(client, archive + "?$select=id", Prefer=prefer)
        here = await round_of(client, inbox(user) + "?$select=id", Prefer=prefer)
        message = here.ids[-1]
        await advance(client, hours=1)
        tenant.move_message(user, message, "archive")
        left, come = [await round_of(client, told.delta_link, Prefer=prefer) for told in (here, there)]
        assert left.removed == {message: "deleted"}
        (moved,) = set(come.ids) - set(there.ids)
        assert (moved == message) is bool(prefer)
        listed = await client.all(f"/users/{user}/mailFolders/archive/messages?$select=id", Prefer=prefer)
        assert moved in {each["id"] for each in listed}
        before = len(listed) - 1
        await advance(client, hours=1)
        tenant.move_message(user, moved, "inbox")
        folders = {each["id"]: each for each in (await client.get(f"/users/{user}/mailFolders?$top=50")).records}
        assert sum(each["displayName"] == "Archive" and each["totalItemCount"] == before for each in folders.values())
        assert (await round_of(client, come.delta_link, Prefer=prefer)).removed == {moved: "deleted"}

    async def test_kinds_of_change_are_chosen_in_the_first_request(self, client: RawClient) -> None:
        """`changeType` stays with the token."""
        tenant = client.emulator.tenant
        user = tenant.user_ids[0]
        links = {
            kind: (await round_of(client, f"{inbox(user)}?changeType={kind}&$select=id", Prefer=IMMUTABLE)).delta_link
            for kind in ("created", "updated", "deleted")
        }
        gone = (await round_of(client, inbox(user) + "?$select=id", Prefer=IMMUTABLE)).ids[0]
        await advance(client, days=2)
        tenant.remove_message(user, gone)
        told = {kind: await round_of(client, link, Prefer=IMMUTABLE) for kind, link in links.items()}
        assert told["created"].ids
        assert told["created"].removed == {}
        assert (told["deleted"].ids, told["deleted"].removed) == ([], {gone: "deleted"})
        assert not set(told["updated"].ids) & set(told["created"].ids)
        assert (await client.get(inbox(user) + "?changeType=moved")).status == 400

    async def test_a_message_that_is_read_is_told_again(self) -> None:
        """Minutes after it came, it changed: an update of something the client has."""
        async with tenant_with(TenantProfile.quiet()) as raw:
            tenant = raw.emulator.tenant
            user, second = tenant.user_ids[0], timedelta(seconds=1)
            folder = tenant.mailboxes.folder_id(tenant.person(user), "inbox")
            message, came, changed = next(
                (each["id"], came, changed)
                for each in tenant.truth.messages(user, NOW - timedelta(days=7), NOW)
                for came, changed in [[datetime.fromisoformat(each[f"{name}DateTime"]) for name in MESSAGE_TIMES]]
                if each["parentFolderId"] == folder and changed - came > timedelta(minutes=2)
            )
            link, told = inbox(user) + "?$select=id", []
            for instant in (came + second, changed - second, changed + second, changed + 2 * second):
                tenant.clock.set(instant)
                await raw.renew()
                latest = await round_of(raw, link, Prefer=IMMUTABLE)
                link = latest.delta_link
                told.append(message in latest.ids)
        assert told == [True, False, True, False]

    async def test_top_ends_the_round(self, client: RawClient) -> None:
        """What it did not come to is never told: pages are sized by the preference."""
        user = client.emulator.tenant.user_ids[0]
        told = await round_of(client, inbox(user) + "?$top=12&$select=id", Prefer="odata.maxpagesize=5")
        assert len(told.ids) == len(set(told.ids)) == 12
        assert len(told.pages) > 2
        await advance(client, seconds=301)
        assert not set((await round_of(client, told.delta_link)).ids) & set(told.ids)

    async def test_a_filter_gives_five_thousand_at_most(self) -> None:
        """Without saying so."""
        profile = TenantProfile(mailboxes=MappingProxyType({}), large_mailboxes={0: 12_000}, short_pages=0)
        async with tenant_with(profile) as raw:
            path = inbox(raw.emulator.tenant.user_ids[0]) + "?$select=id"
            since = "&$filter=receivedDateTime%20ge%202026-02-01T00:00:00Z"
            size = "odata.maxpagesize=1000"
            whole, filtered = await round_of(raw, path, Prefer=size), await round_of(raw, path + since, Prefer=size)
            order = "&$orderby=receivedDateTime%20desc"
            recent = await round_of(raw, path + since.replace("02-01", "03-01") + order, Prefer=size)
        assert (len(filtered.ids), len(whole.ids) > 5_000) == (5_000, True)
        assert recent.ids == whole.ids[: len(recent.ids)]
        assert 0 < len(recent.ids) < 5_000

    async def test_a_forgotten_sync_state_says_its_generation(self, client: RawClient) -> None:
        """Tokens of one mailbox are evicted, those of the others stay."""
        one, other = client.emulator.tenant.user_ids[:2]
        links = [(await round_of(client, inbox(user) + "?$select=id")).delta_link for user in (one, other)]
        client.emulator.tenant.forget_sync_states(one)
        gone = await client.get(links[0])
        assert (gone.status, gone.code) == (410, "SyncStateNotFound")
        assert gone.message.startswith("The sync state generation is not found; generation=")
        assert ";[highest=" in gone.message
        assert (await client.get(links[1])).status == 200
        assert (await round_of(client, inbox(one) + "?$select=id")).ids

    async def test_a_mailbox_over_its_quota_has_no_changes(self, client: RawClient) -> None:
        """Although it can be read."""
        (user,) = client.emulator.tenant.users_of(MailboxKind.OVER_QUOTA)
        answer = await client.get(inbox(user))
        assert (answer.status, answer.code) == (403, "ErrorQuotaExceeded")
        assert (await client.get(f"/users/{user}/messages?$select=id")).records

    @pytest.mark.parametrize(
        "query",
        [
            "$search=%22x%22",
            "$skip=10",
            "$orderby=receivedDateTime",
            "$filter=receivedDateTime%20lt%202026-03-01T00:00:00Z",
            "$filter=isRead%20eq%20true",
            "$filter=receivedDateTime%20ge%202026-02-01T00:00:00Z%20and%20receivedDateTime%20ge%202026-02-02T00:00:00Z",
        ],
    )
    async def test_other_queries_are_refused(self, client: RawClient, query: str) -> None:
        """One lower bound of receivedDateTime, newest first."""
        assert (await client.get(f"{inbox(client.emulator.tenant.user_ids[0])}?{query}")).status == 400

    async def test_there_is_none_for_a_whole_mailbox(self, client: RawClient) -> None:
        """Only by folder."""
        assert (await client.get(f"/users/{client.emulator.tenant.user_ids[0]}/messages/delta")).status == 400


class TestCalendar:
    """A calendar view."""

    async def test_the_first_round_is_the_view(self, client: RawClient) -> None:
        """Of the window in the first request, which the links hold."""
        tenant = client.emulator.tenant
        user = tenant.user_ids[0]
        told = await round_of(client, view(user), Prefer=f"odata.maxpagesize=4, {IMMUTABLE}")
        held = tenant.truth.events(user, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 15, tzinfo=UTC))
        assert sorted(told.ids) == sorted(event["id"] for event in held)
        assert "startDateTime" not in told.delta_link.partition("?")[2]
        assert (await client.get(f"{told.delta_link}&startDateTime=2026-03-02T00:00:00Z")).status == 400

    async def test_rounds_add_up_to_the_view(self, client: RawClient) -> None:
        """As the clock moves, with events that are called, cancelled, rewritten and deleted by themselves."""
        tenant = client.emulator.tenant
        users = tenant.users_of(MailboxKind.NORMAL)[:6]
        vanished, rewritten = 0, 0
        held = {user: dict[str, Any]() for user in users}
        links = {user: view(user) for user in users}
        for day in range(8):
            for user in users:
                told = await round_of(client, links[user], Prefer=f"odata.maxpagesize=50, {IMMUTABLE}")
                links[user] = told.delta_link
                for record in told.records:
                    known = held[user].pop(record["id"], None)
                    if "@removed" not in record:
                        held[user][record["id"]] = record["changeKey"]
                        rewritten += known not in (None, record["changeKey"])
                    else:
                        vanished += known is not None
                listed = await client.all(f"/users/{user}/calendarView?{MARCH}&$top=500", Prefer=IMMUTABLE)
                assert held[user] == {event["id"]: event["changeKey"] for event in listed}, day
            tenant.remove_event(users[0], next(iter(held[users[0]])))
            await advance(client, days=1)
        assert vanished > 7
        assert rewritten > 0

    async def test_events_outside_the_window_are_told_as_removed(self, client: RawClient) -> None:
        """Unknown ids are to be passed over; one that is moved out of the window is a real removal."""
        tenant = client.emulator.tenant
        user = tenant.user_ids[0]
        (inside,) = tenant.deliver_events(user, start=datetime(2026, 3, 5, 9, tzinfo=UTC))
        first = await round_of(client, view(user), Prefer=IMMUTABLE)
        await advance(client, hours=1)
        (outside,) = tenant.deliver_events(user, start=datetime(2026, 3, 20, 9, tzinfo=UTC))
        tenant.move_event(user, inside, start=datetime(2026, 3, 21, 9, tzinfo=UTC))
        second = await round_of(client, first.delta_link, Prefer=IMMUTABLE)
        assert inside in first.ids
        assert second.removed[inside] == second.removed[outside] == "deleted"
        assert outside not in {record["id"] for record in first.records}

    async def test_events_before_the_window_change_too(self, client: RawClient) -> None:
        """What was rewritten or deleted last week is told as removed from next week."""
        tenant = client.emulator.tenant
        past = FEBRUARY.replace("&", "&$top=500&")
        users, told_of = tenant.users_of(MailboxKind.NORMAL)[:4], 0
        tenant.clock.set(datetime(2026, 2, 27, 18, tzinfo=UTC))
        await client.renew()
        paths = {user: view(user).replace("2026-03-01", "2026-03-09") for user in users}
        links = {user: (await round_of(client, paths[user], Prefer=IMMUTABLE)).delta_link for user in users}
        known = {user: await client.all(f"/users/{user}/calendarView?{past}", Prefer=IMMUTABLE) for user in users}
        await advance(client, days=1)
        for user in users:
            told = await round_of(client, links[user], Prefer=IMMUTABLE)
            before = {event["id"] for event in known[user] if event["end"]["dateTime"] < "2026-03-01"}
            assert not before & set(told.ids)
            told_of += len(before & set(told.removed))
        assert told_of > 0

    @pytest.mark.parametrize(
        "query", ["$select=id", "$filter=isAllDay%20eq%20true", "$expand=instances", "$orderby=start/dateTime"]
    )
    async def test_other_queries_are_refused(self, client: RawClient, query: str) -> None:
        """A window, and nothing else."""
        path = view(client.emulator.tenant.user_ids[0])
        assert (await client.get(f"{path}&{query}")).status == 400
        assert (await client.get(path.partition("?")[0])).code == "ErrorInvalidParameter"

    async def test_sync_states_are_those_of_the_mailbox(self, client: RawClient) -> None:
        """Forgotten and over quota as with mail."""
        tenant = client.emulator.tenant
        user, (full,) = tenant.user_ids[0], tenant.users_of(MailboxKind.OVER_QUOTA)
        told = await round_of(client, view(user))
        tenant.forget_sync_states(user)
        assert (await client.get(told.delta_link)).code == "SyncStateNotFound"
        assert (await client.get(view(full))).code == "ErrorQuotaExceeded"


class TestChannels:
    """The messages of a channel."""

    async def test_whole_threads_come_when_one_message_changed(self, client: RawClient) -> None:
        """A new reply, an edit, a deletion, which stays in its place with an empty body."""
        tenant = client.emulator.tenant
        team, channel = channel_of(client)
        path = f"/teams/{team}/channels/{quote(channel)}/messages/delta?$expand=replies&$top=10"
        first = await round_of(client, path)
        assert set(first.ids) == {post["id"] for post in tenant.truth.channel_messages(
            NOW - timedelta(days=14), NOW
        ) if post["channelIdentity"]["channelId"] == channel and post["replyToId"] is None}  # fmt: skip
        assert max(len(page) for page in first.pages) == 10
        await advance(client, minutes=1)
        answered, edited, deleted = first.ids[-3:]
        (reply,) = tenant.deliver_channel_messages(team_id=team, channel_id=channel, reply_to=answered)
        tenant.edit_channel_message(channel, edited)
        tenant.delete_channel_message(channel, deleted)
        await advance(client, minutes=1)
        second = await round_of(client, first.delta_link)
        assert {answered, edited, deleted} <= set(second.ids)
        assert len(second.ids) < len(first.ids)
        by_id = {record["id"]: record for record in second.records}
        assert by_id[answered]["replies"][0]["id"] == reply
        assert by_id[deleted]["deletedDateTime"]
        assert by_id[deleted]["body"]["content"] == ""
        await advance(client, minutes=1)
        assert not {answered, edited, deleted} & set((await round_of(client, second.delta_link)).ids)

    async def test_a_filter_is_a_lower_bound_without_itself(self, client: RawClient) -> None:
        """`gt` and no other; it counts for the last change of the thread."""
        team, channel = channel_of(client)
        path = f"/teams/{team}/channels/{quote(channel)}/messages/delta"
        since = "2026-02-25T00:00:00Z"
        told = await round_of(client, f"{path}?$expand=replies&$filter=lastModifiedDateTime%20gt%20{since}")
        active = [max(each["lastModifiedDateTime"] for each in (thread, *thread["replies"])) for thread in told.records]
        assert active
        assert min(active) > since
        assert min(thread["lastModifiedDateTime"] for thread in told.records) < since
        for query in (
            f"$filter=lastModifiedDateTime%20ge%20{since}",
            f"$filter=createdDateTime%20gt%20{since}",
            "$orderby=lastModifiedDateTime",
            "$top=51",
        ):
            assert (await client.get(f"{path}?{query}")).status == 400

    async def test_a_channel_without_messages_has_no_changes(self, client: RawClient) -> None:
        """400 in words that do not say so; the list is empty and 200."""
        tenant = client.emulator.tenant
        team, _ = channel_of(client)
        silent = next(each for each in tenant.teams.hosted(tenant.teams.find(team)) if each.is_silent)
        path = f"/teams/{team}/channels/{quote(silent.id)}/messages"
        answer = await client.get(f"{path}/delta")
        assert answer.status == 400
        assert answer.message == "Parameter 'DeltaToken' not supported for this request."
        assert (await client.get(path)).records == []
        tenant.deliver_channel_messages(team_id=team, channel_id=silent.id)
        assert len((await round_of(client, f"{path}/delta")).ids) == 1

    async def test_changes_reach_back_eight_months(self) -> None:
        """The list reaches further."""
        async with tenant_with(TenantProfile.quiet(), history=timedelta(days=300)) as raw:
            team, channel = channel_of(raw)
            path = f"/teams/{team}/channels/{quote(channel)}/messages"
            told = await round_of(raw, f"{path}/delta?$top=50&$expand=replies")
            listed = await raw.all(f"{path}?$top=50&$expand=replies")
        active = {
            thread["id"]: max(each["lastModifiedDateTime"] for each in (thread, *thread["replies"]))
            for thread in listed
        }
        horizon = "2025-07-02T00:00:00Z"
        assert set(told.ids) == {thread for thread, last in active.items() if last > horizon}
        assert min(active.values()) < horizon


async def deliver(raw: RawClient, order: dict[str, Any]) -> int:
    """The status of an order to the control endpoint."""
    async with raw.session.post(f"{raw.emulator.url}/_emulator/deliver", json=order) as response:
        return response.status


def inbox(user: str) -> str:
    return f"/users/{user}/mailFolders/inbox/messages/delta"


def inbox_of(tenant: Tenant, user: str, messages: list[str]) -> list[str]:
    """Those that were delivered into the inbox."""
    folder = tenant.mailboxes.folder_id(tenant.person(user), "inbox")
    held = tenant.truth.messages(user, NOW - timedelta(days=14), tenant.clock.now + timedelta(seconds=1))
    return [each["id"] for each in held if each["id"] in messages and each["parentFolderId"] == folder]


def view(user: str) -> str:
    return f"/users/{user}/calendarView/delta?{MARCH}"


def channel_of(raw: RawClient) -> tuple[str, str]:
    """A team that can be opened, and a channel in which something is written."""
    team = next(team for team in raw.emulator.tenant.teams.all() if raw.emulator.tenant.teams.find(team.id))
    return team.id, raw.emulator.tenant.teams.hosted(team)[0].id
