"""Sends one request to Microsoft Graph until it is answered or its budgets are spent.

fetch ─ retries (tenacity, `connectors.graph.retry`)
  └─ attempt ─ admission (`connectors.graph.throttle`) ─ token (`connectors.graph.auth`)
       └─ exchange ─ aiohttp: one session, bounded in size and in time, no redirects
  └─ decode ─ `connectors.graph.bodies`: unpacked and read on a worker thread where the body is large

client-request-id, request-id: https://learn.microsoft.com/graph/best-practices-concept (checked 2026-11)
Prefer is needed on every page: https://learn.microsoft.com/graph/outlook-immutable-id (checked 2026-11)
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from types import TracebackType
from typing import Protocol, Self, TypeVar
from uuid import uuid4

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception
from yarl import URL

from connectors.graph.bodies import Body, read_body, unpacked
from connectors.graph.budgets import Budgets
from connectors.graph.challenge import demanded_claims
from connectors.graph.clock import GraphClock
from connectors.graph.errors import UNTRUSTED, Disposition, Refusal, classify, fault
from connectors.graph.links import API_VERSION, Links
from connectors.graph.network import Network
from connectors.graph.retry import (
    THROTTLE_BUDGET_SPENT,
    UNIT_DEADLINE_PASSED,
    PageSize,
    RetryPolicy,
    Tries,
    UnitBudget,
    parse_retry_after,
)
from connectors.graph.throttle import FenceTooLong, Governor
from connectors.graph.traffic import APP_SCOPE, Traffic
from pipeline.metering import told
from pipeline.ports import Blocking, Scales

T = TypeVar("T")
Decode = Callable[[bytes, bool], T]
"""A body to what the caller wants of it; the flag asks for leniency. Raises Refusal on nonsense."""

ERROR_BODY_BYTES = 64 * 1024  # an error says what it has to say in less
SMALL_BODY_BYTES = 16 * 1024  # as sent; to unpack and decode it takes less than to hand it to a thread
WAITING_BYTES = 256 * 1024  # of an answer that nobody took yet, before its connection stops: more than a packed page
PRODUCT = "m365-export"
LARGEST_BODY_BYTES = 64 << 20  # unpacked; a page of 1,000 messages without bodies has 1.3 MB


class TokenSource(Protocol):
    """Where bearer tokens come from."""

    async def token(self) -> str:
        """A token that is valid now. Raises SourceRefused when there is none to be had."""
        ...

    def invalidate(self, refused: str, *, claims: str = "") -> None:
        """Graph did not accept this token: the next call gets a new one, asked for with `claims` if there are any."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """Bounds of one exchange: seconds, bytes, connections."""

    connect_s: float = 15.0
    silence_s: float = 60.0  # between two pieces of an answer
    total_s: float = 300.0  # a body that never ends
    body_bytes: int = LARGEST_BODY_BYTES
    connections: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How patiently Graph is asked, and by which clock; None: as the module concerned has it by default."""

    retry: RetryPolicy | None = None
    http: HttpOptions | None = None
    clock: GraphClock | None = None
    budgets: Budgets | None = None


@dataclass(slots=True)
class ClientCounters:
    """What happened so far, for progress and report."""

    requests: int = 0
    bytes: int = 0  # of bodies, unpacked
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)  # by service and status, `none` without one
    refusals: Counter[str] = field(default_factory=Counter)  # by status and code
    unknown_codes: Counter[str] = field(default_factory=Counter)  # those the error table does not have


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One page to ask for. `size` learns from failures; URL and preferences are made anew for each attempt."""

    url: Callable[[], URL] = field(repr=False)
    traffic: Traffic
    prefer: Callable[[], tuple[str, ...]] = tuple
    headers: Mapping[str, str] = field(default_factory=dict)
    size: PageSize | None = None
    is_resizable: bool = False  # `url` asks for as many items as `size` says at that moment


class NoScales:
    """Nobody weighs: memory is no concern."""

    page_bytes = LARGEST_BODY_BYTES

    def weigh(self, change_bytes: int) -> None:
        """Nothing is kept."""


class GraphClient:
    """An open line to Graph with the token of one application. Use as an async context manager."""

    def __init__(
        self,
        *,
        graph: str,
        tokens: TokenSource,
        governor: Governor,
        network: Network,
        api_version: str = API_VERSION,
        retry: RetryPolicy | None = None,
        clock: GraphClock | None = None,
        options: HttpOptions | None = None,
        blocking: Blocking = asyncio.to_thread,
        scales: Scales | None = None,
    ) -> None:
        """`blocking` runs the decoding of large bodies; `scales` are told of bytes on their way."""
        self.links = Links(graph, version=api_version)
        self.counters = ClientCounters()
        self.scales = scales or NoScales()
        self._tokens = tokens
        self._governor = governor
        self._network = network
        self._proxy = network.proxy_for(graph)
        self._policy = retry or RetryPolicy()
        self._clock = clock or GraphClock()
        self._options = options or HttpOptions()
        self._blocking = blocking
        # Pages are unpacked no faster than threads can take them on: packed they need a tenth of the memory.
        self._decoders = asyncio.Semaphore(os.cpu_count() or 1)
        self._open = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        options = self._options
        tls = await asyncio.to_thread(self._network.tls)  # reads the certificate files
        self._session = await self._open.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=options.connections, ssl=tls),
                timeout=aiohttp.ClientTimeout(
                    total=options.total_s, sock_connect=options.connect_s, sock_read=options.silence_s
                ),
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": "gzip",
                    "User-Agent": f"{PRODUCT}/{version(PRODUCT)}",
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,  # not on the event loop: see `_decoded`
                read_bufsize=WAITING_BYTES,
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        await self._open.aclose()

    def now(self) -> datetime:
        """By the clock that waits are measured with."""
        return self._clock.now()

    def budget(self) -> UnitBudget:
        """A fresh budget for the requests of one unit; its time starts now."""
        return UnitBudget(self._policy, self._clock)

    async def fetch(self, ask: Ask, *, decode: Decode[T], budget: UnitBudget) -> T:
        """The decoded answer.

        Raises:
            Refusal: Graph refuses, or the budgets are spent.
            SourceRefused: there is no token.
        """
        if budget.is_over:  # a collection without end is made of good answers
            raise Refusal(UNIT_DEADLINE_PASSED, UNIT_DEADLINE_PASSED.code)
        tries = Tries(self._policy, budget, ask.size, self._clock, is_resizable=ask.is_resizable)
        attempts = AsyncRetrying(
            sleep=self._clock.sleep, retry=retry_if_exception(tries.again), wait=tries.pause, reraise=True
        )
        try:
            answer: T = await attempts(self._attempt, ask, decode, tries, budget)
        except FenceTooLong:
            raise tries.spent(THROTTLE_BUDGET_SPENT) from None
        except Refusal:
            if budget.is_over:
                raise tries.spent(UNIT_DEADLINE_PASSED) from None
            raise
        if ask.size is not None:
            ask.size.succeeded()
        return answer

    async def _attempt(self, ask: Ask, decode: Decode[T], tries: Tries, budget: UnitBudget) -> T:
        try:
            async with self._governor.admission(ask.traffic, budget) as admission:
                token = await self._tokens.token()
                service = ask.traffic.service.value
                sent_s = self._clock.monotonic()
                try:
                    body = await self._exchange(ask, token)
                except Refusal as refusal:
                    self.counters.answers[service, str(refusal.status or "none")] += 1
                    if refusal.row.then is Disposition.THROTTLE:
                        pause_s = refusal.retry_after_s or refusal.row.pause_s or None
                        admission.refused(retry_after_s=pause_s, scope=APP_SCOPE if refusal.is_app_wide else None)
                    elif refusal.row.then is Disposition.TOKEN and not tries.has_new_token:
                        self._tokens.invalidate(token, claims=refusal.claims)
                    raise
                finally:
                    told(ask.traffic.kind, seconds=self._clock.monotonic() - sent_s)
                self.counters.answers[service, "200"] += 1
                admission.succeeded()
            return await self._decoded(body, decode, is_lenient=tries.is_lenient)
        except Refusal as refusal:
            self.counters.refusals[str(refusal)] += 1
            if not refusal.is_known:
                self.counters.unknown_codes[refusal.code] += 1
            raise

    async def _decoded(self, body: Body, decode: Decode[T], *, is_lenient: bool) -> T:
        """What the caller wants of a body; on a worker thread where that takes a while."""

        def work() -> tuple[T, int]:
            text = unpacked(body, at_most=self._options.body_bytes)
            return decode(text, is_lenient), len(text)

        try:
            if len(body.data) <= SMALL_BODY_BYTES:
                answer, size = work()
            else:
                async with self._decoders:
                    answer, size = await self._blocking(work)
        finally:
            self.scales.weigh(-len(body.data))
        self.counters.bytes += size
        return answer

    async def _exchange(self, ask: Ask, token: str) -> Body:
        """Send once; the body of a 200. Every other end is a Refusal."""
        if self._session is None:
            raise RuntimeError("the client is used outside `async with`")
        headers = {**ask.headers, "Authorization": f"Bearer {token}", "client-request-id": str(uuid4())}
        if prefer := ask.prefer():
            headers["Prefer"] = ", ".join(prefer)
        self.counters.requests += 1
        try:
            async with self._session.get(
                ask.url(), headers=headers, proxy=self._proxy, allow_redirects=False
            ) as response:
                try:
                    return await self._body_of(response)
                except Refusal:
                    response.close()  # the next attempt gets a new connection
                    raise
        except aiohttp.ClientConnectorCertificateError:
            raise fault(UNTRUSTED) from None
        except (aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError):
            raise fault("proxy_failed") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise fault("connection_failed") from None
        except TimeoutError:
            raise fault("timed_out") from None
        except (aiohttp.ClientError, OSError):  # reset, closed, incomplete or undecodable body
            raise fault("connection_broken") from None

    async def _body_of(self, response: aiohttp.ClientResponse) -> Body:
        headers = response.headers
        request_id = headers.get("request-id", "")
        if response.status == 200:
            return await read_body(response, at_most=self._options.body_bytes, weigh=self.scales.weigh)
        raise classify(
            response.status,
            await _error_text(response),
            request_id=request_id,
            retry_after_s=parse_retry_after(headers.get("Retry-After"), now=self._clock.now()),
            throttle_scope=headers.get("x-ms-throttle-scope", ""),
            claims=demanded_claims(headers.getall("WWW-Authenticate", [])) if response.status == 401 else "",
        )


async def _error_text(response: aiohttp.ClientResponse) -> bytes:
    """What a refusal says; nothing where that is too much or cannot be read, since its status says enough."""
    try:
        return unpacked(await read_body(response, at_most=ERROR_BODY_BYTES), at_most=ERROR_BODY_BYTES)
    except Refusal:
        response.close()  # what was not read must not be taken for the next answer
        return b""
