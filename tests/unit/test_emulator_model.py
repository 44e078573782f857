"""The emulated tenant's data: what its docstrings promise."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.emulator import MARKER, MailboxKind, Tenant, TenantProfile
from connectors.emulator.events import EVENT
from connectors.emulator.folders import FOLDERS
from connectors.emulator.messages import render_folder
from connectors.emulator.profile import UNREADABLE
from connectors.emulator.ticks import HOUR, to_ticks
from tests.graph_types import problems

NOW = datetime(2026, 3, 2, tzinfo=UTC)
START = NOW - timedelta(days=21)
DAY = timedelta(days=1)


def make_tenant(*, seed: int = 1, users: int = 40, **profile: Any) -> Tenant:
    return Tenant(seed=seed, users=users, now=NOW, history=timedelta(days=21), profile=TenantProfile(**profile))


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    """Shared by the tests that only look."""
    return make_tenant()


def all_messages(tenant: Tenant) -> Iterator[tuple[str, dict[str, Any]]]:
    for user in tenant.user_ids:
        for message in tenant.truth.messages(user, START, NOW):
            yield user, message


def addresses(recipients: list[dict[str, Any]]) -> list[str]:
    return [each["emailAddress"]["address"] for each in recipients]


class TestSeed:
    """Everything follows from the seed."""

    def test_same_seed_same_tenant(self, tenant: Tenant) -> None:
        """Two tenants of one seed hold the same; another seed holds something else."""
        user = tenant.users_of(MailboxKind.NORMAL)[3]
        again, other = make_tenant(), make_tenant(seed=2)

        assert again.truth.messages(user, START, NOW) == tenant.truth.messages(user, START, NOW) != []
        assert again.truth.events(user, START, NOW) == tenant.truth.events(user, START, NOW) != []
        assert again.truth.chat_messages(START, NOW) == tenant.truth.chat_messages(START, NOW) != []
        assert not set(other.user_ids) & set(tenant.user_ids)

    def test_default_tenant_has_the_size_of_a_demo(self) -> None:
        """200 users and 30 days: about 100,000 messages, 15,000 events, 20,000 chat messages."""
        tenant = Tenant(now=NOW, history=timedelta(days=30))
        messages = sum(len(tenant.mailboxes.window(person)) for person in tenant.people)
        since = NOW - timedelta(days=30)
        events = sum(len(tenant.truth.events(user, since, NOW)) for user in tenant.user_ids[:20])

        assert 80_000 < messages < 120_000
        assert 1_000 < events < 2_000
        assert 15_000 < len(tenant.truth.chat_messages(since, NOW)) < 30_000


class TestMail:
    """One letter, many copies."""

    def test_times_never_go_back(self) -> None:
        """The row of a mailbox is ordered by time, in busy mailboxes too."""
        tenant = make_tenant(large_mailboxes={0: 30_000})
        for number in range(6):
            times = [
                copy.ticks for copy in tenant.mailboxes.window(tenant.people.person(number)).walk(descending=False)
            ]
            assert times == sorted(times)

    def test_windows_tile(self, tenant: Tenant) -> None:
        """Adjacent windows hold every message once, and nothing lies outside its window."""
        user = tenant.users_of(MailboxKind.NORMAL)[7]
        days = [(START + n * DAY, START + (n + 1) * DAY) for n in range(21)]
        tiled = [message["id"] for start, end in days for message in tenant.truth.messages(user, start, end)]

        assert tiled == [message["id"] for message in tenant.truth.messages(user, START, NOW)]
        assert len(tiled) == len(set(tiled)) > 100
        for start, end in days:
            for copy in tenant.mailboxes.window(tenant.person(user), start=to_ticks(start), end=to_ticks(end)).walk(
                descending=False
            ):
                assert to_ticks(start) <= copy.ticks < to_ticks(end)

    def test_a_million_messages_need_no_list(self) -> None:
        """A mailbox of a million messages is opened in the middle without looking at the rest."""
        tenant = Tenant(
            users=5, now=NOW, history=timedelta(days=60), profile=TenantProfile(large_mailboxes={2: 1_000_000})
        )
        window = tenant.mailboxes.window(tenant.people.person(2))
        copy = next(window.walk(skip=700_000, descending=True))

        assert len(window) >= 1_000_000
        assert tenant.mailboxes.window(copy.owner, end=copy.ticks).stop == copy.place
        assert next(tenant.mailboxes.window(copy.owner, start=copy.ticks).walk(descending=False)).place == copy.place

    def test_mailbox_too_dense_is_refused(self) -> None:
        """More than one message a second cannot be ordered by whole seconds."""
        tenant = make_tenant(large_mailboxes={0: 50_000_000})
        with pytest.raises(ValueError, match="longer history"):
            tenant.mailboxes.window(tenant.people.person(0))

    def test_copies_of_a_letter_agree(self, tenant: Tenant) -> None:
        """Sender and recipients hold one internetMessageId, one time and one thread; ids are each mailbox's own."""
        copies = defaultdict(list)
        for user, message in all_messages(tenant):
            copies[message["internetMessageId"]].append((user, message))
        shared = [group for group in copies.values() if len(group) > 1]

        assert len(shared) > 1000
        for group in shared:
            first = group[0][1]
            assert len({user for user, _ in group}) == len({message["id"] for _, message in group}) == len(group)
            for _, message in group:
                for name in ("receivedDateTime", "subject", "conversationIndex", "from", "toRecipients"):
                    assert message[name] == first[name]

    def test_sent_mail_lies_in_sent_items_of_its_sender(self, tenant: Tenant) -> None:
        """A message that a colleague sent is in that colleague's Sent Items."""
        by_address = {person.mail: person for person in tenant.people if person.kind not in UNREADABLE}
        sent = {
            (user, message["internetMessageId"])
            for user, message in all_messages(tenant)
            if message["parentFolderId"] == tenant.mailboxes.folder_id(tenant.person(user), "sentitems")
        }
        checked = 0
        for _, message in all_messages(tenant):
            sender = by_address.get(message.get("from", {}).get("emailAddress", {}).get("address"))
            if sender is not None:
                assert (sender.id, message["internetMessageId"]) in sent
                checked += 1

        assert checked > 1000

    def test_blind_copies_are_seen_by_the_sender_only(self, tenant: Tenant) -> None:
        """There are some, always in Sent Items."""
        hidden = [(user, message) for user, message in all_messages(tenant) if message["bccRecipients"]]

        assert hidden
        for user, message in hidden:
            assert message["from"]["emailAddress"]["address"] == tenant.person(user).mail

    def test_odd_messages_are_there(self) -> None:
        """Null subjects, no recipients, drafts without sender, X.500 addresses, aliases, meeting requests, digits."""
        tenant = make_tenant(users=60)
        messages = [message for _, message in all_messages(tenant)]
        recipients = [address for m in messages for address in addresses(m["toRecipients"] + m["ccRecipients"])]
        types = {message.get("@odata.type") for message in messages}
        digits = Counter(len(m["receivedDateTime"].partition(".")[2].rstrip("Z")) for m in messages)

        assert any(message["subject"] is None for message in messages)
        assert any(not message["toRecipients"] for message in messages)
        assert any(message["isDraft"] and "from" not in message for message in messages)
        assert any(address.startswith("/O=EXCHANGELABS") for address in recipients)
        assert any(address.endswith("@alder.example") for address in recipients)
        assert {None, "#microsoft.graph.eventMessageRequest", "#microsoft.graph.eventMessageResponse"} <= types
        assert set(digits) == {0, 3, 6, 7}

    def test_some_messages_lie_exactly_on_the_edge_of_a_day(self) -> None:
        """Midnight itself belongs to the later window only."""
        tenant = make_tenant(users=80)
        edges = [START + n * DAY for n in range(1, 20)]
        on_edge = [
            message
            for user in tenant.user_ids
            for edge in edges
            for message in tenant.truth.messages(user, edge, edge + timedelta(microseconds=1))
        ]

        assert len(on_edge) > 10

    def test_ids_have_two_formats(self, tenant: Tenant) -> None:
        """The immutable id differs from the default one, and both are unique."""
        user = tenant.users_of(MailboxKind.NORMAL)[0]
        immutable = [m["id"] for m in tenant.truth.messages(user, START, NOW)]
        default = [m["id"] for m in tenant.truth.messages(user, START, NOW, immutable_ids=False)]

        assert len(set(immutable) | set(default)) == 2 * len(immutable)

    def test_folder_counts_add_up(self, tenant: Tenant) -> None:
        """The counts of all folders together are the messages of the mailbox."""
        person = tenant.people.person(0)
        total = sum(render_folder(folder, person, tenant.mailboxes)["totalItemCount"] for folder in FOLDERS.values())

        assert total == len(tenant.mailboxes.window(person))


class TestCalendar:
    """Meetings in the calendars of all who take part, as they are now."""

    def test_copies_of_a_meeting_agree(self, tenant: Tenant) -> None:
        """One iCalUId, start and organizer in all calendars; one of them is the organizer's."""
        copies = defaultdict(list)
        for user in tenant.user_ids:
            for event in tenant.truth.events(user, START, NOW):
                copies[event["iCalUId"]].append(event)
        shared = [group for group in copies.values() if len(group) > 1]

        assert len(shared) > 200
        for group in shared:
            for name in ("start", "end", "organizer", "subject", "attendees", "uid"):
                assert all(event[name] == group[0][name] for event in group)
            assert sum(event["isOrganizer"] for event in group) <= 1

    def test_view_holds_what_overlaps(self, tenant: Tenant) -> None:
        """An event that straddles an edge is in both windows, one that ends at the edge in the first only."""
        user, edge = tenant.users_of(MailboxKind.NORMAL)[2], NOW - 3 * DAY
        copy = make_tenant()
        (straddling,) = copy.deliver_events(user, start=edge - timedelta(minutes=15))
        (before,) = copy.deliver_events(user, start=edge - timedelta(minutes=30))
        left = {event["id"] for event in copy.truth.events(user, edge - DAY, edge)}
        right = {event["id"] for event in copy.truth.events(user, edge, edge + DAY)}

        assert straddling in left & right
        assert before in left - right

    def test_series(self, tenant: Tenant) -> None:
        """Occurrences share uid and master, not iCalUId; exceptions are moved; masters are in /events only."""
        occurrences = defaultdict(list)
        kinds: Counter[str] = Counter()
        for user in tenant.user_ids:
            for event in tenant.truth.events(user, START, NOW):
                kinds[event["type"]] += 1
                if event["seriesMasterId"]:
                    occurrences[event["seriesMasterId"]].append(event)
        several = [group for group in occurrences.values() if len(group) > 1]
        context, selection = tenant.event_context(immutable_ids=True), EVENT.selection(None)
        masters = {
            record["id"]
            for person in tenant.people
            for entry in tenant.meetings.masters_and_singles(person)
            if (record := EVENT.render(entry, context, selection))["type"] == "seriesMaster"
        }

        assert set(kinds) == {"singleInstance", "occurrence", "exception"}
        assert several
        for group in several:
            assert len({event["uid"] for event in group}) == 1
            assert len({event["iCalUId"] for event in group}) == len(group)
        assert set(occurrences) <= masters

    def test_odd_events_are_there(self) -> None:
        """All-day, cancelled, private, without body, without place, with Zoom and Teams links, in rooms."""
        tenant = make_tenant(users=80)
        events = [event for user in tenant.user_ids for event in tenant.truth.events(user, START, NOW)]

        assert any(event["isAllDay"] for event in events)
        assert any(event["isCancelled"] for event in events)
        assert any(event["sensitivity"] == "private" for event in events)
        assert any(event.get("body", 0) is None for event in events)
        assert any("body" not in event for event in events)
        assert any(event["location"] == {} for event in events)
        assert any("?pwd=" in (event.get("body") or {}).get("content", "") for event in events)
        assert any(event["onlineMeeting"] for event in events)
        assert any(each["type"] == "resource" for event in events for each in event["attendees"])

    def test_the_past_changes(self) -> None:
        """As days go by, events of a closed window are rewritten and some vanish."""
        tenant = make_tenant(users=80)
        window = (NOW - DAY, NOW)
        before = {e["id"]: e for user in tenant.user_ids for e in tenant.truth.events(user, *window)}
        tenant.clock.advance(3 * DAY)
        after = {e["id"]: e for user in tenant.user_ids for e in tenant.truth.events(user, *window)}

        assert set(after) < set(before)
        assert any(after[key]["lastModifiedDateTime"] > before[key]["lastModifiedDateTime"] for key in after)


class TestChats:
    """Each chat once, each message once."""

    def test_every_member_sees_the_chat(self, tenant: Tenant) -> None:
        """A chat is listed by exactly its members of this tenant."""
        members = {
            chat["id"]: {m["userId"] for m in chat["members"] if m.get("tenantId") == tenant.id}
            for chat in tenant.truth.chats()
        }
        seen = defaultdict(set)
        for user in tenant.user_ids:
            for chat_id in tenant.truth.chat_ids(user):
                seen[chat_id].add(user)

        assert dict(seen) == members
        assert len(members) > 50

    def test_two_people_have_one_chat(self, tenant: Tenant) -> None:
        """The id of a one-on-one chat holds both ids, and no pair has two."""
        pairs = [chat for chat in tenant.truth.chats() if chat["chatType"] == "oneOnOne"]

        for chat in pairs:
            assert sorted(member["userId"] for member in chat["members"]) == chat["id"][3:].partition("@")[0].split("_")
        assert len({chat["id"] for chat in pairs}) == len(pairs)

    def test_chats_are_found_by_id(self, tenant: Tenant) -> None:
        """The id alone leads to the chat; a changed one to none."""
        for chat in tenant.chats.all():
            assert tenant.chats.find(chat.id) == chat
        assert tenant.chats.find("19:00000000000000000000000000000000@thread.v2") is None
        assert tenant.chats.find("nonsense") is None

    def test_message_ids_are_unique_within_a_chat_only(self, tenant: Tenant) -> None:
        """Chat and id together are the key."""
        messages = tenant.truth.chat_messages(START, NOW)

        assert len({(message["chatId"], message["id"]) for message in messages}) == len(messages) > 500

    def test_changes_come_later(self) -> None:
        """A message of yesterday may be edited, deleted or liked today: same id, later lastModifiedDateTime."""
        tenant = make_tenant(users=80)
        before = {(m["chatId"], m["id"]): m for m in tenant.truth.chat_messages(NOW - DAY, NOW)}
        tenant.clock.advance(2 * DAY)
        window = tenant.truth.chat_messages(NOW, NOW + 2 * DAY)
        changed = [m for m in window if (m["chatId"], m["id"]) in before]

        assert any(message["deletedDateTime"] and message["body"]["content"] == "" for message in changed)
        assert any(message["reactions"] for message in changed)
        assert all(to_ticks(datetime.fromisoformat(m["lastModifiedDateTime"])) >= to_ticks(NOW) for m in changed)

    def test_old_messages_can_be_changed_by_hand(self) -> None:
        """An edit is found by its own time, however old the message is."""
        tenant = make_tenant()
        chat = next(chat for chat in tenant.chats.all() if len(tenant.chats.messages(chat)) > 3)
        oldest = tenant.chats.messages(chat)[-1]
        tenant.edit_chat_message(chat.id, oldest.id, at=NOW)
        tenant.clock.advance(DAY)
        found = [m for m in tenant.truth.chat_messages(NOW, NOW + timedelta(seconds=1)) if m["chatId"] == chat.id]

        assert [message["id"] for message in found] == [oldest.id]
        assert found[0]["lastEditedDateTime"] == found[0]["lastModifiedDateTime"] == "2026-03-02T00:00:00.000Z"


class TestChanges:
    """What the tenant's methods do."""

    def test_future_is_hidden_until_the_clock_is_there(self) -> None:
        """Nothing of tomorrow is seen today; tomorrow it is there without further ado."""
        tenant = make_tenant()
        user = tenant.users_of(MailboxKind.NORMAL)[0]
        assert tenant.truth.messages(user, NOW + timedelta(seconds=1), NOW + DAY) == []

        tenant.clock.advance(DAY)
        assert tenant.truth.messages(user, NOW, NOW + DAY)

    def test_delivered_mail_is_in_its_place(self) -> None:
        """Deliveries are ordered among the others, and can be removed again."""
        tenant = make_tenant()
        user, moment = tenant.users_of(MailboxKind.NORMAL)[0], NOW - 2 * DAY
        before = [message["id"] for message in tenant.truth.messages(user, START, NOW)]
        new = tenant.deliver_messages(user, count=3, at=moment, subject="planted-special")
        window = tenant.mailboxes.window(tenant.person(user))
        both_ways = [
            [copy.ticks for copy in window.walk(skip=5, descending=descending)] for descending in (False, True)
        ]
        delivered = tenant.truth.messages(user, moment, moment + timedelta(microseconds=1))
        tenant.remove_message(user, new[1])

        assert [m["id"] for m in delivered if m["subject"] == "planted-special"] == new
        assert both_ways[0] == sorted(both_ways[0])
        assert both_ways[1] == sorted(both_ways[1], reverse=True)
        after = [message["id"] for message in tenant.truth.messages(user, START, NOW)]
        assert sorted(after) == sorted([*before, new[0], new[2]])

    def test_what_was_removed_leaves_no_gap(self) -> None:
        """Those behind it move up, whatever was delivered between them, and a page begins where one would count."""
        tenant = make_tenant()
        user = tenant.users_of(MailboxKind.NORMAL)[0]
        tenant.deliver_messages(user, count=3, at=NOW - 2 * DAY)
        all_ids = [message["id"] for message in tenant.truth.messages(user, START, NOW)]
        removed = {*all_ids[:2], *all_ids[10::7], all_ids[-1]}
        for message_id in removed:
            tenant.remove_message(user, message_id)

        left = [message_id for message_id in all_ids if message_id not in removed]
        assert [message["id"] for message in tenant.truth.messages(user, START, NOW)] == left
        mailboxes, window = tenant.mailboxes, tenant.mailboxes.window(tenant.person(user))
        assert len(window) == len(left)
        for skip in (0, 1, 9, 20, len(left) - 1, len(left)):
            for descending in (False, True):
                ids = [
                    mailboxes.message_id(copy, immutable=True) for copy in window.walk(skip=skip, descending=descending)
                ]
                assert ids == (left[::-1] if descending else left)[skip:]

    def test_removed_event_and_user(self) -> None:
        """They are gone, and what is not there cannot be removed."""
        tenant = make_tenant()
        user = tenant.users_of(MailboxKind.NORMAL)[0]
        event = tenant.truth.events(user, START, NOW)[0]["id"]
        tenant.remove_event(user, event)
        assert event not in {each["id"] for each in tenant.truth.events(user, START, NOW)}

        tenant.remove_user(user)
        assert user not in tenant.user_ids
        with pytest.raises(KeyError):
            tenant.remove_user(user)

    def test_chat_deliveries_keep_their_ids_apart(self) -> None:
        """Two deliveries at one instant get different ids."""
        tenant = make_tenant()
        chat = tenant.truth.chat_ids(tenant.users_of(MailboxKind.NORMAL)[0])[0]
        ids = [
            *tenant.deliver_chat_messages(chat_id=chat, count=2, at=NOW),
            *tenant.deliver_chat_messages(chat_id=chat, count=2, at=NOW),
        ]

        assert len(set(ids)) == 4


class TestPeople:
    """The odd ones among them."""

    def test_special_kinds(self) -> None:
        """Each kind is there in the number asked for; a tiny tenant keeps ordinary people."""
        tenant = make_tenant(users=100)
        tiny = make_tenant(users=6)

        for kind, count in tenant.profile.mailboxes.items():
            assert len(tenant.users_of(kind)) == count
        assert len(tiny.users_of(MailboxKind.NORMAL)) == 3

    def test_names_that_need_care(self) -> None:
        """Apostrophes and #EXT# occur; every name finds its user."""
        tenant = make_tenant(users=200)
        names = [person.upn for person in tenant.people]

        assert any("'" in name for name in names)
        assert any("#EXT#" in name for name in names)
        assert len(set(names)) == 200
        for person in tenant.people:
            assert tenant.people.find(person.upn) == tenant.people.find(person.id) == person

    def test_groups_nest_and_form_a_ring(self, tenant: Tenant) -> None:
        """Following nested groups comes back to where it began; one group has members of five types."""
        ids = tenant.groups.ids
        nested = {
            group: [m["id"] for m in tenant.truth.members(group) if m["@odata.type"].endswith("group")] for group in ids
        }

        assert nested[ids[1]] == [ids[2]]
        assert nested[ids[2]] == [ids[3]]
        assert nested[ids[3]] == [ids[1]]
        assert len({member["@odata.type"] for member in tenant.truth.members(ids[4])}) == 5


class TestTypes:
    """Everything served fits what Microsoft declares."""

    @pytest.mark.parametrize("seed", [1, 7])
    def test_records_fit_the_declared_types(self, seed: int) -> None:
        """Names, types, nullability and enumerations; a short list of extras is undocumented but real."""
        tenant = make_tenant(seed=seed, users=20)
        people, groups = list(tenant.people), tenant.groups.ids
        mail, window = tenant.mailboxes, (START, NOW)
        context, selection = tenant.event_context(immutable_ids=True), EVENT.selection(None)
        meetings = [meeting for user in tenant.user_ids for meeting in tenant.truth.online_meetings(user)]
        served: dict[str, list[Any]] = {
            "user": tenant.truth.users(),
            "group": tenant.truth.groups(),
            "directoryObject": [member for group in groups for member in tenant.truth.members(group)],
            "mailboxSettings": [s for user in tenant.user_ids if (s := tenant.truth.mailbox_settings(user))],
            "message": [message for _, message in all_messages(tenant)],
            "mailFolder": [render_folder(folder, people[0], mail) for folder in FOLDERS.values()],
            "event": [
                *(event for user in tenant.user_ids for event in tenant.truth.events(user, *window)),
                *(
                    EVENT.render(entry, context, selection)
                    for person in people
                    for entry in tenant.meetings.masters_and_singles(person)
                ),
            ],
            "callRecords.callRecord": tenant.truth.call_records(*window),
            "onlineMeeting": meetings,
            "meetingAttendanceReport": [
                report
                for user in tenant.user_ids
                for meeting in tenant.truth.online_meetings(user)
                for report in tenant.truth.attendance_reports(user, meeting["id"])
            ],
            "chat": tenant.truth.chats(),
            "chatMessage": [*tenant.truth.chat_messages(*window), *tenant.truth.channel_messages(*window)],
            "contact": [contact for user in tenant.user_ids for contact in tenant.truth.contacts(user)],
            "team": tenant.truth.teams(),
            "channel": [channel for team in tenant.truth.teams() for channel in tenant.truth.channels(team["id"])],
        }

        for name, records in served.items():
            assert records
            found = [problem for record in records for problem in problems(record, f"microsoft.graph.{name}")]
            assert found == []

    def test_checker_sees_faults(self) -> None:
        """A wrong type, an unknown name, a wrong enumeration and a forbidden null are reported."""
        wrong = {"isRead": "yes", "nonsense": 1, "importance": "urgent", "id": None, "receivedDateTime": "yesterday"}

        assert len(list(problems(wrong, "microsoft.graph.message"))) == 5


class TestPlanted:
    """What a privacy test looks for is really there."""

    def test_planted_strings_are_served(self) -> None:
        """Of every kind some are in the records, and nearly all names, addresses and texts are."""
        tenant = make_tenant(users=24)
        served = json.dumps(
            [
                tenant.truth.users(),
                tenant.truth.groups(),
                [tenant.truth.mailbox_settings(user) for user in tenant.user_ids],
                [tenant.truth.messages(user, NOW - 7 * DAY, NOW) for user in tenant.user_ids],
                [tenant.truth.events(user, START, NOW) for user in tenant.user_ids],
                tenant.truth.chats(),
                tenant.truth.chat_messages(START, NOW),
                tenant.truth.channel_messages(START, NOW),
                [tenant.truth.contacts(user) for user in tenant.user_ids],
                [folder.title for folder in FOLDERS.values()],
            ]
        )
        found: Counter[str] = Counter()
        planted: Counter[str] = Counter()
        for kind, text in tenant.planted_by_kind():
            planted[kind] += 1
            found[kind] += json.dumps(text)[1:-1] in served

        for kind in ("name", "upn", "address", "phone", "subject", "body", "topic", "location", "file", "passcode"):
            assert found[kind] > 0
        for kind in ("name", "upn", "subject", "body"):
            assert found[kind] >= 0.9 * planted[kind]
        assert len(set(tenant.planted())) == len(list(tenant.planted())) > 1_000

    def test_free_text_carries_the_marker(self, tenant: Tenant) -> None:
        """Subjects, bodies, previews, topics, places, job titles, group names and replies can be recognised."""
        texts = [
            *(m[name] for _, m in all_messages(tenant) for name in ("subject", "bodyPreview")),
            *(m["body"]["content"] for _, m in all_messages(tenant)),
            *(e["subject"] for user in tenant.user_ids for e in tenant.truth.events(user, START, NOW)),
            *(chat["topic"] for chat in tenant.truth.chats()),
            *(m["body"]["content"] for m in tenant.truth.chat_messages(START, NOW)),
            *(m["subject"] for m in tenant.truth.channel_messages(START, NOW)),
            *(m["body"]["content"] for m in tenant.truth.channel_messages(START, NOW)),
            *(team["displayName"] for team in tenant.truth.teams()),
            *(contact["personalNotes"] for user in tenant.user_ids for contact in tenant.truth.contacts(user)),
            *(user["jobTitle"] for user in tenant.truth.users()),
            *(user["officeLocation"] for user in tenant.truth.users()),
            *(group["displayName"] for group in tenant.truth.groups()),
        ]
        written = [text for text in texts if text and text != "<systemEventMessage/>"]

        assert len(written) > 1_000
        assert all(MARKER in text for text in written)


def test_history_is_as_long_as_asked_for() -> None:
    """Nothing is older than the history; its first hours are not empty."""
    tenant = make_tenant(users=60)
    early = [m for user in tenant.user_ids for m in tenant.truth.messages(user, START - 9 * DAY, START)]
    first_day = [m for user in tenant.user_ids for m in tenant.truth.messages(user, START, START + DAY)]

    assert early == []
    assert first_day
    assert tenant.first_ticks % HOUR == 0
