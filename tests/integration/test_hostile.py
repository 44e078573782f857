"""Answers nobody would want: none leaks the token, hangs, or passes as success. Over HTTPS, one case a row."""

import asyncio
import gzip
import json
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from connectors.graph.client import HttpOptions
from connectors.graph.paging import Request
from connectors.graph.retry import RetryPolicy
from connectors.graph.source import Collection, GraphSource
from connectors.graph.traffic import mailbox_traffic
from pipeline.errors import FailReason, UnitFailed, UnitReadAgain
from pipeline.model import Principal, PrincipalKind, Unit
from tests.graph_server import Answer, ScriptedGraph, Tls, answer, page, refusal, scripted_graph

USER = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
PATH = f"/v1.0/users('{USER}')/messages"
UNIT = Unit("things", Principal(PrincipalKind.USER, USER))
OPTIONS = HttpOptions(body_bytes=1 << 20, silence_s=0.2, total_s=0.4)
RETRY = RetryPolicy(retries=2)
MOST_S = 20.0  # of real time for one case


@dataclass
class Elsewhere:
    """A server with a certificate we trust, to which no request of ours may go."""

    url: str
    heard: list[str] = field(default_factory=list)


@asynccontextmanager
async def _elsewhere(tls: Tls) -> AsyncIterator[Elsewhere]:
    place = Elsewhere("")

    async def handle(request: web.Request) -> web.Response:
        place.heard.append(request.headers.get("Authorization", "nothing"))
        return web.json_response({"value": [{"id": "planted"}]})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    server = TestServer(app, scheme="https")
    await server.start_server(ssl=tls.context)
    async with server:
        place.url = str(server.make_url("/")).rstrip("/")
        yield place


async def _read(graph: ScriptedGraph) -> list[Any]:
    request = Request(path=f"users/{USER}/messages", traffic=mailbox_traffic(USER), page_items=8, sizes_by_header=True)
    collection = Collection(
        dataset="things",
        connector="c",
        principals=PrincipalKind.USER,
        requests=lambda _: [request],
        roles=(),
    )
    source = GraphSource(collection, graph.client)
    while True:
        records: list[Any] = []
        try:
            async for each in source.pages(UNIT):
                records += json.loads(each.records.decode(errors="replace"))  # as the sanitizer does
        except UnitReadAgain:
            continue
        return records


def _link(text: str) -> Answer:
    """A page with one record, and this next link; {base} and {elsewhere} become addresses."""
    return answer({"value": [{"id": "a"}], "@odata.nextLink": text})


def _raw(body: bytes, **headers: str) -> Answer:
    return lambda _: web.Response(body=body, headers={"Content-Type": "application/json", **headers})


def _redirect(status: int) -> Answer:
    return answer("", status=status, headers={"Location": "{elsewhere}/v1.0/users"})


def _numbered(records: list[dict[str, str]]) -> Answer:
    """A page whose next link was never seen before."""
    served = iter(range(1 << 30))

    def make(request: web.Request) -> web.StreamResponse:
        made = page(*records, next_link=f"{PATH}?$skiptoken={next(served)}")(request)
        assert isinstance(made, web.StreamResponse)
        return made

    return make


async def _dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"value":[')
    while True:
        await asyncio.sleep(0.02)
        await response.write(b" ")


async def _flooding(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    while request.transport is not None and not request.transport.is_closing():
        await response.write(b" " * 65_536)
        await asyncio.sleep(0)
    return response


async def _silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(5)
    return web.Response()


async def _shorter_than_said(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "10000"})
    await response.prepare(request)
    await response.write(b'{"value":[]}')
    assert request.transport is not None
    request.transport.close()
    return response


_WHOLE = json.dumps({"value": [{"id": "a", "text": "x" * 3_000}]}).encode()
_GZIP = gzip.compress(_WHOLE)
BAD, SERVICE, NETWORK, TIMEOUT = (
    FailReason.BAD_ANSWER,
    FailReason.SERVICE_ERROR,
    FailReason.NETWORK,
    FailReason.TIMEOUT,
)

FAILING: dict[str, tuple[Answer, FailReason, str]] = {
    "link to another host": (_link("{elsewhere}" + PATH), BAD, "foreign_next_link"),
    "link to another host in capitals": (_link("HTTPS://EVIL.EXAMPLE" + PATH), BAD, "foreign_next_link"),
    "link with our host as user name": (_link("https://graph@{elsewhere_host}" + PATH), BAD, "foreign_next_link"),
    "link without TLS": (_link("http://{host}" + PATH), BAD, "foreign_next_link"),
    "link to another tenant": (_link("{base}/v1.0/" + OTHER + f"/users('{USER}')/messages"), BAD, "foreign_next_link"),
    "link to another user": (_link("{base}" + PATH.replace(USER, OTHER)), BAD, "foreign_next_link"),
    "link to another version": (_link("{base}" + PATH.replace("v1.0", "beta")), BAD, "foreign_next_link"),
    "link that climbs": (_link("{base}" + PATH + "/%2e%2e/x"), BAD, "foreign_next_link"),
    "link with a control character": (_link("{base}" + PATH + "\r\nHost: evil.example"), BAD, "foreign_next_link"),
    "link that is a number": (answer({"value": [], "@odata.nextLink": 7}), BAD, "malformed_json"),
    "link that is empty": (_link(""), BAD, "foreign_next_link"),
    "link that has lost its user for ever": (_link("{base}/v1.0/users//messages"), SERVICE, "next_link_without_user"),
    "page that leads to itself": (_link("{base}" + PATH + "?$skip=1"), BAD, "repeated_next_link"),
    "empty pages without end": (_numbered([]), BAD, "endless_empty_pages"),
    "redirect 301": (_redirect(301), BAD, "redirected"),
    "redirect 307": (_redirect(307), BAD, "redirected"),
    "redirect 308": (_redirect(308), BAD, "redirected"),
    "error with status 200": (answer({"error": {"code": "x", "message": USER}}), BAD, "error_in_success"),
    "error beside records": (answer({"value": [], "error": {"code": "x"}}), BAD, "error_in_success"),
    "web page with status 200": (answer("<html>Sign in"), BAD, "html_page"),
    "nothing with status 200": (answer(""), BAD, "malformed_json"),
    "records that are an object": (answer({"value": {"id": "a"}}), BAD, "missing_value"),
    "records that are null": (answer({"value": None}), BAD, "missing_value"),
    "no records": (answer({"@odata.count": 0}), BAD, "missing_value"),
    "an array instead of an envelope": (answer([]), BAD, "malformed_json"),
    "brackets without end": (answer('{"value":' + "[" * 100_000), BAD, "malformed_json"),
    "truncated JSON": (_raw(_WHOLE[:-9]), BAD, "malformed_json"),
    "JSON and more behind it": (_raw(_WHOLE + b"{}"), BAD, "malformed_json"),
    "truncated gzip": (_raw(_GZIP[: len(_GZIP) // 2], **{"Content-Encoding": "gzip"}), NETWORK, "connection_broken"),
    "no gzip at all": (_raw(_WHOLE, **{"Content-Encoding": "gzip"}), NETWORK, "connection_broken"),
    "status 204": (lambda _: web.Response(status=204), BAD, "unexpected_status"),
    "status 206": (_raw(_WHOLE[:100]), BAD, "malformed_json"),
    "body shorter than it said": (_shorter_than_said, NETWORK, "connection_broken"),
    "body that floods": (_flooding, BAD, "body_too_large"),
    "gzip that inflates": (
        _raw(gzip.compress(b" " * (4 << 20)), **{"Content-Encoding": "gzip"}),
        BAD,
        "body_too_large",
    ),
    "body that drips": (_dripping, TIMEOUT, "timed_out"),
    "no answer": (_silent, TIMEOUT, "timed_out"),
    "headers without end": (lambda _: web.Response(headers={"x": "y" * 100_000}), NETWORK, "connection_broken"),
    "code that is a sentence": (refusal(500, f"the user {USER} is unwell"), SERVICE, "unreadable_code"),
}


def _placed(script: Answer, elsewhere: Elsewhere) -> Answer:
    """With the addresses of this test in body and headers."""

    async def make(request: web.Request) -> web.StreamResponse:
        made = script(request)
        made = await made if not isinstance(made, web.StreamResponse) else made
        if isinstance(made, web.Response) and isinstance(made.body, bytes) and b"{" in made.body:
            for name, value in (
                ("{elsewhere}", elsewhere.url),
                ("{elsewhere_host}", elsewhere.url.removeprefix("https://")),
                ("{host}", request.host),
            ):
                made.body = made.body.replace(name.encode(), value.encode())
        if not made.prepared and "Location" in made.headers:
            made.headers["Location"] = made.headers["Location"].replace("{elsewhere}", elsewhere.url)
        return made

    return make


@pytest.mark.parametrize("case", FAILING)
async def test_it_fails_with_a_word_and_nothing_leaks(case: str, tmp_path: Path) -> None:
    """The unit fails for the right reason, in bounded time; no other server hears of us; no text repeats anything."""
    script, reason, code = FAILING[case]
    tls = Tls.made_in(tmp_path)
    async with (
        asyncio.timeout(MOST_S),
        _elsewhere(tls) as elsewhere,
        scripted_graph(_placed(script, elsewhere), retry=RETRY, options=OPTIONS, tls=tls) as graph,
    ):
        with pytest.raises(UnitFailed) as failed:
            await _read(graph)
    assert (failed.value.reason, failed.value.code) == (reason, code)
    assert elsewhere.heard == []
    told = "".join(traceback.format_exception(failed.value)) + repr(failed.value)
    for secret in ("token-1", USER, OTHER, "Bearer", "127.0.0.1", "evil.example"):
        assert secret not in told


def _page_then(second: Callable[[], Answer]) -> tuple[Answer, ...]:
    return (page({"id": "a"}, next_link=f"{PATH}?$skip=1"), second(), page({"id": "b"}))


PASSING: dict[str, tuple[tuple[Answer, ...], list[str]]] = {
    "casing and key syntax of a link": (
        (page({"id": "a"}, next_link=f"/V1.0/USERS/{USER.upper()}/Messages?$skip=1"), page({"id": "b"})),
        ["a", "b"],
    ),
    "raw control characters, every time": ((_raw(b'{"value":[{"id":"a\x0b","t":"\x00"}]}'),), ["a\x0b"]),
    "bytes that are no UTF-8, every time": ((_raw(b'{"value":[{"id":"a\xff"}]}'),), ["a\ufffd"]),
    "half a page once": (_page_then(lambda: _raw(_WHOLE[:50])), ["a", "b"]),
    "an error with status 200 once": (_page_then(lambda: answer({"error": {"code": "x"}})), ["a", "b"]),
    "half a gzip once": (_page_then(lambda: _raw(_GZIP[:40], **{"Content-Encoding": "gzip"})), ["a", "b"]),
    "a web page once": (_page_then(lambda: answer("<html>")), ["a", "b"]),
    "a body that drips once": (_page_then(lambda: _dripping), ["a", "b"]),
    "the same record on two pages": (
        (page({"id": "a"}, next_link=f"{PATH}?$skip=1"), page({"id": "a"}, {"id": "b"})),
        ["a", "a", "b"],  # the run keeps each key once, the one read last
    ),
    "a record of another type": ((page({"id": "a"}, 7, None, "x"),), ["a"]),  # the run rejects and counts the others
}


@pytest.mark.parametrize("case", PASSING)
async def test_it_is_survived(case: str, tmp_path: Path) -> None:
    """What can be read is read whole."""
    script, expected = PASSING[case]
    async with scripted_graph(*script, retry=RETRY, options=OPTIONS, tls=Tls.made_in(tmp_path)) as graph:
        records = await _read(graph)
    assert [record["id"] for record in records if isinstance(record, dict)] == expected


async def test_a_collection_of_good_pages_without_end_ends_with_its_unit(tmp_path: Path) -> None:
    """Always another page, never the same link twice: the time of the unit bounds it."""
    async with scripted_graph(_numbered([{"id": "a"}]), tls=Tls.made_in(tmp_path)) as graph:
        graph.clock.passing_s = 300.0  # each look at the clock finds it later
        with pytest.raises(UnitFailed) as failed:
            await _read(graph)
        assert len(graph.requests) < 100
    assert (failed.value.reason, failed.value.code) == (TIMEOUT, "unit_deadline_passed")
