"""What a report rests on: the sealed run, its side files, the runs before it. All from the state, nothing is asked."""

from dataclasses import dataclass, field

import msgspec

from pipeline.errors import ConfigurationError
from pipeline.facts import Facts
from pipeline.history import run_facts, run_fields, sealed_run, sealed_runs
from pipeline.journal import RunRecord, open_run
from pipeline.manifest import Manifest
from pipeline.model import RunKind
from pipeline.ports import StateStore

RUNS_BEFORE = 50  # read of the history: six weeks of nightly runs, and some backfills among them


class FieldLine(msgspec.Struct, frozen=True):
    """A line of the field ledger; `pipeline.sanitize.ledger` says what the keys mean."""

    path: str
    fate: str
    rule: str
    non_null: int = 0
    sampled: bool = False


class DatasetFields(msgspec.Struct, frozen=True):
    scanned_records: int = 0
    fields: list[FieldLine] = []


class _FieldsFile(msgspec.Struct, frozen=True):
    datasets: dict[str, DatasetFields]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One sealed run. `facts` and `fields` are empty where an older version sealed it."""

    manifest: Manifest
    facts: Facts
    fields: dict[str, DatasetFields] = field(default_factory=dict)
    earlier: list[Manifest] = field(default_factory=list)  # newest first
    interrupted: list[RunRecord] = field(default_factory=list)  # runs that are still open


async def interrupted_runs(state: StateStore) -> list[RunRecord]:
    """The runs that are open: interrupted, or being read right now."""
    records = [await open_run(state, kind) for kind in RunKind]
    return [record for record in records if record is not None]


async def gather(state: StateStore, run_id: str | None = None) -> Evidence | None:
    """What is known of a run, the last sealed one where none is named; None before the first.

    Raises:
        ConfigurationError: no sealed run has this id.
    """
    interrupted = await interrupted_runs(state)
    manifest = await _manifest(state, run_id, interrupted)
    if manifest is None:
        return None
    fields = await run_fields(state, manifest.run_id)
    return Evidence(
        manifest=manifest,
        facts=await run_facts(state, manifest.run_id) or Facts(run_id=manifest.run_id),
        fields=msgspec.json.decode(fields, type=_FieldsFile).datasets if fields else {},
        earlier=await sealed_runs(state, limit=RUNS_BEFORE, before=manifest.run_id),
        interrupted=interrupted,
    )


async def _manifest(state: StateStore, run_id: str | None, interrupted: list[RunRecord]) -> Manifest | None:
    last = await sealed_runs(state, limit=1)
    if run_id is None:
        return last[0] if last else None
    if run_id in {record.run_id for record in interrupted}:
        raise ConfigurationError(
            f"RUN_ID: {run_id} is not sealed yet: it was interrupted or is still running; "
            "the next command of its kind continues it"
        )
    found = await sealed_run(state, run_id)
    if found is None:
        newest = f"the last one is {last[0].run_id}" if last else "there is none yet"
        raise ConfigurationError(f"RUN_ID: no sealed run has this id; {newest}; `m365-export status` lists them")
    return found
