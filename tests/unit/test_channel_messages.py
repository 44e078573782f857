"""Channel messages: by the export function where the tenant has it, else channel by channel, no thread short."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from connectors.msft_teams.channel_messages import ChannelMessageSource
from connectors.msft_teams.export_function import MOST_REPLACED
from connectors.options import ConnectorOptions
from pipeline.errors import DatasetDenied, SkipReason, UnitFailed, UnitSkipped
from pipeline.model import Principal, PrincipalKind, Unit, Window
from tests.graph_server import Answer, ScriptedGraph, page, refusal, scripted_graph

WINDOW = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
OLD, NEW, LATER = "2026-02-01T00:00:00Z", "2026-03-02T10:00:00.123Z", "2026-03-09T00:00:00Z"
EXPORT = "/v1.0/teams/t/channels/getAllMessages"
CHANNELS = "/v1.0/teams/t/channels"
STANDARD = {"id": "s", "membershipType": "standard"}
PRIVATE = {"id": "p", "membershipType": "private"}
SHARED = {"id": "x", "membershipType": "shared"}
NOT_OFFERED = refusal(402, "PaymentRequired")


def _unit(team: str = "t") -> Unit:
    return Unit("teams_channel_messages", Principal(PrincipalKind.TEAM, team), WINDOW)


def _message(name: str, modified: str = NEW, **more: Any) -> dict[str, Any]:
    return {"id": name, "lastModifiedDateTime": modified, **more}


def _answers(answers: Mapping[str, Answer]) -> Answer:
    """By path; what is not named holds nothing."""

    def handle(request: web.Request) -> Any:
        return answers.get(request.path, page())(request)

    return handle


def _source(graph: ScriptedGraph) -> ChannelMessageSource:
    return ChannelMessageSource(graph.client, options=ConnectorOptions())


async def _ids(source: ChannelMessageSource, team: str = "t") -> list[str]:
    pages = [got async for got in source.pages(_unit(team))]
    return [message["id"] for got in pages for message in json.loads(got.records)]


def _asked(graph: ScriptedGraph) -> list[str]:
    return [request.path.removeprefix("/v1.0/teams/") for request in graph.requests]


async def test_the_export_function_gives_all_but_shared_channels() -> None:
    """It is asked from just before the window on; shared channels are listed, as nobody promises them."""
    tenant = {
        EXPORT: page(_message("1")),
        CHANNELS: page(STANDARD, PRIVATE, SHARED, {"id": "new", "membershipType": "unknownFutureValue"}),
        f"{CHANNELS}/x/messages": page(_message("2")),
    }
    async with scripted_graph(_answers(tenant)) as graph:
        assert await _ids(_source(graph)) == ["1", "2"]
        export, channels, *listed = graph.requests
    assert parse_qs(urlsplit(export.raw_path).query) == {
        "$filter": ["lastModifiedDateTime gt 2026-03-01T23:59:59.999999Z"],
        "$top": ["50"],
    }
    assert export.headers["Prefer"] == channels.headers["Prefer"] == "include-unknown-enum-members"
    assert sorted(request.path for request in listed) == [f"{CHANNELS}/new/messages", f"{CHANNELS}/x/messages"]
    assert parse_qs(urlsplit(listed[0].raw_path).query) == {"$expand": ["replies"], "$top": ["50"]}


async def test_messages_of_another_team_s_channels_are_left_to_it() -> None:
    """The function may give those of channels that are shared with the team; ids are compared whatever their case."""
    async with scripted_graph(page()) as graph:
        kept = _source(graph).filter(_unit("Team-A"))
    assert kept.path == "channelIdentity.teamId"
    assert [kept.keeps(team) for team in ("team-a", "TEAM-A", "team-b")] == [True, True, False]


@pytest.mark.parametrize(
    "told",
    [
        NOT_OFFERED,
        refusal(403, "Forbidden", message="The tenant has not been approved."),
        refusal(404, "NotFound"),
        refusal(404, "UnknownError"),
        refusal(400, "BadRequest", message="Resource not found for the segment 'getAllMessages'."),
    ],
)
async def test_where_the_function_is_refused_all_channels_are_listed(told: Answer) -> None:
    """Roots with their replies, flat, and without the list of replies inside the root."""
    thread = _message("1", OLD, replies=[_message("2"), _message("3", OLD)])
    tenant = {
        EXPORT: told,
        CHANNELS: page(STANDARD, SHARED),
        f"{CHANNELS}/s/messages": page(thread),
        f"{CHANNELS}/x/messages": page(_message("4", replies=None)),
    }
    async with scripted_graph(_answers(tenant)) as graph:
        pages = [got async for got in _source(graph).pages(_unit())]
    records = [json.loads(got.records) for got in pages]
    assert records == [[_message("1", OLD), _message("2"), _message("3", OLD)], [_message("4")]]


async def test_a_missing_role_is_no_reason_to_list() -> None:
    """The same role would be missing there: the dataset is denied, by the roles Graph names."""
    message = "Missing role permissions on the request. API requires one of 'ChannelMessage.Read.All'."
    async with scripted_graph(_answers({EXPORT: refusal(403, "Forbidden", message=message)})) as graph:
        with pytest.raises(DatasetDenied) as error:
            await _ids(_source(graph))
    assert error.value.needs == ("ChannelMessage.Read.All",)


async def test_failures_of_the_service_are_no_reason_either() -> None:
    """They pass, and the unit is tried again the next night."""
    async with scripted_graph(_answers({EXPORT: refusal(500)})) as graph:
        with pytest.raises(UnitFailed):
            await _ids(_source(graph))
        assert set(_asked(graph)) == {"t/channels/getAllMessages"}


async def test_listing_ends_at_the_first_thread_without_a_change() -> None:
    """Threads come with the last change first; an edit after the window does not end it."""
    first = page(_message("1", LATER), _message("2", OLD, replies=[_message("3")]), next_link=f"{CHANNELS}/s/more")
    last = page(_message("4"), _message("5", OLD), _message("6"), next_link=f"{CHANNELS}/s/never")
    tenant = {
        EXPORT: NOT_OFFERED,
        CHANNELS: page(STANDARD),
        f"{CHANNELS}/s/messages": first,
        f"{CHANNELS}/s/more": last,
    }
    async with scripted_graph(_answers(tenant)) as graph:
        assert await _ids(_source(graph)) == ["1", "2", "3", "4"]
        assert _asked(graph)[-1] == "t/channels/s/more"


async def test_replies_that_do_not_come_with_their_root_are_fetched() -> None:
    """By their own next link; such a thread is never taken for unchanged, for its last reply may be among them."""
    thread = _message("1", OLD, replies=[_message("2", OLD)])
    thread["replies@odata.nextLink"] = f"{{base}}{CHANNELS}/s/messages/1/replies?$skiptoken=a"
    tenant = {
        EXPORT: NOT_OFFERED,
        CHANNELS: page(STANDARD),
        f"{CHANNELS}/s/messages": page(thread),
        f"{CHANNELS}/s/messages/1/replies": page(_message("3"), next_link=f"{CHANNELS}/s/replies2"),
        f"{CHANNELS}/s/replies2": page(_message("4")),
    }
    async with scripted_graph(_answers(tenant)) as graph:
        assert await _ids(_source(graph)) == ["1", "2", "3", "4"]


async def test_a_channel_deleted_meanwhile_holds_nothing_and_one_that_is_refused_fails_the_unit() -> None:
    """Silence about a channel would look complete."""
    tenant = {
        EXPORT: NOT_OFFERED,
        CHANNELS: page(STANDARD, PRIVATE),
        f"{CHANNELS}/s/messages": refusal(404, "NotFound"),
        f"{CHANNELS}/p/messages": page(_message("1")),
    }
    async with scripted_graph(_answers(tenant)) as graph:
        assert await _ids(_source(graph)) == ["1"]
    async with scripted_graph(_answers({**tenant, f"{CHANNELS}/p/messages": refusal(403, "Forbidden")})) as graph:
        with pytest.raises(UnitFailed):
            await _ids(_source(graph))


async def test_a_team_that_is_gone_is_skipped() -> None:
    """The function and the list both say so."""
    gone = refusal(404, "NotFound")
    async with scripted_graph(_answers({EXPORT: gone, CHANNELS: gone})) as graph:
        with pytest.raises(UnitSkipped) as error:
            await _ids(_source(graph))
    assert error.value.reason is SkipReason.DELETED_PRINCIPAL


@pytest.mark.parametrize(("told", "asked"), [(refusal(403, "Forbidden"), MOST_REPLACED), (NOT_OFFERED, 1)])
async def test_a_function_that_is_not_offered_is_not_asked_for_ever(told: Answer, asked: int) -> None:
    """A few times, for teams differ; once where it wants to be paid."""

    def handle(request: web.Request) -> Any:
        return told(request) if request.path.endswith("getAllMessages") else page()(request)

    async with scripted_graph(handle) as graph:
        source = _source(graph)
        for number in range(10):
            await _ids(source, f"t{number}")
        assert sum(path.endswith("getAllMessages") for path in _asked(graph)) == asked


async def test_teams_that_are_gone_say_nothing_about_the_function() -> None:
    """Nor do a few refusals, once it has answered."""
    refused: Sequence[str] = ()

    def handle(request: web.Request) -> Any:
        is_refused = request.path.split("/")[3] in refused
        return refusal(404, "NotFound")(request) if is_refused else page()(request)

    async with scripted_graph(handle) as graph:
        source = _source(graph)
        refused = [f"gone{number}" for number in range(10)]
        for team in refused:
            with pytest.raises(UnitSkipped):
                await _ids(source, team)
        await _ids(source, "t")
        assert _asked(graph)[-2:] == ["t/channels/getAllMessages", "t/channels"]
