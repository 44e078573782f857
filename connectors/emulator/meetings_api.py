"""Endpoints of online meetings and their attendance reports.

https://learn.microsoft.com/graph/api/onlinemeeting-get, .../meetingattendancereport-list,
.../meetingattendancereport-get, https://learn.microsoft.com/graph/cloud-communication-online-meeting-application-access-policy
(checked 2026-11). Meetings cannot be listed, only found by their join link. Whoever is in the path has to be
named by object id and covered by an application access policy of Teams.
"""

from connectors.emulator.call import Call as Request
from connectors.emulator.call import Page, Reply, refuse_options
from connectors.emulator.errors import GraphError, bad_query, no_meeting_policy
from connectors.emulator.filters import Comparison
from connectors.emulator.online_meetings import REPORTS_KEPT, OnlineMeeting, render_meeting, render_report, report_id
from connectors.emulator.people import Person


def find_online_meeting(request: Request) -> Reply:
    """GET /users/{id}/onlineMeetings?$filter=JoinWebUrl eq '…': a collection of one, or none."""
    refuse_options(request, "$top", "$skip", "$search", "$expand", "$orderby")
    person, condition = _person(request), request.filter
    if condition is None:
        raise bad_query("The filter expression is missing: online meetings cannot be listed.")
    if (
        not isinstance(condition, Comparison)
        or condition.path.lower() != "joinweburl"
        or condition.operator != "eq"
        or not isinstance(condition.value, str)
    ):
        raise bad_query("Online meetings are found by JoinWebUrl only.")
    tenant = request.tenant
    meeting = tenant.online_meetings.by_link(person, condition.value, tenant_id=tenant.id)
    if meeting is None and sum(condition.value.encode()) % 2:
        raise _no_meeting()  # the service does one or the other
    found = [] if meeting is None else [render_meeting(meeting, tenant.words, tenant.id)]
    return Reply(page=Page(records=found))


def get_online_meeting(request: Request) -> Reply:
    """GET /users/{id}/onlineMeetings/{id}."""
    return Reply(record=render_meeting(_meeting(request), request.tenant.words, request.tenant.id))


def list_attendance_reports(request: Request) -> Reply:
    """GET .../attendanceReports: the newest fifty, without records, and no way to the older ones."""
    refuse_options(request, "$top", "$skip", "$search", "$filter", "$orderby")
    held = request.tenant.online_meetings.reports(_meeting(request))[:REPORTS_KEPT]
    context = request.tenant.call_context()

    return Reply(page=Page(records=[render_report(call, context, with_records=False) for call in held]))


def get_attendance_report(request: Request) -> Reply:
    """GET .../attendanceReports/{id}: with records only when they are expanded; not for the meetings of a channel."""
    refuse_options(request, "$top", "$skip", "$search", "$filter", "$orderby")
    expand = request.options.get("$expand")
    if expand not in (None, "attendanceRecords"):
        raise bad_query("Only attendanceRecords can be expanded.")
    meeting = _meeting(request)
    if meeting.is_in_channel:
        raise bad_query("The attendance report of a channel meeting cannot be read by itself.")
    for call in request.tenant.online_meetings.reports(meeting):
        if report_id(call) == request.keys["report"]:
            return Reply(record=render_report(call, request.tenant.call_context(), with_records=expand is not None))
    raise GraphError(404, "NotFound", "The attendance report was not found.")


def _meeting(request: Request) -> OnlineMeeting:
    meeting = request.tenant.online_meetings.by_id(_person(request), request.keys["meeting"])
    if meeting is None:
        raise _no_meeting()
    return meeting


def _person(request: Request) -> Person:
    person = request.person()
    if request.keys["user"].lower() != person.id:  # user principal names are not taken here
        raise GraphError(404, "NotFound", "The user was not found.")
    allowed = request.grant.app.meeting_users
    if allowed is not None and person.id not in allowed:
        raise no_meeting_policy()
    return person


def _no_meeting() -> GraphError:
    return GraphError(404, "NotFound", "The online meeting was not found.", inner_code="3004")
