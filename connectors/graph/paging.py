"""Reads a collection page by page, without ever looking at its records.

Only the envelope is decoded: each record stays the bytes it was, `@odata.nextLink` says whether more follows. A
collection ends on a page without a next link and in no other way; an empty page may well have one.
    https://learn.microsoft.com/graph/paging (checked 2026-11)
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
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

MOST_DAMAGED = 100  # records of one collection that Graph cannot read itself; with more of them it is not the records
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
    # Outlook: later pages can be made smaller by Prefer: odata.maxpagesize, and $skip begins behind so many records.
    sizes_by_header: bool = False
    is_counted: bool = False  # with $count: Graph says on the first page how many records match, on all pages together


async def read_pages(
    client: GraphClient, request: Request, *, budget: UnitBudget, size: PageSize | None, since: str | None = None
) -> AsyncIterator[Page]:
    """Every page that holds records, in Graph's order; with `since`, a next link, those from there on.

    A record that Outlook cannot read itself comes as an empty page with `damaged`, and the others around it come.
    Where the request is counted, one page has what Graph counted as `expected`; it may be empty.

    Raises:
        CollectionBroken: read the collection again from its first page, with what `size` has learnt.
        Refusal: Graph refuses, or answers without sense.
    """
    course = _Course(client, request, size, since=since)
    while True:
        try:
            answer = await client.fetch(course.ask, decode=_page, budget=budget)
            link = answer.link
            following = client.links.following(link, path=request.path) if link is not None else None
        except Refusal as refusal:
            if course.leaves_out(refusal):
                yield Page(b"[]", damaged=1)
            continue
        course.weigh(answer.records)
        items, page = answer.items, Page(answer.records, expected=course.first_count(answer.count))
        del answer  # the page alone holds the records, and can let them go
        if items or page.expected is not None:
            yield page
        course.take(items, link)
        if following is None:
            return
        course.follow(following)


@dataclass(frozen=True, slots=True)
class FirstPage:
    """The first answer of a collection, with what it tells of the others."""

    page: Page
    items: int  # records on it
    has_more: bool
    count: int | None  # of the whole collection, where the request is counted


async def read_first(client: GraphClient, request: Request, *, budget: UnitBudget) -> FirstPage:
    """One request's worth of a collection. Raises: Refusal."""
    size = None if request.page_items is None else PageSize(request.page_items)
    ask = _Course(client, request, size, since=None).ask
    answer = await client.fetch(ask, decode=_page, budget=budget)
    return FirstPage(Page(answer.records), answer.items, answer.link is not None, answer.count)


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


async def read_count(client: GraphClient, request: Request, *, budget: UnitBudget) -> int | None:
    """How many records Graph counts in a collection now; None where it does not say. Raises: Refusal."""
    smallest = {**request.query, "$select": "id", "$top": "1", "$count": "true"}
    ask = Ask(
        url=partial(_same, client.links.first(request.path, smallest)),
        traffic=request.traffic,
        prefer=lambda: request.prefer,
        headers=request.headers,
    )
    answer = await client.fetch(ask, decode=_page, budget=budget)
    return answer.count


def typed(page: Page, decoder: "msgspec.json.Decoder[list[T]]") -> list[T]:
    """The records as the decoder sees them; for the few places that need something out of them.

    Raises:
        UnitFailed: the records do not have that form; what they hold instead is not repeated.
    """
    try:
        return decoder.decode(page.records)
    except msgspec.DecodeError:
        raise UnitFailed(FailReason.BAD_ANSWER, code="unexpected_record") from None


class _Course:
    """Where in a collection we are, and what to ask for next."""

    def __init__(self, client: GraphClient, request: Request, size: PageSize | None, *, since: str | None) -> None:
        self._client = client
        self._request = request
        self._size = size
        self._since = since
        self._items_at_start = 0 if size is None else size.items
        self._followed: set[int] = set()
        self._empty_pages = 0
        self._passed = 0  # records behind us, counted where $skip can make use of it
        self._damaged = 0  # those among them that could not be had
        self._is_counted = not request.is_counted  # or does not have to be
        self.ask = self._beginning()

    def first_count(self, count: int | None) -> int | None:
        """The count of the collection, once; several pages may tell it."""
        if self._is_counted or count is None:
            return None
        self._is_counted = True
        return count

    def take(self, items: int, link: str | None) -> None:
        """Note what a page brought. Raises: Refusal, where the collection has no end."""
        if not items:
            self._empty_pages += 1  # such a page may ask to try the same link once more
            if self._empty_pages > MOST_EMPTY_PAGES:
                raise fault("endless_empty_pages")
        else:
            self._empty_pages = 0
            if link is not None and hash(link) in self._followed:
                raise fault("repeated_next_link")
            if self._request.sizes_by_header:
                self._passed += items
        self._followed.add(hash(link))

    def weigh(self, records: bytes) -> None:
        """Let the weight of a page decide how many items the next one has, where that can still be chosen.

        Elsewhere that of the first page does, for the next collection.
        """
        if self._size is not None and (self._request.sizes_by_header or not self._followed):
            self._size.weighed(len(records), at_most=self._client.scales.page_bytes)

    def follow(self, link: URL) -> None:
        """Ask for the next page."""
        prefer = partial(_prefer, self._request, self._size)
        self.ask = replace(self._beginning(), url=partial(_same, link), prefer=prefer, is_resizable=False)

    def leaves_out(self, refusal: Refusal) -> bool:
        """Whether the next record is left out, being damaged; if not, fewer are asked for, to find it.

        Raises:
            CollectionBroken, Refusal: there is no way on from here.
        """
        size = self._size
        if refusal.row.then is Disposition.ISOLATE and size is not None and self._request.sizes_by_header:
            is_alone = not size.halve()
            if is_alone:
                self._damaged += 1
                if self._damaged > MOST_DAMAGED:
                    raise refusal
                self._passed += 1
                size.restore()
            self.ask = replace(self._beginning(), url=partial(self._at, self._passed))
            return is_alone
        if self._needs_new_start(refusal):
            raise CollectionBroken(refusal) from None
        raise refusal

    def _needs_new_start(self, refusal: Refusal) -> bool:
        """Whether reading the collection anew may get past this refusal."""
        if refusal.row.then is Disposition.RESTART:
            return True
        if not self._followed:
            return False
        if refusal.row.end in (End.ITEM_GONE, End.MAYBE_GONE):
            return True  # a page cannot be gone; whether its mailbox is, the first page tells
        is_smaller = self._size is not None and self._size.items < self._items_at_start
        return refusal.row.then is Disposition.SMALLER_PAGE and is_smaller

    def _beginning(self) -> Ask:
        return Ask(
            url=partial(self._at, 0),
            traffic=self._request.traffic,
            prefer=lambda: self._request.prefer,
            headers=self._request.headers,
            size=self._size,
            is_resizable=self._since is None,
        )

    def _at(self, place: int) -> URL:
        request = self._request
        if self._since is not None:
            return self._client.links.following(self._since, path=request.path)
        top = {} if self._size is None else {"$top": str(self._size.items)}
        skip = {"$skip": str(place)} if place else {}
        count = {"$count": "true"} if request.is_counted else {}
        return self._client.links.first(request.path, {**request.query, **count, **top, **skip})


def _same(url: URL) -> URL:
    """A next link cannot be changed; `_prefer` makes its page smaller where that helps."""
    return url


def _prefer(request: Request, size: PageSize | None) -> tuple[str, ...]:
    if size is not None and size.is_reduced and request.sizes_by_header:
        return (*request.prefer, f"odata.maxpagesize={size.items}")
    return request.prefer


# --- Envelopes --------------------------------------------------------------------------------------------


class _Envelope(msgspec.Struct):
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Listing(_Envelope):
    value: list[msgspec.Raw] | dict[str, msgspec.Raw] | str | float | bool | msgspec.UnsetType | None = msgspec.UNSET
    next_link: str | None = msgspec.field(name="@odata.nextLink", default=None)
    count: msgspec.Raw = msgspec.field(name="@odata.count", default=msgspec.Raw(b""))
    # Documented for these two collections, also where they are not expanded.
    # https://learn.microsoft.com/graph/api/callrecords-callrecord-list-sessions (checked 2026-11)
    next_sessions: str | None = msgspec.field(name="sessions@odata.nextLink", default=None)
    next_participants: str | None = msgspec.field(name="participants_v2@odata.nextLink", default=None)


_envelopes = msgspec.json.Decoder(_Envelope)
_listings = msgspec.json.Decoder(_Listing)
_Opened = TypeVar("_Opened", bound=_Envelope)


@dataclass(frozen=True, slots=True)
class _Answer:
    """One page: `records` is the text of a JSON array, `count` what Graph counts in the whole collection."""

    records: bytes = field(repr=False)
    items: int
    link: str | None = field(repr=False)
    count: int | None


def _page(body: bytes, lenient: bool) -> _Answer:
    listing, _ = _opened(body, _listings, lenient=lenient)
    if not isinstance(listing.value, list):
        raise fault("missing_value")
    links = (listing.next_link, listing.next_sessions, listing.next_participants)
    link = next((link for link in links if link is not None), None)  # an empty link is one that leads nowhere
    count = bytes(listing.count)
    return _Answer(_array(listing.value), len(listing.value), link, int(count) if count.isdigit() else None)


def _array(records: Sequence[msgspec.Raw]) -> bytes:
    """The text of a JSON array. To take records apart and join them costs less than to count them beside."""
    if not records:
        return b"[]"
    texts: list[bytes | msgspec.Raw] = list(records)
    texts[0] = b"[" + bytes(texts[0])
    texts[-1] = bytes(texts[-1]) + b"]"
    return b",".join(texts)


def _object(body: bytes, lenient: bool) -> bytes:
    """The object as the text of a JSON array of one."""
    _, text = _opened(body, _envelopes, lenient=lenient)
    return b"[" + text + b"]"


def _opened(body: bytes, decoder: "msgspec.json.Decoder[_Opened]", *, lenient: bool) -> tuple[_Opened, bytes]:
    """The envelope, and the text it was read from."""
    text = body.removeprefix(BYTE_ORDER_MARK)
    try:
        envelope = decoder.decode(text)
    except (msgspec.DecodeError, RecursionError):  # a ValidationError (no object, say) is a DecodeError too
        if text.lstrip()[:1] == b"<":
            raise fault("html_page") from None
        if not lenient:
            raise fault("malformed_json") from None
        text = _rewritten(text)
        try:
            envelope = decoder.decode(text)
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
