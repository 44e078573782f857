"""Outlook Calendar: one row for each event, occurrence or exception of a user's calendar.

  calendar_events  GET /users/{id}/calendarView?startDateTime=A&endDateTime=B
                   https://learn.microsoft.com/graph/api/user-list-calendarview (checked 2026-11)

The view expands series, which `/events` does not. It returns everything that overlaps [A, B), so an event that
crosses an edge comes with both windows; it belongs to the one in which it starts, and adjacent windows hold each
event once. Times are asked for in UTC, Graph's default without `Prefer: outlook.timezone`, said explicitly.
Events are rewritten after the fact (answers, cancellations): the last days are read again every night, and an
event that is missing then was deleted.
"""

from collections.abc import Iterable
from datetime import timedelta

from config.instants import format_instant
from connectors.graph.client import GraphClient
from connectors.graph.connector import GraphConnector, Select, select_of
from connectors.graph.limits import CALENDAR_VIEW_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import Request
from connectors.graph.source import Collection, GraphSource
from connectors.graph.traffic import mailbox_traffic
from connectors.options import ConnectorOptions
from pipeline.model import PrincipalKind, Unit

NAME = "outlook-calendar"
PREFER = ('IdType="ImmutableId"', 'outlook.timezone="UTC"')
LONGEST_WINDOW = timedelta(days=31)  # the view's own limit is not published; a month is what others use
# Documented as not selectable on a calendar view, where asking brings nothing or an error.
NOT_SELECTABLE = frozenset({"createdDateTime", "lastModifiedDateTime"})
# The basic role opens everything but these, which come without it as if the event had none.
# https://learn.microsoft.com/graph/permissions-reference#calendarsreadbasicall (checked 2026-11)
BASIC_ROLE, WHOLE_ROLE = "Calendars.ReadBasic.All", "Calendars.Read"
MORE_THAN_BASIC = frozenset({"body", "bodyPreview", "attachments", "extensions"})


def connector(client: GraphClient, *, select: Select, options: ConnectorOptions) -> GraphConnector:
    """The calendar view of every user."""
    return GraphConnector(NAME, [GraphSource(_events(select, options), client)])


def _events(select: Select, options: ConnectorOptions) -> Collection:
    kept = tuple(name for name in select["calendar_events"] if name not in NOT_SELECTABLE)
    properties = select_of({"calendar_events": kept}, "calendar_events", "id", "start")

    def requests(unit: Unit) -> Iterable[Request]:
        if unit.window is None:
            raise ValueError("calendars are read by window")
        yield Request(
            path=segments("users", unit.principal.id, "calendarView"),
            query={
                "startDateTime": format_instant(unit.window.start),
                "endDateTime": format_instant(unit.window.end),
                "$select": properties,
            },
            traffic=mailbox_traffic(unit.principal.id),
            prefer=PREFER,
            page_items=CALENDAR_VIEW_PAGE_ITEMS,
            sizes_by_header=True,
        )

    return Collection(
        dataset="calendar_events",
        connector=NAME,
        principals=PrincipalKind.USER,
        requests=requests,
        roles=(WHOLE_ROLE,) if MORE_THAN_BASIC.intersection(kept) else (BASIC_ROLE, WHOLE_ROLE),
        windowed=True,
        overlap=options.overlap_calendar,
        ahead=options.calendar_ahead,
        longest_window=LONGEST_WINDOW,
        instants=("start.dateTime",),
    )
