"""Everything a report shows of one run, decided here, so that page and terminal only lay it out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.facts import DatasetDays, Facts, SlowUnit, Stage, Wait
from pipeline.manifest import DatasetLine, LeftOut, Manifest
from pipeline.report.coverage import Coverage, coverage
from pipeline.report.evidence import DatasetFields, Evidence, FieldLine
from pipeline.report.outcome import Ending, ending, interruption
from pipeline.report.trend import Trend, trends

PRINCIPALS_SHOWN = 20  # of each reason; the manifest lists all
LANES_SHOWN = 15  # scopes of the time line, those that waited longest
FATES = ("kept", "filtered", "pseudonymized", "dropped")
FIELDS_SHOWN = 200  # of each fate of a dataset


@dataclass(frozen=True, slots=True)
class Lane:
    """The waits of one scope, in order of time."""

    scope: str
    service: str
    principal: str | None
    waits: list[Wait]

    @property
    def seconds(self) -> float:
        return sum(wait.seconds for wait in self.waits)


@dataclass(frozen=True, slots=True)
class ReasonGroup:
    """Everything that was left out for one reason; `principals` are the first few pseudonyms."""

    reason: str
    datasets: dict[str, int]  # principals by dataset; a dataset as a whole counts none
    principals: list[str]
    more: int


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """The fields of a dataset with one fate; `more` are not shown."""

    fate: str
    fields: list[FieldLine]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What page and terminal show."""

    manifest: Manifest
    ending: Ending
    notes: list[str]
    datasets: dict[str, DatasetLine]
    trends: list[Trend]
    coverage: Coverage | None
    undated: dict[str, int]  # rows of datasets without a time
    lanes: list[Lane]
    lanes_left_out: int
    waits_left_out: int
    span: tuple[datetime, datetime]  # from the first to the last instant of the time line
    slowest: list[SlowUnit]
    stages: list[Stage]
    attempts: int
    skips: list[ReasonGroup]
    failures: list[ReasonGroup]
    fields: dict[str, list[FieldGroup]]

    @property
    def rows(self) -> int:
        return sum(line.rows for line in self.datasets.values())

    @property
    def parts(self) -> int:
        return sum(len(line.parts) for line in self.datasets.values())

    @property
    def bytes(self) -> int:
        return sum(part.bytes for line in self.datasets.values() for part in line.parts)

    @property
    def seconds(self) -> float:
        return (self.manifest.finished_at - self.manifest.started_at).total_seconds()

    @property
    def falls(self) -> list[Trend]:
        return [trend for trend in self.trends if trend.has_fallen]

    @property
    def left_out(self) -> int:
        """Units that were skipped."""
        return sum(line.units.skipped for line in self.datasets.values())


def view(evidence: Evidence) -> Report:
    manifest, facts = evidence.manifest, evidence.facts
    lanes = _lanes(facts.waits)
    return Report(
        manifest=manifest,
        ending=ending(manifest),
        notes=[interruption(record) for record in evidence.interrupted],
        datasets=manifest.datasets,
        trends=trends(manifest, evidence.earlier),
        coverage=coverage(_in_order(facts.datasets, manifest), window=manifest.window),
        undated={
            name: line.rows for name, line in manifest.datasets.items() if line.rows and name not in facts.datasets
        },
        lanes=lanes[:LANES_SHOWN],
        lanes_left_out=max(0, len(lanes) - LANES_SHOWN),
        waits_left_out=facts.waits_left_out,
        span=_span(manifest, lanes[:LANES_SHOWN]),
        slowest=facts.slowest_units,
        stages=_stages(facts),
        attempts=len(facts.attempts),
        skips=_by_reason(manifest.skipped),
        failures=_by_reason(manifest.failed),
        fields={name: _by_fate(found) for name, found in evidence.fields.items() if found.fields},
    )


def _in_order(days: Mapping[str, DatasetDays], manifest: Manifest) -> dict[str, DatasetDays]:
    """As the manifest lists the datasets; parts are published in no order."""
    return {dataset: days[dataset] for dataset in [*manifest.datasets, *days] if dataset in days}


def _lanes(waits: Iterable[Wait]) -> list[Lane]:
    """Scopes of many callers first, then mailboxes and chats, the longest waits of each first."""
    lanes: dict[tuple[str, str, str | None], Lane] = {}
    for wait in waits:
        key = (wait.scope, wait.service, wait.principal)
        lanes.setdefault(key, Lane(*key, [])).waits.append(wait)
    return sorted(lanes.values(), key=lambda lane: (lane.principal is not None, -lane.seconds))


def _span(manifest: Manifest, lanes: Sequence[Lane]) -> tuple[datetime, datetime]:
    instants = [instant for lane in lanes for wait in lane.waits for instant in (wait.from_, wait.to)]
    every = [manifest.started_at, manifest.finished_at, *instants]
    return min(every), max(every)


def _stages(facts: Facts) -> list[Stage]:
    """The seconds of each stage, over all attempts."""
    seconds: dict[str, float] = {}
    for attempt in facts.attempts:
        for stage in attempt.stages:
            seconds[stage.stage] = seconds.get(stage.stage, 0.0) + stage.seconds
    return [Stage(name, total) for name, total in seconds.items()]


def _by_reason(left_out: Iterable[LeftOut]) -> list[ReasonGroup]:
    """The most frequent reason first."""
    lines: dict[str, list[LeftOut]] = {}
    for line in left_out:
        lines.setdefault(line.reason, []).append(line)
    groups = []
    for reason, found in sorted(lines.items(), key=lambda each: -len(each[1])):
        datasets = Counter({line.dataset: 0 for line in found})
        datasets.update(line.dataset for line in found if line.principal is not None)
        principals = sorted({line.principal for line in found if line.principal is not None})
        shown = principals[:PRINCIPALS_SHOWN]
        groups.append(ReasonGroup(reason, dict(datasets), shown, len(principals) - len(shown)))
    return groups


def _by_fate(found: DatasetFields) -> list[FieldGroup]:
    lines: dict[str, list[FieldLine]] = {fate: [] for fate in FATES}
    for line in found.fields:
        lines.setdefault(line.fate, []).append(line)
    return [
        FieldGroup(fate, each[:FIELDS_SHOWN], max(0, len(each) - FIELDS_SHOWN)) for fate, each in lines.items() if each
    ]
