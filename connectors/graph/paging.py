"""Reads a collection page by page, without ever looking at its records.

Only the envelope is decoded: `value` stays the bytes it was, `@odata.nextLink` says whether more follows. A
collection ends on a page without a next link and in no other way; an empty page may well have one.
    https://learn.microsoft.com/graph/paging (checked 2026-11)
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import msgspec
from yarl import URL

from connectors.graph.client import Ask, GraphClient
from connectors.graph.errors import Disposition, End, GraphError, Refusal, fault
from connectors.graph.retry import PageSize, UnitBudget
from connectors.graph.traffic import Traffic
from pipeline.errors import FailReason, UnitFailed
from pipeline.model import Page

T = TypeVar("T")

MOST_EMPTY_PAGES = 1_000  # in a row; a collection that ends with more of them does not end
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class CollectionBroken(GraphError):
    """A page token died, or a page is too heavy for its size: only the first page can be asked for again."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One collection, or one object, of Graph. `path` is made by `links.segments`: it holds identifiers."""

    path: str = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    traffic: Traffic
    prefer: tuple[str, ...] = ()  # repeated on every page: a next link does not remember headers
    headers: Mapping[str, str] = field(default_factory=dict)
    page_items: int | None = None  # asked for with $top; None where the endpoint has no pages to size
    sizes_by_header: bool = False  # Outlook: later pages can be made smaller by Prefer: odata.maxpagesize


async def read_pages(
    client: GraphClient, request: Request, *, budget: UnitBudget, size: PageSize | None
) -> AsyncIterator[Page]:
    """Every page that holds records, in Graph's order.

    Raises:
        CollectionBroken: read the collection again from its first page, with what `size` has learnt.
        Refusal: Graph refuses, or answers without sense.
    """
    followed: set[int] = set()
    empty_pages = 0

    def first() -> URL:
        top = {} if size is None else {"$top": str(size.items)}
        return client.links.first(request.path, {**request.query, **top})

    ask = Ask(url=first, traffic=request.traffic, prefer=lambda: request.prefer, headers=request.headers, size=size)
    while True:
        try:
            records, link = await client.fetch(ask, decode=_page, budget=budget)
            following = client.links.following(link) if link is not None else None
        except Refusal as refusal:
            if _needs_new_start(refusal, size, is_first=not followed):
                raise CollectionBroken(refusal) from None
            raise
        if _is_empty(records):
            empty_pages += 1  # such a page may ask to try the same link once more
        else:
            empty_pages = 0
            yield Page(records)
            if link is not None and hash(link) in followed:
                raise fault("repeated_next_link")
        if following is None or link is None:
            return
        if empty_pages > MOST_EMPTY_PAGES:
            raise fault("endless_empty_pages")
        followed.add(hash(link))
        ask = replace(ask, url=partial(_same, following), prefer=partial(_prefer, request, size))


async def read_object(client: GraphClient, request: Request, *, budget: UnitBudget) -> Page:
    """The one object of a request, as a page of one record."""
    url = client.links.first(request.path, request.query)
    ask = Ask(
        url=lambda: url,
        traffic=request.traffic,
        prefer=lambda: request.prefer,
        headers=request.headers,
    )
    return Page(await client.fetch(ask, decode=_object, budget=budget))


def typed(page: Page, decoder: "msgspec.json.Decoder[list[T]]") -> list[T]:
    """The records as the decoder sees them; for the few places that need something out of them.

    Raises:
        UnitFailed: the records do not have that form; what they hold instead is not repeated.
    """
    try:
        return decoder.decode(page.records)
    except msgspec.DecodeError:
        raise UnitFailed(FailReason.BAD_ANSWER, code="unexpected_record") from None


def _needs_new_start(refusal: Refusal, size: PageSize | None, *, is_first: bool) -> bool:
    """Whether reading the collection anew may get past this refusal."""
    if refusal.row.then is Disposition.RESTART:
        return True
    if is_first:
        return False
    if refusal.row.end in (End.ITEM_GONE, End.MAYBE_GONE):
        return True  # a page cannot be gone; whether its mailbox is, the first page tells
    return refusal.row.then is Disposition.SMALLER_PAGE and size is not None and size.is_reduced


def _same(url: URL) -> URL:
    """A next link cannot be changed; `_prefer` makes its page smaller where that helps."""
    return url


def _prefer(request: Request, size: PageSize | None) -> tuple[str, ...]:
    if size is not None and size.is_reduced and request.sizes_by_header:
        return (*request.prefer, f"odata.maxpagesize={size.items}")
    return request.prefer


# --- Envelopes --------------------------------------------------------------------------------------------


class _Envelope(msgspec.Struct):
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    next_link: str | None = msgspec.field(name="@odata.nextLink", default=None)
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_envelopes = msgspec.json.Decoder(_Envelope)


def _page(body: bytes, lenient: bool) -> tuple[bytes, str | None]:
    """The records as the text of a JSON array, and the next link."""
    envelope, _ = _opened(body, lenient=lenient)
    if envelope.value is msgspec.UNSET:
        raise fault("missing_value")
    records = bytes(envelope.value)
    if not records.startswith(b"["):
        raise fault("missing_value")
    return records, envelope.next_link


def _object(body: bytes, lenient: bool) -> bytes:
    """The object as the text of a JSON array of one."""
    _, text = _opened(body, lenient=lenient)
    return b"[" + text + b"]"


def _opened(body: bytes, *, lenient: bool) -> tuple[_Envelope, bytes]:
    """The envelope, and the text it was read from."""
    text = body.removeprefix(BYTE_ORDER_MARK)
    try:
        envelope = _envelopes.decode(text)
    except (msgspec.DecodeError, RecursionError):  # a ValidationError (no object, say) is a DecodeError too
        if text.lstrip()[:1] == b"<":
            raise fault("html_page") from None
        if not lenient:
            raise fault("malformed_json") from None
        text = _rewritten(text)
        try:
            envelope = _envelopes.decode(text)
        except (msgspec.DecodeError, RecursionError):
            raise fault("malformed_json") from None
    if envelope.error is not msgspec.UNSET:
        raise fault("error_in_success")
    return envelope, text


def _rewritten(text: bytes) -> bytes:
    """The same JSON with control characters escaped and lone surrogates replaced, or a Refusal."""
    try:
        loose = json.loads(text.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        raise fault("malformed_json") from None
    return json.dumps(loose, ensure_ascii=False).encode("utf-8", "replace")


def _is_empty(records: bytes) -> bool:
    return not records[1:-1].strip() if len(records) < 64 else False
