"""A run's rows against those of the weeks before, and when a difference is a sudden fall.

A run is compared with its peers: earlier runs of the same kind whose window is about as long. Work has a
weekly rhythm, so the peers that ended on the same weekday decide where there are at least WEEKDAY_PEERS of them;
otherwise all of the last PEERS do, but not for a run of a weekend. A fall is fewer than FALL_SHARE of what is usual
(the median), where at least FEWEST_ROWS are. A holiday looks like one: it is called out, not judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from pipeline.manifest import Manifest

FALL_SHARE = 0.5
FEWEST_ROWS = 50
PEERS = 7
FEWEST_PEERS = 3
WEEKDAY_PEERS = 2
MOST_WEEKDAY_PEERS = 5
ALIKE = 2.0  # windows of at most twice, and at least half, the length
RUNS_SHOWN = 42
SATURDAY = 5
HALF_A_DAY = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Point:
    """The rows of one run."""

    at: datetime
    rows: int


@dataclass(frozen=True, slots=True)
class Trend:
    """One dataset, oldest run first, this run last. `usual` is None where there is nothing to compare with."""

    dataset: str
    points: list[Point]
    usual: int | None

    @property
    def rows(self) -> int:
        return self.points[-1].rows

    @property
    def has_fallen(self) -> bool:
        return self.usual is not None and self.usual >= FEWEST_ROWS and self.rows < self.usual * FALL_SHARE


def trends(manifest: Manifest, earlier: Sequence[Manifest]) -> list[Trend]:
    """One for each dataset of the run; `earlier` newest first."""
    alike = [each for each in earlier if _is_alike(each, manifest)]
    peers = _peers(manifest, alike)
    shown = [*reversed(alike[: RUNS_SHOWN - 1]), manifest]
    result = []
    for dataset in manifest.datasets:
        known = [each.datasets[dataset].rows for each in peers if dataset in each.datasets]
        points = [Point(each.started_at, each.datasets[dataset].rows) for each in shown if dataset in each.datasets]
        result.append(Trend(dataset, points, round(median(known)) if known else None))
    return result


def _is_alike(other: Manifest, manifest: Manifest) -> bool:
    """Of the same kind and over about as much time."""
    ratio = _length_s(other) / _length_s(manifest)
    return other.kind is manifest.kind and 1 / ALIKE <= ratio <= ALIKE


def _peers(manifest: Manifest, alike: Sequence[Manifest]) -> Sequence[Manifest]:
    weekday = _weekday(manifest)
    same_day = [each for each in alike if _weekday(each) == weekday][:MOST_WEEKDAY_PEERS]
    if len(same_day) >= WEEKDAY_PEERS:
        return same_day
    recent = alike[:PEERS]
    return recent if len(recent) >= FEWEST_PEERS and weekday < SATURDAY else ()


def _weekday(manifest: Manifest) -> int:
    """Of the day most of a nightly window lies in, wherever in the night it ends."""
    return (manifest.window.to - HALF_A_DAY).weekday()


def _length_s(manifest: Manifest) -> float:
    return max((manifest.window.to - manifest.window.from_).total_seconds(), 1.0)
