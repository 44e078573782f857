"""Bytes on the wire: proper answers, refusals, and answers spoiled by a fault."""

import asyncio
import gzip
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

import msgspec
from aiohttp import web
from isal import igzip

from connectors.emulator.errors import GraphError
from connectors.emulator.faults import Body, Effect, Fault

_JSON = "application/json"
_GRAPH_HEADERS = {
    "Content-Type": f"{_JSON};odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
    "OData-Version": "4.0",
    "Cache-Control": "no-cache",
    "x-ms-ags-diagnostic": '{"ServerInfo":{"DataCenter":"Emulator","Slice":"E","Ring":"1"}}',
}
_LARGE = 1_000  # bytes; larger answers are compressed and chunked
_GZIP_LEVEL = 1


class Asked(Protocol):
    """What an answer depends on of a request, which may be one of a batch."""

    @property
    def method(self) -> str: ...

    @property
    def raw_path(self) -> str: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


def json_answer(body: Any, *, status: int = 200) -> web.Response:
    """A plain JSON answer, as the token service gives it."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=_JSON)


def graph_answer(body: Mapping[str, Any], request: Asked, more: Mapping[str, str]) -> web.Response:
    """A success of Graph, compressed when asked for."""
    data = msgspec.json.encode(body)
    headers = {**_GRAPH_HEADERS, **_ids(request), **more}
    if len(data) > _LARGE and "gzip" in request.headers.get("Accept-Encoding", ""):
        data = igzip.compress(data, _GZIP_LEVEL)
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return web.Response(body=data, headers=headers)


def refusal(error: GraphError, request: Asked) -> web.Response:
    """An error of Graph in its JSON shape."""
    ids = _ids(request)
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    body = error.body(date=date, request_id=ids["request-id"], client_request_id=ids["client-request-id"])
    return web.Response(
        status=error.status, body=msgspec.json.encode(body), content_type=_JSON, headers={**ids, **error.headers}
    )


def fault_answer(fault: Fault, request: Asked) -> web.Response:
    """The error answer that a fault asks for."""
    waits = {} if fault.retry_after is None else {"Retry-After": _retry_after(fault.retry_after)}
    if fault.body is Body.EMPTY:
        return web.Response(status=fault.status, headers={**_ids(request), **waits}, content_type=_JSON)
    if fault.body is Body.HTML:
        return web.Response(status=fault.status, headers=waits, text="<html>Gateway</html>", content_type="text/html")
    return refusal(GraphError(fault.status, fault.code, fault.message, headers=waits), request)


def seconds_to_wait(retry_after: str | float | None) -> float:
    """How long a client has to wait for such a Retry-After."""
    return float(str(retry_after or 0).removeprefix("date:").partition(",")[0])


async def send(request: web.BaseRequest, response: web.Response, fault: Fault | None) -> web.StreamResponse:
    """Writes the answer to its end, spoiled where the fault says so."""
    body = response.body if isinstance(response.body, bytes) else b""
    if fault is not None and fault.effect is Effect.SLOW_BODY:
        return await _send_slowly(request, response, body, seconds=fault.seconds)
    match fault.effect if fault is not None else None:
        case Effect.RESET:
            _cut(request)
            return response
        case Effect.RESET_BODY:
            return await _send_half(request, response, body)
        case Effect.TRUNCATE:
            plain = _uncompressed(response, body)
            response = _with_body(response, plain[: len(plain) // 2])
        case Effect.CONTROL_CHARACTER:
            response = _with_body(response, _uncompressed(response, body).replace(b'":"', b'":"\x0b', 1))
        case Effect.HTML:
            response = web.Response(text="<html><body>Sign in to the network</body></html>", content_type="text/html")
        case Effect.CLOSE:
            response.force_close()
        case _ if response.status == 200 and len(body) > _LARGE:
            response.enable_chunked_encoding()
    with suppress(ConnectionError):  # who does not wait for the answer does not get it
        await response.prepare(request)
        await response.write_eof()
    return response


async def _send_half(request: web.BaseRequest, response: web.Response, body: bytes) -> web.StreamResponse:
    stream = web.StreamResponse(headers=response.headers)
    stream.content_length = len(body)
    with suppress(ConnectionError):
        await stream.prepare(request)
        await stream.write(body[: len(body) // 2])
    _cut(request)
    return stream


async def _send_slowly(
    request: web.BaseRequest, response: web.Response, body: bytes, *, seconds: float
) -> web.StreamResponse:
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(body)
    with suppress(ConnectionError):
        await stream.prepare(request)
        await stream.write(body[: len(body) // 2])
        await asyncio.sleep(seconds)
        await stream.write(body[len(body) // 2 :])
        await stream.write_eof()
    return stream


def _ids(request: Asked) -> dict[str, str]:
    request_id = str(uuid4())
    return {"request-id": request_id, "client-request-id": request.headers.get("client-request-id", request_id)}


def _retry_after(value: str | float) -> str:
    text = str(value)
    if not text.startswith("date:"):
        return text
    moment = datetime.now(UTC) + timedelta(seconds=float(text.removeprefix("date:")))
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


def _uncompressed(response: web.Response, body: bytes) -> bytes:
    return gzip.decompress(body) if response.headers.get("Content-Encoding") == "gzip" else body


def _with_body(response: web.Response, body: bytes) -> web.Response:
    left_out = ("Content-Encoding", "Content-Length")
    return web.Response(
        body=body, headers={name: value for name, value in response.headers.items() if name not in left_out}
    )


def _cut(request: web.BaseRequest) -> None:
    """Breaks the connection as a failing network does."""
    if request.transport is not None:
        request.transport.abort()
