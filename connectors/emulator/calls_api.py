"""Endpoints of cloud communications: call records and the logs of calls with the telephone network.

https://learn.microsoft.com/graph/api/callrecords-cloudcommunications-list-callrecords,
.../callrecords-callrecord-get, .../callrecords-callrecord-getpstncalls,
.../callrecords-callrecord-getdirectroutingcalls (checked 2026-11). Both ends of the PSTN log's range are inclusive;
the end of the direct routing log's is not. Ranges may be 90 days long.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors.emulator import ticks
from connectors.emulator.call import Call as Request
from connectors.emulator.call import Reply, refuse_options
from connectors.emulator.call_records import CallContext, render_call, render_participants, render_sessions
from connectors.emulator.calls import Call
from connectors.emulator.errors import GraphError, bad_query
from connectors.emulator.filters import Comparison, Instant, conjunction
from connectors.emulator.phone_calls import PhoneCall, render_direct, render_pstn

RECORDS_PAGE, SESSIONS_PAGE, PARTICIPANTS_PAGE, LOG_PAGE = 60, 60, 130, 1000
LONGEST_RANGE = 90 * ticks.DAY
_SESSIONS = "sessions($expand=segments)"
_PARTICIPANTS = "participants_v2"
_FOREVER = 1 << 62


def list_call_records(request: Request) -> Reply:
    """GET /communications/callRecords: by begin, nothing expanded."""
    _refuse_options(request, "$top", "$search", "$expand", "$orderby")
    start, end = _begins_in(request)
    records = request.tenant.calls.records(start, end)
    context, names = _context(request), request.select

    def walk(position: int) -> Iterator[Mapping[str, Any]]:
        return (_selected(render_call(call, context), names) for call in records[position:])

    return Reply(page=request.page_of(walk, length=len(records), size=_page_size(request, RECORDS_PAGE)))


def get_call_record(request: Request) -> Reply:
    """GET /communications/callRecords/{id}, with one relation expanded where asked for."""
    _refuse_options(request, "$top", "$search", "$filter", "$orderby")
    call, context = _call(request), _context(request)
    record = _selected(render_call(call, context), request.select)
    match request.options.get("$expand"):
        case None:
            pass
        case "sessions" | "sessions($expand=segments)" as expand:
            sessions = render_sessions(call, context, with_segments=expand == _SESSIONS)
            record |= _expanded(request, call, "sessions", sessions, SESSIONS_PAGE, expand)
        case "participants_v2":
            joined = render_participants(call, context)
            record |= _expanded(request, call, _PARTICIPANTS, joined, PARTICIPANTS_PAGE, "")
        case _:
            raise bad_query("Only one relation can be expanded: participants_v2, or sessions with their segments.")
    return Reply(record=record)


def list_sessions(request: Request) -> Reply:
    """GET /communications/callRecords/{id}/sessions."""
    _refuse_options(request, "$top", "$search", "$filter", "$orderby")
    expand = request.options.get("$expand")
    if expand not in (None, "segments"):
        raise bad_query("Only segments can be expanded.")
    sessions = render_sessions(_call(request), _context(request), with_segments=expand is not None)
    return _page(request, sessions, _page_size(request, SESSIONS_PAGE))


def list_participants(request: Request) -> Reply:
    """GET /communications/callRecords/{id}/participants_v2."""
    _refuse_options(request, "$top", "$search", "$filter", "$orderby", "$expand")
    joined = render_participants(_call(request), _context(request))
    return _page(request, joined, _page_size(request, PARTICIPANTS_PAGE))


def get_pstn_calls(request: Request) -> Reply:
    """GET /communications/callRecords/getPstnCalls(fromDateTime=…,toDateTime=…)."""
    start, end = _range(request)
    return _log(request, request.tenant.phone_calls.shown(start, end + 1, is_direct=False), render_pstn)


def get_direct_routing_calls(request: Request) -> Reply:
    """GET /communications/callRecords/getDirectRoutingCalls(fromDateTime=…,toDateTime=…)."""
    start, end = _range(request)
    return _log(request, request.tenant.phone_calls.shown(start, end, is_direct=True), render_direct)


def only_next_pages(endpoint: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
    """The endpoint behind a spelling that occurs in next links only."""

    def checked(request: Request) -> Reply:
        if not request.is_next_page:
            raise bad_query("The function has no parameters named from and to.")
        return endpoint(request)

    return checked


def _refuse_options(request: Request, *names: str) -> None:
    """As `refuse_options`; a `$skip` stands in next links, and nobody may choose one."""
    refuse_options(request, *names, *(() if request.is_next_page else ("$skip",)))


def _log(request: Request, calls: Sequence[PhoneCall], render: Callable[[PhoneCall], dict[str, Any]]) -> Reply:
    _refuse_options(request, "$top", "$search", "$filter", "$orderby", "$expand", "$select")

    def walk(position: int) -> Iterator[Mapping[str, Any]]:
        return (render(call) for call in calls[position:])

    page = request.page_of(walk, length=len(calls), size=LOG_PAGE)
    return Reply(page=replace(page, count=len(page.records)))


def _range(request: Request) -> tuple[int, int]:
    try:
        start, end = (ticks.parse(request.keys[name]) for name in ("from", "to"))
    except ValueError:
        raise bad_query("A parameter is no date.") from None
    if not start <= end <= start + LONGEST_RANGE:
        raise bad_query("The range between fromDateTime and toDateTime must not exceed 90 days.")
    return start, end


def _begins_in(request: Request) -> tuple[int, int]:
    """The ticks that the filter leaves of startDateTime."""
    condition, start, end = request.filter, -_FOREVER, _FOREVER
    for term in conjunction(condition) if condition is not None else ():
        if (
            not isinstance(term, Comparison)
            or term.path != "startDateTime"
            or not isinstance(term.value, Instant)
            or term.operator not in ("lt", "le", "gt", "ge")
        ):
            raise bad_query("The filter is not supported: call records are filtered by startDateTime.")
        instant = term.value.ticks
        if term.operator in ("ge", "gt"):
            start = max(start, instant + (term.operator == "gt"))
        else:
            end = min(end, instant + (term.operator == "le"))
    return start, end


def _call(request: Request) -> Call:
    call = request.tenant.calls.find(request.keys["record"])
    if call is None or not call.version_at(request.tenant.clock.ticks):
        raise GraphError(404, "NotFound", "The call record was not found.")
    return call


def _context(request: Request) -> CallContext:
    return request.tenant.call_context()


def _page(request: Request, records: Sequence[Mapping[str, Any]], size: int) -> Reply:
    def walk(position: int) -> Iterator[Mapping[str, Any]]:
        return iter(records[position:])

    return Reply(page=request.page_of(walk, length=len(records), size=size))


def _expanded(
    request: Request, call: Call, relation: str, records: Sequence[Mapping[str, Any]], page: int, expand: str
) -> dict[str, Any]:
    """The first page of a relation and the link to its next one, for sessions with a marker that is in no path."""
    found: dict[str, Any] = {relation: records[:page]}
    if len(records) > page:
        options = {"$expand": "segments"} if expand == _SESSIONS else {}
        kind = "callParticipants" if relation == _PARTICIPANTS else "callSessions"
        link = request.link(kind, {"record": call.id}, options, page)
        marked = relation == "sessions" and call.noise[25] % 2 == 0
        found[f"{relation}@odata.nextLink"] = link.replace("/v1.0/", "/v1.0/$metadata#", 1) if marked else link
    return found


def _selected(record: dict[str, Any], names: tuple[str, ...] | None) -> dict[str, Any]:
    for name in names or ():
        if name not in record:
            raise bad_query(
                f"Could not find a property named '{name}' on type 'microsoft.graph.callRecords.callRecord'."
            )
    return {name: value for name, value in record.items() if names is None or name in names}


def _page_size(request: Request, largest: int) -> int:
    """`Prefer: odata.maxpagesize` can make pages smaller."""
    preferred = request.preferences.get("odata.maxpagesize", "")
    return min(int(preferred), largest) if preferred.isdigit() and int(preferred) > 0 else largest
