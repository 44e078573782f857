"""Removes from the state what nothing refers to.

    open/<kind>/<run id>/…      of a run that is not the open one: late writes of a process that slept
    fields/<run id>.json        of a run that is neither open nor in the history: the same; so is facts/
    watermarks/<fingerprint>,
    owed/<fingerprint>          of a salt that neither the settings nor any run of the last weeks had
    _probe/…                    what a process left that died while it tried its rights

Everything else stays: the history, the open run of each kind with all its entries, the watermarks in use. Leases stay
too: there is one of each kind, and removing one cannot be made conditional on nobody having taken it meanwhile. Who
cleans holds the leases of all kinds, so that nothing is being written; what is removed is never looked at by a run, so
it does not matter how far an interrupted cleaning came.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from pipeline.history import history_ids, sealed_run
from pipeline.journal import open_run, open_run_prefix
from pipeline.kept import key_of_salt
from pipeline.lease import Lease
from pipeline.model import RunKind
from pipeline.ports import StateStore

SALTS_KEPT_FOR = timedelta(days=30)  # long enough to notice that a salt was replaced by mistake


async def clean(state: StateStore, leases: Sequence[Lease], *, salt_fingerprint: str, now: datetime) -> list[str]:
    """Remove what nothing refers to; the keys that were removed.

    Raises:
        LeaseLost: a run has begun meanwhile.
    """
    removed = []
    for key in await unreferenced(state, salt_fingerprint=salt_fingerprint, now=now):
        for lease in leases:
            lease.check()
        await state.delete(key)
        removed.append(key)
    return removed


async def unreferenced(state: StateStore, *, salt_fingerprint: str, now: datetime) -> list[str]:
    """The keys that nothing refers to."""
    records = [await open_run(state, kind) for kind in RunKind]
    open_ids = {record.run_id for record in records if record is not None}
    sealed_ids = await history_ids(state)
    garbage = await state.keys("_probe/")
    for kind in RunKind:
        prefix = open_run_prefix(kind)
        garbage += [key for key in await state.keys(prefix) if key.removeprefix(prefix).split("/")[0] not in open_ids]
    known_ids = open_ids | set(sealed_ids)
    for side_files in ("fields/", "facts/"):
        garbage += [key for key in await state.keys(side_files) if _id_of(key) not in known_ids]
    salts = {salt_fingerprint} | {record.salt_fingerprint for record in records if record is not None}
    salts |= await _recent_salts(state, sealed_ids, since=now - SALTS_KEPT_FOR)
    for folder in ("watermarks", "owed"):
        kept = {key_of_salt(folder, salt) for salt in salts}
        garbage += [key for key in await state.keys(f"{folder}/") if key not in kept]
    return garbage


async def _recent_salts(state: StateStore, sealed_ids: Collection[str], *, since: datetime) -> set[str]:
    """The salts of the last sealed run and of all that began after `since`."""
    salts: set[str] = set()
    for run_id in sorted(sealed_ids, reverse=True):
        manifest = await sealed_run(state, run_id)
        if manifest is None:
            continue
        if salts and manifest.started_at < since:
            break
        salts.add(manifest.salt_fingerprint)
    return salts


def _id_of(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")
