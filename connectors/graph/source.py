"""The one loop that reads every dataset: a dataset is a declaration (`Collection`), `GraphSource` reads it.

When a collection breaks off (a page token that expired, a page too heavy for its size) it can only be read
from its first page again. As long as nothing was handed over that happens here; afterwards the pages are in
other hands, so the unit is given back (`UnitReadAgain`): its reader drops them and calls again. Restarts,
budgets and page size of such a unit are remembered until then, so that no unit is read more than
MOST_RESTARTS times anew.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from connectors.graph.client import GraphClient
from connectors.graph.errors import Disposition, End, Refusal, outcome
from connectors.graph.paging import CollectionBroken, Request, read_object, read_pages
from connectors.graph.retry import PageSize, SizeHabit, UnitBudget
from pipeline.errors import DatasetDenied, ExportError, FailReason, SkipReason, UnitFailed, UnitReadAgain, UnitSkipped
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
class Reading:
    """What is known of a unit while it is being read."""

    budget: UnitBudget
    habit: SizeHabit = field(default_factory=SizeHabit)
    restarts: int = 0
    sizes: dict[str, PageSize] = field(default_factory=dict, repr=False)  # by the request's path

    def size(self, request: Request) -> PageSize | None:
        """How many items to ask for; what a collection has taught holds when it is read anew."""
        if request.page_items is None:
            return None
        if request.path not in self.sizes:
            self.sizes[request.path] = self.habit.page_size(request.page_items)
        return self.sizes[request.path]


class GraphSource:
    """A `pipeline.ports.Source` made of a declaration and a client; others say how by overriding `read`."""

    def __init__(self, collection: Collection, client: GraphClient) -> None:
        self._collection = collection
        self._client = client
        self._interrupted: dict[Unit, Reading] = {}
        self._habit = SizeHabit()

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
        reading = self._interrupted.pop(unit, None) or Reading(self._client.budget(), self._habit)
        given = False
        while True:
            try:
                async for page in self.read(unit, reading):
                    given = True
                    yield page
            except CollectionBroken as broken:
                if (
                    broken.refusal.row.then is not Disposition.SMALLER_PAGE
                ):  # each of those asks for less than the one before
                    reading.restarts += 1
                if reading.restarts > MOST_RESTARTS:
                    code, request_id = broken.refusal.code, broken.refusal.request_id
                    raise UnitFailed(FailReason.SERVICE_ERROR, code=code, request_id=request_id) from None
                if given:
                    self._interrupted[unit] = reading
                    raise UnitReadAgain("a collection broke off") from None
            except Refusal as refusal:
                raise self._outcome(refusal, unit) from None
            else:
                return

    async def whole(self, unit: Unit) -> list[Page]:
        """All pages of a collection that has to be known in full. Raises: as `pages`, but for UnitReadAgain."""
        while True:
            try:
                return [page async for page in self.pages(unit)]
            except UnitReadAgain:
                continue  # `pages` bounds it

    def _outcome(self, refusal: Refusal, unit: Unit) -> ExportError:
        """As `errors.outcome`; but what would leave out one mailbox must not leave out the tenant, unnoticed."""
        error = outcome(refusal, roles=self._collection.roles)
        if not isinstance(error, UnitSkipped) or unit.principal.kind is not PrincipalKind.TENANT:
            return error
        facts = {"code": refusal.code, "request_id": refusal.request_id}
        if error.reason is SkipReason.OUT_OF_POLICY:
            return DatasetDenied(needs=self._collection.roles, **facts)
        return UnitFailed(FailReason.UNKNOWN_ERROR, **facts)

    async def read(self, unit: Unit, reading: Reading) -> AsyncIterator[Page]:
        """The pages of all requests of the unit, one after the other.

        Raises:
            Refusal, CollectionBroken: `pages` knows what they mean.
        """
        for request in self._collection.requests(unit):
            async for page in self.answers(request, reading):
                yield page

    async def answers(self, request: Request, reading: Reading) -> AsyncGenerator[Page, None]:
        """The pages of one request. Raises: as `read`."""
        collection = self._collection
        try:
            if collection.single:
                yield await read_object(self._client, request, budget=reading.budget)
                return
            size = reading.size(request)
            async for page in read_pages(self._client, request, budget=reading.budget, size=size):
                yield page
            if size is not None:
                reading.habit.note(size)
        except Refusal as refusal:
            if not (collection.may_be_missing and refusal.row.end is End.ITEM_GONE):
                raise
