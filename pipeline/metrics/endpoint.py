"""`GET /metrics` while a command works: as much of HTTP as a scraper needs.

It listens on every interface, because a scraper in a cluster comes from another machine. What it tells are numbers:
no identifier, no name, no value of a record.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from pipeline.errors import ConfigurationError
from pipeline.metrics.text import CONTENT_TYPE

ANSWER_WITHIN_S = 10.0
HEAD_BYTES = 16 * 1024  # of a request; a longer one is cut off


@asynccontextmanager
async def serve(port: int, page: Callable[[], str]) -> AsyncIterator[None]:
    """Serve what `page` gives as long as the context lasts.

    Raises:
        ConfigurationError: the port is taken, or not ours to take.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, page))
                await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(answer, host=None, port=port, limit=HEAD_BYTES)
    except OSError as error:
        raise ConfigurationError(
            f"telemetry.prometheus_port: {port} cannot be listened on ({error.strerror}); choose another port"
        ) from None
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


def _response(head: bytes, page: Callable[[], str]) -> bytes:
    method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if path != b"/metrics":
        return _answer("404 Not Found", "text/plain", b"there is /metrics\n")
    if method not in (b"GET", b"HEAD"):
        return _answer("405 Method Not Allowed", "text/plain", b"GET only\n")
    body = page().encode()
    return _answer("200 OK", CONTENT_TYPE, body, with_body=method == b"GET")


def _answer(status: str, content_type: str, body: bytes, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (body if with_body else b"")
