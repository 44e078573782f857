"""Seals a run: manifest, then what is owed, then watermarks, then the open run is forgotten.

Every step is create-only or idempotent and happens in this order, so a seal that was interrupted is taken up again
from the recorded manifest: the recorded bytes are what is published, whatever the next process would compute.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from pipeline.done import DoneUnit
from pipeline.errors import FailReason, SkipReason
from pipeline.field_counts import FieldCounts, total
from pipeline.history import remember_facts, remember_fields, remember_run
from pipeline.journal import Journal, RunRecord
from pipeline.lease import Lease
from pipeline.manifest import (
    Completeness,
    DatasetLine,
    LeftOut,
    Manifest,
    PartLine,
    Range,
    UnitCounts,
    decode_manifest,
    encode_manifest,
    facts_path,
    fields_path,
    manifest_path,
)
from pipeline.model import MICROSECOND, Window, covered_until
from pipeline.owed import Owed
from pipeline.parts import PartAssembler
from pipeline.plan import BEGINNING
from pipeline.ports import Destination, StateStore
from pipeline.reach import Bounds, FinishedWindows
from pipeline.tally import Tally
from pipeline.watermarks import Key, Watermarks


class _Decision(msgspec.Struct, frozen=True):
    """How a run ends, in one object, so that manifest and watermarks are of one mind."""

    manifest: bytes  # as it is published, byte for byte; so are the side files
    fields: bytes
    watermarks: bytes  # how far they move, encrypted; none where they stay
    facts: bytes = b""  # none where an older version decided
    owed: bytes = b""  # what is owed from now on, encrypted; none where that stays as it was


def build_manifest(
    journal: Journal,
    assembler: PartAssembler | None,
    tally: Tally,
    *,
    finished_at: datetime,
    tool_version: str,
    abandoned: bool = False,
) -> Manifest:
    """What the run did, from its journal, its idle units and its tally. `abandoned`: it was not read to its end."""
    tally.settle()
    record = journal.record
    sums = {dataset: _Sum() for dataset in record.schema_versions}
    for dataset, unit in finished_units(journal, assembler):
        sums[dataset].add(unit)
    lines = {dataset: _line(dataset, journal, assembler, tally, units) for dataset, units in sums.items()}
    failures = tally.failures() + _left_out({each: sums[each].incomplete for each in sums}, FailReason.INCOMPLETE)
    if abandoned:
        failures += [LeftOut(None, dataset, FailReason.ABANDONED) for dataset in record.schema_versions]
    window = _window(record, [units.oldest for units in sums.values() if units.oldest is not None])
    rejected = any(sum(line.rejected.values()) for line in lines.values())
    return Manifest(
        run_id=record.run_id,
        kind=record.kind,
        status="partial" if failures or rejected else "complete",
        window=Range(from_=window.start, to=window.end),
        started_at=record.started_at,
        finished_at=finished_at,
        tool_version=tool_version,
        profile=record.profile,
        rules_fingerprint=record.rules_fingerprint,
        salt_fingerprint=record.salt_fingerprint,
        schema_versions=record.schema_versions,
        datasets=lines,
        skipped=tally.skips() + _left_out({each: sums[each].withheld for each in sums}, SkipReason.OUT_OF_POLICY),
        failed=failures,
    )


def finished_units(journal: Journal, assembler: PartAssembler | None) -> Iterator[tuple[str, DoneUnit]]:
    """Every finished unit with its dataset, those that no part has taken along included."""
    yield from journal.done()
    for dataset, idle in assembler.idle.items() if assembler is not None else ():
        for unit in idle.units:
            yield dataset, unit


@dataclass(slots=True)
class _Sum:
    """What the finished units of a dataset come to. `incomplete` are principals of whom something may be missing,
    `withheld` those some of whose rows are not whole, because a policy keeps a part of them.
    """

    count: int = 0
    oldest: datetime | None = None  # where the oldest window begins that has a beginning
    completeness: Completeness = field(default_factory=Completeness)
    incomplete: set[str] = field(default_factory=set)
    withheld: set[str] = field(default_factory=set)

    def add(self, unit: DoneUnit) -> None:
        self.count += 1
        if unit.start is not None and unit.start > BEGINNING:
            self.oldest = min(self.oldest or unit.start, unit.start)
        if unit.unexplained:
            self.incomplete.add(unit.principal)
        if unit.withheld:
            self.withheld.add(unit.principal)
        finding = unit.completeness
        if finding is not None:  # units of which nothing is known beforehand do not count
            line = self.completeness
            line.method = finding.method
            line.expected = finding.expected + (line.expected or 0)
            line.exported += unit.rows
            line.changed_while_reading += finding.changed_while_reading
            line.unexplained += finding.unexplained


def _left_out(principals: Mapping[str, Iterable[str]], reason: str) -> list[LeftOut]:
    """By dataset; one line for all windows of a principal."""
    return [LeftOut(each, dataset, reason) for dataset in sorted(principals) for each in sorted(principals[dataset])]


def _window(record: RunRecord, starts: Sequence[datetime]) -> Window:
    """What the run was about: from its oldest finished window that has a beginning, to its end."""
    end = record.until
    start = record.since or min(starts, default=end)
    return Window(min(start, end - MICROSECOND), end)


def _line(dataset: str, journal: Journal, assembler: PartAssembler | None, tally: Tally, units: _Sum) -> DatasetLine:
    entries = [entry for entry in journal.entries if entry.dataset == dataset]
    rejected: dict[str, int] = {}
    counted = [entry.rejected for entry in entries]
    counted += [noted.rejected for noted in journal.rowless if noted.dataset == dataset]
    if assembler is not None and dataset in assembler.idle:
        counted.append(dict(assembler.idle[dataset].rejected))
    for reasons in counted:
        for reason, count in reasons.items():
            rejected[reason] = rejected.get(reason, 0) + count
    rows = sum(entry.rows for entry in entries)
    left_out = tally.units(dataset)
    return DatasetLine(
        rows=rows,
        rejected=rejected,
        units=UnitCounts(
            done=units.count,
            skipped=left_out.skipped,
            failed=left_out.failed,
        ),
        completeness=units.completeness if units.completeness.expected is not None else Completeness(exported=rows),
        parts=[
            PartLine(entry.path, entry.rows, entry.bytes, entry.sha256, entry.min_time, entry.max_time)
            for entry in sorted(entries, key=lambda entry: entry.part)
        ],
    )


def next_watermarks(
    done: FinishedWindows, known: Mapping[Key, datetime], bounds: Bounds
) -> Iterator[tuple[Key, datetime]]:
    """How far principals' datasets are exported now: as far as their finished windows reach without a gap.

    Those that move, ordered `by_principal`. Without a watermark a principal's windows begin at the dataset's
    origin, and so do those of the next run if the oldest is not finished; otherwise they begin an overlap before the
    watermark. What lies beyond the end of a dataset (planned events) is read again anyway, and moves no watermark.
    """
    for principal, windows in done:
        for dataset, finished in windows.items():
            if dataset not in bounds.ends:
                continue
            before = known.get((dataset, principal))
            begun = min([bounds.due(dataset, before), *(window.start for window in finished)])
            reached = min(covered_until(begun, finished), bounds.ends[dataset])
            if before is None or reached > before:
                yield (dataset, principal), reached


def field_counts(journal: Journal, assembler: PartAssembler) -> dict[str, FieldCounts]:
    """What became of the fields of each dataset, over every published row and every unit that had none."""
    counts: dict[str, list[FieldCounts]] = {}
    for entry in journal.entries:
        counts.setdefault(entry.dataset, []).append(entry.fields)
    for noted in journal.rowless:
        counts.setdefault(noted.dataset, []).append(noted.fields)
    for dataset, idle in assembler.idle.items():
        counts.setdefault(dataset, []).append(idle.fields)
    return {dataset: total(each) for dataset, each in counts.items()}


def days_of(journal: Journal) -> dict[str, Counter[str]]:
    """Rows by dataset and UTC date of their time, over every published part."""
    days: dict[str, Counter[str]] = {}
    for entry in journal.entries:
        days.setdefault(entry.dataset, Counter()).update(entry.days)
    return days


async def record_seal(
    journal: Journal,
    manifest: Manifest,
    *,
    moves: bytes,
    fields: bytes,
    facts: bytes,
    owed: bytes = b"",
) -> None:
    """From here on the run is decided: whatever process comes next publishes exactly this.

    `moves` are the watermarks that move, sealed, empty where none does; `fields` is the side file that says what became
    of every field, `facts` the one that says what took time; `owed` is a `pipeline.owed.Owed.replacement`.
    """
    decision = _Decision(encode_manifest(manifest), fields, moves, facts, owed)
    await journal.decide(msgspec.json.encode(decision))


async def finish_seal(
    journal: Journal,
    state: StateStore,
    destination: Destination,
    lease: Lease,
    *,
    watermarks: Watermarks | None,
    owed: Owed | None,
) -> Manifest:
    """Publish the recorded manifest, move the watermarks, forget the open run. Safe to repeat at any point.

    Without `watermarks` and `owed` they stay: the run was sealed under another salt, nobody here can name its
    principals. What is owed is written before the watermarks move, or a crash between would lose it.
    """
    decision = msgspec.json.decode(await journal.decision(), type=_Decision)
    manifest = decode_manifest(decision.manifest)
    await _publish(journal, destination, fields_path(manifest.run_id), decision.fields, lease)
    if decision.facts:
        await _publish(journal, destination, facts_path(manifest.run_id), decision.facts, lease)
    await _publish(journal, destination, manifest_path(manifest.run_id), decision.manifest, lease)
    lease.check()
    if owed is not None:
        await owed.replace(decision.owed)
    if watermarks is not None and decision.watermarks:
        await watermarks.advance(decision.watermarks)
    await remember_fields(state, manifest.run_id, decision.fields)
    if decision.facts:
        await remember_facts(state, manifest.run_id, decision.facts)
    await remember_run(state, manifest.run_id, decision.manifest)
    await journal.give_up_uploads(destination)
    await journal.close()
    return manifest


async def _publish(journal: Journal, destination: Destination, path: str, content: bytes, lease: Lease) -> None:
    upload = await journal.begin(destination, path)
    await upload.write(content)
    await upload.seal()
    lease.check()
    await upload.publish()  # refused: an earlier attempt of this very seal published the same bytes
    await upload.abort()
