"""The one loop that reads every dataset: a dataset is a declaration (`Collection`), `GraphSource` reads it.

When a collection breaks off (a page token that expired, a page too heavy for its size) it can only be read
from its first page again. As long as nothing was handed over that happens here; afterwards the pages are in
other hands, so the unit is given back (`UnitReadAgain`): its reader drops them and calls again. Restarts,
budgets and page size of such a unit are remembered until then, so that no unit is read more than
MOST_RESTARTS times anew.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from connectors.graph.client import GraphClient
from connectors.graph.errors import End, Refusal, outcome
from connectors.graph.paging import CollectionBroken, Request, read_object, read_pages
from connectors.graph.retry import PageSize, UnitBudget
from pipeline.errors import FailReason, UnitFailed, UnitReadAgain
from pipeline.model import Page, Principal, PrincipalKind, Unit
from pipeline.ports import RowFilter

MOST_RESTARTS = 5
NO_TIME = timedelta(0)
ANY_LENGTH = timedelta(days=36_525)  # a century: such windows are never divided


def no_principals(_page: Page) -> Sequence[Principal]:
    return ()


def no_filter(_unit: Unit) -> RowFilter | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """How one dataset is read. `roles`: permissions that would do, for the message when none is granted."""

    dataset: str
    connector: str
    principals: PrincipalKind
    requests: Callable[[Unit], Iterable[Request]]  # read one after the other
    roles: tuple[str, ...]
    windowed: bool = False
    settle: timedelta = NO_TIME
    overlap: timedelta = NO_TIME
    ahead: timedelta = NO_TIME
    from_beginning: bool = False
    longest_window: timedelta = ANY_LENGTH
    instants: tuple[str, ...] = ()
    single: bool = False  # the answer is one object, not a collection
    may_be_missing: bool = False  # a request of several whose folder does not exist holds nothing
    enumerates: Callable[[Page], Sequence[Principal]] = no_principals
    filters: Callable[[Unit], RowFilter | None] = no_filter


@dataclass(slots=True)
class _Reading:
    """What is known of a unit while it is being read."""

    budget: UnitBudget
    restarts: int = 0
    sizes: dict[int, PageSize] = field(default_factory=dict)  # by the request's place in the unit

    def size(self, place: int, request: Request) -> PageSize | None:
        if request.page_items is None:
            return None
        return self.sizes.setdefault(place, PageSize(request.page_items))


class GraphSource:
    """A `pipeline.ports.Source` made of a declaration and a client."""

    def __init__(self, collection: Collection, client: GraphClient) -> None:
        self._collection = collection
        self._client = client
        self._interrupted: dict[Unit, _Reading] = {}

    @property
    def dataset(self) -> str:
        return self._collection.dataset

    @property
    def connector(self) -> str:
        return self._collection.connector

    @property
    def principals(self) -> PrincipalKind:
        return self._collection.principals

    @property
    def windowed(self) -> bool:
        return self._collection.windowed

    @property
    def settle(self) -> timedelta:
        return self._collection.settle

    @property
    def overlap(self) -> timedelta:
        return self._collection.overlap

    @property
    def ahead(self) -> timedelta:
        return self._collection.ahead

    @property
    def from_beginning(self) -> bool:
        return self._collection.from_beginning

    @property
    def longest_window(self) -> timedelta:
        return self._collection.longest_window

    @property
    def instants(self) -> tuple[str, ...]:
        return self._collection.instants

    def filter(self, unit: Unit) -> RowFilter | None:
        return self._collection.filters(unit)

    def enumerated(self, page: Page) -> Sequence[Principal]:
        return self._collection.enumerates(page)

    async def pages(self, unit: Unit) -> AsyncIterator[Page]:
        """Every page of the unit that holds records.

        Raises:
            UnitSkipped, UnitFailed, DatasetDenied, SourceRefused: as `pipeline.errors` describes.
            UnitReadAgain: drop the pages and call again; at most MOST_RESTARTS times for one unit.
        """
        reading = self._interrupted.pop(unit, None) or _Reading(self._client.budget())
        given = False
        while True:
            try:
                async for page in self._read(unit, reading):
                    given = True
                    yield page
            except CollectionBroken as broken:
                reading.restarts += 1
                if reading.restarts > MOST_RESTARTS:
                    code, request_id = broken.refusal.code, broken.refusal.request_id
                    raise UnitFailed(FailReason.SERVICE_ERROR, code=code, request_id=request_id) from None
                if given:
                    self._interrupted[unit] = reading
                    raise UnitReadAgain("a collection broke off") from None
            except Refusal as refusal:
                raise outcome(refusal, roles=self._collection.roles) from None
            else:
                return

    async def _read(self, unit: Unit, reading: _Reading) -> AsyncIterator[Page]:
        collection = self._collection
        for place, request in enumerate(collection.requests(unit)):
            try:
                if collection.single:
                    yield await read_object(self._client, request, budget=reading.budget)
                    continue
                size = reading.size(place, request)
                async for page in read_pages(self._client, request, budget=reading.budget, size=size):
                    yield page
            except Refusal as refusal:
                if not (collection.may_be_missing and refusal.row.end is End.ITEM_GONE):
                    raise
