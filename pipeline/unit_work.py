"""Reads one unit to its end: into a part, or among the skipped or failed; divides it where it is too large.

The same for whoever reads: the run itself, or a worker on another machine.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from pipeline.errors import FailReason, SourceRefused, UnitFailed, UnitSkipped, WindowTooLarge
from pipeline.facts import UnitEnd
from pipeline.memory import Memory
from pipeline.model import Unit
from pipeline.parts import UnitResult
from pipeline.reading import UnitReader

Take = Callable[[Unit, UnitResult], Awaitable[None]]


class Outcomes(Protocol):
    """Who is told what becomes of each unit."""

    def planned(self, units: Sequence[Unit]) -> None: ...

    def finished(self, unit: Unit, result: UnitResult) -> None: ...

    def skipped(self, unit: Unit, error: UnitSkipped) -> None: ...

    def failed(self, unit: Unit, error: UnitFailed) -> None: ...

    def denied(self, datasets: Iterable[str], error: SourceRefused | UnitFailed) -> None:
        """Whole datasets cannot be read, whatever the principal."""
        ...

    def is_denied(self, dataset: str) -> bool: ...

    def not_tried(self, unit: Unit) -> None:
        """A unit of a denied dataset: failed without a request."""
        ...

    def divided(self, unit: Unit) -> None:
        """The unit is too large: its halves take its place."""
        ...

    def ended(self, unit: Unit, *, seconds: float, rows: int | None, end: UnitEnd) -> None:
        """Told last of every unit that was tried, and how long that took; no `rows` where halves took its place."""
        ...


class UnitWork:
    """Reads units; every expected error of one ends among its outcomes."""

    def __init__(self, reader: UnitReader, *, take: Take, outcomes: Outcomes, memory: Memory) -> None:
        """`take` is given every unit that was read whole."""
        self._reader = reader
        self._memory = memory
        self._take = take
        self._outcomes = outcomes

    async def read(self, unit: Unit) -> None:
        """Raises: LeaseLost, StoreRefused, StoreUnavailable: of whoever takes the rows."""
        if self._outcomes.is_denied(unit.dataset):
            self._outcomes.not_tried(unit)
            return
        started = time.monotonic()
        rows: int | None = 0
        end: UnitEnd = "failed"
        try:
            with self._memory.hold(unit.dataset) as hold:
                result = await self._reader.read(unit, hold)
                end, rows = "done", result.unit.rows
                await self._take(unit, result)
        except UnitSkipped as error:
            end = "skipped"
            self._outcomes.skipped(unit, error)
        except UnitFailed as error:
            self._outcomes.failed(unit, error)
        except SourceRefused as error:
            self._outcomes.denied([unit.dataset], error)
            self._outcomes.not_tried(unit)
        except WindowTooLarge:
            rows = None
            await self._read_halves(unit)
        finally:
            self._outcomes.ended(unit, seconds=time.monotonic() - started, rows=rows, end=end)

    async def _read_halves(self, unit: Unit) -> None:
        halves = unit.window.halves() if unit.window is not None else None
        if halves is None:
            self._outcomes.failed(unit, UnitFailed(FailReason.INCOMPLETE, code="too_many_rows_at_one_instant"))
            return
        self._outcomes.divided(unit)
        for window in halves:
            await self.read(Unit(unit.dataset, unit.principal, window, unit.span or unit.window))
