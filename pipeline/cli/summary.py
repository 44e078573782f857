"""What a finished command prints on stdout: a table of datasets, and why anything was left out."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from config.instants import format_instant
from pipeline.errors import FailReason
from pipeline.execution import TRIES_OF_A_DIFFERENCE
from pipeline.manifest import LeftOut, Manifest
from pipeline.model import RunKind
from pipeline.progress import Progress
from pipeline.run import Outcome


def print_outcomes(
    console: Console, outcomes: Sequence[Outcome], *, destination: str, progress: Progress | None = None
) -> None:
    """The result of a command; with `progress` also how long each dataset took."""
    for outcome in outcomes:
        if outcome.manifest is None:
            console.print(f"run {outcome.run_id}: interrupted; the next command of this kind continues it")
        else:
            print_manifest(console, outcome.manifest, destination=destination, progress=progress)


def print_manifest(console: Console, manifest: Manifest, *, destination: str, progress: Progress | None = None) -> None:
    seconds = (manifest.finished_at - manifest.started_at).total_seconds()
    console.print(
        f"{manifest.kind} {manifest.run_id}: {manifest.status}, "
        f"{format_instant(manifest.window.from_)} to {format_instant(manifest.window.to)}, {seconds:.1f} s"
    )
    console.print(_dataset_table(manifest, progress))
    for dataset, facts in manifest.datasets.items():
        found = facts.completeness
        if found.unexplained:
            console.print(
                f"{dataset}: {found.unexplained:,} of {found.expected or 0:,} records are unaccounted for; "
                f"the manifest names whose; {TRIES_OF_A_DIFFERENCE} runs in a row read them again"
            )
    if any(line.reason == FailReason.ABANDONED for line in manifest.failed):
        then = "runs go on from where it left off" if manifest.kind is RunKind.RUN else "repeat it over its range"
        console.print(
            f"it was interrupted and is sealed as it was, because other work is wanted now; it is not whole: {then}"
        )
    for line in manifest.failed:
        if line.principal is None and line.reason != FailReason.ABANDONED:
            console.print(f"{line.dataset}: failed as a whole: {line.reason}; the log names the permission or cause")
    console.print(f"manifest: {destination}/_manifests/{manifest.run_id}.json")


def _dataset_table(manifest: Manifest, progress: Progress | None) -> Table:
    table = Table(box=None, pad_edge=False)
    headings = ("dataset", "rows", "parts", "bytes", "seconds", "done", "rejected", "skipped", "failed")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in {"dataset", "skipped", "failed"} else "right")
    for dataset, line in manifest.datasets.items():
        table.add_row(
            dataset,
            f"{line.rows:,}",
            f"{len(line.parts):,}",
            f"{sum(part.bytes for part in line.parts):,}",
            f"{progress.of(dataset).seconds:,.1f}" if progress is not None else "",
            f"{line.units.done:,}",
            f"{sum(line.rejected.values()):,}",
            _why(manifest.skipped, dataset, line.units.skipped),
            _why(manifest.failed, dataset, line.units.failed),
        )
    return table


def _why(left_out: Sequence[LeftOut], dataset: str, units: int) -> str:
    """How many units were left out, and of how many principals for which reason; the manifest lists each."""
    reasons = Counter(line.reason for line in left_out if line.dataset == dataset)
    told = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    return f"{units:,}" + (f" ({told})" if told else "")
