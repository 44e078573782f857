"""The client: what it sends, what it survives, and what it makes of the rest."""

import asyncio
import gzip
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from connectors.graph.client import Ask, GraphClient, HttpOptions
from connectors.graph.errors import End, Refusal, outcome
from connectors.graph.network import Network
from connectors.graph.retry import RetryPolicy
from connectors.graph.throttle import Governor
from connectors.graph.traffic import Traffic, mailbox_traffic
from pipeline.errors import SourceRefused
from tests.graph_server import Answer, FixedTokens, ScriptedGraph, answer, refusal, scripted_graph
from tests.https_server import Told, served

TRAFFIC = mailbox_traffic("m")


def _text(body: bytes, lenient: bool) -> bytes:
    return body


async def _fetch(graph: ScriptedGraph, *, traffic: Traffic = TRAFFIC, prefer: tuple[str, ...] = ()) -> bytes:
    ask = Ask(url=lambda: graph.client.links.first("users", {}), traffic=traffic, prefer=lambda: prefer)
    return await graph.client.fetch(ask, decode=_text, budget=graph.client.budget())


class _Scales:
    """Adds up."""

    page_bytes = 1 << 20
    held = most = 0

    def weigh(self, change_bytes: int) -> None:
        self.held += change_bytes
        self.most = max(self.most, self.held)


async def _refused(graph: ScriptedGraph) -> Refusal:
    with pytest.raises(Refusal) as refused:
        await _fetch(graph)
    return refused.value


def _raw(body: bytes, **headers: str) -> Answer:
    return lambda _: web.Response(body=body, headers=headers)


async def test_what_every_request_carries() -> None:
    """Token, our name, an id of its own for each attempt, the preferences in one header, gzip."""
    async with scripted_graph(refusal(500), answer("{}")) as graph:
        await _fetch(graph, prefer=("a=1", "b"))
        first, second = graph.requests
    assert first.headers["Authorization"] == "Bearer token-1"
    assert first.headers["User-Agent"].startswith("m365-export/")
    assert first.headers["Prefer"] == "a=1, b"
    assert first.headers["Accept-Encoding"] == "gzip"
    assert first.headers["client-request-id"] != second.headers["client-request-id"]


async def test_a_429_waits_for_its_retry_after() -> None:
    """The fence does it, with a little jitter; no attempt is lost."""
    throttled = refusal(429, "TooManyRequests", headers={"Retry-After": "30"})
    async with scripted_graph(*[throttled] * 6, answer("{}")) as graph:
        assert await _fetch(graph) == b"{}"
        assert len(graph.requests) == 7
    assert 30 <= next(filter(None, graph.clock.slept_s)) <= 33
    assert graph.client.counters.refusals == {"429 TooManyRequests": 6}
    assert graph.client.counters.answers == {("outlook", "429"): 6, ("outlook", "200"): 1}


async def test_a_mailbox_throttled_for_ever_fails_as_throttled() -> None:
    """Half an hour behind fences is what a unit has."""
    async with scripted_graph(refusal(429, headers={"Retry-After": "300", "request-id": "ab-1"})) as graph:
        refused = await _refused(graph)
    assert (refused.row.end, refused.request_id) == (End.THROTTLED, "ab-1")
    assert sum(graph.clock.slept_s) <= 1_800


async def test_a_zero_retry_after_does_not_spin() -> None:
    """A service that says "now" for ever is given growing pauses and finally up."""
    async with scripted_graph(refusal(503, headers={"Retry-After": "0"})) as graph:
        assert (await _refused(graph)).row.end is End.THROTTLED
        assert len(graph.requests) < 40


async def test_a_very_long_retry_after_postpones_the_unit() -> None:
    """An hour is not waited for, and others of that mailbox do not ask either."""
    async with scripted_graph(refusal(429, headers={"Retry-After": "3600"})) as graph:
        assert (await _refused(graph)).row.end is End.THROTTLED
        assert (await _refused(graph)).row.end is End.THROTTLED
        assert len(graph.requests) == 1


async def test_an_expired_token_is_replaced_once() -> None:
    """401, a new token, and the request again; a second 401 is final."""
    async with scripted_graph(refusal(401, "InvalidAuthenticationToken"), answer("{}")) as graph:
        await _fetch(graph)
        assert graph.requests[1].headers["Authorization"] == "Bearer token-2"
    async with scripted_graph(refusal(401, "InvalidAuthenticationToken")) as graph:
        assert (await _refused(graph)).row.end is End.REFUSED
        assert len(graph.requests) == 2


async def test_errors_are_retried_then_given_up() -> None:
    """Five retries for the service, none for our own mistakes."""
    async with scripted_graph(refusal(500, "generalException")) as graph:
        assert (await _refused(graph)).row.end is End.SERVICE_ERROR
        assert len(graph.requests) == 6
    async with scripted_graph(refusal(400, "BadRequest")) as graph:
        assert (await _refused(graph)).row.end is End.BAD_REQUEST
        assert len(graph.requests) == 1


async def test_a_redirect_is_not_followed() -> None:
    """The token stays here."""
    elsewhere: list[str] = []

    def redirect(request: web.Request) -> web.Response:
        elsewhere.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with scripted_graph(redirect) as graph:
        assert (await _refused(graph)).code == "redirected"
    assert set(elsewhere) == {"/v1.0/users"}


async def test_a_body_that_never_ends_is_cut_off() -> None:
    """By its size: no more than the bound is ever held."""

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)

    async with scripted_graph(endless, options=HttpOptions(body_bytes=1 << 20)) as graph:
        refused = await _refused(graph)
    assert (refused.code, refused.row.end) == ("body_too_large", End.BAD_ANSWER)


async def test_a_small_body_that_inflates_without_end_is_cut_off() -> None:
    """The bound counts what comes out of gzip."""
    bomb = gzip.compress(b" " * (8 << 20))
    sent = _raw(bomb, **{"Content-Encoding": "gzip"})
    async with scripted_graph(sent, options=HttpOptions(body_bytes=1 << 20)) as graph:
        assert (await _refused(graph)).code == "body_too_large"


async def test_a_stalled_body_is_cut_off() -> None:
    """By time: silence between two pieces."""

    async def stalling(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.sleep(5)
        return response

    options = HttpOptions(silence_s=0.05)
    async with scripted_graph(stalling, options=options, retry=RetryPolicy(retries=1)) as graph:
        assert (await _refused(graph)).code == "timed_out"
        assert len(graph.requests) == 2


async def test_broken_connections_are_retried() -> None:
    """Closed before the answer, and in the middle of it."""

    async def closing(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x")
        assert request.transport is not None
        request.transport.close()
        return response

    async with scripted_graph(closing, half, answer("{}")) as graph:
        assert await _fetch(graph) == b"{}"
        assert set(graph.client.counters.refusals) == {"no answer connection_broken"}
        assert ("outlook", "none") in graph.client.counters.answers


async def test_a_body_of_several_gzip_members_is_one() -> None:
    """As the format allows; and every byte that was weighed on its way is given back."""
    sent = _raw(gzip.compress(b'{"value":[') + gzip.compress(b"1]}"), **{"Content-Encoding": "gzip"})
    scales = _Scales()
    async with scripted_graph(sent) as graph:
        graph.client.scales = scales
        assert await _fetch(graph) == b'{"value":[1]}'
    assert scales.most > 0
    assert scales.held == 0


async def test_a_packing_nobody_asked_for_is_a_broken_answer() -> None:
    """We ask for gzip or nothing; what else comes is not guessed at."""
    async with scripted_graph(_raw(b"{}", **{"Content-Encoding": "br"})) as graph:
        assert (await _refused(graph)).code == "connection_broken"


async def test_damaged_gzip_is_retried() -> None:
    """A body that cannot be inflated is a broken connection."""
    damaged = gzip.compress(b"{}" * 1000)[:-20] + b"\0" * 30
    sent = _raw(damaged, **{"Content-Encoding": "gzip"})
    async with scripted_graph(sent, answer("{}")) as graph:
        assert await _fetch(graph) == b"{}"
        assert len(graph.requests) == 2


async def test_nobody_listening_is_a_network_failure() -> None:
    """After the retries; the address does not show."""
    async with scripted_graph(answer("{}")) as graph:
        graph.client.links = type(graph.client.links)("http://127.0.0.1:9")
        refused = await _refused(graph)
    assert (refused.code, refused.row.end) == ("connection_failed", End.NETWORK)
    assert "127" not in str(refused)


async def test_the_proxy_of_the_environment_is_used() -> None:
    """The request goes to the proxy, which sees the host it is meant for."""
    async with scripted_graph(answer("{}")) as proxy:
        network = Network.from_environment({"HTTP_PROXY": proxy.url})
        client = GraphClient(
            graph="http://graph.example.test", tokens=proxy.tokens, governor=Governor(), network=network
        )
        async with client:
            ask = Ask(url=lambda: client.links.first("users", {}), traffic=TRAFFIC)
            assert await client.fetch(ask, decode=_text, budget=client.budget()) == b"{}"
        assert proxy.requests[0].headers["Host"] == "graph.example.test"


async def test_an_untrusted_certificate_refuses_the_source(tmp_path: Path) -> None:
    """No retry helps, and no token was sent; the remedy names the setting."""
    with served(lambda _: Told(body={}), folder=tmp_path) as server:
        client = GraphClient(graph=server.url, tokens=FixedTokens(), governor=Governor(), network=Network())
        async with client:
            ask = Ask(url=lambda: client.links.first("users", {}), traffic=TRAFFIC)
            with pytest.raises(Refusal) as refused:
                await client.fetch(ask, decode=_text, budget=client.budget())
        assert server.asked == []
    error = outcome(refused.value)
    assert isinstance(error, SourceRefused)
    assert "tenant.ca_file" in error.remedy


async def test_unknown_codes_are_counted() -> None:
    """So that the table can learn them."""
    async with scripted_graph(refusal(400, "BrandNewCode")) as graph:
        await _refused(graph)
        assert graph.client.counters.unknown_codes == {"BrandNewCode": 1}


async def test_a_huge_error_body_is_not_read_to_its_end() -> None:
    """An error says what it has to say in 64 kB."""
    async with scripted_graph(answer("x" * 1_000_000, status=400)) as graph:
        assert (await _refused(graph)).code == "http_400"


async def test_cancellation_passes() -> None:
    """A cancelled request leaves no slot taken and no connection open."""
    started = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        started.set()
        await asyncio.sleep(5)
        return web.Response()

    async with scripted_graph(slow, answer("{}")) as graph:
        task = asyncio.create_task(_fetch(graph))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await _fetch(graph) == b"{}"


async def test_no_token_is_asked_for_while_a_fence_is_up() -> None:
    """A request that may not go does not need one."""
    async with scripted_graph(refusal(429, headers={"Retry-After": "3600"})) as graph:
        await _refused(graph)
        asked: list[int] = []

        async def token() -> str:
            asked.append(1)
            return "t"

        graph.tokens.token = token  # type: ignore[method-assign]  # the only way to watch it
        await _refused(graph)
    assert asked == []


def test_isal_serves_as_decompressor() -> None:
    """The version of aiohttp in use takes it."""
    from isal import isal_zlib  # noqa: PLC0415 - beside its only use

    aiohttp.set_zlib_backend(isal_zlib)
