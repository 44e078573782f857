"""`report`: what a run did, in short on the terminal, or as a page."""

import asyncio
from pathlib import Path

from rich.console import Console
from rich.table import Table

from config.instants import format_instant
from config.model import Settings
from config.secrets import SecretReader
from pipeline.app import open_memory
from pipeline.cli.console import Globals, out, quiet_pipe
from pipeline.cli.settings import load
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit
from pipeline.report.evidence import gather, interrupted_runs
from pipeline.report.outcome import interruption
from pipeline.report.page import page
from pipeline.report.view import ReasonGroup, Report, view
from pipeline.report.words import count, duration, reason_text, several

UNITS_SHOWN = 5
SCOPES_SHOWN = 5


def report(options: Globals, *, run_id: str | None, html: Path | None) -> Exit:
    settings, reader = load(options)
    found, notes = asyncio.run(read_report(settings, reader, run_id))
    console = out()
    with quiet_pipe():
        if found is None:
            console.print("\n".join(["no finished run yet", *notes]))
        elif html is not None:
            write_page(found, html)
            console.print(f"written: {html}", soft_wrap=True)
        else:
            print_report(console, found)
    return Exit.COMPLETE


async def read_report(
    settings: Settings, reader: SecretReader, run_id: str | None = None
) -> tuple[Report | None, list[str]]:
    """The report of a run, the last one where none is named, and what is to be said of runs that are open."""
    async with open_memory(settings, reader) as (state, _):
        evidence = await gather(state, run_id)
        notes = [interruption(record) for record in await interrupted_runs(state)]
    return (None if evidence is None else view(evidence)), notes


def write_page(report: Report, file: Path) -> None:
    """Raises: ConfigurationError, where the file cannot be written."""
    try:
        file.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--html: {file} cannot be written: {error.strerror}") from None


def print_report(console: Console, report: Report) -> None:
    """The short form: outcome, what is unusual, rows, what was left out, what took time."""
    manifest = report.manifest
    window = f"{format_instant(manifest.window.from_)} to {format_instant(manifest.window.to)}"
    console.print(f"{manifest.kind} {manifest.run_id}: {window}, {duration(report.seconds)}")
    console.print(f"{report.ending.word}: {report.ending.sentence}", markup=False)
    for note in report.notes:
        console.print(note, markup=False)
    for fall in report.falls:
        console.print(f"sudden fall: {fall.dataset} has {fall.rows:,} rows where about {fall.usual:,} are usual")
    console.print(_datasets(report))
    for title, groups in (("failed or incomplete", report.failures), ("left out as expected", report.skips)):
        for group in groups:
            console.print(f"{title}: {_group(group)}", markup=False)
    for lane in report.lanes[:SCOPES_SHOWN]:
        whose = f" {lane.principal}" if lane.principal else ""
        console.print(
            f"waited: {lane.scope} {lane.service}{whose}, {duration(lane.seconds)} in {count(len(lane.waits), 'wait')}",
            markup=False,
        )
    if report.stages:
        console.print("took: " + ", ".join(f"{stage.stage} {duration(stage.seconds)}" for stage in report.stages))
    for unit in report.slowest[:UNITS_SHOWN]:
        console.print(
            f"slow: {unit.dataset} {unit.principal}, {duration(unit.seconds)}, {count(unit.rows, 'row')}", markup=False
        )
    console.print(f"as a page: m365-export report {manifest.run_id} --html report.html", markup=False, soft_wrap=True)


def _datasets(report: Report) -> Table:
    usual = {trend.dataset: trend.usual for trend in report.trends}
    table = Table(box=None, pad_edge=False)
    for heading in ("dataset", "rows", "usual", "done", "skipped", "failed", "expected", "unexplained"):
        table.add_column(heading, justify="left" if heading == "dataset" else "right")
    for dataset, line in report.datasets.items():
        found = line.completeness
        table.add_row(
            dataset,
            f"{line.rows:,}",
            _number(usual.get(dataset)),
            f"{line.units.done:,}",
            f"{line.units.skipped:,}",
            f"{line.units.failed:,}",
            _number(found.expected),
            f"{found.unexplained:,}",
        )
    return table


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _group(group: ReasonGroup) -> str:
    principals = len(group.principals) + group.more
    number = count(principals, "principal") if principals else "whole datasets"
    meaning = reason_text(group.reason)
    return f"{group.reason}, {number} of {several(list(group.datasets))}" + (f": {meaning}" if meaning else "")
