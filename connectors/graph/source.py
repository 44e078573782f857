"""The one loop that reads every dataset: a dataset is a declaration (`Collection`), `GraphSource` reads it.

When a collection breaks off (a page token that expired, a page too heavy for its size) it can only be read
from its first page again. As long as nothing was handed over that happens here; afterwards the pages are in
other hands, so the unit is given back (`UnitReadAgain`): its reader drops them and calls again. Restarts,
budgets and page size of such a unit are remembered until then, so that no unit is read more than
MOST_RESTARTS times anew.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from connectors.graph.client import GraphClient
from connectors.graph.errors import Disposition, End, Refusal, outcome
from connectors.graph.paging import CollectionBroken, Request, read_count, read_object, read_pages
from connectors.graph.retry import PageSize, SizeHabit, UnitBudget
from pipeline.completeness import Method
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
    completeness: Method = Method.NONE  # `count`: the requests are counted; `enumeration`: the unit is one object
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
    expected: int | None = 0  # records in the collections read so far; None where one of them was not counted

    def add_expected(self, count: int | None) -> None:
        """One more collection was read; `count` is how many records it was to have."""
        self.expected = None if self.expected is None or count is None else self.expected + count

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

    @property
    def completeness(self) -> Method:
        return self._collection.completeness

    def filter(self, unit: Unit) -> RowFilter | None:
        return self._collection.filters(unit)

    def enumerated(self, page: Page) -> Sequence[Principal]:
        return self._collection.enumerates(page)

    async def count(self, unit: Unit) -> int | None:
        """The count of all collections of the unit together; None where Graph does not count one of them now.

        Raises: DatasetDenied, SourceRefused.
        """
        budget, counted = self._client.budget(), 0
        try:
            async for request in self.requests(unit, budget):
                count = await self._count(request, budget)
                if count is None:
                    return None
                counted += count
        except (Refusal, CollectionBroken):
            return None
        return counted

    async def _count(self, request: Request, budget: UnitBudget) -> int | None:
        try:
            return await read_count(self._client, request, budget=budget)
        except Refusal as refusal:
            if self._is_missing(refusal):
                return 0
            raise

    async def pages(self, unit: Unit) -> AsyncIterator[Page]:
        """Every page of the unit that holds records, then an empty one with what is `expected`, where that is known.

        Raises:
            UnitSkipped, UnitFailed, DatasetDenied, SourceRefused: as `pipeline.errors` describes.
            UnitReadAgain: drop the pages and call again; at most MOST_RESTARTS times for one unit.
        """
        reading = self._interrupted.pop(unit, None) or Reading(self._client.budget(), self._habit)
        given = False
        while True:
            reading.expected = 0
            try:
                async for page in self.read(unit, reading):
                    given = True
                    yield page
                if self.completeness is not Method.NONE and reading.expected is not None:
                    yield Page(b"[]", expected=reading.expected)
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
                raise self.outcome(refusal, unit) from None
            else:
                return

    async def whole(self, unit: Unit) -> list[Page]:
        """All pages of a collection that has to be known in full. Raises: as `pages`, but for UnitReadAgain."""
        while True:
            try:
                return [page async for page in self.pages(unit)]
            except UnitReadAgain:
                continue  # `pages` bounds it

    def outcome(self, refusal: Refusal, unit: Unit) -> ExportError:
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
        async for request in self.requests(unit, reading.budget):
            async for page in self.answers(request, reading):
                yield page

    async def requests(self, unit: Unit, budget: UnitBudget) -> AsyncIterator[Request]:
        """The collections of a unit, one after the other. Raises: as `read`."""
        del budget  # for those who have to look something up
        for request in self._collection.requests(unit):
            yield request

    async def answers(self, request: Request, reading: Reading) -> AsyncGenerator[Page, None]:
        """The pages of one request. Raises: as `read`."""
        collection = self._collection
        try:
            if collection.single:
                page = await read_object(self._client, request, budget=reading.budget)
                reading.add_expected(1)
                yield page
                return
            size = reading.size(request)
            counted: int | None = None
            async for page in read_pages(self._client, request, budget=reading.budget, size=size):
                counted = counted if page.expected is None else page.expected
                yield replace(page, expected=None)
            reading.add_expected(counted)
            if size is not None:
                reading.habit.note(size)
        except Refusal as refusal:
            if not self._is_missing(refusal):
                raise

    def _is_missing(self, refusal: Refusal) -> bool:
        """The folder that was asked for does not exist, and that is no fault."""
        return self._collection.may_be_missing and refusal.row.end is End.ITEM_GONE
