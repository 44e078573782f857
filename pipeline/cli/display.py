"""Progress as a person sees it: what is done by connector and dataset, at what rate, what waits until when, and skips.

The same view serves the terminal of a run (`live_progress`) and `status --watch`, which reads what the run tells.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from config.instants import format_instant
from pipeline.live import DatasetLine, Snapshot, snapshot
from pipeline.ports import Fence
from pipeline.progress import Progress

REFRESHES_PER_S = 4
FENCES_SHOWN = 8
MISSED_TURNS = 3  # so many times the promised interval without news are worth a word


@contextmanager
def live_progress(progress: Progress, *, shown: bool) -> Iterator[None]:
    """Show `progress` on stderr while the context lasts."""
    if not shown:
        yield
        return
    with Live(
        console=Console(stderr=True),
        refresh_per_second=REFRESHES_PER_S,
        get_renderable=lambda: progress_view(snapshot(progress), now=progress.now()),
        transient=True,
    ):
        yield


def progress_view(told: Snapshot, *, now: datetime) -> RenderableType:
    """All that is known of a run at `now`, from what it told last."""
    parts: list[RenderableType] = [Text(_headline(told, now=now), style="bold"), _table(told)]
    if told.skips:
        skips = ", ".join(f"{reason} {count:,}" for reason, count in sorted(told.skips.items()))
        parts.append(Text(f"skipped: {skips}"))
    up = [fence for fence in told.fences if fence.until > now]
    parts += [Text(_wait(fence, now=now), style="yellow") for fence in up[:FENCES_SHOWN]]
    more = len(up) - FENCES_SHOWN + told.fences_left_out
    if more > 0:
        parts.append(Text(f"and {more:,} more scopes wait, none of them longer", style="yellow"))
    return Group(*parts)


def _headline(told: Snapshot, *, now: datetime) -> str:
    since = (now - told.told_at).total_seconds()
    parts = [" ".join(part for part in (told.kind, told.run_id) if part), told.stage]
    parts.append(_duration(told.elapsed_s + max(since, 0.0)))
    if told.seconds_left:
        parts.append(f"about {_duration(told.seconds_left)} left")
    if told.next_within_s and since > MISSED_TURNS * told.next_within_s:
        parts.append(f"last heard of {_duration(since)} ago")
    return " · ".join(part for part in parts if part)


def _table(told: Snapshot) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("connector", "dataset", "units", "skipped", "failed", "rows", "rows/s", "left"):
        table.add_column(heading, justify="left" if heading in {"connector", "dataset"} else "right")
    for connector, left_s in told.connectors.items():
        lines = [line for line in told.datasets if line.connector == connector]
        _add_line(table, connector, "", lines, left="" if left_s is None else _duration(left_s), style="bold")
        for line in lines:
            _add_line(table, "", line.dataset, [line], left="", style="")
    return table


def _add_line(table: Table, connector: str, dataset: str, lines: list[DatasetLine], *, left: str, style: str) -> None:
    table.add_row(
        connector,
        dataset,
        f"{sum(line.finished for line in lines):,} of {sum(line.planned for line in lines):,}",
        f"{sum(line.skipped for line in lines):,}",
        f"{sum(line.failed for line in lines):,}",
        f"{sum(line.rows for line in lines):,}",
        f"{sum(line.rows_per_s for line in lines):,.0f}",
        left,
        style=style,
    )


def _wait(fence: Fence, *, now: datetime) -> str:
    whose = {"app": "all requests", "service": f"all of {fence.service}"}.get(
        fence.scope, f"{fence.service} {fence.scope} {fence.principal}"
    )
    until = (fence.until + timedelta(seconds=0.5)).replace(microsecond=0)
    left_s = (fence.until - now).total_seconds()
    return f"waits: {whose}, until {format_instant(until)} ({_duration(left_s)}), because Microsoft throttles"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
