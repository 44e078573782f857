"""Each way in which Graph is strict makes a deliberately wrong client fail at the emulator."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from connectors.emulator import Body, Effect, Emulator, Fault, Faults, MailboxKind, Tenant, TenantProfile, serve
from tests.contract.raw_client import RawClient, connected

NOW = datetime(2026, 3, 2, tzinfo=UTC)
WINDOW = "receivedDateTime%20ge%202026-02-20T00:00:00Z%20and%20receivedDateTime%20lt%202026-03-02T00:00:00Z"
FEBRUARY = "startDateTime=2026-02-01T00:00:00Z&endDateTime=2026-03-01T00:00:00Z"
IMMUTABLE = 'IdType="ImmutableId"'


def make_tenant(profile: TenantProfile | None = None, *, users: int = 60) -> Tenant:
    return Tenant(users=users, now=NOW, history=timedelta(days=30), profile=profile or TenantProfile.hostile())


@pytest.fixture
async def client() -> AsyncIterator[RawClient]:
    async with Emulator(make_tenant()) as emulator, connected(emulator) as raw:
        yield raw


@pytest.fixture
async def quiet() -> AsyncIterator[RawClient]:
    async with Emulator(make_tenant(TenantProfile.quiet())) as emulator, connected(emulator) as raw:
        yield raw


def first_user(raw: RawClient) -> str:
    """Somebody with an ordinary mailbox."""
    people = raw.emulator.tenant.people
    return next(person.id for person in people if person.kind is MailboxKind.NORMAL)


class TestPaging:
    """Next links are taken as they stand or not at all."""

    async def test_every_record_comes_once(self, client: RawClient) -> None:
        """With short and empty pages among them, following the links gives the whole collection."""
        users = await client.all("/users?$top=7&$select=id")

        assert [user["id"] for user in users] == list(client.emulator.tenant.user_ids)

    async def test_link_looks_otherwise_than_the_request(self, quiet: RawClient) -> None:
        """Key in quotes, other letter case, characters encoded in advance."""
        answer = await quiet.get(f"/users/{first_user(quiet)}/chats/getAllMessages?$top=5")

        assert f"/users('{first_user(quiet)}')/chats/getallMessages?" in (answer.next_link or "")
        assert "%2B" in (answer.next_link or "")
        assert (answer.next_link or "").endswith("%3d")

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda link: link.replace("$top=10", "$top=20"),
            lambda link: link.replace("%3d", "%3D"),
            lambda link: link.replace("%2B", "+"),
            lambda link: str(URL(link)),
            lambda link: link.replace("$skip=10", "$skip=20"),
            lambda link: link + "&$select=id",
            lambda link: link.replace("/messages?", "/events?"),
        ],
        ids=["top edited", "re-encoded", "decoded", "normalised by yarl", "skip edited", "option added", "other path"],
    )
    async def test_changed_link_is_refused(self, quiet: RawClient, spoil: object) -> None:
        """Whatever is changed in a next link, the answer is 400."""
        path = f"/users/{first_user(quiet)}/messages?$top=10&$filter={WINDOW}&$select=id"
        link = (await quiet.get(path)).next_link or ""
        assert callable(spoil)
        changed = spoil(link)
        assert changed != link

        assert (await quiet.get(changed)).status == 400
        assert (await quiet.get(link)).status == 200

    async def test_page_token_dies(self) -> None:
        """After its lifetime a directory link is Directory_ExpiredPageToken, a mail link 410."""
        tenant = make_tenant(TenantProfile(mailboxes=MappingProxyType({}), empty_pages=0, page_token_lifetime_s=60))
        async with Emulator(tenant) as emulator, connected(emulator) as raw:
            users = (await raw.get("/users?$top=5&$select=id")).next_link or ""
            mail = (await raw.get(f"/users/{first_user(raw)}/messages?$top=5&$select=id")).next_link or ""
            tenant.clock.advance(timedelta(seconds=61))
            directory, outlook = await raw.get(users), await raw.get(mail)

        assert (directory.status, directory.code) == (400, "Directory_ExpiredPageToken")
        assert outlook.status == 410

    async def test_stopping_at_a_short_page_loses_records(self, client: RawClient) -> None:
        """A page with fewer records than asked for, or none, is not the last one."""
        fewer = []
        for user in client.emulator.tenant.user_ids:
            answer = await client.get(f"/users/{user}/messages?$top=10&$select=id")
            if answer.status == 200 and answer.next_link and len(answer.records) < 10:
                fewer.append(len(answer.records))

        assert 0 in fewer
        assert max(fewer) > 0

    async def test_skip_counts_more_than_it_shows(self, quiet: RawClient) -> None:
        """In a folder the number in $skip is larger than the records shown: nobody can compute it."""
        answer = await quiet.get(f"/users/{first_user(quiet)}/mailFolders/SentItems/messages?$top=10&$select=id")
        skip = int((answer.next_link or "").partition("$skip=")[2].partition("&")[0])

        assert skip > len(answer.records)

    async def test_offsets_shift_when_mail_arrives(self, quiet: RawClient) -> None:
        """A message that arrives between two pages of an open window makes the second page repeat one."""
        user = first_user(quiet)
        path = f"/users/{user}/messages?$top=10&$orderby=receivedDateTime%20desc&$select=id"
        first = await quiet.get(path)
        quiet.emulator.tenant.deliver_messages(user, at=NOW)
        second = await quiet.get(first.next_link or "")

        assert first.records[-1]["id"] == second.records[0]["id"]

    async def test_headers_are_not_remembered(self, quiet: RawClient) -> None:
        """Without the Prefer header page 2 has ids of the other format."""
        user = first_user(quiet)
        path = f"/users/{user}/messages?$top=10&$orderby=receivedDateTime%20desc&$select=id"
        link = (await quiet.get(path, Prefer=IMMUTABLE)).next_link or ""
        remembered, forgotten = await quiet.get(link, Prefer=IMMUTABLE), await quiet.get(link)

        known = {m["id"] for m in quiet.emulator.tenant.truth.messages(user, NOW - timedelta(days=30), NOW)}
        assert {record["id"] for record in remembered.records} <= known
        assert not {record["id"] for record in forgotten.records} & known


class TestPageSizes:
    """Each endpoint has its own default, its own maximum, and its own way to refuse more."""

    @pytest.mark.parametrize(
        ("path", "message"),
        [
            ("/users?$top=1000", "Invalid page size specified: '1000'. Must be between 1 and 999 inclusive."),
            ("/groups?$top=1000", "Invalid page size specified: '1000'. Must be between 1 and 999 inclusive."),
            ("/users/{user}/chats?$top=51", "The limit of '50' for Top query has been exceeded."),
            ("/users/{user}/chats/getAllMessages?$top=100", "The limit of '50' for Top query has been exceeded."),
            ("/users/{user}/messages?$top=0", "Invalid value '0' for $top query option found."),
        ],
    )
    async def test_too_large_top_is_refused(self, quiet: RawClient, path: str, message: str) -> None:
        """More than the maximum is an error in the service's own words."""
        answer = await quiet.get(path.replace("{user}", first_user(quiet)))

        assert answer.status == 400
        assert message in answer.message

    async def test_outlook_cuts_silently(self) -> None:
        """Messages come in thousands at most, whatever $top says, and in tens without it."""
        tenant = make_tenant(
            TenantProfile(mailboxes=MappingProxyType({}), large_mailboxes={0: 5_000}, short_pages=0, empty_pages=0)
        )
        async with Emulator(tenant) as emulator, connected(emulator) as raw:
            path = f"/users/{tenant.user_ids[0]}/messages?$select=id"
            most, usual = await raw.get(path + "&$top=5000"), await raw.get(path)
            preferred = await raw.get(path, Prefer="odata.maxpagesize=25")

        assert [len(answer.records) for answer in (most, usual, preferred)] == [1000, 10, 25]

    async def test_top_without_dollar_is_ignored(self, quiet: RawClient) -> None:
        """`top=3` changes nothing."""
        assert len((await quiet.get("/users?top=3&$select=id")).records) == 60

    async def test_expanded_members_stop_at_25(self, quiet: RawClient) -> None:
        """All chats of one response together show 25 members, without saying so."""
        answer = await quiet.get(f"/users/{first_user(quiet)}/chats?$top=50&$expand=members")

        assert sum(len(chat["members"]) for chat in answer.records) == 25


class TestRoles:
    """A missing role is refused in the words of the service behind the endpoint."""

    @pytest.mark.parametrize(
        ("path", "code", "message"),
        [
            ("/users", "Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
            ("/groups", "Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
            ("/users/{user}/messages", "ErrorAccessDenied", "Access is denied. Check credentials and try again."),
            ("/users/{user}/calendarView", "ErrorAccessDenied", "Access is denied. Check credentials and try again."),
            ("/users/{user}/mailboxSettings", "ErrorAccessDenied", "Access is denied."),
            ("/users/{user}/chats", "Forbidden", "Missing role permissions on the request. API requires one of 'Chat."),
        ],
    )
    async def test_missing_role(self, quiet: RawClient, path: str, code: str, message: str) -> None:
        """403 with the service's code and words."""
        await quiet.renew(quiet.emulator.register(roles=()))
        answer = await quiet.get(path.replace("{user}", first_user(quiet)))

        assert (answer.status, answer.code) == (403, code)
        assert message in answer.message

    async def test_exchange_grants_without_a_role(self, quiet: RawClient) -> None:
        """Role-based access control opens single mailboxes, and no token shows it."""
        app = quiet.emulator.register(roles=())
        allowed, denied = quiet.emulator.tenant.user_ids[:2]
        app.grant_in_exchange(allowed)
        await quiet.renew(app)

        assert (await quiet.get(f"/users/{allowed}/messages?$select=id")).status == 200
        assert (await quiet.get(f"/users/{denied}/messages?$select=id")).status == 403

    async def test_members_without_user_permission_are_bare(self, quiet: RawClient) -> None:
        """Then a member is a type and an id."""
        group = quiet.emulator.tenant.groups.ids[0]
        await quiet.renew(quiet.emulator.register(roles=("GroupMember.ReadBasic.All",)))
        members = await quiet.all(f"/groups/{group}/members")

        assert {tuple(member) for member in members} == {("@odata.type", "id")}


class TestReadBasic:
    """What the small permissions never give."""

    async def test_mail_has_no_text(self, quiet: RawClient) -> None:
        """Mail.ReadBasic.All gives no body, preview or unique body, selected or not."""
        user = first_user(quiet)
        everything = await quiet.get(f"/users/{user}/messages")
        selected = await quiet.get(f"/users/{user}/messages?$select=id,body,bodyPreview,uniqueBody")

        for record in (*everything.records, *selected.records):
            assert not {"body", "bodyPreview", "uniqueBody", "attachments"} & set(record)

    async def test_mail_cannot_be_searched(self, quiet: RawClient) -> None:
        """$search and a filter on text are refused."""
        user = first_user(quiet)
        search = await quiet.get(f"/users/{user}/messages?$search=%22planted%22")
        condition = await quiet.get(f"/users/{user}/messages?$filter=startswith(bodyPreview,'x')")

        assert (search.status, condition.status) == (403, 403)

    async def test_mail_read_gives_bodies(self, quiet: RawClient) -> None:
        """The larger permission does, or the test above would prove nothing."""
        await quiet.renew(quiet.emulator.register(roles=("Mail.Read",)))
        answer = await quiet.get(f"/users/{first_user(quiet)}/messages?$select=body")

        assert all("planted-" in record["body"]["content"] for record in answer.records)

    async def test_calendar_has_no_text(self, quiet: RawClient) -> None:
        """Calendars.ReadBasic.All gives no bodies."""
        await quiet.renew(quiet.emulator.register(roles=("Calendars.ReadBasic.All",)))
        answer = await quiet.get(f"/users/{first_user(quiet)}/events?$top=50")

        assert answer.records
        assert not any({"body", "bodyPreview"} & set(record) for record in answer.records)


class TestQueries:
    """What each service takes, refuses and ignores of $select, $filter and $orderby."""

    @pytest.mark.parametrize(
        ("path", "status", "code"),
        [
            ("/users?$select=id,nonsense", 400, "BadRequest"),
            ("/users?$select=id,mailboxSettings", 501, "NotImplemented"),
            ("/users?$filter=city%20eq%20'Brixby'", 400, "Request_UnsupportedQuery"),
            ("/users?$filter=userType%20ne%20'Guest'", 400, "Request_UnsupportedQuery"),
            ("/users?$filter=accountEnabled%20eq%20true&$orderby=displayName", 400, "Request_UnsupportedQuery"),
            ("/users?$skip=10", 400, "BadRequest"),
            ("/users/{user}/messages?$select=id,nonsense", 400, "RequestBroker--ParseUri"),
            ("/users/{user}/messages?$filter=isRead%20eq%20true&$orderby=receivedDateTime", 400, "InefficientFilter"),
            (
                "/users/{user}/messages?$orderby=receivedDateTime&$filter=isRead%20eq%20true%20and%20" + WINDOW,
                400,
                "InefficientFilter",
            ),
            ("/users/{user}/messages?$filter=isRead%20is%20true", 400, "BadRequest"),
            ("/users/{user}/calendarView?startDateTime=2026-02-01T00:00:00Z", 400, "ErrorInvalidParameter"),
            (
                "/users/{user}/calendarView?startDateTime=2020-01-01T00:00:00Z&endDateTime=2026-01-01T00:00:00Z",
                400,
                "ErrorInvalidParameter",
            ),
            ("/users/{user}/chats/getAllMessages?$orderby=createdDateTime", 400, "BadRequest"),
            ("/users/{user}/mailFolders/nofolder/messages", 400, "ErrorInvalidIdMalformed"),
            ("/users/00000000-0000-4000-8000-000000000000", 404, "Request_ResourceNotFound"),
            ("/users/00000000-0000-4000-8000-000000000000/messages", 404, "ErrorInvalidUser"),
            ("/me/messages", 400, "BadRequest"),
        ],
    )
    async def test_refused(self, quiet: RawClient, path: str, status: int, code: str) -> None:
        """A query that the service does not offer is refused with its own code."""
        answer = await quiet.get(path.replace("{user}", first_user(quiet)))

        assert (answer.status, answer.code) == (status, code)

    async def test_default_properties_of_a_user(self, quiet: RawClient) -> None:
        """Without $select a user has eleven properties; the others have to be named."""
        answer = await quiet.get("/users?$top=1")
        named = await quiet.get("/users?$top=1&$select=id,proxyAddresses,accountEnabled")

        assert len(answer.records[0]) == 11
        assert "accountEnabled" not in answer.records[0]
        assert set(named.records[0]) == {"id", "proxyAddresses", "accountEnabled"}

    async def test_expansion_stops_at_twenty(self, quiet: RawClient) -> None:
        """Hundred groups a page whatever $top says, twenty members each, and no link to the others."""
        answer = await quiet.get("/groups?$expand=members&$top=999")
        (everybody,) = [group for group in answer.records if group["id"] == quiet.emulator.tenant.groups.ids[0]]
        alone = await quiet.get("/users?$expand=manager&$select=id&$top=5")

        assert len(everybody["members"]) == 20
        assert all("@odata.type" in member for member in everybody["members"])
        assert not [name for name in everybody if name.startswith("members@")]
        assert {tuple(user) for user in alone.records} == {("id",)}
        assert (await quiet.get("/users?$expand=nonsense")).status == 400

    async def test_advanced_query_needs_its_header_on_every_page(self, client: RawClient) -> None:
        """userType ne 'Guest' works with header and $count; page 2 without the header is an expired token."""
        path = "/users?$filter=userType%20ne%20'Guest'&$count=true&$top=5&$select=id"
        first = await client.get(path, ConsistencyLevel="eventual")
        link = first.next_link or ""
        forgotten, right = await client.get(link), await client.get(link, ConsistencyLevel="eventual")

        guests = len(client.emulator.tenant.users_of(MailboxKind.GUEST))
        assert first.body["@odata.count"] == 60 - guests
        assert (forgotten.status, forgotten.code) == (400, "Directory_ExpiredPageToken")
        assert right.status == 200
        assert "@odata.count" not in right.body

    async def test_chat_filter_without_order_does_nothing(self, quiet: RawClient) -> None:
        """The filter is ignored, with status 200, unless $orderby names the same property."""
        chat = await busiest_chat(quiet)
        condition = "$filter=lastModifiedDateTime%20gt%202026-02-25T00:00:00Z"
        ignored = await quiet.all(f"{chat}?$top=50&{condition}")
        everything = await quiet.all(f"{chat}?$top=50")
        applied = await quiet.all(f"{chat}?$top=50&{condition}&$orderby=lastModifiedDateTime%20desc")

        assert len(ignored) == len(everything) > len(applied) > 0

    @pytest.mark.parametrize(
        "query",
        [
            "$orderby=lastModifiedDateTime%20asc",
            "$orderby=subject%20desc",
            "$filter=createdDateTime%20gt%202026-02-25T00:00:00Z&$orderby=createdDateTime%20desc",
        ],
    )
    async def test_chat_order_is_descending_only(self, quiet: RawClient, query: str) -> None:
        """Ascending order, other properties, and createdDateTime with anything but lt are refused."""
        assert (await quiet.get(f"{await busiest_chat(quiet)}?{query}")).status == 400

    async def test_calendar_view_leaves_dates_out_when_selected(self, quiet: RawClient) -> None:
        """createdDateTime arrives only when nothing is selected."""
        path = f"/users/{first_user(quiet)}/calendarView?{FEBRUARY}"
        selected = await quiet.get(path + "&$select=id,createdDateTime,lastModifiedDateTime")
        whole = await quiet.get(path)

        assert selected.records
        assert all(set(record) == {"@odata.etag", "id"} for record in selected.records)
        assert all("createdDateTime" in record for record in whole.records)

    async def test_system_events_are_hidden_unless_asked_for(self, quiet: RawClient) -> None:
        """Newer members of an enumeration show as unknownFutureValue without the Prefer header."""
        user = first_user(quiet)
        path = f"/users/{user}/chats/getAllMessages?$top=50"
        plain = {message["messageType"] for message in await quiet.all(path)}
        known = {message["messageType"] for message in await quiet.all(path, Prefer="include-unknown-enum-members")}

        assert plain == {"message", "unknownFutureValue"}
        assert known == {"message", "systemEventMessage"}

    async def test_time_zone_is_applied_and_confirmed(self, quiet: RawClient) -> None:
        """outlook.timezone moves start and end, and is repeated in Preference-Applied."""
        path = f"/users/{first_user(quiet)}/calendarView?{FEBRUARY}"
        zone = 'outlook.timezone="W. Europe Standard Time"'
        moved, plain = await quiet.get(path, Prefer=zone), await quiet.get(path)

        pairs = [
            (before["start"]["dateTime"], after["start"]["dateTime"])
            for before, after in zip(plain.records, moved.records, strict=True)
            if not before["isAllDay"]
        ]
        assert moved.headers["Preference-Applied"] == zone
        assert pairs
        assert all(
            datetime.fromisoformat(after) - datetime.fromisoformat(before) == timedelta(hours=1)
            for before, after in pairs
        )


async def busiest_chat(raw: RawClient) -> str:
    """The path of the messages of a chat that has many."""
    chats = raw.emulator.tenant.chats
    chat = max(chats.all(), key=lambda each: len(chats.messages(each)))
    return f"/chats/{quote(chat.id, safe='')}/messages"


class TestMailboxes:
    """Mailboxes that cannot be read say why."""

    @pytest.mark.parametrize(
        ("kind", "status", "code", "message"),
        [
            (MailboxKind.NO_MAILBOX, 404, "MailboxNotEnabledForRESTAPI", "hosted on-premise"),
            (MailboxKind.INVALID_USER, 404, "ErrorInvalidUser", "is invalid"),
            (MailboxKind.GUEST, 404, "ResourceNotFound", "could not be discovered"),
            (MailboxKind.ACCESS_POLICY, 403, "ErrorAccessDenied", "Access to OData is disabled."),
            (MailboxKind.RBAC_DENIED, 403, "ErrorAccessDenied", "Check credentials"),
            (MailboxKind.MOVING, 503, "ErrorMailboxMoveInProgress", "move in progress"),
            (MailboxKind.FAILING, 500, "ErrorInternalServerError", "internal server error"),
        ],
    )
    async def test_unreadable(self, client: RawClient, kind: MailboxKind, status: int, code: str, message: str) -> None:
        """Mail, calendar, folders and settings are refused alike."""
        (user, *_) = client.emulator.tenant.users_of(kind)
        for path in ("messages", "mailFolders", "mailboxSettings", "events"):
            answer = await client.get(f"/users/{user}/{path}")
            assert (answer.status, answer.code) == (status, code)
            assert message in answer.message

    async def test_without_licence(self) -> None:
        """401 although the token is good: another token does not help."""
        profile = TenantProfile(mailboxes={MailboxKind.UNLICENSED: 1})
        async with Emulator(make_tenant(profile)) as emulator, connected(emulator) as raw:
            (user,) = emulator.tenant.users_of(MailboxKind.UNLICENSED)
            await raw.renew()
            answer = await raw.get(f"/users/{user}/messages")
            listed = await raw.get(f"/users/{user}?$select=assignedPlans")

        assert (answer.status, answer.code) == (401, "AuthenticationError")
        assert listed.body["assignedPlans"] == []

    async def test_a_message_to_thousands(self, quiet: RawClient) -> None:
        """Its page is as long as it has to be."""
        user = first_user(quiet)
        quiet.emulator.tenant.deliver_messages(user, recipients=5_000)
        answer = await quiet.get(f"/users/{user}/messages?$top=1&$orderby=receivedDateTime%20desc&$select=toRecipients")

        assert len(answer.records[0]["toRecipients"]) == 5_000

    async def test_shared_mailbox_by_name_is_stale(self, client: RawClient) -> None:
        """By user principal name it answers 503 for ever, by object id it works."""
        (user, *_) = client.emulator.tenant.users_of(MailboxKind.SHARED)
        upn = client.emulator.tenant.person(user).upn

        assert (await client.get(f"/users/{quote(upn, safe='')}/mailboxSettings")).code == "MailboxInfoStale"
        assert (await client.get(f"/users/{user}/mailboxSettings")).body["userPurpose"] == "shared"

    async def test_guest_is_found_by_an_encoded_name(self, client: RawClient) -> None:
        """The # of a guest's user principal name has to be %23."""
        (user, *_) = client.emulator.tenant.users_of(MailboxKind.GUEST)
        upn = client.emulator.tenant.person(user).upn

        assert "#EXT#" in upn
        assert (await client.get(f"/users/{quote(upn, safe='')}")).body["id"] == user

    async def test_removed_user_is_gone(self, client: RawClient) -> None:
        """Directory and Exchange say so in their own ways."""
        user = first_user(client)
        client.emulator.tenant.remove_user(user)

        assert user not in {record["id"] for record in await client.all("/users?$select=id")}
        assert (await client.get(f"/users/{user}")).code == "Request_ResourceNotFound"
        assert (await client.get(f"/users/{user}/messages")).code == "ErrorInvalidUser"

    async def test_folders_have_to_be_paged_and_hidden_ones_asked_for(self, quiet: RawClient) -> None:
        """Ten folders a page; hidden ones on request; recoverable items by name only."""
        user = first_user(quiet)
        first = await quiet.get(f"/users/{user}/mailFolders")
        plain = await quiet.all(f"/users/{user}/mailFolders")
        hidden = await quiet.all(f"/users/{user}/mailFolders?includeHiddenFolders=true")
        deletions = await quiet.get(f"/users/{user}/mailFolders/RecoverableItemsDeletions")

        assert len(first.records) == 10
        assert len(hidden) > len(plain) > 10
        assert deletions.status == 200
        assert deletions.body["id"] not in {folder["id"] for folder in hidden}

    async def test_folder_ids_count_their_case(self, quiet: RawClient) -> None:
        """A well-known name may be written in any case, an id may not."""
        user = first_user(quiet)
        folder = (await quiet.get(f"/users/{user}/mailFolders/INBOX")).body

        assert (await quiet.get(f"/users/{user}/mailFolders/{quote(folder['id'])}")).status == 200
        assert (await quiet.get(f"/users/{user}/mailFolders/AAMk{quote(folder['id'][4:].swapcase())}")).status == 404


class TestThrottling:
    """Limits by scope, each with Retry-After."""

    async def test_fifth_concurrent_request_to_a_mailbox(self, quiet: RawClient) -> None:
        """Four requests may be under way in one mailbox; the fifth is refused, other mailboxes are not affected."""
        user, other = quiet.emulator.tenant.user_ids[:2]
        quiet.emulator.faults.replace([Fault(kind="messages", mailbox=user, effect=Effect.HOLD, times=4)])
        path = f"/users/{user}/messages?$select=id"
        async with asyncio.TaskGroup() as group:
            held = [group.create_task(quiet.get(path)) for _ in range(4)]
            await quiet.emulator.until_held(4)
            fifth = await quiet.get(path)
            elsewhere = await quiet.get(f"/users/{other}/messages?$select=id")
            quiet.emulator.release()

        assert (fifth.status, fifth.code) == (429, "ApplicationThrottled")
        assert "MailboxConcurrency" in fifth.message
        assert int(fifth.headers["Retry-After"]) > 0
        assert elsewhere.status == 200
        assert [task.result().status for task in held] == [200] * 4
        assert quiet.emulator.counters.max_in_flight[user] == 4

    async def test_calls_inside_a_fence_are_counted(self) -> None:
        """A client that does not wait out Retry-After is seen, one that does is not."""
        time = [0.0]
        async with (
            Emulator(make_tenant(TenantProfile.quiet()), monotonic=lambda: time[0]) as emulator,
            connected(emulator) as raw,
        ):
            emulator.faults.replace(
                [Fault(kind="messages", status=429, code="TooManyRequests", retry_after=10, times=1)]
            )
            path = f"/users/{first_user(raw)}/messages?$select=id"
            assert (await raw.get(path)).headers["Retry-After"] == "10"
            time[0] = 5.0
            await raw.get(path)
            impatient = emulator.counters.inside_fence
            time[0] = 11.0
            await raw.get(path)

        assert (impatient, emulator.counters.inside_fence) == (1, 1)

    async def test_ten_thousand_requests_in_ten_minutes(self) -> None:
        """The next one is refused; after ten minutes there is room again."""
        time = [0.0]
        async with (
            Emulator(make_tenant(TenantProfile.quiet()), monotonic=lambda: time[0]) as emulator,
            connected(emulator) as raw,
        ):
            path = f"/users/{first_user(raw)}/mailFolders/inbox"
            spent = emulator.throttles.spend_mailbox_requests(emulator.client_id, first_user(raw), 10_000)
            refused = await raw.get(path)
            time[0] = 601.0
            allowed = await raw.get(path)

        assert spent == 10_000
        assert (refused.status, refused.code, allowed.status) == (429, "ApplicationThrottled", 200)

    async def test_teams_rates(self) -> None:
        """With the rates on, one request per second and chat is all there is."""
        time = [0.0]
        profile = TenantProfile(mailboxes=MappingProxyType({}), teams_rates=True)
        async with Emulator(make_tenant(profile), monotonic=lambda: time[0]) as emulator, connected(emulator) as raw:
            path = await busiest_chat(raw)
            first, second = await raw.get(path), await raw.get(path)
            time[0] = 1.0
            third = await raw.get(path)

        assert (first.status, second.status, third.status) == (200, 429, 200)
        assert second.headers["Retry-After"] == "1"

    async def test_directory_says_what_a_request_costs(self, quiet: RawClient) -> None:
        """Resource units: less with $select, more for members."""
        group = quiet.emulator.tenant.groups.ids[0]
        costs = [
            (await quiet.get(path)).headers["x-ms-resource-unit"]
            for path in ("/users", "/users?$select=id", f"/groups/{group}/members", "/groups")
        ]

        assert costs == ["2", "1", "3", "1"]

    async def test_directory_budget(self) -> None:
        """A tenant of 60 has 5,000 units in ten seconds; then 429 with the scope in a header."""
        async with (
            Emulator(make_tenant(TenantProfile.quiet()), monotonic=lambda: 0.0) as emulator,
            connected(emulator) as raw,
        ):
            emulator.throttles.directory(4_999, app_id="", tenant_id="")
            last, refused = await raw.get("/groups"), await raw.get("/groups")

        assert last.status == 200
        assert last.headers["x-ms-throttle-limit-percentage"] == "1.0"
        assert refused.status == 429
        assert refused.headers["x-ms-throttle-information"] == "ResourceUnitLimitExceeded"


class TestTransport:
    """Headers, compression, and what a network can do to an answer."""

    async def test_headers(self, quiet: RawClient) -> None:
        """The client's request id comes back, beside the service's own."""
        answer = await quiet.get("/users?$top=1", client_request_id="0a0a")
        error = await quiet.get("/nothing", client_request_id="0b0b")

        assert answer.headers["client-request-id"] == "0a0a"
        assert answer.headers["request-id"]
        assert answer.headers["Content-Type"].startswith("application/json;odata.metadata=minimal")
        assert error.body["error"]["innerError"]["client-request-id"] == "0b0b"

    async def test_gzip_when_asked(self, quiet: RawClient) -> None:
        """Large answers are compressed for those who accept it, and only for those."""
        url = URL(f"{quiet.emulator.url}/v1.0/users?$top=60", encoded=True)
        bearer = {"Authorization": f"Bearer {quiet.token}"}
        async with aiohttp.ClientSession(
            connector=quiet.session.connector, connector_owner=False, auto_decompress=False
        ) as bare:
            async with bare.get(url, headers={**bearer, "Accept-Encoding": "gzip"}) as response:
                packed = await response.read()
                assert response.headers["Content-Encoding"] == "gzip"
            async with bare.get(url, headers={**bearer, "Accept-Encoding": "identity"}) as response:
                plain = await response.read()
                assert "Content-Encoding" not in response.headers

        assert len(packed) < len(plain) / 3
        assert len(gzip.decompress(packed)) == len(plain)

    @pytest.mark.parametrize(
        ("effect", "error"),
        [
            (Effect.RESET, aiohttp.ClientConnectionError),
            (Effect.RESET_BODY, aiohttp.ClientPayloadError),
            (Effect.TRUNCATE, ValueError),
            (Effect.CONTROL_CHARACTER, ValueError),
        ],
    )
    async def test_broken_answers(self, quiet: RawClient, effect: Effect, error: type[Exception]) -> None:
        """Each kind of broken answer breaks a naive client in its own way."""
        quiet.emulator.faults.replace([Fault(kind="users", effect=effect)])
        with pytest.raises(error):
            await quiet.get("/users?$select=id,displayName")

        quiet.emulator.faults.clear()
        assert (await quiet.get("/users?$select=id")).status == 200

    async def test_other_spoiled_answers(self, quiet: RawClient) -> None:
        """An HTML page, an empty 503, a dated Retry-After, a foreign and a broken next link, an empty page."""
        faults, path = quiet.emulator.faults, f"/users/{first_user(quiet)}/messages?$top=5&$select=id"
        faults.replace([Fault(effect=Effect.HTML)])
        assert (await quiet.get(path)).body is None
        faults.replace([Fault(status=503, body=Body.EMPTY, retry_after="date:30")])
        empty = await quiet.get(path)
        assert (empty.status, empty.body) == (503, None)
        assert empty.headers["Retry-After"].endswith("GMT")
        faults.replace([Fault(effect=Effect.FOREIGN_LINK)])
        assert "elsewhere.example" in ((await quiet.get(path)).next_link or "")
        faults.replace([Fault(effect=Effect.BROKEN_LINK)])
        assert "users//(" in ((await quiet.get(path)).next_link or "")
        faults.replace([Fault(effect=Effect.EMPTY_PAGE)])
        page = await quiet.get(path)
        assert page.records == []
        faults.clear()
        assert len((await quiet.get(page.next_link or "")).records) == 5

    async def test_an_outage_ends_by_itself(self) -> None:
        """A rule holds from one second to another after it came into force."""
        time = [0.0]
        rules = [Fault(from_s=30, until_s=90), Fault(kind="token", from_s=60)]
        faults = Faults(rules, monotonic=lambda: time[0])
        async with (
            Emulator(make_tenant(TenantProfile.quiet()), faults=faults) as emulator,
            connected(emulator) as raw,
        ):
            statuses = []
            for time[0] in (0.0, 29.9, 30.0, 89.9, 90.0):
                statuses.append((await raw.get("/users?$select=id")).status)
            with pytest.raises(KeyError):
                await raw.renew()

        assert statuses == [200, 200, 503, 503, 200]

    async def test_a_body_may_take_its_time(self, quiet: RawClient) -> None:
        """Half of it is there at once, and the rest makes it whole."""
        quiet.emulator.faults.replace([Fault(kind="users", effect=Effect.SLOW_BODY, seconds=0.2)])
        headers = {"Authorization": f"Bearer {quiet.token}", "Accept-Encoding": "identity"}
        async with quiet.session.get(f"{quiet.emulator.url}/v1.0/users", headers=headers) as response:
            first = await response.content.readany()
            rest = await response.content.read()

        assert rest
        assert len(json.loads(first + rest)["value"]) == 60

    async def test_post_is_refused(self, quiet: RawClient) -> None:
        """The emulator is read only."""
        async with quiet.session.post(f"{quiet.emulator.url}/v1.0/users", json={}) as response:
            assert response.status == 405


async def test_serves_until_cancelled() -> None:
    """`serve` reports its address, answers, and leaves nothing behind when it is cancelled."""
    started: asyncio.Queue[Emulator] = asyncio.Queue()
    serving = asyncio.create_task(serve(make_tenant(), ready=started.put_nowait))
    emulator = await started.get()
    ca_file = emulator.ca_file
    async with connected(emulator) as raw:
        assert (await raw.get("/users?$select=id")).status == 200
    assert ca_file.exists()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving

    assert not ca_file.exists()


class TestControl:
    """Another process steers the emulator over HTTP."""

    async def test_clock_deliveries_and_counters(self, quiet: RawClient) -> None:
        """The clock moves, mail arrives, and what was asked is counted."""
        user, url = first_user(quiet), f"{quiet.emulator.url}/_emulator/"
        async with quiet.session.post(f"{url}clock", json={"advance_s": 86_400}) as response:
            assert await response.json() == {"now": "2026-03-03T00:00:00Z"}
        order = {"messages": {"user_id": user, "count": 3, "at": "2026-03-02T12:00:00Z"}}
        async with quiet.session.post(f"{url}deliver", json=order) as response:
            ids = (await response.json())["messages"]
        await quiet.renew()
        found = await quiet.all(
            f"/users/{user}/messages?$filter=receivedDateTime%20ge%202026-03-02T00:00:00Z&$select=id", Prefer=IMMUTABLE
        )
        async with quiet.session.get(f"{url}counters") as response:
            counters = await response.json()

        assert set(ids) < {record["id"] for record in found}
        assert counters["requests"]["messages"] >= 1
        assert counters["records"]["messages"] == len(found)

    @pytest.mark.parametrize(
        ("name", "body"),
        [
            ("clock", {"sett": "2026-03-03"}),
            ("clock", {"set": "tomorrow"}),
            ("deliver", {"mail": {}}),
            ("deliver", {"messages": {"user_id": "nobody"}}),
            ("deliver", {"messages": {"user": "x"}}),
            ("faults", {"status": 500}),
            ("faults", [{"statuss": 500}]),
            ("nothing", {}),
        ],
    )
    async def test_mistakes_are_told(self, quiet: RawClient, name: str, body: object) -> None:
        """A control request that cannot be understood is 400 with the reason."""
        async with quiet.session.post(f"{quiet.emulator.url}/_emulator/{name}", json=body) as response:
            assert response.status == 400
            assert (await response.json())["error"]


async def test_who_hangs_up_leaves_no_trace_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A client that does not wait for its answer is an everyday thing; the next one is served."""
    tenant = Tenant(seed=3, users=40, now=NOW, profile=TenantProfile.quiet())
    async with Emulator(tenant) as emulator, connected(emulator) as client:
        emulator.faults.replace([Fault(effect=effect, times=2) for effect in (Effect.HOLD, Effect.SLOW)])
        hung_up = [asyncio.create_task(client.get(path)) for path in ("/users?$top=40", "/groups")]
        await emulator.until_held(2)
        for each in hung_up:
            each.cancel()
        await asyncio.gather(*hung_up, return_exceptions=True)
        emulator.release()
        assert (await client.get("/users?$top=1")).status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
