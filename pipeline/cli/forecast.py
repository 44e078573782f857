"""How an estimate is printed: a line for each dataset, then the whole with its range and the limit that decides."""

from rich.console import Console
from rich.table import Table

from pipeline.estimate import Range
from pipeline.forecast import DatasetForecast, Forecast

COLUMNS = ("dataset", "units", "sampled", "requests", "low", "high", "rows", "Parquet", "time", "slowest limit")
LEFT = frozenset({"dataset", "slowest limit"})


def print_forecast(console: Console, forecast: Forecast) -> None:
    """The estimate of one run."""
    if forecast.continues:
        console.print("an interrupted run is open: the next command of this kind finishes that first")
    console.print(
        f"would read {forecast.units:,} units of {forecast.principals:,} principals with about "
        f"{_ranged(forecast.requests)} requests in {_durations(forecast.seconds)}"
    )
    console.print(f"would write about {forecast.rows:,.0f} rows, {size_text(forecast.bytes)} of Parquet")
    if forecast.limit:
        console.print(f"what decides: {forecast.limit}")
    console.print(_table(forecast))
    console.print(
        f"sampled with {forecast.sample_requests:,} requests, "
        f"beside {forecast.directory_requests:,} for the directory, which the run makes too"
    )


def _table(forecast: Forecast) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in LEFT else "right")
    for line in forecast.datasets:
        table.add_row(*_row(line))
    return table


def _row(line: DatasetForecast) -> tuple[str, ...]:
    requests = line.requests
    return (
        line.dataset,
        f"{line.units:,}",
        f"{line.sampled:,}",
        *(f"{count:,.0f}" for count in (requests.central, requests.low, requests.high)),
        f"{line.rows.central:,.0f}",
        size_text(line.bytes),
        duration_text(line.seconds),
        line.limit,
    )


def _ranged(range_: Range) -> str:
    return f"{range_.central:,.0f} ({range_.low:,.0f} to {range_.high:,.0f})"


def _durations(seconds: Range) -> str:
    return f"about {duration_text(seconds.central)} ({duration_text(seconds.low)} to {duration_text(seconds.high)})"


def duration_text(seconds: float) -> str:
    """In the unit that reads best: seconds, minutes, hours, days."""
    for limit, divisor, unit in ((90, 1, "s"), (5_400, 60, "min"), (2 * 86_400, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.{1 if divisor == 3_600 else 0}f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def size_text(size: float) -> str:
    """Bytes in the unit that reads best."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1_024:
            return f"{size:,.0f} {unit}"
        size /= 1_024
    return f"{size:,.1f} TiB"
