"""Reads one unit: fetch its pages, sanitize them, hold the rows until the unit is whole, let the guard look at them."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from msgspec.structs import replace as replace_struct

from pipeline.completeness import Comparison, Method
from pipeline.done import DoneUnit
from pipeline.errors import FailReason, UnitFailed, UnitReadAgain, WindowTooLarge
from pipeline.field_counts import FieldCounts, is_scanned
from pipeline.memory import Hold, Memory
from pipeline.model import Page, Principal, Unit, Window
from pipeline.parts import UnitResult
from pipeline.ports import Blocking, RowFilter, Source
from pipeline.process import give_back

DAMAGED = "damaged_at_source"  # why a record is missing that Graph itself cannot read any more
CLEANING_COPIES = 4  # of the pages: joined into one text, read into columns, these rewritten
GUARDED_ROWS = 16_384  # looked at in one go: the users of a large tenant are one unit
BATCH_BYTES = 2 << 20  # pages are sanitized together: the cost of a call and of a value that repeats is shared


class CleanedRows(Protocol):
    """Sanitized rows of a batch; `rows` is a table that only sanitizer and sink look into."""

    @property
    def rows(self) -> Any: ...

    @property
    def rejected(self) -> Mapping[str, int]: ...

    @property
    def seen(self) -> "SeenFields": ...

    @property
    def elsewhere(self) -> int:
        """Records that belong to another unit."""
        ...


class SeenFields(Protocol):
    """Fields that a scan met in raw records and that stay behind: how often they had a value, in how many records."""

    @property
    def counts(self) -> Mapping[str, int]: ...

    @property
    def records(self) -> int: ...


class Sanitizer(Protocol):
    """Raw pages of one dataset to sanitized rows. Called on worker threads."""

    def clean(
        self, pages: Sequence[bytes], *, window: Window | None, row_filter: RowFilter | None, scan: bool
    ) -> CleanedRows:
        """Raises: ValueError, when a page is no JSON array; the message holds nothing of it."""
        ...

    def whole(self, batches: Sequence[Any]) -> Any:
        """The rows of a unit, each key once: the one read last."""
        ...


class Verdict(Protocol):
    """What the guard found in rows."""

    @property
    def breach(self) -> object | None:
        """What must not leave, if anything; its text names dataset, column and rule, never the value."""
        ...

    @property
    def kept(self) -> Mapping[str, int]:
        """How many values each path has."""
        ...


class Guard(Protocol):
    """The last look at the rows of one dataset. Called on worker threads."""

    def check(self, rows: Any, *, owner: str | None) -> Verdict: ...


class Directory(Protocol):
    """What the guards know of the tenant's people."""

    @property
    def dataset(self) -> str:
        """Whose raw pages it learns from."""
        ...

    @property
    def generation(self) -> int:
        """Grows with what it knows."""
        ...

    def learn(self, records: bytes) -> None:
        """Take in a raw page. Called on worker threads; the same page twice changes nothing."""
        ...


@dataclass(slots=True)
class _Held:
    """What has been read of a unit so far."""

    batches: list[Any] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    fields: FieldCounts = field(default_factory=FieldCounts)
    bytes: int = 0
    elsewhere: int = 0
    withheld: int = 0
    expected: int | None = None


def _look_away(_unit: Unit, _page: Page) -> None:
    """Nobody learns from raw pages."""


class UnitReader:
    """Reads units; knows nothing of parts, journals or what happens to a failure."""

    def __init__(
        self,
        *,
        sources: Mapping[str, Source],
        sanitizers: Mapping[str, Sanitizer],
        guards: Mapping[str, Guard],
        directory: Directory,
        run_id: str,
        pseudonym: Callable[[Principal], str],
        owner: Callable[[str, Principal], str | None],
        blocking: Blocking,
        memory: Memory,
        see: Callable[[Unit, Page], None] = _look_away,
    ) -> None:
        """`owner` gives the `_owner` value of a dataset's rows; `memory` says when a page may come.

        `see` is shown every raw page, for datasets that learn from others; `run_id` chooses the pages that are
        scanned for the field ledger.
        """
        self._sources = sources
        self._sanitizers = sanitizers
        self._guards = guards
        self._directory = directory
        self._run_id = run_id
        self._pseudonym = pseudonym
        self._owner = owner
        self._blocking = blocking
        self._memory = memory
        self._see = see

    async def read(self, unit: Unit, hold: Hold, *, observe: Callable[[Page], None] | None = None) -> UnitResult:
        """The whole unit; where the number of its records is not what was expected, as it is read the second time.

        Its bytes are on the account `hold`. `observe` sees each raw page, to learn principals from it.

        Raises:
            UnitSkipped, UnitFailed, DatasetDenied, SourceRefused: from the source.
            WindowTooLarge: the unit has a window and holds more than it may.
        """
        known_before = self._directory.generation
        comparison = Comparison(self._sources[unit.dataset].completeness)
        while True:
            try:
                held = await self._read_pages(unit, hold, observe)
            except UnitReadAgain:
                hold.clear()
                continue  # the source bounds how often
            result, breach = self._idle(unit, held), None
            if held.batches:
                result, breach = await self._blocking(self._finish, unit, held)
            if breach is None:
                if await self._is_settled(unit, held, result, comparison):
                    return replace(result, unit=replace_struct(result.unit, completeness=comparison.finding))
                del held, result  # two readings are not held at once
                hold.clear()
                continue
            known_now = self._directory.generation
            if unit.dataset != self._directory.dataset or known_now == known_before:
                raise UnitFailed(FailReason.EGRESS_GUARD, code=str(breach))
            known_before = known_now  # rows were cleaned before all names were known: read them once more
            hold.clear()

    async def _is_settled(self, unit: Unit, held: _Held, result: UnitResult, comparison: Comparison) -> bool:
        """Whether what was read is what the unit will be; otherwise it is read once more."""
        accounted = result.unit.rows + held.rejected.total() + held.elsewhere
        after: int | None = None
        if comparison.method is Method.COUNT and held.expected not in (None, accounted):
            after = await self._sources[unit.dataset].count(unit)
        return comparison.settled_by(expected=held.expected, accounted=accounted, after=after)

    def _finish(self, unit: Unit, held: _Held) -> tuple[UnitResult, object | None]:
        """The unit as it will be published, and what the guard has against that. On a worker thread."""
        is_huge = held.bytes > self._memory.largest_unit_bytes  # and could not be divided: a large tenant's users
        with self._memory.working(held.bytes):
            if is_huge:
                give_back()
            joined = self._joined(unit, held)
            if is_huge:
                give_back()
            return joined

    def _idle(self, unit: Unit, held: _Held) -> UnitResult:
        """A unit of which nothing was read: most units of most nights, so nothing is computed for it."""
        return UnitResult(
            unit.dataset, self._done(unit, 0, withheld=held.withheld), None, (), held.rejected, held.fields
        )

    def _joined(self, unit: Unit, held: _Held) -> tuple[UnitResult, object | None]:
        rows = self._sanitizers[unit.dataset].whole(held.batches)
        owner = self._owner(unit.dataset, unit.principal)
        breach, held.fields.kept = self._guarded(unit.dataset, rows, owner)
        result = UnitResult(
            dataset=unit.dataset,
            unit=self._done(unit, len(rows), withheld=held.withheld),
            owner=owner,
            rows=rows,
            rejected=held.rejected,
            fields=held.fields,
        )
        return result, breach

    def _guarded(self, dataset: str, rows: Any, owner: str | None) -> tuple[object | None, dict[str, int]]:
        """What the guard has against the rows, if anything, and how many values each path has."""
        guard, breach = self._guards[dataset], None
        kept: Counter[str] = Counter()
        for first in range(0, len(rows), GUARDED_ROWS):
            verdict = guard.check(rows.slice(first, GUARDED_ROWS), owner=owner)
            kept.update(verdict.kept)
            breach = breach or verdict.breach
        return breach, dict(kept)

    async def _read_pages(self, unit: Unit, hold: Hold, observe: Callable[[Page], None] | None) -> _Held:
        source = self._sources[unit.dataset]
        row_filter = source.filter(unit)
        held = _Held()
        waiting: list[bytes] = []
        waiting_bytes = 0
        async for page in _when_there_is_room(source.pages(unit), hold):
            if observe is not None:
                observe(page)
            self._see(unit, page)
            if unit.dataset == self._directory.dataset:
                await self._blocking(self._directory.learn, page.records)
            if page.expected is not None:
                held.expected = page.expected
            if page.damaged:
                held.rejected[DAMAGED] += page.damaged
            held.withheld += page.withheld
            if page.records == b"[]":
                continue
            waiting.append(page.records)
            waiting_bytes += len(page.records)
            page.let_go()
            if waiting_bytes >= BATCH_BYTES:
                await self._clean(unit, hold, waiting, row_filter, held)
                waiting, waiting_bytes = [], 0
        if waiting:
            await self._clean(unit, hold, waiting, row_filter, held)
        return held

    async def _clean(
        self, unit: Unit, hold: Hold, pages: Sequence[bytes], row_filter: RowFilter | None, held: _Held
    ) -> None:
        """Sanitize pages that follow on those held; all are scanned for the field ledger when one of them is chosen."""
        sanitizer = self._sanitizers[unit.dataset]
        first = held.fields.pages
        scan = any(is_scanned(self._run_id, unit, first + index) for index in range(len(pages)))
        page_bytes = sum(map(len, pages))

        def clean() -> CleanedRows:
            with self._memory.working(CLEANING_COPIES * page_bytes):
                return sanitizer.clean(pages, window=unit.tile, row_filter=row_filter, scan=scan)

        try:
            cleaned = await self._blocking(clean)
        except ValueError:
            raise UnitFailed(FailReason.BAD_ANSWER, code="unreadable_page") from None
        held.batches.append(cleaned.rows)
        held.rejected.update(cleaned.rejected)
        held.elsewhere += cleaned.elsewhere
        held.fields.pages += len(pages)
        held.fields.scanned_pages += len(pages) if scan else 0
        held.fields.add_left_behind(cleaned.seen.counts, records=cleaned.seen.records)
        held.bytes += cleaned.rows.nbytes
        hold.cleaned(page_bytes, rows_bytes=cleaned.rows.nbytes)
        if held.bytes > self._memory.largest_unit_bytes and unit.window is not None:
            raise WindowTooLarge("a unit holds more rows than memory allows")

    def _done(self, unit: Unit, rows: int, *, withheld: int) -> DoneUnit:
        window = unit.window
        return DoneUnit(
            self._pseudonym(unit.principal),
            window.start if window else None,
            window.end if window else None,
            rows,
            withheld=withheld,
        )


async def _when_there_is_room(pages: AsyncIterator[Page], hold: Hold) -> AsyncIterator[Page]:
    """The pages of a unit, none of which is asked for before memory has room for it."""
    while True:
        await hold.room()
        try:
            page = await anext(pages)
        except StopAsyncIteration:
            hold.ended()
            return
        hold.arrived(len(page.records))
        yield page
