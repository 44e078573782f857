"""`status`: who is at work, the last runs, how far each dataset lags behind.

`--watch` shows the runs at work until they end, and then this; `--clean` tidies the state.
"""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table

from config.instants import format_instant
from config.model import Settings
from config.secrets import SecretReader
from pipeline.app import open_memory, utc_now
from pipeline.clean import clean as remove_unreferenced
from pipeline.cli.console import Globals, out
from pipeline.cli.settings import load
from pipeline.cli.watch import watch as watch_work
from pipeline.exits import Exit
from pipeline.history import StateSummary, summarise
from pipeline.lease import hold
from pipeline.model import RunKind

RUNS_SHOWN = 10


def status(options: Globals, *, watch: bool = False) -> Exit:
    settings, reader = load(options)
    if watch:
        watch_work(settings, reader)
    summary = asyncio.run(_summary(settings, reader))
    _print(out(), summary, now=utc_now())
    return Exit.COMPLETE


def clean(options: Globals) -> Exit:
    """Remove what nothing refers to. Refused, with exit 6, while a run of any kind is at work."""
    settings, reader = load(options)
    removed = asyncio.run(_clean(settings, reader))
    for key in removed:
        out().print(f"removed: {key}", markup=False)
    out().print(f"{len(removed):,} objects removed from {settings.state}", markup=False)
    return Exit.COMPLETE


async def _summary(settings: Settings, reader: SecretReader) -> StateSummary:
    async with open_memory(settings, reader) as (state, watermarks):
        return await summarise(state, watermarks, runs=RUNS_SHOWN, now=utc_now())


async def _clean(settings: Settings, reader: SecretReader) -> list[str]:
    async with AsyncExitStack() as stack:
        state, watermarks = await stack.enter_async_context(open_memory(settings, reader))
        await state.prove()
        leases = [await stack.enter_async_context(hold(state, kind, clock=utc_now)) for kind in RunKind]
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        for lease in leases:
            stack.callback(tasks.create_task(lease.keep()).cancel)
        return await remove_unreferenced(state, leases, salt_fingerprint=watermarks.salt_fingerprint, now=utc_now())


def _print(console: Console, summary: StateSummary, *, now: datetime) -> None:
    if not summary.runs and not summary.open_runs and not summary.working:
        console.print("no run yet")
    open_runs = {record.kind: record for record in summary.open_runs}
    for kind, lease in summary.working.items():
        what = f"{kind} {open_runs.pop(kind).run_id}" if kind in open_runs else kind
        since, until = format_instant(lease.since), format_instant(lease.until)
        console.print(f"running: {what} on {lease.host} since {since} (lease until {until})")
    for record in open_runs.values():
        console.print(f"open: {record.kind} {record.run_id}; the next {record.kind} continues it")
    runs = Table("run", "kind", "status", "window", "rows", "skipped", "failed", "unexplained", box=None)
    for manifest in summary.runs:
        runs.add_row(
            manifest.run_id,
            manifest.kind,
            manifest.status,
            f"{format_instant(manifest.window.from_)} to {format_instant(manifest.window.to)}",
            f"{sum(line.rows for line in manifest.datasets.values()):,}",
            f"{len(manifest.skipped):,}",
            f"{len(manifest.failed):,}",
            f"{manifest.unexplained:,}",
        )
    if summary.runs:
        console.print(runs)
    lags = Table("dataset", "principals", "exported until", "furthest behind", "lag", box=None)
    for dataset, instants in sorted(summary.watermarks.items()):
        oldest, newest = _range(instants)
        lags.add_row(
            dataset, f"{len(instants):,}", format_instant(newest), format_instant(oldest), _hours(now - oldest)
        )
    if summary.watermarks:
        console.print(lags)


def _range(instants: Iterable[datetime]) -> tuple[datetime, datetime]:
    ordered = sorted(instants)
    return ordered[0], ordered[-1]


def _hours(lag: timedelta) -> str:
    return f"{lag.total_seconds() / 3600:.1f} h"
