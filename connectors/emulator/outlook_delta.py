"""Delta queries of Exchange: the messages of one folder, and a calendar view.

https://learn.microsoft.com/graph/api/message-delta and .../event-delta (checked 2026-11). Pages are sized by
`Prefer: odata.maxpagesize`; `$top` ends the round. A mailbox keeps a number of sync states and forgets old ones, after
which their links are 410; one that is over its quota keeps none.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from connectors.emulator.call import Call, Reply, refuse_options
from connectors.emulator.delta import Span, round_of, tell, tombstone
from connectors.emulator.errors import GraphError, bad_query
from connectors.emulator.events import EVENT
from connectors.emulator.events import NEEDS_MORE_THAN_READ_BASIC as NOT_IN_BASIC_EVENT
from connectors.emulator.filters import Comparison, Instant
from connectors.emulator.letters import Copy
from connectors.emulator.mailboxes import Stay
from connectors.emulator.meetings import Entry, overlaps
from connectors.emulator.messages import LATEST_CHANGE, MESSAGE, modified_at, render_message
from connectors.emulator.messages import NEEDS_MORE_THAN_READ_BASIC as NOT_IN_BASIC_MESSAGE
from connectors.emulator.outlook_api import (
    CALENDARS_READ,
    DEFAULT_PAGE,
    LARGEST_PAGE,
    MAIL_READ,
    check_message_query,
    folder_in_path,
    mailbox,
    selection_of,
    view_of,
)
from connectors.emulator.paging import Round
from connectors.emulator.people import Person
from connectors.emulator.profile import MailboxKind
from connectors.emulator.ticks import DAY

MOST_WITH_FILTER = 5_000
_RECEIVED = "receivedDateTime"
_CHANGES = ("created", "updated", "deleted")
_CHANGED_BEFORE_START, _CHANGED_AFTER_END = 30 * DAY, 10 * DAY  # how far from its time an event is made or changed


def messages_delta(call: Call) -> Reply:
    """GET /users/{id}/mailFolders/{folder}/messages/delta."""
    owner = mailbox(call)
    current, span = _outlook_round(call, owner)
    folder = folder_in_path(call, owner)
    basic = not set(MAIL_READ) & set(call.grant.roles)
    refuse_options(call, "$search", "$expand", "$skip", "$count")
    floor = _received_since(call, basic=basic)
    wanted = call.options.get("changetype")
    if wanted not in (None, *_CHANGES):
        raise bad_query(f"The value '{wanted}' of changeType is not supported.")
    mailboxes, context = call.tenant.mailboxes, call.tenant.mail_context(immutable_ids=call.wants_immutable_ids)
    selection = selection_of(call, MESSAGE, NOT_IN_BASIC_MESSAGE if basic else frozenset())
    start = None if span.since is None else span.since - LATEST_CHANGE
    window = mailboxes.window(owner, start=start, end=span.until + 1, with_removed=True)
    late = [] if start is None else mailboxes.late_changes(owner, before=start)

    def record_of(copy: Copy) -> dict[str, Any] | None:
        stay = next((stay for stay in reversed(mailboxes.stays(copy)) if stay.folder == folder), None)
        if stay is None or copy.ticks < floor:
            return None
        change = _change_of(copy, stay, span)
        if change is None or wanted not in (None, change):
            return None
        if change == "deleted":
            removed_id = mailboxes.message_id(copy, immutable=call.wants_immutable_ids, moves=stay.number)
            return tombstone(removed_id, type_name=MESSAGE.type_name)
        record = render_message(copy, context, selection, whole=call.select is None)
        return {"@odata.type": f"#{MESSAGE.type_name}", **record}

    def walk(first: int) -> Iterator[Mapping[str, Any] | None]:
        for copy in window.walk(skip=first, descending=True):
            yield record_of(copy)
        for copy in late[max(0, first - len(window)) :]:
            yield record_of(copy)

    most = min(
        (n for n in (call.top(), None if "$filter" not in call.options else MOST_WITH_FILTER) if n), default=None
    )
    return tell(call, current, walk, length=len(window) + len(late), size=_page_size(call), most=most)


def calendar_view_delta(call: Call) -> Reply:
    """GET /users/{id}/calendarView/delta and .../calendar/calendarView/delta.

    The window stays that of the first request. Events outside of it that changed are told as removed, although the
    client has never seen them.
    """
    owner = mailbox(call)
    current, span = _outlook_round(call, owner)
    refuse_options(call, "$select", "$filter", "$expand", "$orderby", "$search", "$skip", "$count")
    start, end = view_of(call)
    basic = not set(CALENDARS_READ) & set(call.grant.roles)
    context = call.tenant.event_context(immutable_ids=call.wants_immutable_ids)
    selection = selection_of(call, EVENT, NOT_IN_BASIC_EVENT if basic else frozenset())
    meetings = call.tenant.meetings
    if span.since is None:
        entries = [
            entry for entry in meetings.around(owner, start, end) if _was_there(entry, span, start=start, end=end)
        ]
    else:
        first = min(start, span.since - _CHANGED_AFTER_END)
        last = max(end, span.until + _CHANGED_BEFORE_START)
        entries = [entry for entry in meetings.around(owner, first, last) if span.covers(*meetings.changes(entry))]

    def walk(place: int) -> Iterator[Mapping[str, Any]]:
        for entry in entries[place:]:
            if meetings.is_there(entry, span.until) and overlaps(entry.meeting, start, end):
                yield {"@odata.type": f"#{EVENT.type_name}", **EVENT.render(entry, context, selection)}
            else:
                removed_id = call.tenant.event_ids.event_id(owner, entry.place, immutable=call.wants_immutable_ids)
                yield tombstone(removed_id, type_name=EVENT.type_name)

    return tell(call, current, walk, length=len(entries), size=_page_size(call), most=call.top())


def _outlook_round(call: Call, owner: Person) -> tuple[Round, Span]:
    """The round of a request to a mailbox. Raises GraphError where the mailbox does not know it any more."""
    if owner.kind is MailboxKind.OVER_QUOTA:
        message = "The mailbox has exceeded its quota; its synchronization state cannot be saved."
        raise GraphError(403, "ErrorQuotaExceeded", message)
    known = call.tenant.mailboxes.generation(owner)
    asked = call.place.round
    if asked is not None and asked.generation != known:
        message = f"The sync state generation is not found; generation={asked.generation};[highest={known}]"
        raise GraphError(410, "SyncStateNotFound", message)
    return round_of(call, generation=known)


def _received_since(call: Call, *, basic: bool) -> int:
    """The lowest receivedDateTime that the filter leaves, in ticks. Raises GraphError for any other filter."""
    condition = call.filter
    check_message_query(call, condition, basic=basic)
    if call.order not in ([], [(_RECEIVED, True)]):
        raise bad_query("Only receivedDateTime desc is supported as an order of changes.")
    match condition:
        case None:
            return -(1 << 62)
        case Comparison(path="receivedDateTime", operator="ge" | "gt" as operator, value=Instant(ticks=instant)):
            return instant + (operator == "gt")
    raise bad_query("Changes can be filtered by a receivedDateTime that is 'ge' or 'gt' only.")


def _change_of(copy: Copy, stay: Stay, span: Span) -> str | None:
    """What a round tells of a message that is or was in the folder; None where nothing happened to it."""
    if stay.went is not None:
        return "deleted" if span.covers(stay.went) else None
    if span.covers(stay.came):
        return "created"
    return "updated" if span.covers(modified_at(copy)) else None


def _was_there(entry: Entry, span: Span, *, start: int, end: int) -> bool:
    """Whether the first round tells of an event: what was deleted by hand since it began, too, as removed."""
    deleted_at = entry.meeting.deleted_at
    exists = entry.meeting.created <= span.until and (deleted_at is None or span.until < deleted_at)
    return exists and overlaps(entry.meeting, start, end)


def _page_size(call: Call) -> int:
    return min(call.preferred_page or DEFAULT_PAGE, LARGEST_PAGE)
