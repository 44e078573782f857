"""How far a run has come: plain numbers that the run counts up, and that displays and metrics read."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pipeline.ports import Fence

FENCES_KEPT = 1_000  # those that are over are forgotten when there are so many


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked of Graph so far."""

    requests: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By service and status of the answer; `none` where there was no answer."""
    bytes: int = 0  # of answers, decompressed
    waited_s: float = 0.0  # behind fences, all callers together

    def plus(self, other: "Usage") -> "Usage":
        return Usage(
            Counter(self.requests) + Counter(other.requests),
            self.bytes + other.bytes,
            self.waited_s + other.waited_s,
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """Units of one dataset that a worker has settled of a task it still has in hand."""

    finished: int = 0
    skipped: int = 0
    failed: int = 0
    rows: int = 0

    def plus(self, *, finished: int, skipped: int, failed: int, rows: int) -> "Settled":
        return Settled(self.finished + finished, self.skipped + skipped, self.failed + failed, self.rows + rows)


@dataclass(slots=True)
class DatasetProgress:
    connector: str = ""
    units_planned: int = 0
    units_finished: int = 0
    units_skipped: int = 0
    units_failed: int = 0
    rows: int = 0
    rejected: int = 0
    parts: int = 0
    bytes: int = 0  # of published parts
    seconds: float = 0.0  # that its units took, each for itself; several are read at once
    since_s: float | None = None  # when its first unit was planned, and
    settled_s: float | None = None  # when its last one was settled so far, both as `time.monotonic` has it

    @property
    def units_settled(self) -> int:
        """Units that are finished, skipped or failed."""
        return self.units_finished + self.units_skipped + self.units_failed


@dataclass(slots=True)
class Progress:
    """Counted by one command; read by whoever shows it."""

    stage: str = "starting"
    kind: str = ""
    run_id: str = ""
    started_s: float = field(default_factory=time.monotonic)
    datasets: dict[str, DatasetProgress] = field(default_factory=dict)
    skips: Counter[str] = field(default_factory=Counter)
    fenced: Counter[tuple[str, str]] = field(default_factory=Counter)  # refusals that raised a fence, by service, scope
    own_usage: Callable[[], Usage] = Usage  # of this process
    of_workers: dict[str, Usage] = field(default_factory=dict)  # by session
    under_way: dict[str, dict[str, Settled]] = field(default_factory=dict)  # by task in hand and dataset: see `lines`
    last_success: datetime | None = None  # when the last complete run of this kind ended, where that is known
    exit_code: int | None = None  # once the command knows it
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _fences: dict[tuple[str, str, str | None], Fence] = field(default_factory=dict)

    def begin(self, *, kind: str, run_id: str) -> None:
        """A run of this id is what is counted from now on."""
        self.kind, self.run_id = kind, run_id

    def of(self, dataset: str) -> DatasetProgress:
        return self.datasets.setdefault(dataset, DatasetProgress())

    def planned(self, dataset: str) -> None:
        """One more unit is to be read."""
        line = self.of(dataset)
        line.units_planned += 1
        if line.since_s is None:
            line.since_s = time.monotonic()

    def finished(self, dataset: str, *, rows: int, rejected: int = 0) -> None:
        line = self._settled(dataset)
        line.units_finished += 1
        line.rows += rows
        line.rejected += rejected

    def skipped(self, dataset: str, reason: str) -> None:
        self._settled(dataset).units_skipped += 1
        self.skips[reason] += 1

    def failed(self, dataset: str) -> None:
        self._settled(dataset).units_failed += 1

    def published(self, dataset: str, *, size_bytes: int) -> None:
        """One more part can be seen at the destination."""
        line = self.of(dataset)
        line.parts += 1
        line.bytes += size_bytes

    def note_fence(self, fence: Fence) -> None:
        """Nobody calls in its scope until then; principals by their pseudonym."""
        if len(self._fences) >= FENCES_KEPT:
            self._fences = {key: each for key, each in self._fences.items() if each.until > fence.since}
        self._fences[fence.scope, fence.service, fence.principal] = fence
        self.fenced[fence.service, fence.scope] += 1

    def usage(self) -> Usage:
        """Of this process and of all workers that it has led."""
        usage = self.own_usage()
        for each in self.of_workers.values():
            usage = usage.plus(each)
        return usage

    @property
    def lines(self) -> dict[str, DatasetProgress]:
        """The datasets with what workers have settled so far; `datasets` counts a worker's task when it is done."""
        lines = {dataset: replace(line) for dataset, line in self.datasets.items()}
        for task in self.under_way.values():
            for dataset, settled in task.items():
                line = lines.setdefault(dataset, DatasetProgress())
                line.units_finished += settled.finished
                line.units_skipped += settled.skipped
                line.units_failed += settled.failed
                line.rows += settled.rows
        return lines

    @property
    def fences(self) -> list[Fence]:
        """Those that are up, the one that lasts longest first."""
        now = self.now()
        up = [fence for fence in self._fences.values() if fence.until > now]
        return sorted(up, key=lambda fence: fence.until, reverse=True)

    @property
    def units_planned(self) -> int:
        return sum(line.units_planned for line in self.datasets.values())

    @property
    def units_settled(self) -> int:
        return sum(line.units_settled for line in self.lines.values())

    @property
    def rows(self) -> int:
        return sum(line.rows for line in self.lines.values())

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started_s

    def seconds_left(self, connector: str | None = None) -> int | None:
        """Until the slowest dataset is settled at its rate so far, of all connectors or one.

        Datasets are read side by side, each within limits of its own: a thousand quick units say nothing about fifty
        slow ones. None while no dataset that has units left has settled any; 0 when everything is settled.
        """
        lines = [line for line in self.lines.values() if connector in (None, line.connector)]
        open_lines = [line for line in lines if line.units_settled < line.units_planned]
        if not open_lines:
            return 0 if any(line.units_settled for line in lines) else None
        now_s = time.monotonic()
        return max(
            (
                round((now_s - line.since_s) / line.units_settled * (line.units_planned - line.units_settled))
                for line in open_lines
                if line.since_s is not None and line.units_settled
            ),
            default=None,
        )

    def rows_per_s(self, dataset: str) -> float:
        """From the first unit that was planned until now, or until the last one was settled."""
        line = self.lines.get(dataset, DatasetProgress())
        if line.since_s is None or not line.units_settled:
            return 0.0
        until_s = time.monotonic()
        if line.settled_s is not None and line.units_settled >= line.units_planned:
            until_s = line.settled_s
        return line.rows / max(until_s - line.since_s, 1e-3)

    def _settled(self, dataset: str) -> DatasetProgress:
        line = self.of(dataset)
        line.settled_s = time.monotonic()
        return line
