"""A scripted Graph on this machine, and a client of it that never waits."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from connectors.graph.client import GraphClient, HttpOptions
from connectors.graph.clock import GraphClock
from connectors.graph.network import Network
from connectors.graph.retry import RetryPolicy
from connectors.graph.throttle import Governor

Answer = Callable[[web.Request], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Tls:
    """A certificate for this machine, and the file of its authority."""

    context: ssl.SSLContext
    ca_file: Path

    @classmethod
    def made_in(cls, folder: Path) -> "Tls":
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        return cls(context, folder / "ca.pem")


class JumpingClock:
    """Sleeping takes no time; it only moves the seconds on and lets others run."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.passing_s = 0.0  # that pass between two looks at the clock
        self.slept_s: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)

    def monotonic(self) -> float:
        self.now_s += self.passing_s
        return self.now_s

    def graph_clock(self) -> GraphClock:
        return GraphClock(monotonic=self.monotonic, sleep=self.sleep, random=lambda: 0.5)


@dataclass
class FixedTokens:
    """token-1 until it is refused, then token-2, and so on."""

    number: int = 1
    refused: list[str] = field(default_factory=list)

    async def token(self) -> str:
        return f"token-{self.number}"

    def invalidate(self, refused: str, *, claims: str = "") -> None:
        self.refused.append(refused)
        self.number += 1


@dataclass
class ScriptedGraph:
    """The server, what it was asked, and a client of it."""

    client: GraphClient
    url: str
    tokens: FixedTokens
    clock: JumpingClock
    requests: list[web.Request]

    @property
    def paths(self) -> list[str]:
        return [request.raw_path for request in self.requests]


@asynccontextmanager
async def scripted_graph(
    *answers: Answer,
    retry: RetryPolicy | None = None,
    options: HttpOptions | None = None,
    tls: "Tls | None" = None,
) -> AsyncIterator[ScriptedGraph]:
    """Answers in turn, the last one for ever. `{base}` in a JSON answer becomes the server's URL."""
    requests: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        answer = answers[min(len(requests), len(answers)) - 1](request)
        return await answer if isinstance(answer, Awaitable) else answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    server = TestServer(app, scheme="http" if tls is None else "https")
    await server.start_server(ssl=None if tls is None else tls.context)
    async with server:
        url = str(server.make_url("/")).rstrip("/")
        clock, tokens = JumpingClock(), FixedTokens()
        graph_clock = clock.graph_clock()
        client = GraphClient(
            graph=url,
            tokens=tokens,
            governor=Governor(clock=graph_clock),
            network=Network(ca_file=None if tls is None else tls.ca_file),
            retry=retry,
            clock=graph_clock,
            options=options,
        )
        async with client:
            yield ScriptedGraph(client, url, tokens, clock, requests)


def answer(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """JSON, or text as it is."""

    def make(request: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        text = text.replace("{base}", f"{request.scheme}://{request.host}")
        return web.Response(text=text, status=status, headers=headers, content_type="application/json")

    return make


def page(*records: Any, next_link: str | None = None) -> Answer:
    """A page of a collection; `next_link` is relative to the server."""
    body: dict[str, Any] = {"@odata.context": "x", "value": list(records)}
    if next_link is not None:
        body["@odata.nextLink"] = f"{{base}}{next_link}"
    return answer(body)


def refusal(status: int, code: str = "", *, message: str = "", headers: dict[str, str] | None = None) -> Answer:
    """An error in Graph's form."""
    return answer({"error": {"code": code, "message": message}}, status=status, headers=headers)
