"""Every dataset through its life: a first night, one after all that can happen to a record, a history that is cut."""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from connectors.emulator import MailboxKind, TenantProfile
from connectors.emulator.chats import ChatKind
from pipeline.manifest import Manifest
from pipeline.sanitize.rules import built_in_rules
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, thread_token, token
from tests.integration.truth import COLUMNS, OVERLAP_CALLS, SETTLE, Key, Spans, Truth, parse_instant

DAY = timedelta(days=1)
LOOKBACK = timedelta(days=30)
FIRST = NOW + 3 * DAY  # a Thursday: the days before it were busy
SETTLED = FIRST - SETTLE
AT = FIRST + timedelta(hours=7)  # between the two nights
AT_IN_TEAMS = SETTLED + timedelta(hours=7)  # so that the second night finds it settled
PROFILE = TenantProfile(groups=20, mailboxes={MailboxKind.GUEST: 1, MailboxKind.ROOM: 1, MailboxKind.NO_MAILBOX: 1})


@dataclass(frozen=True, slots=True)
class Trace:
    """How a change shows in the next run: so many of its rows satisfy a condition."""

    where: str
    rows: int = 1


class World:
    """The tenant, those in it to whom something happens, and what it held the night before."""

    def __init__(self, site: Site) -> None:
        self.tenant, self.truth = site.tenant, site.tenant.truth
        self.user, *_, self.leaver, self.newcomer = site.tenant.users_of(MailboxKind.NORMAL)
        groups = site.tenant.groups.ids
        self.group, self.other_group, self.gone_team, self.new_team, self.team = (groups[n] for n in (6, 7, 4, 12, 16))
        chats = [chat["id"] for chat in self.truth.chats() if chat["chatType"] == ChatKind.GROUP]
        self.new_chat, self.joined_chat, self.left_chat = chats[:3]
        self.events = {
            name: self.tenant.deliver_events(self.user, start=FIRST - timedelta(hours=hours))[0]
            for name, hours in (("removed", 30), ("moved", 31))
        }
        self.messages = self.truth.messages(self.user, FIRST - 5 * DAY, FIRST)

    def before_the_first_night(self) -> None:
        """Who and what is there in the second one only."""
        self.tenant.remove_user(self.newcomer)
        self.tenant.remove_group(self.new_team)
        self.leave(self.new_chat, at=FIRST - 3 * DAY)

    def remember(self) -> Truth:
        """How things stand in the first night."""
        self.first = Truth.of_first_run(self.tenant, FIRST - LOOKBACK, FIRST)
        self.events_then = self.events_now()
        self.versions = {call["id"]: call["version"] for call in self.calls()}
        return self.first

    def second(self) -> Truth:
        """What the second night has to hold: of newcomers all since the initial lookback."""
        end = FIRST + DAY
        newcomers = dict.fromkeys((self.newcomer, self.new_team), Spans.of_first_run(end - LOOKBACK, end))
        return Truth.of(self.tenant, Spans.of_next_run(FIRST, end), newcomers=newcomers)

    def new_row(self, dataset: str) -> Key:
        """The key of a row that the second night has and the first had not."""
        return min(self.second().rows[dataset].keys() - self.first.rows[dataset].keys())

    def leave(self, chat: str, *, at: datetime) -> None:
        """Everybody goes, but for those from outside."""
        for user in self.members(chat):
            self.tenant.leave_chat(chat, user, at=at)

    def members(self, chat: str) -> list[str]:
        (members,) = [each["members"] for each in self.truth.chats() if each["id"] == chat]
        return [member["userId"] for member in members if member.get("userId") in self.tenant.user_ids]

    def events_now(self) -> dict[tuple[str, str], str]:
        """When what began in the days before the first night was changed last."""
        return {
            (token(user), token(event["id"])): event["lastModifiedDateTime"]
            for user in self.tenant.users_of(MailboxKind.NORMAL)
            if user in self.tenant.user_ids
            for event in self.truth.events(user, FIRST - 5 * DAY, FIRST)
        }

    def calls(self) -> list[dict[str, Any]]:
        return self.truth.call_records(SETTLED - OVERLAP_CALLS, SETTLED)

    def message(self, *, kind: str, number: int) -> dict[str, Any]:
        """An ordinary message of a chat, or of a channel, of the days before."""
        start, end = SETTLED - 5 * DAY, SETTLED - 3 * DAY
        found = (
            self.truth.chat_messages(start, end)
            if kind == "chat"
            else [
                message
                for message in self.truth.channel_messages(start, end)
                if message["channelIdentity"]["teamId"] == self.team
            ]
        )
        left_alone = (self.new_chat, self.left_chat)
        ordinary = [each for each in found if each["messageType"] == "message" and each["deletedDateTime"] is None]
        return [each for each in ordinary if each["chatId"] not in left_alone][number]


Deed = Callable[[World], Trace]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What happens to records of a dataset between the two nights; a text says why it cannot happen."""

    created: Deed | str
    updated: Deed | str
    deleted: Deed | str
    moved: Deed | str


def a_user_comes_back(world: World) -> Trace:
    world.tenant.restore_user(world.newcomer)
    return Trace(f"id = '{token(world.newcomer)}'")


def a_user_is_blocked(world: World) -> Trace:
    world.tenant.block_user(world.user)
    return Trace(f"id = '{token(world.user)}' AND NOT accountEnabled")


def a_user_is_removed(world: World) -> Trace:
    world.tenant.remove_user(world.leaver)
    return Trace(f"id = '{token(world.leaver)}'", 0)


def a_group_comes_back(world: World) -> Trace:
    world.tenant.restore_group(world.new_team)
    return Trace(f"id = '{token(world.new_team)}'")


def a_group_is_removed(world: World) -> Trace:
    world.tenant.remove_group(world.gone_team)
    return Trace(f"id = '{token(world.gone_team)}'", 0)


def a_member_joins(world: World) -> Trace:
    world.tenant.join_group(world.user, world.group)
    return Trace(f"_owner = '{token(world.group)}' AND id = '{token(world.user)}'")


def a_member_leaves(world: World) -> Trace:
    left = member_of(world, world.group)
    world.tenant.leave_group(left, world.group)
    return Trace(f"_owner = '{token(world.group)}' AND id = '{token(left)}'", 0)


def a_member_changes_groups(world: World) -> Trace:
    moved = member_of(world, world.group)
    world.tenant.leave_group(moved, world.group)
    world.tenant.join_group(moved, world.other_group)
    groups = ", ".join(f"'{token(group)}'" for group in (world.group, world.other_group))
    return Trace(f"_owner IN ({groups}) AND id = '{token(moved)}'")


def member_of(world: World, group: str) -> str:
    others = {world.user, *(member["id"] for member in world.truth.members(world.other_group))}
    members = (member["id"] for member in world.truth.members(group))
    found: str = next(member for member in members if member in world.tenant.user_ids and member not in others)
    return found


def a_mailbox_comes_back(world: World) -> Trace:
    return Trace(f"_owner = '{token(world.newcomer)}'")


def a_mailbox_answers_by_itself(world: World) -> Trace:
    person = world.tenant.users_of(MailboxKind.NORMAL)[1]
    settings = world.truth.mailbox_settings(person)
    assert settings is not None
    assert settings["automaticRepliesSetting"]["status"] == "disabled"
    world.tenant.set_away(person)
    return Trace(f"_owner = '{token(person)}' AND automaticRepliesSetting.status = 'scheduled'")


def a_mailbox_goes_with_its_owner(world: World) -> Trace:
    return Trace(f"_owner = '{token(world.leaver)}'", 0)


def a_message_comes(world: World) -> Trace:
    (message,) = world.tenant.deliver_messages(world.user, at=AT)
    return Trace(f"_owner = '{token(world.user)}' AND id = '{token(message)}'")


def a_message_comes_and_goes(world: World) -> Trace:
    (message,) = world.tenant.deliver_messages(world.user, at=AT)
    world.tenant.remove_message(world.user, message)
    world.tenant.remove_message(world.user, world.messages[0]["id"])
    return Trace(f"id IN ('{token(message)}', '{token(world.messages[0]['id'])}')", 0)


def a_message_is_filed(world: World) -> Trace:
    """It keeps its id, and is not told again."""
    world.tenant.move_message(world.user, world.messages[1]["id"], "archive")
    return Trace(f"id = '{token(world.messages[1]['id'])}'", 0)


def a_contact_is_made(world: World) -> Trace:
    (contact,) = world.tenant.deliver_contacts(keeper(world), folder="nearby", at=AT)
    return Trace(f"id = '{token(contact)}'")


def a_contact_changes(world: World) -> Trace:
    contact = world.truth.contacts(keeper(world))[0]["id"]
    world.tenant.edit_contact(keeper(world), contact, at=AT)
    return Trace(f"id = '{token(contact)}' AND lastModifiedDateTime > createdDateTime")


def a_contact_is_removed(world: World) -> Trace:
    contact = world.truth.contacts(keeper(world))[1]["id"]
    world.tenant.edit_contact(keeper(world), contact, at=AT)
    world.tenant.remove_contact(keeper(world), contact)
    return Trace(f"id = '{token(contact)}'", 0)


def a_contact_changes_folders(world: World) -> Trace:
    press = world.tenant.contacts.folder_id(world.tenant.person(keeper(world)), "press")
    contact = next(each for each in world.truth.contacts(keeper(world))[2:] if each["parentFolderId"] != press)
    world.tenant.edit_contact(keeper(world), contact["id"], folder="press", at=AT)
    return Trace(f"id = '{token(contact['id'])}' AND parentFolderId = '{token(press)}'")


def keeper(world: World) -> str:
    """Somebody with a long address book."""
    left = set(world.tenant.users_of(MailboxKind.NORMAL)) - {world.leaver, world.newcomer}
    return max(sorted(left), key=lambda user: len(world.truth.contacts(user)))


def an_event_is_planned(world: World) -> Trace:
    (event,) = world.tenant.deliver_events(world.user, start=AT)
    return Trace(f"_owner = '{token(world.user)}' AND id = '{token(event)}'")


def an_event_is_rewritten(world: World) -> Trace:
    """After it had ended: what was exported comes again, as it is now."""
    now = world.events_now()
    (owner, event) = min(key for key, changed in now.items() if changed > world.events_then.get(key, changed))
    return Trace(f"_owner = '{owner}' AND id = '{event}'")


def an_event_is_removed(world: World) -> Trace:
    world.tenant.remove_event(world.user, world.events["removed"])
    return Trace(f"id = '{token(world.events['removed'])}'", 0)


def an_event_is_put_off(world: World) -> Trace:
    world.tenant.move_event(world.user, world.events["moved"], start=AT)
    return Trace(f"id = '{token(world.events['moved'])}' AND epoch_us(start.dateTime) = {int(AT.timestamp())}000000")


def a_team_grows(world: World) -> Trace:
    (team,) = [team for team in world.truth.teams() if team["id"] == world.team]
    members = {member["id"] for member in world.truth.members(world.team)}
    stranger = next(user for user in world.tenant.users_of(MailboxKind.NORMAL) if user not in members)
    world.tenant.join_group(stranger, world.team)
    return Trace(f"id = '{token(world.team)}' AND summary.membersCount = {team['summary']['membersCount'] + 1}")


def a_team_comes_back(world: World) -> Trace:
    return Trace(f"id = '{token(world.new_team)}'")


def a_team_goes_with_its_group(world: World) -> Trace:
    return Trace(f"id = '{token(world.gone_team)}'", 0)


def channels_come_with_their_team(world: World) -> Trace:
    return Trace(f"_owner = '{token(world.new_team)}'", len(world.truth.channels(world.new_team)))


def channels_go_with_their_team(world: World) -> Trace:
    return Trace(f"_owner = '{token(world.gone_team)}'", 0)


def somebody_writes_in_a_channel(world: World) -> Trace:
    (message,) = world.tenant.deliver_channel_messages(team_id=world.team, at=AT_IN_TEAMS)
    return Trace(f"_owner = '{token(world.team)}' AND id = '{message}'")


def a_channel_message_is_edited(world: World) -> Trace:
    message = world.message(kind="channel", number=0)
    world.tenant.edit_channel_message(message["channelIdentity"]["channelId"], message["id"], at=AT_IN_TEAMS)
    return Trace(f"id = '{message['id']}' AND lastEditedDateTime IS NOT NULL")


def a_channel_message_is_deleted(world: World) -> Trace:
    message = world.message(kind="channel", number=1)
    world.tenant.delete_channel_message(message["channelIdentity"]["channelId"], message["id"], at=AT_IN_TEAMS)
    return Trace(f"id = '{message['id']}' AND deletedDateTime IS NOT NULL")


def a_chat_gets_its_first_member(world: World) -> Trace:
    """Of those who are read: until now nobody listed it."""
    world.tenant.join_chat(world.new_chat, world.user, at=AT_IN_TEAMS)
    return Trace(f"id = '{thread_token(world.new_chat)}'")


def a_chat_gets_another_member(world: World) -> Trace:
    (members,) = [chat["members"] for chat in world.truth.chats() if chat["id"] == world.joined_chat]
    stranger = next(
        user
        for user in world.tenant.users_of(MailboxKind.NORMAL)
        if user in world.tenant.user_ids and user not in world.members(world.joined_chat)
    )
    world.tenant.join_chat(world.joined_chat, stranger, at=AT_IN_TEAMS)
    return Trace(f"id = '{thread_token(world.joined_chat)}' AND len(members) = {len(members) + 1}")


def a_chat_is_left_by_all(world: World) -> Trace:
    world.leave(world.left_chat, at=AT_IN_TEAMS)
    return Trace(f"id = '{thread_token(world.left_chat)}'", 0)


def somebody_writes_in_a_chat(world: World) -> Trace:
    (message,) = world.tenant.deliver_chat_messages(chat_id=world.joined_chat, at=AT_IN_TEAMS)
    return Trace(f"chatId = '{thread_token(world.joined_chat)}' AND id = '{message}'")


def a_chat_message_is_edited(world: World) -> Trace:
    message = world.message(kind="chat", number=0)
    world.tenant.edit_chat_message(message["chatId"], message["id"], at=AT_IN_TEAMS)
    return Trace(f"id = '{message['id']}' AND lastEditedDateTime IS NOT NULL")


def a_chat_message_is_deleted(world: World) -> Trace:
    message = world.message(kind="chat", number=1)
    world.tenant.delete_chat_message(message["chatId"], message["id"], at=AT_IN_TEAMS)
    return Trace(f"id = '{message['id']}' AND deletedDateTime IS NOT NULL")


def a_call_is_held(world: World) -> Trace:
    return Trace(f"id = '{token(world.tenant.deliver_call(world.user, start=AT_IN_TEAMS))}'")


def a_record_is_rewritten(world: World) -> Trace:
    identifier, version = min(
        (call["id"], call["version"])
        for call in world.calls()
        if call["version"] > world.versions.get(call["id"], call["version"])
    )
    return Trace(f"id = '{token(identifier)}' AND version = {version}")


def new(dataset: str) -> Deed:
    """By itself, as a day goes by."""
    return lambda world: Trace(f"id = '{world.new_row(dataset)[-1]}'")


def gone_with_the_organizer(dataset: str) -> Deed:
    def deed(world: World) -> Trace:
        of_leaver = [key for key, who in world.first.rows[dataset].items() if who == {token(world.leaver)}]
        assert of_leaver
        return Trace(f"id IN ({', '.join(repr(key[-1]) for key in of_leaver)})", 0)

    return deed


STAYS = "it stays where it is"
FINAL = "what is kept of it is final"
LIVES = {
    "entra_users": Life(
        created=a_user_comes_back, updated=a_user_is_blocked, deleted=a_user_is_removed, moved="there is one directory"
    ),
    "entra_groups": Life(
        created=a_group_comes_back, updated=FINAL, deleted=a_group_is_removed, moved="there is one directory"
    ),
    "entra_group_members": Life(
        created=a_member_joins, updated=FINAL, deleted=a_member_leaves, moved=a_member_changes_groups
    ),
    "mailbox_settings": Life(
        created=a_mailbox_comes_back,
        updated=a_mailbox_answers_by_itself,
        deleted=a_mailbox_goes_with_its_owner,
        moved=STAYS,
    ),
    "mail_messages": Life(
        created=a_message_comes,
        updated="a message is exported as it was in its night",
        deleted=a_message_comes_and_goes,
        moved=a_message_is_filed,
    ),
    "mail_contacts": Life(
        created=a_contact_is_made,
        updated=a_contact_changes,
        deleted=a_contact_is_removed,
        moved=a_contact_changes_folders,
    ),
    "calendar_events": Life(
        created=an_event_is_planned,
        updated=an_event_is_rewritten,
        deleted=an_event_is_removed,
        moved=an_event_is_put_off,
    ),
    "teams_teams": Life(
        created=a_team_comes_back, updated=a_team_grows, deleted=a_team_goes_with_its_group, moved=STAYS
    ),
    "teams_channels": Life(
        created=channels_come_with_their_team, updated=FINAL, deleted=channels_go_with_their_team, moved=STAYS
    ),
    "teams_channel_messages": Life(
        created=somebody_writes_in_a_channel,
        updated=a_channel_message_is_edited,
        deleted=a_channel_message_is_deleted,
        moved=STAYS,
    ),
    "teams_chats": Life(
        created=a_chat_gets_its_first_member,
        updated=a_chat_gets_another_member,
        deleted=a_chat_is_left_by_all,
        moved="whoever reads it, it is one chat (test_changing_readers)",
    ),
    "teams_chat_messages": Life(
        created=somebody_writes_in_a_chat,
        updated=a_chat_message_is_edited,
        deleted=a_chat_message_is_deleted,
        moved=STAYS,
    ),
    "teams_call_records": Life(
        created=a_call_is_held,
        updated=a_record_is_rewritten,
        deleted="Graph forgets records by their age only (test_calls)",
        moved="a call was when it was",
    ),
    "teams_pstn_calls": Life(created=new("teams_pstn_calls"), updated=FINAL, deleted=FINAL, moved=FINAL),
    "teams_direct_routing_calls": Life(
        created=new("teams_direct_routing_calls"), updated=FINAL, deleted=FINAL, moved=FINAL
    ),
    "teams_online_meetings": Life(
        created=new("teams_online_meetings"),
        updated=FINAL,
        deleted=gone_with_the_organizer("teams_online_meetings"),
        moved=FINAL,
    ),
    "teams_attendance_reports": Life(
        created=new("teams_attendance_reports"),
        updated=FINAL,
        deleted=gone_with_the_organizer("teams_attendance_reports"),
        moved=FINAL,
    ),
}


def differences(site: Site, manifest: Manifest, expected: Truth) -> dict[str, tuple[int, int, int]]:
    """Of each dataset that differs: rows that are missing, that are too many, that are there twice."""
    found = {}
    for dataset, truth in expected.rows.items():
        rows = site.query(dataset, COLUMNS[dataset], run=manifest.run_id) if manifest.datasets[dataset].parts else []
        there = set(rows)
        found[dataset] = len(truth.keys() - there), len(there - truth.keys()), len(rows) - len(there)
    return {dataset: counts for dataset, counts in found.items() if any(counts)}


def columns_of_all(site: Site, dataset: str) -> tuple[bool, bool]:
    """Whether rows have an `_owner`, and whether any has `_removed`; all do, or none."""
    ((rows, owned, removed),) = site.query(dataset, "count(*), count(_owner), count(_removed)")
    assert owned in (0, rows)
    return owned > 0, removed > 0


def test_every_dataset_has_a_life() -> None:
    """A dataset that is added needs a word on everything that can happen to it."""
    assert LIVES.keys() == COLUMNS.keys()


async def test_every_dataset_is_the_truth_in_the_first_night_and_in_the_next(open_site: OpenSite) -> None:
    """Nothing missing, nothing too much, nothing twice; each creation, update, deletion and move shows as it should."""
    site = await open_site(users=14, profile=PROFILE)
    site.tenant.clock.advance(FIRST - NOW)
    world = World(site)
    world.before_the_first_night()
    first = await site.run()
    assert (first.failed, first.status) == ([], "complete")
    assert differences(site, first, world.remember()) == {}
    assert all(first.datasets[dataset].rows for dataset in COLUMNS)
    assert {dataset: columns_of_all(site, dataset) for dataset in COLUMNS} == {
        dataset: (rules.owner is not None, False) for dataset, rules in built_in_rules().items()
    }

    site.tenant.clock.advance(DAY)
    deeds = [(dataset, deed) for dataset, life in LIVES.items() for deed in astuple(life) if callable(deed)]
    traces = [(dataset, deed.__name__, deed(world)) for dataset, deed in deeds]
    second = await site.run()
    assert (second.failed, second.status) == ([], "complete")
    assert differences(site, second, world.second()) == {}
    shown = [
        (dataset, name, len(site.query(dataset, "1", run=f"{second.run_id}", where=trace.where)))
        for dataset, name, trace in traces
    ]
    assert shown == [(dataset, name, trace.rows) for dataset, name, trace in traces]


async def test_a_history_can_be_cut_at_awkward_instants_and_repeated(open_site: OpenSite) -> None:
    """At the very instant of a record of each dataset: every piece is the truth, all datasets, again and again."""
    site = await open_site(users=6)
    end = NOW - timedelta(days=2, hours=1)
    pieces = list(pairwise([NOW - timedelta(days=20), *awkward_instants(site, end - 3 * DAY, end), end]))
    for left, right in (*pieces, pieces[-1]):
        manifest = await site.backfill(left, right)
        assert manifest.status == "complete"
        assert differences(site, manifest, Truth.of(site.tenant, Spans.of_backfill(left, right))) == {}
        site.tenant.clock.advance(timedelta(seconds=2))


def awkward_instants(site: Site, start: datetime, end: datetime) -> list[datetime]:
    """One of each dataset that is read by window, in order; within these bounds where there are enough of them."""
    truth, user = site.tenant.truth, site.tenant.users_of(MailboxKind.NORMAL)[0]
    of_organizers = [
        (organizer, meeting) for organizer in site.tenant.user_ids for meeting in truth.online_meetings(organizer)
    ]
    inside = {
        "mail_messages": [message["receivedDateTime"] for message in truth.messages(user, start, end)],
        "calendar_events": [event["start"]["dateTime"] for event in truth.events(user, start, end)],
        "teams_chat_messages": [each["lastModifiedDateTime"] for each in truth.chat_messages(start, end)],
        "teams_channel_messages": [each["lastModifiedDateTime"] for each in truth.channel_messages(start, end)],
        "teams_call_records": [call["startDateTime"] for call in truth.call_records(start, end)],
        "teams_pstn_calls": [call["startDateTime"] for call in truth.pstn_calls(start, end)],
        "teams_direct_routing_calls": [call["startDateTime"] for call in truth.direct_routing_calls(start, end)],
        "teams_attendance_reports": [
            report["meetingStartDateTime"]
            for organizer, meeting in of_organizers
            for report in truth.attendance_reports(organizer, meeting["id"])
        ],
    }
    before = {
        "mail_contacts": [contact["lastModifiedDateTime"] for contact in truth.contacts(user)],
        "teams_chats": [chat["createdDateTime"] for chat in truth.chats()],
    }
    found = []
    for texts in inside.values():
        instants = sorted(at for at in map(parse_instant, texts) if start < at < end)
        found.append(instants[len(instants) // 2])
    found += [max(at for at in map(parse_instant, texts) if at < end) for texts in before.values()]
    return sorted(found)
