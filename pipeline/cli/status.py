"""`status`: the last runs, and how far each dataset lags behind."""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table

from config.instants import format_instant
from config.model import Settings
from config.secrets import SecretReader
from pipeline.app import open_memory, utc_now
from pipeline.cli.console import Globals, out
from pipeline.cli.settings import load
from pipeline.exits import Exit
from pipeline.history import StateSummary, summarise

RUNS_SHOWN = 10


def status(options: Globals) -> Exit:
    settings, reader = load(options)
    summary = asyncio.run(_summary(settings, reader))
    _print(out(), summary, now=utc_now())
    return Exit.COMPLETE


async def _summary(settings: Settings, reader: SecretReader) -> StateSummary:
    async with open_memory(settings, reader) as (state, watermarks):
        return await summarise(state, watermarks, runs=RUNS_SHOWN)


def _print(console: Console, summary: StateSummary, *, now: datetime) -> None:
    if not summary.runs and not summary.open_runs:
        console.print("no run yet")
    for record in summary.open_runs:
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
