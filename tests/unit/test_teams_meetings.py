"""Online meetings and attendance: each link looked up once, reports of the window only, and what counts as absent."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web

from connectors.msft_teams.meeting_links import MeetingLinks
from connectors.msft_teams.meetings import Meetings, meeting_links
from connectors.options import ConnectorOptions
from pipeline.errors import DatasetDenied, SkipReason, UnitSkipped
from pipeline.model import Page, Principal, PrincipalKind, Unit, Window
from pipeline.ports import Source
from tests.graph_server import Answer, ScriptedGraph, answer, page, refusal, scripted_graph

ADA = Principal(PrincipalKind.USER, "11111111-0000-4000-8000-00000000000a")
LINK = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_{}%40thread.v2/0?context=%7b%22Tid%22%3a%22t%22%7d"
DAY = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))


def knowing(*names: str) -> MeetingLinks:
    """Links of Ada's meetings."""
    links = meeting_links()
    events = [{"isOrganizer": True, "onlineMeeting": {"joinUrl": LINK.format(name)}} for name in names]
    links.learn(Unit("calendar_events", ADA), Page(json.dumps(events).encode()))
    return links


def teams(
    lookup: Answer | None = None,
    reports: Answer | None = None,
    report: Answer | None = None,
    *,
    space: str = "thread.v2",
) -> Answer:
    """Answers lookups, the list of reports, and single reports; by default there is one of each."""

    def handle(request: web.Request) -> Any:
        path = request.path.removeprefix(f"/v1.0/users/{ADA.id}/onlineMeetings")
        if path == "":
            found = {"id": "M=1", "chatInfo": {"threadId": f"19:x@{space}"}}
            return (lookup or page(found))(request)
        if path.endswith("/attendanceReports"):
            listed = [
                {"id": "early", "meetingStartDateTime": "2026-03-01T23:59:00.0000000Z"},
                {"id": "r1", "meetingStartDateTime": "2026-03-02T09:00:00.1234567Z"},
                {"id": "late", "meetingStartDateTime": "2026-03-03T00:01:00Z"},
            ]
            return (reports or page(*listed))(request)
        return (report or answer({"@odata.context": "x", "id": "r1", "attendanceRecords": [{"role": "Organizer"}]}))(
            request
        )

    return handle


def sources(graph: ScriptedGraph, links: MeetingLinks) -> tuple[Source, Source]:
    found, reported = Meetings(graph.client, links=links, options=ConnectorOptions()).sources
    return found, reported


async def records(source: Source) -> list[dict[str, Any]]:
    unit = Unit(source.dataset, ADA, DAY if source.windowed else None)
    return [record async for got in source.pages(unit) for record in json.loads(got.records)]


async def test_a_link_is_looked_up_once_for_both_datasets() -> None:
    """Whichever is read first, or both at once; encoded once more, since its own escapes count."""
    async with scripted_graph(teams()) as graph:
        found, reported = sources(graph, knowing("a", "b"))
        await asyncio.gather(records(found), records(reported))
        lookups = [path for path in graph.paths if "$filter" in path]
    assert len(lookups) == 2
    assert "19%253ameeting_a%2540thread.v2" in lookups[0]
    assert unquote(lookups[0].partition("$filter=")[2]) == f"JoinWebUrl eq '{LINK.format('a')}'"


async def test_a_report_of_the_window_is_read_with_those_who_came_and_names_its_meeting() -> None:
    """The list has neither; reports of other days are not asked for."""
    async with scripted_graph(teams()) as graph:
        _, reported = sources(graph, knowing("a"))
        (report,) = await records(reported)
        asked = [path for path in graph.paths if "attendanceReports/" in path]
    assert report["meetingId"] == "M=1"
    assert report["attendanceRecords"] == [{"role": "Organizer"}]
    assert asked == [
        f"/v1.0/users/{ADA.id}/onlineMeetings/M%3D1/attendanceReports/r1?$expand=attendanceRecords",
    ]


@pytest.mark.parametrize("told", [page(), refusal(404, "NotFound"), refusal(404, "")])
async def test_a_meeting_that_graph_forgot_is_no_row_and_no_failure(told: Answer) -> None:
    """An empty answer or a 404: links outlive meetings."""
    async with scripted_graph(teams(lookup=told)) as graph:
        found, reported = sources(graph, knowing("a"))
        assert await records(found) == []
        assert await records(reported) == []


@pytest.mark.parametrize("gone", ["reports", "report"])
async def test_reports_that_are_gone_cost_nothing_else(gone: str) -> None:
    """Between the lookup and the report the meeting may expire."""
    told = refusal(404, "NotFound")
    tenant = teams(reports=told) if gone == "reports" else teams(report=told)
    async with scripted_graph(tenant) as graph:
        found, reported = sources(graph, knowing("a"))
        assert len(await records(found)) == 1
        assert await records(reported) == []


async def test_a_channels_reports_are_not_asked_for() -> None:
    """Each of its meetings would list those of all, and none can be read."""
    async with scripted_graph(teams(space="thread.tacv2")) as graph:
        found, reported = sources(graph, knowing("a"))
        assert len(await records(found)) == 1
        assert await records(reported) == []
        assert not [path for path in graph.paths if "attendanceReports" in path]


async def test_an_organizer_without_policy_is_skipped_and_a_missing_role_denies() -> None:
    """Told apart by the words of the refusal."""
    policy = refusal(403, "Forbidden", message="No application access policy found for this app on the user.")
    role = refusal(403, "Forbidden", message="Missing role permissions on the request.")
    async with scripted_graph(teams(lookup=policy)) as graph:
        found, _ = sources(graph, knowing("a"))
        with pytest.raises(UnitSkipped) as skipped:
            await records(found)
    assert skipped.value.reason is SkipReason.OUT_OF_POLICY
    async with scripted_graph(teams(reports=role)) as graph:
        _, reported = sources(graph, knowing("a"))
        with pytest.raises(DatasetDenied) as denied:
            await records(reported)
    assert denied.value.needs == ("OnlineMeetingArtifact.Read.All",)


async def test_nothing_is_asked_for_somebody_without_meetings() -> None:
    """No link, no request."""
    async with scripted_graph(teams()) as graph:
        for source in sources(graph, knowing()):
            assert await records(source) == []
        assert graph.requests == []
