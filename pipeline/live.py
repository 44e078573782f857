"""What a run at work tells those who watch it from elsewhere: one small sealed object of the state for each kind.

It is overwritten every few seconds and removed at the end. A process that was killed leaves it behind, so whoever
reads it asks the lease first whether anybody is at work. Nothing is decided by it: a state that cannot be written for
a while costs the watchers, never the run.
"""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from pipeline.errors import StoreRefused, StoreUnavailable
from pipeline.model import RunKind
from pipeline.ports import Fence, StateStore
from pipeline.progress import Progress
from pipeline.watermarks import Vault

FENCES_TOLD = 20  # the longest ones; a storm over all mailboxes must not make the object large
EVERY_LOCAL = timedelta(seconds=2)
# Object stores bill each write, and GCS takes one a second for an object: 360 an hour cost less than a cent.
# https://cloud.google.com/storage/quotas#objects, https://aws.amazon.com/s3/pricing (checked 2026-11)
EVERY_CLOUD = timedelta(seconds=10)


class DatasetLine(msgspec.Struct, frozen=True):
    connector: str
    dataset: str
    planned: int
    finished: int
    skipped: int
    failed: int
    rows: int
    rows_per_s: float


class Snapshot(msgspec.Struct, frozen=True):
    """How far a run had come at `told_at`. Instants are absolute, so they stay right however late they are read."""

    kind: str
    run_id: str
    stage: str
    told_at: datetime
    next_within_s: float
    elapsed_s: float
    seconds_left: int | None
    connectors: dict[str, int | None]  # seconds left of each
    datasets: list[DatasetLine]
    skips: dict[str, int]
    fences: list[Fence]  # principals by pseudonym
    fences_left_out: int = 0


def snapshot(progress: Progress, *, every: timedelta = timedelta(0)) -> Snapshot:
    """The progress as it is now; `every`: when the next one follows."""
    lines = progress.lines.items()
    fences = progress.fences
    return Snapshot(
        kind=progress.kind,
        run_id=progress.run_id,
        stage=progress.stage,
        told_at=progress.now(),
        next_within_s=every.total_seconds(),
        elapsed_s=progress.elapsed_s,
        seconds_left=progress.seconds_left(),
        connectors={name: progress.seconds_left(name) for name in dict.fromkeys(line.connector for _, line in lines)},
        datasets=[
            DatasetLine(
                connector=line.connector,
                dataset=dataset,
                planned=line.units_planned,
                finished=line.units_finished,
                skipped=line.units_skipped,
                failed=line.units_failed,
                rows=line.rows,
                rows_per_s=progress.rows_per_s(dataset),
            )
            for dataset, line in lines
        ],
        skips=dict(progress.skips),
        fences=fences[:FENCES_TOLD],
        fences_left_out=max(0, len(fences) - FENCES_TOLD),
    )


async def keep_told(progress: Progress, state: StateStore, vault: Vault, *, kind: RunKind, every: timedelta) -> None:
    """Tell the state of `progress` until cancelled, then take it back."""
    try:
        version: str | None = None
        while True:
            data = vault.seal_blob(msgspec.json.encode(snapshot(progress, every=every)))
            with suppress(StoreUnavailable, StoreRefused):
                version = await _overwrite(state, _key(kind), data, version=version)
            await asyncio.sleep(every.total_seconds())
    finally:
        with suppress(StoreUnavailable, StoreRefused):  # whatever ended the run says more than this would
            await state.delete(_key(kind))


async def last_told(state: StateStore, vault: Vault, kind: RunKind) -> Snapshot | None:
    """What a run of the kind told last, None where nothing is there or another version wrote it.

    Raises:
        ConfigurationError: it was sealed under another salt.
    """
    found = await state.read(_key(kind))
    if found is None:
        return None
    try:
        return msgspec.json.decode(vault.open_blob(found.data), type=Snapshot)
    except msgspec.ValidationError:
        return None


async def _overwrite(state: StateStore, key: str, data: bytes, *, version: str | None) -> str | None:
    """The new version. What stands there instead of `version` was left by a dead process, or is ours, unheard."""
    written = await state.replace(key, data, version=version)
    if written is not None:
        return written
    found = await state.read(key)
    return await state.replace(key, data, version=None if found is None else found.version)


def _key(kind: RunKind) -> str:
    return f"live/{kind}"
