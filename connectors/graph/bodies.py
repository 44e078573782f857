"""The body of an answer: taken in as it was sent, and unpacked later, where the interpreter lock is free.

A page of Graph's is packed to about a tenth. So it is kept packed while it waits, and no more pages are unpacked at a
time than are worked on. isal inflates twice as fast as zlib, and without the interpreter lock.

https://www.rfc-editor.org/rfc/rfc1952 (checked 2026-11): a gzip body is one or more members.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import aiohttp
from isal import isal_zlib

from connectors.graph.errors import fault

_UNPACKING_FAILED = cast("type[Exception]", isal_zlib.error)  # declared as an instance
_GZIP_WBITS = 16 + isal_zlib.MAX_WBITS
_PACKINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True}


@dataclass(frozen=True, slots=True)
class Body:
    """What arrived."""

    data: bytes = field(repr=False)
    is_packed: bool
    request_id: str = ""


def no_weight(_change_bytes: int) -> None:
    """What is small is not counted."""


async def read_body(
    response: aiohttp.ClientResponse, *, at_most: int, weigh: Callable[[int], None] = no_weight
) -> Body:
    """The body as it was sent. `weigh` is told of every byte, and that they are gone where none is returned.

    Raises:
        Refusal: it is larger than `at_most`, or packed in a way that nobody asked for.
    """
    request_id = response.headers.get("request-id", "")
    is_packed = _PACKINGS.get(response.headers.get("Content-Encoding", "").strip().lower())
    if is_packed is None:
        raise fault("connection_broken", request_id=request_id)
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in response.content.iter_any():
            pieces.append(piece)
            size += len(piece)
            weigh(len(piece))
            if size > at_most:
                raise fault("body_too_large", request_id=request_id)  # noqa: TRY301 - the bytes are weighed below
    except BaseException:
        weigh(-size)
        raise
    return Body(b"".join(pieces), is_packed, request_id)


def unpacked(body: Body, *, at_most: int) -> bytes:
    """The text; no more than `at_most` bytes of it are ever held. May be called from any thread.

    Raises:
        Refusal: it is larger, or cannot be unpacked.
    """
    if not body.is_packed or not body.data:
        return body.data
    members: list[bytes] = []
    rest, left = body.data, at_most
    try:
        while rest:
            member = isal_zlib.decompressobj(_GZIP_WBITS)
            members.append(member.decompress(rest, left + 1))
            left -= len(members[-1])
            if left < 0:
                raise fault("body_too_large", request_id=body.request_id)
            if not member.eof:
                raise fault("connection_broken", request_id=body.request_id)
            rest = member.unused_data.lstrip(b"\0")  # some pad the last member
    except _UNPACKING_FAILED:
        raise fault("connection_broken", request_id=body.request_id) from None
    return members[0] if len(members) == 1 else b"".join(members)
