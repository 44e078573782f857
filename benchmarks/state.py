"""What it takes to take up the state of a large tenant: watermarks, the journal of an interrupted run, and a plan.

Everything is in memory, so this is the exporter's own work; a bucket adds its answers to it, a handful for the
watermarks and two for each part of the journal, of several parts at a time.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from benchmarks.results import Answer, Claim, Line, line
from pipeline.done import DoneUnit
from pipeline.journal import Entry, Journal, RunRecord
from pipeline.lease import hold
from pipeline.model import MICROSECOND, RunKind, Window
from pipeline.plan import remaining
from pipeline.watermarks import Watermarks
from sinks.snapshot import StateVault, derive_key
from sinks.stores.memory import MemoryBucket, MemoryStore

PRINCIPALS, QUICK_PRINCIPALS = 100_000, 200
DATASETS = ("mail_messages", "calendar_events", "teams_chats", "teams_chat_messages")
UNITS_A_PART = 100
NIGHT = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
SECONDS = 10.0  # for all of it


def measure(*, quick: bool) -> Answer:
    """One state, read and moved on."""
    principals = QUICK_PRINCIPALS if quick else PRINCIPALS
    lines = asyncio.run(_lines([f"t~{number:043d}" for number in range(principals)]))
    total_s = sum(each["CPU s"] for each in lines)
    return Answer(
        question="The state of a large tenant",
        text=f"{principals:,} principals, {len(DATASETS)} datasets of each; the run was interrupted when all but the "
        "manifest was done.",
        lines=lines,
        claims=[
            Claim(f"the state of {PRINCIPALS:,} principals is read in seconds", f"{total_s:.1f} s", total_s <= SECONDS)
        ],
    )


async def _lines(principals: list[str]) -> list[Line]:
    state = MemoryStore(MemoryBucket())
    vault = StateVault(derive_key(b"benchmark"))
    watermarks = Watermarks(state, vault, salt_fingerprint="benchmark")
    keys = [(dataset, principal) for principal in principals for dataset in sorted(DATASETS)]
    await watermarks.advance(vault.seal((key, NIGHT.start) for key in keys))
    async with hold(state, kind=RunKind.RUN, clock=lambda: NIGHT.end) as lease:
        record = _record()
        await _write_journal(state, record, principals)
        journal = Journal(state, record, lease, is_open=True)

        async def plan() -> None:
            known = await watermarks.load()
            done: dict[tuple[str, str], list[Window]] = {}
            for dataset, unit in journal.done():
                if unit.window is not None:
                    done.setdefault((dataset, unit.principal), []).append(unit.window)
            left = [list(remaining(Window(known[key], NIGHT.end), done.get(key, ()))) for key in keys]
            assert not any(left)

        async def move() -> None:
            await watermarks.advance(vault.seal((key, NIGHT.end) for key in keys))

        return [
            await _line("watermarks: read", watermarks.load),
            await _line("journal: read and settled", lambda: journal.recover(state, lambda _: _none())),
            await _line("windows that are left", plan),
            await _line("watermarks: moved", move),
        ]


async def _line(name: str, work: Callable[[], Coroutine[Any, Any, object]]) -> Line:
    started, computed = time.monotonic(), time.process_time()
    await work()
    return line(name, [{"CPU s": time.process_time() - computed, "s": time.monotonic() - started}])


async def _write_journal(state: MemoryStore, record: RunRecord, principals: list[str]) -> None:
    """As an interrupted run leaves it, every part published."""
    for dataset in DATASETS:
        for part, first in enumerate(range(0, len(principals), UNITS_A_PART), start=1):
            units = tuple(
                DoneUnit(principal, NIGHT.start, NIGHT.end, 1) for principal in principals[first : first + UNITS_A_PART]
            )
            entry = Entry(
                dataset=dataset,
                part=part,
                path=f"{dataset}/{record.run_id}/{dataset}-{part:05d}.parquet",
                rows=len(units),
                bytes=1,
                sha256="0" * 64,
                min_time=NIGHT.start,
                max_time=NIGHT.end - MICROSECOND,
                units=units,
            )
            key = f"open/run/{record.run_id}/journal/{dataset}-{part:05d}"
            await state.create(f"{key}.json", msgspec.json.encode(entry))
            await state.create(f"{key}.outcome", b"published")


def _record() -> RunRecord:
    return RunRecord(
        run_id="20260302T000000Z-0000",
        kind=RunKind.RUN,
        started_at=NIGHT.end - timedelta(hours=1),
        until=NIGHT.end,
        connectors=("outlook-mail",),
        profile="strict",
        scope="all",
        rules_fingerprint="f",
        salt_fingerprint="benchmark",
        schema_versions=dict.fromkeys(DATASETS, 1),
    )


def _none() -> Any:
    raise AssertionError("every part was published")
