"""Every row that an export has to hold, by dataset, reckoned from what the emulated tenant holds now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from connectors.emulator import MailboxKind, Tenant
from tests.integration.site import thread_token, token

Key = tuple[Any, ...]
"""What names a row of a dataset, as it is exported: the values of its `COLUMNS`."""

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
SETTLE = timedelta(hours=24)  # so long Teams is left alone
OVERLAP_CALLS, OVERLAP_CALENDAR = timedelta(days=5), timedelta(days=7)
MICROSECOND = timedelta(microseconds=1)
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
READABLE = (
    MailboxKind.NORMAL,
    MailboxKind.DISABLED,
    MailboxKind.OVER_QUOTA,
    MailboxKind.NO_USER_TYPE,
    MailboxKind.SHARED,
    MailboxKind.ROOM,
)

Rows = Mapping[Key, frozenset[str]]
"""The rows of a dataset, each with the principals of whom one has to be named where it is missing."""


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open."""

    start: datetime
    end: datetime

    def has(self, *instants: str) -> bool:
        """Whether one of Graph's instants lies in it."""
        return any(self.start <= parse_instant(text) < self.end for text in instants)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """From when until when one principal's records are exported; a snapshot needs no span."""

    mail: Span
    contacts: Span
    events: Span
    chats: Span
    messages: Span  # of chats and channels
    calls: Span  # and reports of attendance

    @classmethod
    def of_first_run(cls, start: datetime, end: datetime) -> "Spans":
        """`start`: an initial lookback before the `end`. Teams is exported as long before as it takes to settle."""
        settled = Span(start - SETTLE, end - SETTLE)
        return cls(
            mail=Span(start, end),
            contacts=Span(BEGINNING, end),
            events=Span(start, end),
            chats=Span(BEGINNING, settled.end),
            messages=settled,
            calls=settled,
        )

    @classmethod
    def of_next_run(cls, since: datetime, end: datetime) -> "Spans":
        """After one that ended at `since`."""
        settled = Span(since - SETTLE, end - SETTLE)
        return cls(
            mail=Span(since, end),
            contacts=Span(since, end),
            events=Span(since - OVERLAP_CALENDAR, end),
            chats=settled,
            messages=settled,
            calls=Span(settled.start - OVERLAP_CALLS, settled.end),
        )

    @classmethod
    def of_backfill(cls, start: datetime, end: datetime) -> "Spans":
        """That ends when all datasets are settled."""
        window, whole = Span(start, end), Span(BEGINNING, end)
        return cls(mail=window, contacts=whole, events=window, chats=whole, messages=window, calls=window)


@dataclass(frozen=True, slots=True)
class Truth:
    """Every row of an export, by dataset; the messages by their raw ids."""

    rows: Mapping[str, Rows] = field(repr=False)
    messages: Sequence[tuple[str, str]] = field(repr=False)  # user and message

    @classmethod
    def of_first_run(cls, tenant: Tenant, start: datetime, end: datetime) -> "Truth":
        return cls.of(tenant, Spans.of_first_run(start, end))

    @classmethod
    def of(cls, tenant: Tenant, spans: Spans, *, newcomers: Mapping[str, Spans] = MappingProxyType({})) -> "Truth":
        """What is exported within these spans; `newcomers`: users and teams with spans of their own."""
        return _Reckoning(tenant, spans, newcomers).truth()

    def of_datasets(self, *datasets: str) -> "Truth":
        """The part of it that an export of fewer datasets holds."""
        return replace(self, rows={dataset: self.rows[dataset] for dataset in datasets})


class _Reckoning:
    def __init__(self, tenant: Tenant, spans: Spans, newcomers: Mapping[str, Spans]) -> None:
        self._tenant = tenant
        self._truth = tenant.truth
        self._spans = spans
        self._newcomers = newcomers
        present, guests = tenant.user_ids, tenant.users_of(MailboxKind.GUEST)
        self._mailboxes = [user for kind in READABLE for user in tenant.users_of(kind) if user in present]
        self._people = {user for user in present if user not in guests}
        listed = {chat for user in self._people for chat in self._truth.chat_ids(user)}
        self._chats = [chat for chat in self._truth.chats() if chat["id"] in listed]

    def truth(self) -> Truth:
        messages = [
            (user, message["id"])
            for user in self._mailboxes
            for message in self._truth.messages(user, self._of(user).mail.start, self._of(user).mail.end)
        ]
        rows = {
            **self._directory(),
            **self._of_mailboxes(messages),
            **self._teams(),
            **self._of_chats(),
            **self._calls(),
            **self._meetings(),
        }
        return Truth(rows, messages)

    def _of(self, principal: str) -> Spans:
        return self._newcomers.get(principal, self._spans)

    def _directory(self) -> dict[str, Rows]:
        groups = [group["id"] for group in self._truth.groups()]
        return {
            "entra_users": _unowned(token(user["id"]) for user in self._truth.users()),
            "entra_groups": _unowned(map(token, groups)),
            "entra_group_members": _owned(
                (token(group), token(member["id"])) for group in groups for member in self._truth.members(group)
            ),
        }

    def _of_mailboxes(self, messages: Sequence[tuple[str, str]]) -> dict[str, Rows]:
        return {
            "mailbox_settings": _owned((token(user),) for user in self._mailboxes),
            "mail_messages": _owned((token(user), token(message)) for user, message in messages),
            "mail_contacts": _owned(
                (token(user), token(contact["id"]))
                for user in self._mailboxes
                for contact in self._truth.contacts(user)
                if self._of(user).contacts.has(contact["createdDateTime"], contact["lastModifiedDateTime"])
            ),
            "calendar_events": _owned(
                (token(user), token(event["id"]))
                for user in self._mailboxes
                for event in self._events(user)
                if self._of(user).events.has(event["start"]["dateTime"])
            ),
        }

    def _events(self, user: str) -> list[dict[str, Any]]:
        """Those that overlap the span."""
        return self._truth.events(user, self._of(user).events.start, self._of(user).events.end)

    def _teams(self) -> dict[str, Rows]:
        """A team is read by itself."""
        first = min(each.messages.start for each in (self._spans, *self._newcomers.values()))
        return {
            "teams_teams": {(token(team["id"]),): frozenset({token(team["id"])}) for team in self._truth.teams()},
            "teams_channels": _owned(
                (token(team["id"]), thread_token(channel["id"]))
                for team in self._truth.teams()
                for channel in self._truth.channels(team["id"])
            ),
            "teams_channel_messages": _owned(
                (
                    token(message["channelIdentity"]["teamId"]),
                    thread_token(message["channelIdentity"]["channelId"]),
                    message["replyToId"] or "",
                    message["id"],
                )
                for message in self._truth.channel_messages(first, self._spans.messages.end)
                if self._of(message["channelIdentity"]["teamId"]).messages.has(
                    message["createdDateTime"], message["lastModifiedDateTime"]
                )
            ),
        }

    def _of_chats(self) -> dict[str, Rows]:
        """Whoever reads a chat is one of its members."""
        members = {
            chat["id"]: frozenset(token(member["userId"]) for member in chat["members"] if member.get("userId"))
            for chat in self._chats
        }
        spans = {chat["id"]: self._of(self._reader(chat)) for chat in self._chats}
        first = min(each.messages.start for each in (self._spans, *self._newcomers.values()))
        return {
            "teams_chats": {(thread_token(chat["id"]),): members[chat["id"]] for chat in self._changed_chats()},
            "teams_chat_messages": {
                (thread_token(message["chatId"]), message["id"]): members[message["chatId"]]
                for message in self._truth.chat_messages(first, self._spans.messages.end)
                if message["chatId"] in members
                if spans[message["chatId"]].messages.has(message["createdDateTime"], message["lastModifiedDateTime"])
            },
        }

    def _changed_chats(self, *, edge: timedelta = timedelta(0)) -> list[dict[str, Any]]:
        """Those of the span, which ends so much later."""
        found = []
        for chat in self._chats:
            span = self._of(self._reader(chat)).chats
            if Span(span.start, span.end + edge).has(chat["createdDateTime"], chat["lastUpdatedDateTime"]):
                found.append(chat)
        return found

    def _reader(self, chat: Mapping[str, Any]) -> str:
        reader: str = min(member["userId"] for member in chat["members"] if member.get("userId") in self._people)
        return reader

    def _calls(self) -> dict[str, Rows]:
        span = self._spans.calls.start, self._spans.calls.end
        return {
            "teams_call_records": _unowned(token(call["id"]) for call in self._truth.call_records(*span)),
            "teams_pstn_calls": _unowned(token(call["id"]) for call in self._truth.pstn_calls(*span)),
            "teams_direct_routing_calls": _unowned(
                token(call["id"]) for call in self._truth.direct_routing_calls(*span)
            ),
        }

    def _meetings(self) -> dict[str, Rows]:
        """Those that calendars, chats and calls point to."""
        calls = self._truth.call_records(self._spans.calls.start, self._spans.calls.end)
        events = [event for user in self._mailboxes for event in self._events(user)]
        links = {event["onlineMeeting"]["joinUrl"] for event in events if event["onlineMeeting"]}
        links |= {call["joinWebUrl"] for call in calls}
        links |= {
            chat["onlineMeetingInfo"]["joinWebUrl"]
            for chat in self._changed_chats(edge=MICROSECOND)  # a link is met before rows are held to the exact edge
            if chat["onlineMeetingInfo"]
        }
        meetings = [
            (user, meeting)
            for user in self._people
            for meeting in self._truth.online_meetings(user)
            if meeting["joinWebUrl"] in links
        ]
        return {
            "teams_online_meetings": {(token(meeting["id"]),): frozenset({token(user)}) for user, meeting in meetings},
            "teams_attendance_reports": {
                (token(meeting["id"]), token(report["id"])): frozenset({token(user)})
                for user, meeting in meetings
                if "@thread.tacv2" not in meeting["chatInfo"]["threadId"]
                for report in self._truth.attendance_reports(user, meeting["id"])[:50]
                if self._of(user).calls.has(report["meetingStartDateTime"])
            },
        }


def parse_instant(text: str) -> datetime:
    """Graph's text, cut to the microsecond."""
    return datetime.fromisoformat(text[:26].removesuffix("Z")).replace(tzinfo=UTC)


def _owned(keys: Iterable[Key]) -> Rows:
    """Rows whose first value is their owner."""
    return {key: frozenset({key[0]}) for key in keys}


def _unowned(ids: Iterable[str]) -> Rows:
    """Rows of the tenant."""
    return {(identifier,): frozenset() for identifier in ids}
