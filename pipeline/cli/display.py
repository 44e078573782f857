"""Progress on a terminal: what is done of each dataset, at what rate, and how long the rest may take."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipeline.progress import Progress

REFRESHES_PER_S = 4


@contextmanager
def live_progress(progress: Progress, *, shown: bool) -> Iterator[None]:
    """Show `progress` on stderr while the context lasts."""
    if not shown:
        yield
        return
    console = Console(stderr=True)
    with Live(
        console=console,
        refresh_per_second=REFRESHES_PER_S,
        get_renderable=lambda: progress_table(progress),
        transient=True,
    ):
        yield


def progress_table(progress: Progress) -> Table:
    """Units and rows by dataset, with the rate so far and the time left at that rate."""
    table = Table(title=_headline(progress), title_justify="left", box=None, pad_edge=False)
    for heading in ("dataset", "units", "skipped", "failed", "rows", "rows/s"):
        table.add_column(heading, justify="left" if heading == "dataset" else "right")
    for dataset, line in progress.datasets.items():
        table.add_row(
            dataset,
            f"{line.units_finished:,} of {line.units_planned:,}",
            f"{line.units_skipped:,}",
            f"{line.units_failed:,}",
            f"{line.rows:,}",
            f"{line.rows / max(progress.elapsed_s, 1e-9):,.0f}",
        )
    return table


def _headline(progress: Progress) -> str:
    parts = [progress.stage, f"{progress.elapsed_s:.0f} s"]
    left_s = progress.seconds_left()
    if left_s:
        parts.append(f"about {_duration(left_s)} left")
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
