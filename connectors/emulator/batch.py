"""Several requests in one: each is admitted, counted and refused by itself, and the whole is a success all the same.

https://learn.microsoft.com/graph/json-batching and .../throttling#throttling-and-batching (checked 2026-11)
"""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from connectors.emulator.errors import GraphError

PATH = "$batch"
MOST_REQUESTS = 20
AT_A_TIME = 4  # so many go to Exchange at once, whichever mailboxes they are for

AnswerOne = Callable[["InnerRequest"], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class InnerRequest:
    """One of them. Headers are its own but for the token, which is the batch's."""

    id: str
    method: str
    raw_path: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    depends_on: tuple[str, ...] = ()


class _Asked(msgspec.Struct, rename="camel"):
    id: str
    method: str
    url: str
    headers: dict[str, str] = {}
    depends_on: list[str] = []


class _Batch(msgspec.Struct):
    requests: list[_Asked]


def read_batch(text: bytes, *, version: str, authorization: str) -> list[InnerRequest]:
    """The requests of a batch. Raises GraphError 400 where it is none."""
    try:
        asked = msgspec.json.decode(text, type=_Batch).requests
    except msgspec.DecodeError:
        raise _malformed("Invalid batch payload format.") from None
    if len(asked) > MOST_REQUESTS:
        raise _malformed(f"Number of batch request steps exceeds the maximum value of {MOST_REQUESTS}.")
    seen: set[str] = set()
    for each in asked:
        if each.id.lower() in seen:
            raise _malformed("Request Id values must be unique.")
        if not {name.lower() for name in each.depends_on} <= seen:
            raise _malformed("Dependent request ids must come before the requests that name them.")
        seen.add(each.id.lower())
    return [
        InnerRequest(
            each.id,
            each.method.upper(),
            f"/{version}/{each.url.lstrip('/')}",
            CIMultiDict({**each.headers, "Authorization": authorization}),
            tuple(name.lower() for name in each.depends_on),
        )
        for each in asked
    ]


async def answer_batch(requests: Sequence[InnerRequest], answer: AnswerOne) -> dict[str, Any]:
    """All answers, in an order of their own. Where any depends on another they are made one after the other."""
    answers: dict[str, dict[str, Any]] = {}
    places = asyncio.Semaphore(1 if any(each.depends_on for each in requests) else AT_A_TIME)

    async def one(request: InnerRequest) -> None:
        async with places:
            if any(answers[name]["status"] >= 400 for name in request.depends_on):
                body = {"error": {"code": "FailedDependency", "message": "A request that this depends on failed."}}
                made: dict[str, Any] = {"status": 424, "headers": {}, "body": body}
            else:
                made = _rendered(await answer(request))
            answers[request.id.lower()] = {"id": request.id, **made}

    async with asyncio.TaskGroup() as group:
        for each in requests:
            group.create_task(one(each))
    return {"responses": sorted(answers.values(), key=lambda each: blake2b(each["id"].encode()).digest())}


def _rendered(response: web.Response) -> dict[str, Any]:
    text = response.body if isinstance(response.body, bytes) else b""
    is_json = response.content_type == "application/json" and text
    body = msgspec.json.decode(text) if is_json else b64encode(text).decode()
    return {"status": response.status, "headers": dict(response.headers), "body": body}


def _malformed(message: str) -> GraphError:
    return GraphError(400, "BadRequest", message)
