"""Every metric: name, kind, unit, labels, meaning, and where its value comes from.

Names follow Prometheus' rules: base units in the name, `_total` on what only grows
(https://prometheus.io/docs/practices/naming, checked 2026-11).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.process import peak_bytes, resident_bytes
from pipeline.progress import Progress

PREFIX = "m365_export_"

Values = Iterator[tuple[tuple[str, ...], float]]
"""Values of the labels, in the order of the metric's, and the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One line of the table. Every sample also has the label `kind`: run or backfill."""

    name: str
    type: Literal["counter", "gauge"]
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    values: Callable[[Progress], Values]

    @property
    def outlives_the_command(self) -> bool:
        """Whether an earlier value stays true when a command has none of its own."""
        return self.name == LAST_SUCCESS


@dataclass(frozen=True, slots=True)
class Sample:
    metric: Metric
    labels: Mapping[str, str]
    value: float


def samples(progress: Progress) -> list[Sample]:
    """All metrics as they are now, in the order of the table."""
    found = []
    for metric in METRICS:
        for labels, value in metric.values(progress):
            named = {"kind": progress.kind, **dict(zip(metric.labels, labels, strict=True))}
            found.append(Sample(metric, named, value))
    return found


def _rows(progress: Progress) -> Values:
    for dataset, line in progress.datasets.items():
        yield (dataset,), line.rows


def _rejected(progress: Progress) -> Values:
    for dataset, line in progress.datasets.items():
        yield (dataset,), line.rejected


def _planned(progress: Progress) -> Values:
    for dataset, line in progress.datasets.items():
        yield (dataset,), line.units_planned


def _units(progress: Progress) -> Values:
    for dataset, line in progress.datasets.items():
        yield (dataset, "done"), line.units_finished
        yield (dataset, "skipped"), line.units_skipped
        yield (dataset, "failed"), line.units_failed


def _skips(progress: Progress) -> Values:
    for reason, count in progress.skips.items():
        yield (reason,), count


def _parts(progress: Progress) -> Values:
    for dataset, line in progress.datasets.items():
        yield (dataset,), line.parts


def _published(progress: Progress) -> Values:
    for dataset, line in progress.datasets.items():
        yield (dataset,), line.bytes


def _requests(progress: Progress) -> Values:
    yield from progress.usage().requests.items()


def _received(progress: Progress) -> Values:
    yield (), progress.usage().bytes


def _fences(progress: Progress) -> Values:
    yield from progress.fenced.items()


def _waiting(progress: Progress) -> Values:
    yield (), len(progress.fences)


def _waited(progress: Progress) -> Values:
    yield (), progress.usage().waited_s


def _memory(_progress: Progress) -> Values:
    yield (), resident_bytes()


def _peak(_progress: Progress) -> Values:
    yield (), peak_bytes()


def _duration(progress: Progress) -> Values:
    yield (), progress.elapsed_s


def _seconds_left(progress: Progress) -> Values:
    left_s = progress.seconds_left()
    if left_s is not None:
        yield (), left_s


def _last_success(progress: Progress) -> Values:
    if progress.last_success is not None:
        yield (), progress.last_success.timestamp()


def _exit_code(progress: Progress) -> Values:
    if progress.exit_code is not None:
        yield (), progress.exit_code


def _counter(
    name: str, unit: str, labels: tuple[str, ...], meaning: str, values: Callable[[Progress], Values]
) -> Metric:
    return Metric(name=PREFIX + name, type="counter", unit=unit, meaning=meaning, labels=labels, values=values)


def _gauge(name: str, unit: str, labels: tuple[str, ...], meaning: str, values: Callable[[Progress], Values]) -> Metric:
    return Metric(name=PREFIX + name, type="gauge", unit=unit, meaning=meaning, labels=labels, values=values)


LAST_SUCCESS = f"{PREFIX}last_success_timestamp_seconds"

METRICS: tuple[Metric, ...] = (
    _counter("rows_total", "rows", ("dataset",), "Sanitized rows of finished units.", _rows),
    _counter("rejected_records_total", "records", ("dataset",), "Records that fit no schema or rule.", _rejected),
    _gauge("units_planned", "units", ("dataset",), "Units this command is to read, as far as it knows.", _planned),
    _counter("units_total", "units", ("dataset", "outcome"), "Units that are done, skipped or failed.", _units),
    _counter("skips_total", "units", ("reason",), "Units left out for an expected reason.", _skips),
    _counter("parts_total", "parts", ("dataset",), "Parquet files that became visible.", _parts),
    _counter("published_bytes_total", "bytes", ("dataset",), "Size of those files.", _published),
    _counter(
        "requests_total",
        "requests",
        ("service", "status"),
        "Requests to Graph by HTTP status; `none` where there was no answer.",
        _requests,
    ),
    _counter("received_bytes_total", "bytes", (), "Size of Graph's answers, decompressed.", _received),
    _counter(
        "fences_total",
        "fences",
        ("service", "scope"),
        "Refusals after which nobody called in the scope (app, service, mailbox, chat) for a while.",
        _fences,
    ),
    _gauge("fences_up", "fences", (), "Scopes that wait now.", _waiting),
    _counter("wait_seconds_total", "seconds", (), "Time that requests spent behind fences, all together.", _waited),
    _gauge("resident_memory_bytes", "bytes", (), "Memory the process takes now.", _memory),
    _gauge("peak_memory_bytes", "bytes", (), "The most memory the process ever took.", _peak),
    _gauge("duration_seconds", "seconds", (), "How long this command has been at work.", _duration),
    _gauge("left_seconds", "seconds", (), "Until the slowest dataset is settled, at its rate so far.", _seconds_left),
    Metric(
        name=LAST_SUCCESS,
        type="gauge",
        unit="seconds since 1970-01-01T00:00Z",
        meaning="When the last run of this kind ended that was complete. Alert on its age.",
        values=_last_success,
    ),
    _gauge("exit_code", "", (), "The exit code of the command, once it has ended.", _exit_code),
)  # fmt: skip
