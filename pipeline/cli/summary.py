"""What a finished command prints on stdout: a table of datasets, and why anything was left out."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pipeline.manifest import LeftOut, Manifest
from pipeline.model import Unit
from pipeline.run import Outcome


def print_outcomes(console: Console, outcomes: Sequence[Outcome], *, destination: str) -> None:
    for outcome in outcomes:
        if outcome.manifest is None:
            console.print(f"run {outcome.run_id}: interrupted; the next command of this kind continues it")
        else:
            print_manifest(console, outcome.manifest, destination=destination)


def print_manifest(console: Console, manifest: Manifest, *, destination: str) -> None:
    seconds = (manifest.finished_at - manifest.started_at).total_seconds()
    console.print(
        f"{manifest.kind} {manifest.run_id}: {manifest.status}, "
        f"{manifest.window.from_:%Y-%m-%dT%H:%M:%SZ} to {manifest.window.to:%Y-%m-%dT%H:%M:%SZ}, {seconds:.1f} s"
    )
    console.print(_dataset_table(manifest))
    _print_left_out(console, "skipped", manifest.skipped)
    _print_left_out(console, "failed", manifest.failed)
    console.print(f"manifest: {destination}/_manifests/{manifest.run_id}.json")


def print_plan(console: Console, groups: Sequence[Sequence[Unit]]) -> None:
    """What a dry run found: units by dataset, for how many principals."""
    units: Counter[str] = Counter()
    for group in groups:
        units.update(unit.dataset for unit in group)
    table = Table("dataset", "units", box=None)
    for dataset, count in sorted(units.items()):
        table.add_row(dataset, f"{count:,}")
    console.print(f"would read {units.total():,} units of {len(groups):,} principals")
    console.print(table)


def _dataset_table(manifest: Manifest) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("dataset", "rows", "parts", "bytes", "done", "skipped", "failed", "rejected"):
        table.add_column(heading, justify="left" if heading == "dataset" else "right")
    for dataset, line in manifest.datasets.items():
        table.add_row(
            dataset,
            f"{line.rows:,}",
            f"{len(line.parts):,}",
            f"{sum(part.bytes for part in line.parts):,}",
            f"{line.units.done:,}",
            f"{line.units.skipped:,}",
            f"{line.units.failed:,}",
            f"{sum(line.rejected.values()):,}",
        )
    return table


def _print_left_out(console: Console, what: str, lines: Sequence[LeftOut]) -> None:
    """Counts by dataset and reason; the manifest lists each."""
    for (dataset, reason), count in sorted(Counter((line.dataset, line.reason) for line in lines).items()):
        console.print(f"{what}: {dataset} {reason}: {count:,}")
