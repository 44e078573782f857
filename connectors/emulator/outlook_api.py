"""Endpoints of Exchange: mailbox settings, mail folders, messages, calendar view, events.

https://learn.microsoft.com/graph/api/user-list-messages, .../user-list-mailfolders, .../user-list-calendarview
(checked 2026-11).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from connectors.emulator import ticks
from connectors.emulator.call import Call, Reply, refuse_options
from connectors.emulator.directory import render_mailbox_settings
from connectors.emulator.errors import GraphError, bad_query, mailbox_denied
from connectors.emulator.events import EVENT, EventContext
from connectors.emulator.events import NEEDS_MORE_THAN_READ_BASIC as NOT_IN_BASIC_EVENT
from connectors.emulator.filters import Comparison, Filter, Instant, Junction, conjunction, holds, leaves
from connectors.emulator.folders import FOLDERS, ROOT, Folder, children
from connectors.emulator.letters import Copy
from connectors.emulator.meetings import Entry
from connectors.emulator.messages import MESSAGE, MailContext, render_folder, render_message
from connectors.emulator.messages import NEEDS_MORE_THAN_READ_BASIC as NOT_IN_BASIC_MESSAGE
from connectors.emulator.people import Person
from connectors.emulator.profile import MailboxKind
from connectors.emulator.shapes import Shape, UnknownProperty

DEFAULT_PAGE, LARGEST_PAGE = 10, 1000
LARGEST_FOLDER_PAGE = 999
LONGEST_VIEW = 1825 * ticks.DAY
MAIL_READ = ("Mail.Read", "Mail.ReadWrite")
CALENDARS_READ = ("Calendars.Read", "Calendars.ReadWrite")
_RECEIVED = "receivedDateTime"
_ZONES = {
    "utc": "UTC",
    "w. europe standard time": "Europe/Berlin",
    "gmt standard time": "Europe/London",
    "eastern standard time": "America/New_York",
    "pacific standard time": "America/Los_Angeles",
    "tokyo standard time": "Asia/Tokyo",
}


def get_mailbox_settings(call: Call) -> Reply:
    """GET /users/{id}/mailboxSettings."""
    record = render_mailbox_settings(mailbox(call), call.tenant.directory_context())
    names = call.select
    for name in names or ():
        if name not in record:
            raise unknown_property(
                f"Could not find a property named '{name}' on type 'microsoft.graph.mailboxSettings'."
            )
    return Reply(record={key: value for key, value in record.items() if names is None or key in names})


def list_mail_folders(call: Call) -> Reply:
    """GET /users/{id}/mailFolders and .../childFolders."""
    owner, parent = mailbox(call), ROOT
    if "folder" in call.keys:
        parent = folder_in_path(call, owner)
    hidden = call.options.get("includehiddenfolders", "").lower() == "true"
    folders = children(parent, include_hidden=hidden)

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return (_render_folder(call, folder, owner) for folder in folders[start:])

    size = min(page_size(call), LARGEST_FOLDER_PAGE)
    return Reply(page=call.page_of(walk, length=len(folders), size=size))


def get_mail_folder(call: Call) -> Reply:
    """GET /users/{id}/mailFolders/{id or well-known name}."""
    owner = mailbox(call)
    return Reply(record=_render_folder(call, FOLDERS[folder_in_path(call, owner)], owner))


def list_messages(call: Call) -> Reply:
    """GET /users/{id}/messages and /users/{id}/mailFolders/{folder}/messages.

    The number in `$skip` counts the copies walked, those that showed nothing too. One that is deleted or arrives while
    somebody is paging moves those behind it to another page.
    """
    owner = mailbox(call)
    folder = folder_in_path(call, owner) if "folder" in call.keys else None
    basic = not set(MAIL_READ) & set(call.grant.roles)
    if basic and ("$search" in call.options or "$expand" in call.options):
        raise mailbox_denied()
    refuse_options(call, "$search", "$expand")
    condition = call.filter
    check_message_query(call, condition, basic=basic)
    context = call.tenant.mail_context(immutable_ids=call.wants_immutable_ids)
    bounds, others = _received_bounds(condition)
    window = call.tenant.mailboxes.window(owner, start=bounds.start, end=bounds.stop)
    descending = not call.order or call.order[0][1]
    shows = _test(folder, others, context)
    selection = selection_of(call, MESSAGE, NOT_IN_BASIC_MESSAGE if basic else frozenset())
    whole = call.select is None

    def walk(start: int) -> Iterator[Mapping[str, Any] | None]:
        for copy in window.walk(skip=start, descending=descending):
            yield render_message(copy, context, selection, whole=whole) if shows is None or shows(copy) else None

    counted = None
    if call.wants_count:
        row = window.walk(descending=descending)
        counted = len(window) if shows is None else sum(shows(copy) for copy in row)
    return Reply(page=call.page_of(walk, length=len(window), size=page_size(call), count=counted))


def list_calendar_view(call: Call) -> Reply:
    """GET /users/{id}/calendarView and .../calendar/calendarView: expanded, without masters."""
    owner = mailbox(call)
    entries = call.tenant.meetings.view(owner, *view_of(call))
    left_out = frozenset() if call.select is None else frozenset({"createdDateTime", "lastModifiedDateTime"})
    return _event_page(call, entries, left_out=left_out)


def list_events(call: Call) -> Reply:
    """GET /users/{id}/events: single events and series masters."""
    return _event_page(call, call.tenant.meetings.masters_and_singles(mailbox(call)), left_out=frozenset())


def mailbox(call: Call) -> Person:
    """The mailbox in the path. Raises GraphError where it has none, is out of bounds, or is not well."""
    try:
        person = call.tenant.person(call.keys["user"])
    except KeyError:
        raise GraphError(404, "ErrorInvalidUser", f"The requested user '{call.keys['user']}' is invalid.") from None
    refusal = _REFUSALS.get(person.kind)
    if refusal is not None:
        raise GraphError(*refusal)
    if person.kind is MailboxKind.INVALID_USER:
        raise GraphError(404, "ErrorInvalidUser", f"The requested user '{call.keys['user']}' is invalid.")
    if person.kind is MailboxKind.SHARED and call.keys["user"].lower() != person.id:
        raise GraphError(503, "MailboxInfoStale", "Mailbox info is stale.")
    return person


_REFUSALS: Mapping[MailboxKind, tuple[int, str, str]] = {
    MailboxKind.NO_MAILBOX: (
        404,
        "MailboxNotEnabledForRESTAPI",
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    ),
    MailboxKind.GUEST: (404, "ResourceNotFound", "Resource could not be discovered."),
    MailboxKind.UNLICENSED: (401, "AuthenticationError", "Error authenticating with resource."),
    MailboxKind.ACCESS_POLICY: (403, "ErrorAccessDenied", "Access to OData is disabled."),
    MailboxKind.RBAC_DENIED: (403, "ErrorAccessDenied", "Access is denied. Check credentials and try again."),
    MailboxKind.MOVING: (503, "ErrorMailboxMoveInProgress", "Mailbox move in progress. Try again later."),
    MailboxKind.FAILING: (500, "ErrorInternalServerError", "An internal server error occurred. The operation failed."),
}


def _event_page(call: Call, entries: Sequence[Entry], *, left_out: frozenset[str]) -> Reply:
    refuse_options(call, "$search", "$expand")
    zone_name = call.preferences.get("outlook.timezone", "UTC")
    zone = _ZONES.get(zone_name.lower())
    if zone is None:
        raise bad_query(f"The time zone '{zone_name}' is not supported.", code="TimeZoneNotSupportedException")
    context = call.tenant.event_context(immutable_ids=call.wants_immutable_ids, zone=zone, zone_name=zone_name)
    entries = _filtered_events(call, entries, context)
    basic = not set(CALENDARS_READ) & set(call.grant.roles)
    selection = selection_of(call, EVENT, left_out | (NOT_IN_BASIC_EVENT if basic else frozenset()))

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return (EVENT.render(entry, context, selection) for entry in entries[start:])

    counted = len(entries) if call.wants_count else None
    applied = (
        {"Preference-Applied": f'outlook.timezone="{zone_name}"'} if "outlook.timezone" in call.preferences else {}
    )
    return Reply(page=call.page_of(walk, length=len(entries), size=page_size(call), count=counted), headers=applied)


def _filtered_events(call: Call, entries: Sequence[Entry], context: EventContext) -> Sequence[Entry]:
    condition = call.filter
    try:
        if condition is not None:
            entries = [entry for entry in entries if holds(condition, EVENT.lookup(entry, context))]
        for path, descending in reversed(call.order):
            entries = sorted(entries, key=lambda e: str(EVENT.value(e, context, path)), reverse=descending)
    except UnknownProperty as error:
        raise unknown_property(str(error)) from error
    return entries


def view_of(call: Call) -> tuple[int, int]:
    """The window of a calendar view, in ticks. Raises GraphError where it is missing, empty or too long."""
    start, end = (_view_bound(call, name) for name in ("startdatetime", "enddatetime"))
    if not start < end <= start + LONGEST_VIEW:
        message = "The range between startDateTime and endDateTime must be positive and not exceed 1825 days."
        raise GraphError(400, "ErrorInvalidParameter", message)
    return start, end


def _view_bound(call: Call, name: str) -> int:
    text = call.options.get(name)
    if text is None:
        message = (
            "This request requires a time window specified by the query string parameters StartDateTime and "
            "EndDateTime."
        )
        raise GraphError(400, "ErrorInvalidParameter", message)
    try:
        return ticks.parse(text)
    except ValueError:
        raise GraphError(400, "ErrorInvalidParameter", f"The value '{text}' is no date.") from None


def check_message_query(call: Call, condition: Filter | None, *, basic: bool) -> None:
    """The rule of $filter with $orderby, and the properties that may be named. Raises GraphError."""
    filtered = [leaf.path for leaf in leaves(condition)] if condition is not None else []
    for path in (*filtered, *(path for path, _ in call.order)):
        if path.split("/")[0] not in MESSAGE.properties:
            raise unknown_property(f"Could not find a property named '{path}' on type 'microsoft.graph.message'.")
        if basic and path in NOT_IN_BASIC_MESSAGE:
            raise mailbox_denied()
    ordered = [path for path, _ in call.order]
    if ordered not in ([], [_RECEIVED]):
        raise GraphError(400, "ErrorInvalidUrlQuery", "Messages can be ordered by receivedDateTime only.")
    if condition is not None and ordered and list(dict.fromkeys(filtered))[: len(ordered)] != ordered:
        message = "The restriction or sort order is too complex for this operation."
        raise GraphError(400, "InefficientFilter", message)


def _received_bounds(condition: Filter | None) -> tuple[range, list[Filter]]:
    """The ticks that a filter leaves of receivedDateTime, and its other terms."""
    start, stop = -(1 << 62), 1 << 62
    others: list[Filter] = []
    for term in conjunction(condition) if condition is not None else ():
        if not isinstance(term, Comparison) or term.path != _RECEIVED or not isinstance(term.value, Instant):
            others.append(term)
            continue
        instant = term.value.ticks
        if term.operator in ("ge", "gt", "eq"):
            start = max(start, instant + (term.operator == "gt"))
        if term.operator in ("lt", "le", "eq"):
            stop = min(stop, instant + (term.operator != "lt"))
        if term.operator == "ne":
            others.append(term)
    return range(start, stop), others


def _test(folder: str | None, others: list[Filter], context: MailContext) -> Callable[[Copy], bool] | None:
    """Whether a copy is shown; None where all are."""
    if folder is None and not others:
        return None
    condition = Junction("and", tuple(others))

    def shows(copy: Copy) -> bool:
        return (folder is None or context.mailboxes.folder_of(copy) == folder) and holds(
            condition, MESSAGE.lookup(copy, context)
        )

    return shows


def selection_of(call: Call, shape: Shape[Any, Any], left_out: frozenset[str]) -> Any:
    """The properties that $select names, without those the permission hides. Raises GraphError."""
    try:
        return shape.selection(call.select, left_out)
    except UnknownProperty as error:
        raise unknown_property(str(error)) from error


def _render_folder(call: Call, folder: Folder, owner: Person) -> dict[str, Any]:
    record, names = render_folder(folder, owner, call.tenant.mailboxes), call.select
    return {key: value for key, value in record.items() if names is None or key in ("@odata.type", "id", *names)}


def folder_in_path(call: Call, owner: Person) -> str:
    """The mail folder in the path. Raises GraphError."""
    folder = call.tenant.mailboxes.find_folder(owner, call.keys["folder"])
    if folder is None:
        if not call.keys["folder"].startswith("AAMk"):
            raise GraphError(400, "ErrorInvalidIdMalformed", "Id is malformed.")
        raise GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")
    return folder


def page_size(call: Call) -> int:
    """`$top`, else `Prefer: odata.maxpagesize`, else ten; never more than Exchange gives."""
    return min(call.top() or call.preferred_page or DEFAULT_PAGE, LARGEST_PAGE)


def unknown_property(message: str) -> GraphError:
    return bad_query(message, code="RequestBroker--ParseUri")
