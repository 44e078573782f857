"""How a run ended, in one sentence."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import FailReason
from pipeline.exits import Exit
from pipeline.journal import RunRecord
from pipeline.manifest import Manifest
from pipeline.model import RunKind
from pipeline.report.words import count, cut, several, were

Tone = Literal["good", "fair"]


@dataclass(frozen=True, slots=True)
class Ending:
    """`tone` colours the sentence; `code` is what the command ended with."""

    tone: Tone
    word: str
    sentence: str
    code: Exit


def ending(manifest: Manifest) -> Ending:
    """What was published, what is missing, and what becomes of it."""
    rows = sum(line.rows for line in manifest.datasets.values())
    filled = sum(line.rows > 0 for line in manifest.datasets.values())
    published = (
        f"{count(rows, 'row')} of {count(filled, 'dataset')} {were(rows)} published" if rows else "Nothing was new"
    )
    if manifest.status == "complete":
        skipped = sum(line.units.skipped for line in manifest.datasets.values())
        left_out = f"; {count(skipped, 'unit')} {were(skipped)} left out for expected reasons" if skipped else ""
        return Ending("good", "Complete", f"{published}, and nothing is known to be missing{left_out}.", Exit.COMPLETE)
    again = (
        "Repeat the backfill to try again what failed."
        if manifest.kind is RunKind.BACKFILL
        else "The next run tries again what failed."
    )
    return Ending("fair", "Partial", f"{published}, but {several(_problems(manifest), shown=6)}. {again}", Exit.PARTIAL)


def interruption(record: RunRecord) -> str:
    """What is to be said of a run that is open."""
    return (
        f"{record.kind} {record.run_id} was interrupted or is still running; what is published is safe, "
        f"and the next {record.kind} continues it."
    )


def _problems(manifest: Manifest) -> list[str]:
    whole = [line for line in manifest.failed if line.principal is None]
    abandoned = [line for line in whole if line.reason == FailReason.ABANDONED]
    denied = [f"{cut(line.dataset)} ({cut(line.reason)})" for line in whole if line.reason != FailReason.ABANDONED]
    single = [line for line in manifest.failed if line.principal is not None]
    reasons = Counter(line.reason for line in single if line.reason != FailReason.INCOMPLETE)
    rejected = sum(sum(line.rejected.values()) for line in manifest.datasets.values())
    problems = []
    if abandoned:
        problems.append("the run was not read to its end")
    if denied:
        problems.append(f"{several(denied)} could not be read")
    if reasons:
        told = several([f"{cut(reason)} {number:,}" for reason, number in reasons.most_common()])
        problems.append(f"{count(reasons.total(), 'principal')} failed ({told})")
    if manifest.unexplained:
        problems.append(
            f"{count(manifest.unexplained, 'record')} of "
            f"{count(len(single) - reasons.total(), 'principal')} are unaccounted for"
        )
    if rejected:
        problems.append(f"{count(rejected, 'record')} {were(rejected)} rejected")
    if dropped := manifest.debts_dropped:
        told = several([f"{cut(dataset)} {number:,}" for dataset, number in dropped.items()])
        problems.append(f"more failed than can be kept in mind ({told}), which a backfill of this window reads")
    return problems or ["not everything could be read"]
