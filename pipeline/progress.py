"""How far a run has come: plain numbers that the run counts up and a display reads."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.ports import Fence

FENCES_KEPT = 1_000  # those that are over are forgotten when there are so many


@dataclass(slots=True)
class DatasetProgress:
    units_planned: int = 0
    units_finished: int = 0
    units_skipped: int = 0
    units_failed: int = 0
    rows: int = 0
    seconds: float = 0.0  # that its units took, each for itself; several are read at once


@dataclass(slots=True)
class Progress:
    """Counted by one run; read by whoever shows it."""

    stage: str = "starting"
    started_s: float = field(default_factory=time.monotonic)
    datasets: dict[str, DatasetProgress] = field(default_factory=dict)
    skips: Counter[str] = field(default_factory=Counter)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _fences: dict[tuple[str, str, str | None], Fence] = field(default_factory=dict)

    def note_fence(self, fence: Fence) -> None:
        """Nobody calls in its scope until then; principals by their pseudonym."""
        if len(self._fences) >= FENCES_KEPT:
            self._fences = {key: each for key, each in self._fences.items() if each.until > fence.since}
        self._fences[fence.scope, fence.service, fence.principal] = fence

    @property
    def fences(self) -> list[Fence]:
        """Those that are up, the one that lasts longest first."""
        now = self.now()
        up = [fence for fence in self._fences.values() if fence.until > now]
        return sorted(up, key=lambda fence: fence.until, reverse=True)

    def of(self, dataset: str) -> DatasetProgress:
        return self.datasets.setdefault(dataset, DatasetProgress())

    @property
    def units_planned(self) -> int:
        return sum(line.units_planned for line in self.datasets.values())

    @property
    def units_settled(self) -> int:
        """Units that are finished, skipped or failed."""
        return sum(line.units_finished + line.units_skipped + line.units_failed for line in self.datasets.values())

    @property
    def rows(self) -> int:
        return sum(line.rows for line in self.datasets.values())

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    def seconds_left(self) -> int | None:
        """At the rate so far; None before anything is settled."""
        if not self.units_settled:
            return None
        return round(self.elapsed_s / self.units_settled * (self.units_planned - self.units_settled))
