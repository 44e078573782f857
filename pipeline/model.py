"""The words of the export as values: window, principal, unit, page.

Identifiers of people and raw bytes are left out of every `repr`, so that no traceback or log line can show them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Self

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """Half-open interval `[start, end)` of UTC instants, microsecond precision, never empty."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for instant in (self.start, self.end):
            if instant.utcoffset() != timedelta(0):
                raise ValueError("a window is bounded by UTC instants")
        if not self.start < self.end:
            raise ValueError("a window ends after it starts")

    def __contains__(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    @property
    def whole(self) -> "Window":
        """What this window is a tile of: itself, unless it is a `Tile`."""
        return self

    @property
    def last_instant(self) -> datetime:
        """The last microsecond inside the window."""
        return self.end - MICROSECOND

    def tiles(self, span: timedelta) -> Iterator["Window"]:
        """Adjacent windows of at most `span` that cover this one exactly, oldest first."""
        if self.end - self.start <= span:  # the usual night: no window is made for each principal
            yield self
            return
        start = self.start
        while start < self.end:
            end = min(start + span, self.end)
            yield Window(start, end)
            start = end

    def halves(self) -> tuple["Window", "Window"] | None:
        """Two adjacent windows that cover this one, or None where it is one microsecond long."""
        middle = self.start + (self.end - self.start) // 2
        if middle == self.start:
            return None
        return Window(self.start, middle), Window(middle, self.end)


@dataclass(frozen=True, slots=True, order=True)
class Tile(Window):
    """A window that is part of `span`. A record with several instants belongs to the tile of the earliest in it."""

    span: Window

    @property
    def whole(self) -> Window:
        return self.span


def covered_until(start: datetime, windows: Iterable[Window]) -> datetime:
    """How far `windows` cover time without a gap, beginning at `start`."""
    reached = start
    for window in sorted(windows):
        if window.start > reached:
            break
        reached = max(reached, window.end)
    return reached


def are_adjacent(windows: list[Window]) -> bool:
    """Whether each window begins where the one before ends."""
    return all(left.end == right.start for left, right in pairwise(windows))


class PrincipalKind(StrEnum):
    TENANT = "tenant"
    USER = "user"
    GROUP = "group"
    TEAM = "team"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose data is read. `id` is the Entra object id, as Graph spells it; it never leaves in the clear."""

    kind: PrincipalKind
    id: str = field(repr=False)

    @classmethod
    def tenant(cls, tenant_id: str) -> Self:
        return cls(PrincipalKind.TENANT, tenant_id)


@dataclass(frozen=True, slots=True)
class Unit:
    """Dataset × principal × window: the atom of work, retry and commit. A snapshot has no window.

    `span` is what the run reads of the principal's dataset, of which the window is a tile: a record with two instants
    in the span belongs to the tile of the earlier one, and so to one tile only.
    """

    dataset: str
    principal: Principal
    window: Window | None = None
    span: Window | None = None

    @property
    def tile(self) -> Window | None:
        """The window, with what it is a part of."""
        if self.window is None or self.span is None:
            return self.window
        return Tile(self.window.start, self.window.end, self.span)


@dataclass(slots=True)
class Page:
    """One answer of Graph: `records` is the JSON text of an array of raw records.

    `damaged` counts the records that Graph holds at this place and cannot read itself, `withheld` those of which it
    keeps a part that belongs to them (the members of a chat), by somebody's policy. One page of a unit tells how many
    records are `expected` in the whole unit, where that is known.
    """

    records: bytes = field(repr=False)
    damaged: int = 0
    withheld: int = 0
    expected: int | None = None

    def let_go(self) -> None:
        """Whoever still has the page holds no bytes: generators keep what they yielded while the next is fetched."""
        self.records = b"[]"


class RunKind(StrEnum):
    RUN = "run"
    BACKFILL = "backfill"


def utc(instant: datetime) -> datetime:
    """The same instant in UTC."""
    return instant.astimezone(UTC)
