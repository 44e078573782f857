"""What the state remembers: sealed runs, open runs, watermarks."""

from dataclasses import dataclass, field
from datetime import datetime

from pipeline.errors import FailReason
from pipeline.facts import Facts, decode_facts
from pipeline.journal import RunRecord, open_run
from pipeline.lease import HeldLease, held_lease
from pipeline.manifest import Manifest, decode_manifest
from pipeline.model import RunKind
from pipeline.ports import StateStore
from pipeline.watermarks import Key, Watermarks

RUNS_LOOKED_AT = 10  # backfills among them


@dataclass(frozen=True, slots=True)
class StateSummary:
    """`runs` newest first; `working`: leases that are held; `watermarks` by dataset, one instant for each principal."""

    working: dict[RunKind, HeldLease] = field(default_factory=dict)
    runs: list[Manifest] = field(default_factory=list)
    open_runs: list[RunRecord] = field(default_factory=list)
    watermarks: dict[str, list[datetime]] = field(default_factory=dict)


async def remember_run(state: StateStore, run_id: str, manifest: bytes) -> None:
    """Keep the manifest of a sealed run where this product may read it; the destination it may only write."""
    await state.create(f"history/{run_id}.json", manifest)


async def remember_fields(state: StateStore, run_id: str, fields: bytes) -> None:
    """Keep a sealed run's field ledger beside its manifest."""
    await state.create(f"fields/{run_id}.json", fields)


async def remember_facts(state: StateStore, run_id: str, facts: bytes) -> None:
    """Keep beside them what a sealed run tells of its days and times."""
    await state.create(f"facts/{run_id}.json", facts)


async def run_facts(state: StateStore, run_id: str) -> Facts | None:
    """What a sealed run tells of its days and times; None where it was sealed by a version that did not."""
    found = await state.read(f"facts/{run_id}.json")
    return None if found is None else decode_facts(found.data)


async def run_fields(state: StateStore, run_id: str) -> bytes | None:
    """The field ledger of a sealed run, as JSON; its shape stands in `pipeline.sanitize.ledger`."""
    found = await state.read(f"fields/{run_id}.json")
    return None if found is None else found.data


async def sealed_run(state: StateStore, run_id: str) -> Manifest | None:
    """The manifest of one run, None while it is not sealed."""
    found = await state.read(f"history/{run_id}.json")
    return None if found is None else decode_manifest(found.data)


async def history_ids(state: StateStore) -> list[str]:
    """The ids of all sealed runs, oldest first."""
    return [key.removeprefix("history/").removesuffix(".json") for key in await state.keys("history/")]


async def sealed_runs(state: StateStore, *, limit: int, before: str | None = None) -> list[Manifest]:
    """The manifests of the last `limit` runs, newest first; with `before` of those that began before that run."""
    keys = [key for key in await state.keys("history/") if before is None or key < f"history/{before}.json"]
    found = [await state.read(key) for key in sorted(keys, reverse=True)[:limit]]
    return [decode_manifest(each.data) for each in found if each is not None]


async def last_success(state: StateStore, kind: RunKind) -> datetime | None:
    """When the last complete run of the kind ended; None where none of the last ones was."""
    for key in sorted(await state.keys("history/"), reverse=True)[:RUNS_LOOKED_AT]:
        found = await state.read(key)
        manifest = None if found is None else decode_manifest(found.data)
        if manifest is not None and (manifest.kind, manifest.status) == (kind, "complete"):
            return manifest.finished_at
    return None


async def incomplete_in_a_row(state: StateStore, *, runs: int) -> frozenset[Key]:
    """Whose datasets were `incomplete` in each of the last `runs` runs; nobody's where there were fewer."""
    recent = [each for each in await sealed_runs(state, limit=RUNS_LOOKED_AT) if each.kind is RunKind.RUN][:runs]
    if len(recent) < runs:
        return frozenset()
    return frozenset.intersection(*map(_incomplete, recent))


def _incomplete(manifest: Manifest) -> frozenset[Key]:
    lines = [line for line in manifest.failed if line.reason == FailReason.INCOMPLETE]
    return frozenset((line.dataset, line.principal) for line in lines if line.principal is not None)


async def summarise(state: StateStore, known: Watermarks, *, runs: int, now: datetime) -> StateSummary:
    """Who is at work, the last `runs` runs, every open one, and all watermarks.

    Raises:
        ConfigurationError: the watermarks were sealed under another salt.
    """
    watermarks: dict[str, list[datetime]] = {}
    for (dataset, _), instant in (await known.load()).items():
        watermarks.setdefault(dataset, []).append(instant)
    unfinished = [await open_run(state, kind) for kind in RunKind]
    leases = {kind: await held_lease(state, kind, now=now) for kind in RunKind}
    return StateSummary(
        working={kind: lease for kind, lease in leases.items() if lease is not None},
        runs=await sealed_runs(state, limit=runs),
        open_runs=[record for record in unfinished if record is not None],
        watermarks=watermarks,
    )
