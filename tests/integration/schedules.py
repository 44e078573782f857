"""Seeded schedules of faults, and the judgement of what an export made of them."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connectors.emulator import Body, Effect, Fault, MailboxKind, Tenant
from connectors.graph.client import HttpOptions, Manners
from pipeline.manifest import Manifest
from tests.chaos_proxy import Fate, Kind
from tests.integration.line import FAST
from tests.integration.site import Site, thread_token, token

Key = tuple[Any, ...]
"""What names a row of a dataset, as it is exported: the values of its `COLUMNS`."""

CONNECTORS: dict[str, dict[str, object]] = {
    name: {} for name in ("entra-id", "outlook-mail", "outlook-calendar", "msft-teams")
}
SETTLE = timedelta(hours=24)  # so long Teams is left alone
COLUMNS = {
    "entra_users": "id",
    "entra_groups": "id",
    "entra_group_members": "_owner, id",
    "mailbox_settings": "_owner",
    "mail_messages": "_owner, id",
    "mail_contacts": "_owner, id",
    "calendar_events": "_owner, id",
    "teams_teams": "id",
    "teams_channels": "_owner, id",
    "teams_channel_messages": "_owner, channelIdentity.channelId, coalesce(replyToId, ''), id",
    "teams_chats": "id",
    "teams_chat_messages": "chatId, id",
    "teams_call_records": "id",
    "teams_pstn_calls": "id",
    "teams_direct_routing_calls": "id",
    "teams_online_meetings": "id",
    "teams_attendance_reports": "meetingId, id",
}
LEARNT = ("teams_online_meetings", "teams_attendance_reports")  # known by links that other datasets show
TEACHERS = ("calendar_events", "teams_chats", "teams_call_records", "teams_online_meetings")
# Waiting runs 500 times as fast, HTTP does not: what is bounded there has to be short.
MANNERS = Manners(clock=FAST, http=HttpOptions(silence_s=0.4, total_s=4.0))
READABLE = (
    MailboxKind.NORMAL,
    MailboxKind.DISABLED,
    MailboxKind.NO_USER_TYPE,
    MailboxKind.SHARED,
    MailboxKind.ROOM,
)
# What the tenant refuses of these is named in the manifest …
_ANSWERING = (
    *("users", "groups", "members", "mailboxSettings", "messages", "contacts", "calendarView"),
    *("chats", "getAllMessages", "teams", "team", "channels", "getAllChannelMessages"),
    *("callRecords", "pstnCalls", "directRoutingCalls"),
)
# … but of these a refusal says that they are gone, or closed by another tenant: they hold nothing.
_MAYBE_GONE = (
    *("chatMembers", "chatMessages", "channelMessages", "replies", "callRecord", "callSessions", "callParticipants"),
    *("onlineMeetings", "attendanceReports", "attendanceReport", None),
)
_REFUSALS = (
    (403, "ErrorAccessDenied"),
    (404, "UnknownError"),
    (410, "SyncStateNotFound"),
    (400, "Directory_ExpiredPageToken"),
)
_STATUSES = (
    (429, "ApplicationThrottled"),
    (429, "TooManyRequests"),
    (500, ""),
    (500, "generalException"),
    (502, "BadGateway"),
    (503, "ServiceUnavailable"),
    (503, "ErrorServerBusy"),
    (504, "UnknownError"),
    (509, ""),
    (401, "InvalidAuthenticationToken"),
    (408, ""),
)
_SPOILT = (
    Effect.RESET,
    Effect.RESET_BODY,
    Effect.TRUNCATE,
    Effect.CONTROL_CHARACTER,
    Effect.HTML,
    Effect.CLOSE,
    Effect.EMPTY_PAGE,
    Effect.BROKEN_LINK,
    Effect.FOREIGN_LINK,
)
_WAITS = (None, None, 1, 5, "2.5", "120,120", "date:3", 0, 60)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What goes wrong in one export: rules of the emulator, broken connections, a message Exchange cannot read."""

    seed: int
    faults: tuple[Fault, ...]
    fates: tuple[Fate, ...]
    poisoned: Key | None = None


Rows = Mapping[Key, frozenset[str]]
"""The rows of a dataset, each with the principals of whom one has to be named where it is missing."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Every row an export of the tenant's window holds, by dataset; the messages by their raw ids."""

    rows: Mapping[str, Rows] = field(repr=False)
    messages: Sequence[tuple[str, str]] = field(repr=False)  # user and message

    @classmethod
    def of(cls, tenant: Tenant, start: datetime, end: datetime) -> "Truth":
        """What is exported between these instants, Teams as long before as it takes to settle."""
        users = [user for kind in READABLE for user in tenant.users_of(kind)]
        messages = [(user, message["id"]) for user in users for message in tenant.truth.messages(user, start, end)]
        rows = {
            **_directory(tenant),
            **_mailboxes(tenant, users, messages, start, end),
            **_teams(tenant, start - SETTLE, end - SETTLE),
            **_calls(tenant, start - SETTLE, end - SETTLE),
            **_meetings(tenant, users, start, end),
        }
        return cls(rows, messages)

    def of_datasets(self, *datasets: str) -> "Truth":
        """The part of it that an export of fewer datasets holds."""
        return replace(self, rows={dataset: self.rows[dataset] for dataset in datasets})


def _directory(tenant: Tenant) -> dict[str, Rows]:
    truth = tenant.truth
    return {
        "entra_users": _unowned(token(user["id"]) for user in truth.users()),
        "entra_groups": _unowned(token(group["id"]) for group in truth.groups()),
        "entra_group_members": _owned(
            (token(group["id"]), token(member["id"]))
            for group in truth.groups()
            for member in truth.members(group["id"])
        ),
    }


def _mailboxes(
    tenant: Tenant, users: Sequence[str], messages: Sequence[tuple[str, str]], start: datetime, end: datetime
) -> dict[str, Rows]:
    truth = tenant.truth
    return {
        "mailbox_settings": _owned((token(user),) for user in users),
        "mail_messages": _owned((token(user), token(message)) for user, message in messages),
        "mail_contacts": _owned(
            (token(user), token(contact["id"])) for user in users for contact in truth.contacts(user)
        ),
        "calendar_events": _owned(
            (token(user), token(event["id"]))
            for user in users
            for event in truth.events(user, start, end)
            if start <= _instant(event["start"]["dateTime"]) < end
        ),
    }


def _teams(tenant: Tenant, start: datetime, end: datetime) -> dict[str, Rows]:
    """Whoever reads a chat is one of its members; a team is read by itself."""
    truth = tenant.truth
    readers = {
        chat["id"]: frozenset(token(member["userId"]) for member in chat["members"] if member.get("userId"))
        for chat in truth.chats()
    }
    return {
        "teams_teams": {(token(team["id"]),): frozenset({token(team["id"])}) for team in truth.teams()},
        "teams_channels": _owned(
            (token(team["id"]), thread_token(channel["id"]))
            for team in truth.teams()
            for channel in truth.channels(team["id"])
        ),
        "teams_channel_messages": _owned(
            (
                token(message["channelIdentity"]["teamId"]),
                thread_token(message["channelIdentity"]["channelId"]),
                message["replyToId"] or "",
                message["id"],
            )
            for message in truth.channel_messages(start, end)
        ),
        "teams_chats": {(thread_token(chat),): members for chat, members in readers.items()},
        "teams_chat_messages": {
            (thread_token(message["chatId"]), message["id"]): readers[message["chatId"]]
            for message in truth.chat_messages(start, end)
        },
    }


def _calls(tenant: Tenant, start: datetime, end: datetime) -> dict[str, Rows]:
    truth = tenant.truth
    return {
        "teams_call_records": _unowned(token(call["id"]) for call in truth.call_records(start, end)),
        "teams_pstn_calls": _unowned(token(call["id"]) for call in truth.pstn_calls(start, end)),
        "teams_direct_routing_calls": _unowned(token(call["id"]) for call in truth.direct_routing_calls(start, end)),
    }


def _meetings(tenant: Tenant, users: Sequence[str], start: datetime, end: datetime) -> dict[str, Rows]:
    """Those that calendars, chats and calls point to."""
    truth, first, last = tenant.truth, start - SETTLE, end - SETTLE
    events = [event for user in users for event in truth.events(user, start, end)]
    links = {event["onlineMeeting"]["joinUrl"] for event in events if event["onlineMeeting"]}
    links |= {call["joinWebUrl"] for call in truth.call_records(first, last)}
    links |= {chat["onlineMeetingInfo"]["joinWebUrl"] for chat in truth.chats() if chat["onlineMeetingInfo"]}
    guests = tenant.users_of(MailboxKind.GUEST)
    meetings = [
        (user, meeting)
        for user in tenant.user_ids
        if user not in guests
        for meeting in truth.online_meetings(user)
        if meeting["joinWebUrl"] in links
    ]
    return {
        "teams_online_meetings": {(token(meeting["id"]),): frozenset({token(user)}) for user, meeting in meetings},
        "teams_attendance_reports": {
            (token(meeting["id"]), token(report["id"])): frozenset({token(user)})
            for user, meeting in meetings
            if "@thread.tacv2" not in meeting["chatInfo"]["threadId"]
            for report in truth.attendance_reports(user, meeting["id"])[:50]
            if first <= _instant(report["meetingStartDateTime"]) < last
        },
    }


def _owned(keys: Iterable[Key]) -> Rows:
    """Rows whose first value is their owner."""
    return {key: frozenset({key[0]}) for key in keys}


def _unowned(ids: Iterable[str]) -> Rows:
    """Rows of the tenant."""
    return {(identifier,): frozenset() for identifier in ids}


def made_from(seed: int, tenant: Tenant, truth: Truth) -> Schedule:
    """The same schedule for the same seed."""
    chance = random.Random(seed)
    faults = [_fault(chance, tenant) for _ in range(chance.randint(1, 6))]
    poisoned: Key | None = None
    if chance.random() < 0.1:
        user, message = chance.choice(truth.messages)
        poisoned = (token(user), token(message))
        faults.append(Fault(kind="messages", mailbox=user, effect=Effect.POISON, item=message))
    elif chance.random() < 0.2:
        faults.append(Fault(kind="messages", status=504, code="UnknownError", page_above=chance.randint(1, 10)))
    fates = [_fate(chance) for _ in range(chance.randint(0, 6))]
    return Schedule(seed, tuple(faults), tuple(fates), poisoned)


def _fault(chance: random.Random, tenant: Tenant) -> Fault:
    kind, mailbox = (
        chance.choice((*_ANSWERING, *_MAYBE_GONE)),
        chance.choice(tenant.user_ids) if chance.random() < 0.4 else None,
    )
    after, every, times = chance.randint(0, 5), chance.choice((1, 1, 2, 3, 5)), chance.randint(1, 4)
    if chance.random() < 0.5:
        effect = chance.choice(_SPOILT)
        return Fault(kind=kind, mailbox=mailbox, after=after, every=every, times=times, effect=effect)
    status, code = chance.choice(_STATUSES if kind in _MAYBE_GONE else (*_STATUSES, *_REFUSALS))
    is_endless = mailbox is not None and chance.random() < 0.5
    return Fault(
        kind=kind,
        mailbox=mailbox,
        after=after,
        every=every,
        times=None if is_endless else times,
        status=status,
        code=code,
        retry_after=chance.choice(_WAITS),
        body=chance.choice((Body.JSON, Body.JSON, Body.EMPTY, Body.HTML)),
    )


def _fate(chance: random.Random) -> Fate:
    kind = chance.choice(list(Kind))
    return Fate(kind=kind, after=chance.choice((0, 50, 3_000, 10_000, 40_000)), seconds=0.005)


def verdict(site: Site, manifest: Manifest, truth: Truth, poisoned: Key | None = None) -> list[str]:
    """What is wrong with an export: rows too many, twice, or missing without the manifest saying so. Empty: nothing."""
    wrong = []
    named = {(each.dataset, each.principal) for each in (*manifest.failed, *manifest.skipped)}
    lost = sum(sum(facts.rejected.values()) for facts in manifest.datasets.values())
    for dataset, expected in truth.rows.items():
        rows = _rows(site, dataset, manifest)
        found = frozenset(rows)
        if len(found) < len(rows):
            wrong.append(f"{dataset}: {len(rows) - len(found)} rows twice")
        if found - expected.keys():
            wrong.append(f"{dataset}: {len(found - expected.keys())} rows that the tenant does not have")
        is_untaught = dataset in LEARNT and any(teacher in TEACHERS for teacher, _ in named)
        for key in expected.keys() - found:
            is_named = {(dataset, who) for who in (*expected[key], token(site.tenant.id), None)} & named
            if not (is_named or is_untaught or (key == poisoned and lost)):
                wrong.append(f"{dataset}: a row of {sorted(expected[key])} is missing, and nothing says so")
        alone = {who for key in found for who in expected.get(key, ()) if len(expected[key]) == 1}
        wrong += [
            f"{dataset}: {who} is said to be missing, and has rows"
            for name, who in named
            if name == dataset and who in alone
        ]
    left_out = bool(manifest.failed) or bool(lost)
    if (manifest.status == "partial") != left_out:
        wrong.append(f"status {manifest.status} with {len(manifest.failed)} failed, {lost} rejected")
    return wrong


def _rows(site: Site, dataset: str, manifest: Manifest) -> list[Key]:
    facts = manifest.datasets.get(dataset)
    if facts is None or not facts.parts:
        return []
    return site.query(dataset, COLUMNS[dataset], run=manifest.run_id)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text[:26].removesuffix("Z")).replace(tzinfo=UTC)
