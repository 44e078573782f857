"""Which units a run has to read: windows from watermarks, divided where they are long, less what is done.

Everything here is a pure function of its arguments.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pipeline.journal import RunRecord
from pipeline.model import Principal, RunKind, Unit, Window
from pipeline.ports import Source

BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)  # before any record of Microsoft 365


@dataclass(frozen=True, slots=True)
class Plan:
    """The units to read, a list for each principal, in the order in which they are begun.

    They are made whenever one goes through them: kept, those of a large tenant would take more than all else.
    """

    units: int
    principals: int
    make: Callable[[], Iterator[list[Unit]]] = field(repr=False)

    def __iter__(self) -> Iterator[list[Unit]]:
        return self.make()


def window_end(source: Source, *, until: datetime, now: datetime) -> datetime:
    """Where a dataset's window ends: the run's end, or earlier where Graph shows items late."""
    return min(until, now - source.settle)


def dataset_window(
    source: Source,
    record: RunRecord,
    *,
    watermark: datetime | None,
    now: datetime,
    lookback: timedelta,
    owed_since: datetime | None = None,
) -> Window | None:
    """The window of one principal's dataset; None where nothing is due. A `run` reads what is owed as well."""
    end = window_end(source, until=record.until, now=now)
    if source.from_beginning and (watermark is None or record.kind is RunKind.BACKFILL):
        start = BEGINNING
    elif record.kind is RunKind.BACKFILL:
        start = record.since or end
    elif watermark is None:
        start = end - lookback
    else:
        start = watermark - source.overlap
    if record.kind is RunKind.RUN:
        start = min(start, owed_since or start)
        end += source.ahead
    return Window(start, end) if start < end else None


def units_of(
    source: Source, principal: Principal, window: Window | None, done: Sequence[Window | None]
) -> Iterator[Unit]:
    """The units still to be read, oldest window first."""
    if window is None:
        if None not in done:
            yield Unit(source.dataset, principal)
        return
    finished = [each for each in done if each is not None]
    for tile in window.tiles(source.longest_window):
        for rest in remaining(tile, finished):
            yield Unit(source.dataset, principal, rest, window)


def remaining(window: Window, done: Iterable[Window]) -> Iterator[Window]:
    """The parts of `window` that no window of `done` covers, oldest first."""
    start = window.start
    for covered in sorted(done):
        if covered.end <= start or covered.start >= window.end:
            continue
        if covered.start > start:
            yield Window(start, covered.start)
        start = max(start, covered.end)
    if start == window.start:
        yield window
    elif start < window.end:
        yield Window(start, window.end)
