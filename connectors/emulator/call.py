"""One request to Graph as an endpoint sees it, and what an endpoint answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from connectors.emulator.errors import GraphError, bad_query, no_directory_object
from connectors.emulator.filters import Filter, FilterError, parse_filter, parse_orderby
from connectors.emulator.paging import Place, Round
from connectors.emulator.people import Person
from connectors.emulator.tenant import Tenant
from connectors.emulator.tokens import Grant

_WALKED_PER_RECORD = 20  # a page that finds too little to show ends after walking so many times its size


class Service(StrEnum):
    """Which service stands behind an endpoint: it decides limits and the shape of refusals."""

    DIRECTORY = "directory"
    OUTLOOK = "outlook"
    TEAMS = "teams"
    CALLS = "calls"  # call records, call logs, online meetings


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Part of a collection: `next_position` is None on the last page; `count` becomes @odata.count.

    `round` is what the link of a delta query leads on with: to the next page, or from the last one to the next round.
    """

    records: Sequence[Mapping[str, Any]] = field(repr=False)
    next_position: int | None = None
    next_is_after_empty: bool = False
    count: int | None = None
    round: Round | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an endpoint answers: a page or a single object, with its own headers."""

    page: Page | None = None
    record: Mapping[str, Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that has a route, a valid token and enough roles. `options` are the query options with their $."""

    tenant: Tenant
    grant: Grant = field(repr=False)
    keys: Mapping[str, str] = field(repr=False)
    options: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    address: str = field(repr=False)  # of the collection, without its query, as the service spells it
    place: Place
    is_next_page: bool
    roll: Callable[[str], float]  # a number in [0, 1) that the same page always gets
    link: Callable[[str, Mapping[str, str], Mapping[str, str], int], str]
    """A next link into another collection: kind of its route, keys, query options, position."""

    @property
    def preferences(self) -> dict[str, str]:
        """The `Prefer` header: names in lower case, values without quotes."""
        found = {}
        for part in self.headers.get("Prefer", "").split(","):
            name, _, value = part.strip().partition("=")
            found[name.strip().lower()] = value.strip().strip('"')
        return found

    @property
    def wants_immutable_ids(self) -> bool:
        """Never remembered from the first page: a client that forgets the header gets ids in the other format."""
        return self.preferences.get("idtype", "").lower() == "immutableid"

    @property
    def select(self) -> tuple[str, ...] | None:
        """The names in $select."""
        text = self.options.get("$select")
        return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())

    @property
    def filter(self) -> Filter | None:
        """The parsed $filter. Raises GraphError."""
        text = self.options.get("$filter")
        try:
            return None if text is None else parse_filter(text)
        except FilterError as error:
            raise bad_query(f"Invalid filter clause: {error}.") from error

    @property
    def order(self) -> list[tuple[str, bool]]:
        """The parsed $orderby. Raises GraphError."""
        text = self.options.get("$orderby")
        try:
            return [] if text is None else parse_orderby(text)
        except FilterError as error:
            raise bad_query("Syntax error in '$orderby'.") from error

    @property
    def wants_count(self) -> bool:
        """`$count=true`."""
        return self.options.get("$count", "").lower() == "true"

    @property
    def preferred_page(self) -> int | None:
        """`Prefer: odata.maxpagesize`."""
        text = self.preferences.get("odata.maxpagesize", "")
        return int(text) if text.isdigit() and int(text) > 0 else None

    def top(self) -> int | None:
        """`$top` as a number. Raises GraphError."""
        text = self.options.get("$top")
        if text is None:
            return None
        if not text.isdigit() or int(text) == 0:
            raise bad_query(f"Invalid value '{text}' for $top query option found.")
        return int(text)

    def person(self) -> Person:
        """The user in the path. Raises GraphError 404."""
        try:
            return self.tenant.person(self.keys["user"])
        except KeyError:
            raise no_directory_object(self.keys["user"]) from None

    def page_of(
        self,
        walk: Callable[[int], Iterator[Mapping[str, Any] | None]],
        *,
        length: int,
        size: int,
        count: int | None = None,
    ) -> Page:
        """The next page of a collection.

        `walk` yields the records from a position on, None where a place shows nothing; `length` counts all places.
        Now and then a page is shorter than `size`, or empty with a next link, as the profile says.
        """
        start, profile = self.place.position, self.tenant.profile
        rest = length - start
        if rest > size and not self.place.after_empty and self.roll("empty") < profile.empty_pages:
            return Page(records=[], next_position=start, next_is_after_empty=True, count=count)
        if rest > 1 and size > 1 and self.roll("short") < profile.short_pages:
            size = max(1, size * 2 // 3)
        records: list[Mapping[str, Any]] = []
        walked = 0
        for record in walk(start):
            walked += 1
            if record is not None:
                records.append(record)
            if len(records) == size or walked == _WALKED_PER_RECORD * size:
                break
        reached = start + walked
        return Page(records=records, next_position=reached if reached < length else None, count=count)


def refuse_options(call: Call, *names: str) -> None:
    """Raises GraphError where the request carries a query option that the endpoint does not know."""
    for name in names:
        if name in call.options:
            raise bad_query(f"The query option '{name}' is not supported for this resource.")


def too_large(limit: int, top: int | None) -> GraphError | None:
    """The refusal of Teams for a $top above its limit."""
    if top is None or top <= limit:
        return None
    return bad_query(
        f"The limit of '{limit}' for Top query has been exceeded. The value from the incoming request is '{top}'."
    )
