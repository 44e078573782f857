"""From which days the rows are: datasets against days, or weeks and months where there are too many days."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from pipeline.facts import DatasetDays
from pipeline.manifest import Range
from pipeline.parts import last_day

MOST_COLUMNS = 62  # two months of days; beyond, weeks, then months
DAYS_SHOWN = 31  # before the end of the window, or the whole window where that is longer
LEVELS = 5

Step = Literal["day", "week", "month"]


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """Rows in each column; `earlier` are those before the first."""

    dataset: str
    counts: list[int]
    earlier: int

    def level(self, column: int) -> int:
        """0 for none, else 1 to LEVELS by the share of this dataset's highest column."""
        found = self.counts[column]
        return 0 if not found else 1 + (LEVELS - 1) * found // max(self.counts)


@dataclass(frozen=True, slots=True)
class Coverage:
    """`columns` are the first days of days, weeks or months, without a gap."""

    step: Step
    columns: list[date]
    rows: list[CoverageRow]


def coverage(datasets: Mapping[str, DatasetDays], *, window: Range) -> Coverage | None:
    """None where no dataset has rows with a time. What is older than the run's window, and a month, is `earlier`."""
    days = {
        name: {date.fromisoformat(day): rows for day, rows in found.days.items()} for name, found in datasets.items()
    }
    every = sorted({day for counts in days.values() for day in counts})
    if not every:
        return None
    begins = min(window.from_.date(), last_day(window.to) - timedelta(days=DAYS_SHOWN - 1))
    first = max(every[0], min(begins, every[-1]))
    step, first_of, following = _step(first, every[-1])
    columns = _columns(first_of(first), every[-1], following)[-MOST_COLUMNS:]
    rows = []
    for name, counts in days.items():
        binned: Counter[date] = Counter()
        for day, found in counts.items():
            binned[first_of(day)] += found
        shown = [binned[column] for column in columns]
        rows.append(CoverageRow(name, shown, datasets[name].earlier + binned.total() - sum(shown)))
    return Coverage(step, columns, rows)


def _step(first: date, last: date) -> tuple[Step, Callable[[date], date], Callable[[date], date]]:
    days = (last - first).days + 1
    if days <= MOST_COLUMNS:
        return "day", lambda day: day, lambda day: day + timedelta(days=1)
    if days <= MOST_COLUMNS * 7 - 7:
        return "week", _monday, lambda day: day + timedelta(days=7)
    return "month", lambda day: day.replace(day=1), lambda day: (day + timedelta(days=31)).replace(day=1)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _columns(first: date, last: date, following: Callable[[date], date]) -> list[date]:
    columns = [first]
    while (after := following(columns[-1])) <= last:
        columns.append(after)
    return columns
