"""Teams: each chat and each message once, members in full, and the same decisions after a resume."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from connectors.graph.client import GraphClient
from connectors.graph.network import Network
from connectors.graph.throttle import Governor
from connectors.msft_teams.chat_lists import READERS
from connectors.msft_teams.chats import LISTERS, Chats
from connectors.options import ConnectorOptions
from pipeline.errors import DatasetDenied, FailReason, SkipReason, UnitFailed, UnitSkipped
from pipeline.model import Page, Principal, PrincipalKind, Unit, Window
from tests.graph_server import Answer, FixedTokens, ScriptedGraph, answer, page, refusal, scripted_graph
from tests.virtual_time import now_s, virtual_time

DAY = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
OLD, NEW = "2026-01-01T00:00:00Z", "2026-03-02T10:00:00.123Z"
SELECT = {"teams_chats": ("id", "topic"), "teams_chat_messages": ("id",)}


def _user(user_id: str) -> Principal:
    return Principal(PrincipalKind.USER, user_id)


USERS = [_user(name) for name in ("c", "a", "b")]


def _chat(name: str, *, created: str = OLD, updated: str = OLD) -> dict[str, Any]:
    return {"id": name, "createdDateTime": created, "lastUpdatedDateTime": updated, "topic": "planted"}


def _tenant(chats: Mapping[str, list[dict[str, Any]] | Answer], members: Mapping[str, Answer] | None = None) -> Answer:
    """Answers the lists of chats and of members."""

    def handle(request: web.Request) -> Any:
        parts = request.path.split("/")
        if parts[2] == "chats":
            return (members or {}).get(parts[3], page({"userId": parts[3]}))(request)
        if parts[-1] == "getAllMessages":
            return page({"id": "1", "chatId": "x"})(request)
        listed = chats[parts[3]]
        return page(*listed)(request) if isinstance(listed, list) else listed(request)

    return handle


def _teams(graph: ScriptedGraph, *properties: str) -> Chats:
    select = {**SELECT, "teams_chats": (*SELECT["teams_chats"], *properties)}
    return Chats(graph.client, select=select, options=ConnectorOptions())


async def _chats(teams: Chats, user: str, window: Window | None = DAY) -> list[dict[str, Any]]:
    pages: list[Page] = [got async for got in teams.sources[0].pages(Unit("teams_chats", _user(user), window))]
    return [chat for got in pages for chat in json.loads(got.records)]


async def test_a_chat_is_exported_once_with_all_members() -> None:
    """By its lowest member, and only if it changed in the window."""
    shared, own, still = _chat("shared", updated=NEW), _chat("own", created=NEW), _chat("still")
    tenant = _tenant({"a": [shared, still], "b": [shared, own], "c": [shared]})
    async with scripted_graph(tenant) as graph:
        teams = _teams(graph)
        prepared = await teams.prepare(USERS, saved=None)
        assert prepared.failed == {}
        exported = {user: await _chats(teams, user) for user in ("a", "b", "c")}
    assert [chat["id"] for chat in exported["a"]] == ["shared"]
    assert [chat["id"] for chat in exported["b"]] == ["own"]
    assert exported["c"] == []
    assert exported["a"][0] == {**shared, "members": [{"userId": "shared"}]}


@virtual_time
async def test_failing_lists_of_chats_do_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are listed at a time back off for minutes: those behind them are listed in the meantime."""
    listed_at_s: dict[str, float] = {}

    async def whole(unit: Unit) -> list[Page]:
        is_failing = unit.principal.id < f"u{LISTERS:03}"
        await asyncio.sleep(120 if is_failing else 0.1)
        listed_at_s[unit.principal.id] = now_s()
        if is_failing:
            raise UnitFailed(FailReason.SERVICE_ERROR, code="generalException")
        return []

    client = GraphClient(graph="https://graph.example", tokens=FixedTokens(), governor=Governor(), network=Network())
    teams = Chats(client, select=SELECT, options=ConnectorOptions())
    monkeypatch.setattr(teams._list, "whole", whole)
    users = [_user(f"u{number:03}") for number in range(400)]
    prepared = await teams.prepare(users, saved=None)
    assert {user.id for _, user in prepared.failed} == {user.id for user in users[:LISTERS]}
    assert max(listed_at_s[user.id] for user in users[LISTERS:]) < 10


async def test_members_come_from_all_their_pages() -> None:
    """Asked for chat by chat: an expansion would end at 25 for the whole page."""
    first = page({"userId": "1"}, next_link="/v1.0/chats/x/members?$skiptoken=2")

    def members(request: web.Request) -> Any:
        return page({"userId": "2"})(request) if "$skiptoken" in request.raw_path else first(request)

    async with scripted_graph(_tenant({"a": [_chat("x", created=NEW)]}, {"x": members})) as graph:
        teams = _teams(graph)
        await teams.prepare([_user("a")], saved=None)
        (chat,) = await _chats(teams, "a")
        assert all("expand" not in path for path in graph.paths)
    assert [member["userId"] for member in chat["members"]] == ["1", "2"]


async def test_members_of_a_page_of_chats_are_read_side_by_side() -> None:
    """As many chats at a time as allowed, in the order of the list."""
    chats = [_chat(f"c{number:02}", created=NEW) for number in range(20)]
    under_way, most = 0, 0
    together = asyncio.Event()

    async def members(request: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == READERS:
            together.set()
        await together.wait()
        under_way -= 1
        return web.json_response({"value": [{"userId": request.path.split("/")[3]}]})

    async with scripted_graph(_tenant({"a": chats}, {chat["id"]: members for chat in chats})) as graph:
        teams = _teams(graph)
        await teams.prepare([_user("a")], saved=None)
        exported = await _chats(teams, "a")
    assert most == READERS
    assert [(chat["id"], chat["members"]) for chat in exported] == [
        (chat["id"], [{"userId": chat["id"]}]) for chat in chats
    ]


@pytest.mark.parametrize(
    ("told", "withheld"), [(refusal(404, "NotFound"), 0), (refusal(403, "Forbidden"), 1), (answer("", status=404), 0)]
)
async def test_a_chat_whose_members_cannot_be_read_is_exported_without_them(told: Answer, withheld: int) -> None:
    """Gone by now, or of another tenant: the chat itself is still known. What is kept from us is counted."""
    async with scripted_graph(_tenant({"a": [_chat("x", created=NEW)]}, {"x": told})) as graph:
        teams = _teams(graph)
        await teams.prepare([_user("a")], saved=None)
        (chat,) = await _chats(teams, "a")
        pages = [got async for got in teams.sources[0].pages(Unit("teams_chats", _user("a"), DAY))]
    assert "members" not in chat
    assert [got.withheld for got in pages] == [withheld]


async def test_a_missing_permission_for_members_denies_the_dataset() -> None:
    """Leaving out all members silently would look like success."""
    message = "Missing role permissions on the request. API requires one of 'ChatMember.Read.All'."
    denied = refusal(403, "Forbidden", message=message)
    async with scripted_graph(_tenant({"a": [_chat("x", created=NEW)]}, {"x": denied})) as graph:
        teams = _teams(graph)
        await teams.prepare([_user("a")], saved=None)
        with pytest.raises(DatasetDenied) as error:
            await _chats(teams, "a")
    assert error.value.needs == ("ChatMember.Read.All",)


async def test_no_request_is_made_for_users_who_read_no_changed_chat() -> None:
    """The list of the preparation tells."""
    async with scripted_graph(_tenant({"a": [_chat("x")], "b": [_chat("x")], "c": []})) as graph:
        teams = _teams(graph)
        await teams.prepare(USERS, saved=None)
        asked = len(graph.requests)
        assert [await _chats(teams, user) for user in ("a", "b", "c")] == [[], [], []]
        assert len(graph.requests) == asked


async def test_the_last_message_is_expanded_only_where_the_rules_keep_something_of_it() -> None:
    """It is the one thing a list of chats does not hold by itself; the preparation never needs it."""
    async with scripted_graph(_tenant({"a": [_chat("x", created=NEW)]})) as graph:
        teams = _teams(graph, "lastMessagePreview")
        await teams.prepare([_user("a")], saved=None)
        await _chats(teams, "a")
        lists = [parse_qs(urlsplit(path).query).get("$expand") for path in graph.paths if "/users/" in path]
    assert lists == [None, ["lastMessagePreview"]]


async def test_messages_are_asked_for_from_just_before_the_window_on() -> None:
    """Without an upper bound, so that later edits do not hide a message; with the opt-in for system messages."""
    async with scripted_graph(_tenant({"a": [_chat("x")], "b": [_chat("x")]})) as graph:
        teams = _teams(graph)
        await teams.prepare([_user("a"), _user("b")], saved=None)
        before = len(graph.requests)
        for user in ("a", "b"):
            _ = [got async for got in teams.sources[1].pages(Unit("teams_chat_messages", _user(user), DAY))]
        (request,) = graph.requests[before:]  # none for b, whose only chat a reads
    assert request.path == "/v1.0/users/a/chats/getAllMessages"
    assert parse_qs(urlsplit(request.raw_path).query) == {
        "$filter": ["lastModifiedDateTime gt 2026-03-01T23:59:59.999999Z"],
        "$top": ["50"],
    }
    assert request.headers["Prefer"] == "include-unknown-enum-members"


@pytest.mark.parametrize(
    "told",
    [refusal(402, "PaymentRequired"), refusal(403, "Forbidden"), refusal(404, "NotFound"), answer("", status=404)],
)
async def test_messages_are_read_chat_by_chat_where_the_function_is_refused(told: Answer) -> None:
    """Only of chats the user reads, newest change first, down to the beginning of the window."""
    more = "/v1.0/chats/own/messages?$skiptoken=2"
    pages = [
        page({"id": "1", "lastModifiedDateTime": NEW}, next_link=more),
        page({"id": "2", "lastModifiedDateTime": NEW}, {"id": "3", "lastModifiedDateTime": OLD}, next_link=more),
    ]

    def handle(request: web.Request) -> Any:
        parts = request.path.split("/")
        if parts[-1] == "getAllMessages":
            return told(request)
        if parts[2] == "users":
            listed = [_chat("shared"), _chat("own"), _chat("gone")] if parts[3] == "b" else [_chat("shared")]
            return page(*listed)(request)
        if parts[3] == "gone":
            return refusal(404, "NotFound")(request)
        return pages["skiptoken" in request.raw_path](request)

    async with scripted_graph(handle) as graph:
        teams = _teams(graph)
        await teams.prepare([_user("a"), _user("b")], saved=None)
        before = len(graph.requests)
        unit = Unit("teams_chat_messages", _user("b"), DAY)
        got = [each async for each in teams.sources[1].pages(unit)]
        found = [record for each in got for record in json.loads(each.records)]
        asked = [request for request in graph.requests[before:] if "/chats/own/" in request.path]
    assert [record["id"] for record in found] == ["1", "2", "3"]
    assert len(asked) == 2
    assert not any("/chats/shared/" in path for path in graph.paths)
    assert parse_qs(urlsplit(asked[0].raw_path).query) == {
        "$filter": ["lastModifiedDateTime gt 2026-03-01T23:59:59.999999Z"],
        "$orderby": ["lastModifiedDateTime desc"],
        "$top": ["50"],
    }


async def test_messages_of_chats_that_others_read_are_filtered() -> None:
    """Both members get them; one keeps them."""
    async with scripted_graph(_tenant({"a": [_chat("x")], "b": [_chat("x"), _chat("y")]})) as graph:
        teams = _teams(graph)
        await teams.prepare([_user("a"), _user("b")], saved=None)
        messages = teams.sources[1]
        kept = {}
        for user in ("a", "b"):
            row_filter = messages.filter(Unit("teams_chat_messages", _user(user), DAY))
            assert row_filter is not None
            assert row_filter.path == "chatId"
            kept[user] = [chat for chat in ("x", "y", "unlisted") if row_filter.keeps(chat)]
    assert kept == {"a": ["x"], "b": ["y"]}


async def test_users_whose_chats_cannot_be_listed_are_reported() -> None:
    """And none of their chats is theirs to read, since their units are not made."""
    half = [page(_chat("x"), next_link="/v1.0/users/a/chats?$skiptoken=2"), refusal(500)]
    count = 0

    def broken(request: web.Request) -> Any:
        nonlocal count
        count += 1
        return half[min(count, 2) - 1](request)

    gone = refusal(404, "Request_ResourceNotFound")
    async with scripted_graph(_tenant({"a": broken, "b": [_chat("x")], "c": gone})) as graph:
        teams = _teams(graph)
        prepared = await teams.prepare(USERS, saved=None)
        failed = prepared.failed
        reader = teams.sources[1].filter(Unit("teams_chat_messages", _user("b"), DAY))
        assert reader is not None
        assert reader.keeps("x")
        again = _teams(graph)
        resumed = await again.prepare([*USERS, _user("new")], saved=prepared.saved)
    assert isinstance(failed["teams_chats", _user("a")], UnitFailed)
    skipped = failed["teams_chat_messages", _user("c")]
    assert isinstance(skipped, UnitSkipped)
    assert skipped.reason is SkipReason.DELETED_PRINCIPAL
    assert {unit: str(error) for unit, error in resumed.failed.items() if unit[1] != _user("new")} == {
        unit: str(error) for unit, error in failed.items()
    }
    late = resumed.failed["teams_chats", _user("new")]
    assert isinstance(late, UnitSkipped)
    assert late.reason is SkipReason.OUT_OF_SCOPE


async def test_a_resumed_run_lists_nothing() -> None:
    """It takes over what was decided, even where the tenant changed since."""
    async with scripted_graph(_tenant({"a": [_chat("x", created=NEW)], "b": [_chat("x", created=NEW)]})) as graph:
        first = await _teams(graph).prepare([_user("a"), _user("b")], saved=None)
        asked = len(graph.requests)
        teams = _teams(graph)
        resumed = await teams.prepare([_user("a"), _user("b")], saved=first.saved)
        assert len(graph.requests) == asked
        assert resumed.saved == first.saved
        assert [len(await _chats(teams, user)) for user in ("a", "b")] == [1, 0]


async def test_a_missing_permission_stops_the_preparation() -> None:
    """Not one failure for each user."""
    async with scripted_graph(refusal(403, "Forbidden", message="Missing role permissions on the request.")) as graph:
        with pytest.raises(DatasetDenied):
            await _teams(graph).prepare([_user(f"u{n:03}") for n in range(200)], saved=None)
        assert len(graph.requests) < 100


async def test_reading_before_the_preparation_is_a_bug() -> None:
    """It would export nothing and look complete."""
    async with scripted_graph(_tenant({})) as graph:
        with pytest.raises(RuntimeError, match="prepare"):
            await _chats(_teams(graph), "a")


async def test_without_chats_a_tenant_is_fine() -> None:
    """Nobody to list, nothing to read."""
    async with scripted_graph(_tenant({})) as graph:
        prepared = await _teams(graph).prepare([], saved=None)
    assert prepared.failed == {}
    assert prepared.saved
