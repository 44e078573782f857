"""Reads one unit: fetch its pages, sanitize them, hold the rows until the unit is whole."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline.errors import FailReason, UnitFailed, UnitReadAgain, WindowTooLarge
from pipeline.journal import DoneUnit
from pipeline.model import Page, Principal, Unit, Window
from pipeline.parts import Blocking, UnitResult
from pipeline.ports import RowFilter, Source

BATCH_BYTES = 1 << 20  # small pages are sanitized together: the cost of a call is shared, the pause stays short


class CleanedRows(Protocol):
    """Sanitized rows of a batch; `rows` is a table that only sanitizer and sink look into."""

    @property
    def rows(self) -> Any: ...

    @property
    def rejected(self) -> Mapping[str, int]: ...


class Sanitizer(Protocol):
    """Raw pages of one dataset to sanitized rows. Called on worker threads."""

    def clean(self, pages: Sequence[bytes], *, window: Window | None, row_filter: RowFilter | None) -> CleanedRows:
        """Raises: ValueError, when a page is no JSON array; the message holds nothing of it."""
        ...

    def whole(self, batches: Sequence[Any]) -> Any:
        """The rows of a unit, each key once: the one read last."""
        ...


@dataclass(slots=True)
class _Held:
    """What has been read of a unit so far."""

    batches: list[Any] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    bytes: int = 0


class UnitReader:
    """Reads units; knows nothing of parts, journals or what happens to a failure."""

    def __init__(
        self,
        *,
        sources: Mapping[str, Source],
        sanitizers: Mapping[str, Sanitizer],
        pseudonym: Callable[[Principal], str],
        owner: Callable[[str, Principal], str | None],
        blocking: Blocking,
        largest_unit_bytes: int,
    ) -> None:
        """`owner` gives the `_owner` value of a dataset's rows; `largest_unit_bytes` bounds what one unit may hold."""
        self._sources = sources
        self._sanitizers = sanitizers
        self._pseudonym = pseudonym
        self._owner = owner
        self._blocking = blocking
        self._largest_unit_bytes = largest_unit_bytes

    async def read(self, unit: Unit, *, observe: Callable[[Page], None] | None = None) -> UnitResult:
        """The whole unit. `observe` sees each raw page, to learn principals from it.

        Raises:
            UnitSkipped, UnitFailed, DatasetDenied, SourceRefused: from the source.
            WindowTooLarge: the unit has a window and holds more than it may.
        """
        while True:
            try:
                held = await self._hold(unit, observe)
            except UnitReadAgain:
                continue  # the source bounds how often
            sanitizer = self._sanitizers[unit.dataset]
            rows = await self._blocking(sanitizer.whole, held.batches)
            return UnitResult(
                dataset=unit.dataset,
                unit=self._done(unit, len(rows)),
                owner=self._owner(unit.dataset, unit.principal),
                rows=rows,
                rejected=held.rejected,
            )

    async def _hold(self, unit: Unit, observe: Callable[[Page], None] | None) -> _Held:
        source = self._sources[unit.dataset]
        row_filter = source.filter(unit)
        held = _Held()
        waiting: list[bytes] = []
        waiting_bytes = 0
        async for page in source.pages(unit):
            if observe is not None:
                observe(page)
            waiting.append(page.records)
            waiting_bytes += len(page.records)
            if waiting_bytes >= BATCH_BYTES:
                await self._clean(unit, waiting, row_filter, held)
                waiting, waiting_bytes = [], 0
        await self._clean(unit, waiting, row_filter, held)
        return held

    async def _clean(self, unit: Unit, pages: Sequence[bytes], row_filter: RowFilter | None, held: _Held) -> None:
        sanitizer = self._sanitizers[unit.dataset]
        try:
            cleaned = await self._blocking(sanitizer.clean, pages, window=unit.window, row_filter=row_filter)
        except ValueError:
            raise UnitFailed(FailReason.BAD_ANSWER, code="unreadable_page") from None
        held.batches.append(cleaned.rows)
        held.rejected.update(cleaned.rejected)
        held.bytes += cleaned.rows.nbytes
        if held.bytes > self._largest_unit_bytes and unit.window is not None:
            raise WindowTooLarge("a unit holds more rows than memory allows")

    def _done(self, unit: Unit, rows: int) -> DoneUnit:
        window = unit.window
        return DoneUnit(
            self._pseudonym(unit.principal),
            window.start if window else None,
            window.end if window else None,
            rows,
        )
