"""Seals a run: manifest, then what is owed, then watermarks, then the open run is forgotten.

Every step is create-only or idempotent and happens in this order, so a seal that was interrupted is taken up again
from the recorded manifest: the recorded bytes are what is published, whatever the next process would compute.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

import msgspec

from pipeline.errors import FailReason, SkipReason
from pipeline.field_counts import FieldCounts, total
from pipeline.history import remember_facts, remember_fields, remember_run
from pipeline.journal import DoneUnit, Journal, RunRecord
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
from pipeline.reach import Bounds
from pipeline.tally import Tally
from pipeline.watermarks import Key, Vault, Watermarks


class _Decision(msgspec.Struct, frozen=True):
    """How a run ends, in one object, so that manifest and watermarks are of one mind."""

    manifest: bytes  # as it is published, byte for byte; so are the side files
    fields: bytes
    watermarks: bytes  # how far they move, encrypted
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
    lines = {dataset: _line(dataset, journal, assembler, tally) for dataset in record.schema_versions}
    finished = list(_done(journal, assembler))
    failures = tally.failures() + _incomplete(finished)
    if abandoned:
        failures += [LeftOut(None, dataset, FailReason.ABANDONED) for dataset in record.schema_versions]
    window = _window(record, [unit for _, unit in finished])
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
        skipped=tally.skips() + _withheld(finished),
        failed=failures,
    )


def _incomplete(finished: Iterable[tuple[str, DoneUnit]]) -> list[LeftOut]:
    """Those of which something may be missing; one line for all windows of a principal."""
    keys = {(dataset, unit.principal) for dataset, unit in finished if unit.unexplained}
    return [LeftOut(principal, dataset, FailReason.INCOMPLETE) for dataset, principal in sorted(keys)]


def _withheld(finished: Iterable[tuple[str, DoneUnit]]) -> list[LeftOut]:
    """Those some of whose rows are not whole, because a policy keeps a part of them; one line for all windows."""
    keys = {(dataset, unit.principal) for dataset, unit in finished if unit.withheld}
    return [LeftOut(principal, dataset, SkipReason.OUT_OF_POLICY) for dataset, principal in sorted(keys)]


def _window(record: RunRecord, done: Iterable[DoneUnit]) -> Window:
    """What the run was about: from its oldest finished window that has a beginning, to its end."""
    starts = [unit.start for unit in done if unit.start is not None and unit.start > BEGINNING]
    end = record.until
    start = record.since or min(starts, default=end)
    return Window(min(start, end - MICROSECOND), end)


def _done(journal: Journal, assembler: PartAssembler | None) -> Iterator[tuple[str, DoneUnit]]:
    """Every finished unit with its dataset, those that no part has taken along included."""
    yield from journal.done()
    for dataset, units in assembler.idle.items() if assembler is not None else ():
        for unit in units:
            yield dataset, unit


def _line(dataset: str, journal: Journal, assembler: PartAssembler | None, tally: Tally) -> DatasetLine:
    entries = [entry for entry in journal.entries if entry.dataset == dataset]
    idle = assembler.idle.get(dataset, []) if assembler is not None else []
    rejected: dict[str, int] = {}
    counted = [entry.rejected for entry in entries]
    if assembler is not None:
        counted.append(dict(assembler.idle_rejected.get(dataset, {})))
    for reasons in counted:
        for reason, count in reasons.items():
            rejected[reason] = rejected.get(reason, 0) + count
    rows = sum(entry.rows for entry in entries)
    units = [*(unit for entry in entries for unit in entry.units), *idle]
    left_out = tally.units(dataset)
    return DatasetLine(
        rows=rows,
        rejected=rejected,
        units=UnitCounts(
            done=len(units),
            skipped=left_out.skipped,
            failed=left_out.failed,
        ),
        completeness=_completeness(units, rows=rows),
        parts=[
            PartLine(entry.path, entry.rows, entry.bytes, entry.sha256, entry.min_time, entry.max_time)
            for entry in sorted(entries, key=lambda entry: entry.part)
        ],
    )


def _completeness(units: Iterable[DoneUnit], *, rows: int) -> Completeness:
    """The findings of all units; those of which nothing is known beforehand do not count."""
    line = Completeness()
    for unit in units:
        finding = unit.completeness
        if finding is not None:
            line.method = finding.method
            line.expected = finding.expected + (line.expected or 0)
            line.exported += unit.rows
            line.changed_while_reading += finding.changed_while_reading
            line.unexplained += finding.unexplained
    return line if line.expected is not None else Completeness(exported=rows)


def finished_windows(
    journal: Journal, assembler: PartAssembler, *, given_up: Collection[Key] = ()
) -> dict[Key, list[Window]]:
    """The windows that were read, of everybody of whom any was.

    A window of which something may be missing is not finished, so the next run reads it again, unless its principal's
    dataset is `given_up`.
    """
    windows: dict[Key, list[Window]] = {}
    for dataset, unit in _done(journal, assembler):
        if unit.window is not None:
            key = (dataset, unit.principal)
            finished = windows.setdefault(key, [])
            if not unit.unexplained or key in given_up:
                finished.append(unit.window)
    return windows


def next_watermarks(
    windows: Mapping[Key, list[Window]], known: Mapping[Key, datetime], bounds: Bounds
) -> dict[Key, datetime]:
    """How far each principal's datasets are exported now: as far as its finished windows reach without a gap.

    Without a watermark a principal's windows begin at the dataset's origin, and so do those of the next run if the
    oldest is not finished; otherwise they begin an overlap before the watermark. What lies beyond the end of a dataset
    (planned events) is read again anyway, and moves no watermark.
    """
    advances = {}
    for key, done in windows.items():
        if key[0] not in bounds.ends:
            continue  # its dataset is no longer read
        begun = min([bounds.due(key, known), *(window.start for window in done)])
        reached = min(covered_until(begun, done), bounds.ends[key[0]])
        if key not in known or reached > known[key]:
            advances[key] = reached
    return advances


def field_counts(journal: Journal, assembler: PartAssembler) -> dict[str, FieldCounts]:
    """What became of the fields of each dataset, over every published row and every unit that had none."""
    counts: dict[str, list[FieldCounts]] = {}
    for entry in journal.entries:
        counts.setdefault(entry.dataset, []).append(entry.fields)
    for dataset, idle in assembler.idle_fields.items():
        counts.setdefault(dataset, []).append(idle)
    return {dataset: total(each) for dataset, each in counts.items()}


def days_of(journal: Journal) -> dict[str, Counter[str]]:
    """Rows by dataset and UTC date of their time, over every published part."""
    days: dict[str, Counter[str]] = {}
    for entry in journal.entries:
        days.setdefault(entry.dataset, Counter()).update(entry.days)
    return days


async def record_seal(
    journal: Journal,
    vault: Vault,
    manifest: Manifest,
    advances: Mapping[Key, datetime],
    *,
    fields: bytes,
    facts: bytes,
    owed: bytes = b"",
) -> None:
    """From here on the run is decided: whatever process comes next publishes exactly this.

    `fields` is the side file that says what became of every field, `facts` the one that says what took time; `owed` is
    a `pipeline.owed.Owed.replacement`.
    """
    decision = _Decision(encode_manifest(manifest), fields, vault.seal(advances), facts, owed)
    await journal.decide(msgspec.json.encode(decision))


async def finish_seal(
    journal: Journal,
    state: StateStore,
    destination: Destination,
    lease: Lease,
    *,
    vault: Vault,
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
    if watermarks is not None:
        await watermarks.advance(vault.open(decision.watermarks).items())
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
