"""Calls: which requests are made, and how a record is put together from several answers."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from connectors.msft_teams.calls import MOST_RECORDS, calls
from connectors.options import ConnectorOptions
from pipeline.errors import DatasetDenied, WindowTooLarge
from pipeline.model import Principal, Unit, Window
from tests.graph_server import Answer, ScriptedGraph, answer, page, refusal, scripted_graph

TENANT = Principal.tenant("t")
START = datetime(2026, 3, 2, 3, 4, 5, 678901, tzinfo=UTC)
OPTIONS = ConnectorOptions(settle_calls=timedelta(hours=30), overlap_calls=timedelta(days=4))
Make = Callable[[str], Any]


async def read(graph: ScriptedGraph, dataset: str, window: Window) -> list[dict[str, Any]]:
    source = next(each for each in calls(graph.client, options=OPTIONS).sources if each.dataset == dataset)
    pages = [got async for got in source.pages(Unit(dataset, TENANT, window))]
    return [record for got in pages for record in json.loads(got.records)]


def window(**length: float) -> Window:
    return Window(START, START + timedelta(**length))


def tenant(listed: Answer, *, record: Make | None = None, later: Answer | None = None) -> Answer:
    """Answers the list, each record by its expansion, and the pages of relations."""

    def handle(request: web.Request) -> Any:
        path = request.path.removeprefix("/v1.0/communications/callRecords")
        if path == "":
            return listed(request)
        if "$skiptoken" in request.raw_path and later is not None:
            return later(request)
        made = (record or plain)(request.query["$expand"])
        return made(request) if callable(made) else answer({"id": path.strip("/"), **made})(request)

    return handle


def plain(expand: str) -> dict[str, Any]:
    """A record whose relations fit into one page."""
    relation = expand.partition("(")[0]
    return {"version": 3, "startDateTime": "2026-03-02T03:05:00Z", "organizer": None, relation: [{"id": relation}]}


async def test_a_record_is_listed_by_begin_and_read_with_both_relations() -> None:
    """One relation can be expanded at a time, so there are two requests for a record and one row."""
    async with scripted_graph(tenant(page({"id": "a"}, {"id": "b"}))) as graph:
        records = await read(graph, "teams_call_records", window(hours=1))
        first, *others = [request.query for request in graph.requests]
    assert first["$filter"] == (
        "startDateTime ge 2026-03-02T03:04:05.678901Z and startDateTime lt 2026-03-02T04:04:05.678901Z"
    )
    assert "$expand" not in first
    assert "$top" not in first
    assert sorted(query["$expand"] for query in others) == ["participants_v2"] * 2 + ["sessions($expand=segments)"] * 2
    assert [record["id"] for record in records] == ["a", "b"]
    assert all(record["sessions"] == [{"id": "sessions"}] for record in records)
    assert all(record["participants_v2"] == [{"id": "participants_v2"}] for record in records)


@pytest.mark.parametrize("marker", ["", "$metadata#"])
@pytest.mark.parametrize("name", ["@odata.nextLink", "sessions@odata.nextLink"])
async def test_relations_are_followed_to_their_end(marker: str, name: str) -> None:
    """By the link beside the expanded list, and by whichever link its pages carry."""
    path = f"/v1.0/{marker}communications/callRecords('a')/sessions?$skiptoken="

    def record(expand: str) -> Any:
        made = {"id": "a", **plain(expand)}
        if expand.startswith("sessions"):
            made["sessions@odata.nextLink"] = f"{{base}}{path}2"
        return answer(made)

    def later(request: web.Request) -> Any:
        if request.raw_path.endswith("2"):
            return answer({"value": [{"id": "s2"}], name: f"{{base}}{path}3"})(request)
        return answer({"value": [{"id": "s3"}]})(request)

    async with scripted_graph(tenant(page({"id": "a"}), record=record, later=later)) as graph:
        (made,) = await read(graph, "teams_call_records", window(hours=1))
    assert [session["id"] for session in made["sessions"]] == ["sessions", "s2", "s3"]
    assert not [key for key in made if key.endswith("nextLink")]


async def test_a_record_that_is_rewritten_while_it_is_read_is_read_again() -> None:
    """Both halves of a row are of one version."""
    versions = iter([1, 2, 2, 2])

    def record(expand: str) -> dict[str, Any]:
        return {**plain(expand), "version": next(versions)}

    async with scripted_graph(tenant(page({"id": "a"}), record=record)) as graph:
        (made,) = await read(graph, "teams_call_records", window(hours=1))
        assert len(graph.requests) == 1 + 4
    assert made["version"] == 2


async def test_an_id_that_is_listed_twice_is_one_record() -> None:
    """Pages of a list that changes overlap."""
    async with scripted_graph(tenant(page({"id": "a"}, {"id": "a"}))) as graph:
        assert len(await read(graph, "teams_call_records", window(hours=1))) == 1
        assert len(graph.requests) == 3


async def test_too_many_calls_divide_the_window_before_any_is_read() -> None:
    """The list tells; no record was asked for."""
    many = page(*({"id": str(number)} for number in range(MOST_RECORDS + 1)))
    async with scripted_graph(tenant(many)) as graph:
        with pytest.raises(WindowTooLarge):
            await read(graph, "teams_call_records", window(days=5))
        assert len(graph.requests) == 1


async def test_a_missing_role_denies_the_dataset_by_name() -> None:
    """Also when only the single record is refused."""
    told = refusal(403, "Forbidden", message="Missing role permissions on the request.")

    def refuse(_expand: str) -> Any:
        return told

    async with scripted_graph(tenant(page({"id": "a"}), record=refuse)) as graph:
        with pytest.raises(DatasetDenied) as denied:
            await read(graph, "teams_call_records", window(hours=1))
    assert denied.value.needs == ("CallRecords.Read.All",)


@pytest.mark.parametrize(
    ("dataset", "function"),
    [("teams_pstn_calls", "getPstnCalls"), ("teams_direct_routing_calls", "getDirectRoutingCalls")],
)
@pytest.mark.parametrize(
    ("start", "end", "asked"),
    [
        ("2026-03-02T03:00:00", "2026-03-02T04:00:00", "fromDateTime=2026-03-02,toDateTime=2026-03-03"),
        ("2026-03-02T00:00:00", "2026-03-03T00:00:00", "fromDateTime=2026-03-02,toDateTime=2026-03-03"),
        ("2026-03-02T00:00:00", "2026-03-03T00:00:00.000001", "fromDateTime=2026-03-02,toDateTime=2026-03-04"),
    ],
)
async def test_logs_are_asked_for_by_days_that_cover_the_window(
    dataset: str, function: str, start: str, end: str, asked: str
) -> None:
    """Whether the end is inclusive or not, and whether it means the day or its midnight, nothing is missed."""
    range_ = Window(*(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, end)))
    async with scripted_graph(page({"id": "r", "startDateTime": START.isoformat()})) as graph:
        assert len(await read(graph, dataset, range_)) == 1
        assert graph.paths == [f"/v1.0/communications/callRecords/{function}({asked})"]


async def test_windows_come_from_the_settings() -> None:
    """Settle and overlap of calls; log windows far below the 90 days that Graph takes."""
    async with scripted_graph(page()) as graph:
        sources = calls(graph.client, options=OPTIONS).sources
    assert {source.settle for source in sources} == {timedelta(hours=30)}
    assert {source.overlap for source in sources} == {timedelta(days=4)}
    assert all(source.longest_window <= timedelta(days=88) for source in sources)
    assert all(source.instants == ("startDateTime",) for source in sources)
