"""`plan --simulate`: how long a night and a year of an assumed tenant take, for how many workers, and what decides."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from config.model import Limits
from connectors.assumed_tenant import MAILBOXES, MEETINGS, NIGHTLY, YEAR
from connectors.graph.virtual_run import Phase
from pipeline.access import simulated_run
from pipeline.cli.console import Globals, out, quiet_pipe
from pipeline.cli.forecast import duration_text
from pipeline.cli.settings import load, settings_file
from pipeline.exits import Exit

WORKERS = (1, 4, 16)
COLUMNS = ("period", "datasets", "workers", "requests", "time", "what decides the longest phase")


def simulate(options: Globals) -> Exit:
    """Print the table that docs/scaling.md explains; `limits` of a settings file count where there is one."""
    limits = load(options)[0].limits if settings_file(options) is not None else Limits()
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in {"workers", "requests", "time"} else "left")
    for row in rows(limits):
        table.add_row(*row)
    console = out()
    with quiet_pipe():
        console.print(f"{MAILBOXES:,} assumed mailboxes in virtual time; see docs/scaling.md for what is assumed")
        console.print(table)
    return Exit.COMPLETE


def rows(limits: Limits) -> Iterator[tuple[str, ...]]:
    """A line for each period, choice of datasets and number of workers."""
    for period in (NIGHTLY, YEAR):
        whole = {each: simulated_run(limits, period, workers=each, breadth="everything") for each in WORKERS}
        mail = {each: simulated_run(limits, period, workers=each, breadth="mail and calendar") for each in WORKERS}
        without = {each: [phase for phase in phases if phase.name != MEETINGS] for each, phases in whole.items()}
        choices: dict[str, Mapping[int, Sequence[Phase]]] = {
            "everything": whole,
            f"all but {MEETINGS}": without,
            "mail and calendar": mail,
        }
        for datasets, by_workers in choices.items():
            for workers, phases in by_workers.items():
                requests = sum(phase.requests for phase in phases)
                seconds = duration_text(sum(phase.seconds for phase in phases))
                yield period.name, datasets, str(workers), f"{requests:,.0f}", seconds, _decides(phases)


def _decides(phases: Sequence[Phase]) -> str:
    longest = max(phases, key=lambda phase: phase.seconds)
    return f"{longest.limit} ({longest.name}: {duration_text(longest.seconds)})"
