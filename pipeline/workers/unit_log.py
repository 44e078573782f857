"""What became of the units of a task: written down by the worker, told again by the coordinator.

So tally, display and log of a run say the same, whoever read its units.
"""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from pipeline.errors import DatasetDenied, FailReason, SkipReason, SourceRefused, UnitFailed, UnitSkipped
from pipeline.facts import UnitEnd
from pipeline.model import Unit
from pipeline.parts import UnitResult
from pipeline.progress import Settled
from pipeline.tally import Tally
from pipeline.unit_work import Outcomes
from pipeline.workers.messages import Failure, Fate, Report, UnitOutcome, failure_of, refusal_of

_ENDS: Mapping[Fate, UnitEnd] = {Fate.FINISHED: "done", Fate.SKIPPED: "skipped"}


class UnitLog:
    """An `Outcomes` that writes down what happens."""

    def __init__(self, tally: Tally) -> None:
        """`tally` is that of all tasks of a worker: a dataset that fails everywhere is not tried on."""
        self.outcomes: list[UnitOutcome] = []
        self.refused: dict[str, Failure] = {}
        self.settled: dict[str, Settled] = {}  # by dataset
        self._tally = tally

    def planned(self, units: Sequence[Unit]) -> None:
        """The coordinator has planned them."""

    def finished(self, unit: Unit, result: UnitResult) -> None:
        self._tally.done(unit.dataset)
        self._note(UnitOutcome(fate=Fate.FINISHED, unit=unit, done=result.unit, rejected=dict(result.rejected)))

    def skipped(self, unit: Unit, error: UnitSkipped) -> None:
        self._tally.skipped(unit.dataset, "", error)
        self._note(UnitOutcome(fate=Fate.SKIPPED, unit=unit, reason=error.reason, code=error.code))

    def failed(self, unit: Unit, error: UnitFailed) -> None:
        self._tally.failed(unit.dataset, "", error)
        self._note(
            UnitOutcome(
                fate=Fate.FAILED,
                unit=unit,
                reason=error.reason,
                code=error.code,
                request_id=error.request_id,
                needs=error.needs if isinstance(error, DatasetDenied) else None,
            )
        )

    def denied(self, datasets: Iterable[str], error: SourceRefused | UnitFailed) -> None:
        for dataset in datasets:
            self._tally.deny(dataset, error.reason)
            if isinstance(error, SourceRefused):
                self.refused[dataset] = failure_of(error)

    def is_denied(self, dataset: str) -> bool:
        return self._tally.is_denied(dataset)

    def not_tried(self, unit: Unit) -> None:
        self._note(UnitOutcome(fate=Fate.NOT_TRIED, unit=unit))

    def divided(self, unit: Unit) -> None:
        self._note(UnitOutcome(fate=Fate.DIVIDED, unit=unit))

    def ended(self, unit: Unit, *, seconds: float, rows: int | None, end: UnitEnd) -> None:
        del end
        if rows is not None and self.outcomes and self.outcomes[-1].unit is unit:  # else its halves tell
            self.outcomes[-1] = msgspec.structs.replace(self.outcomes[-1], seconds=seconds)

    def _note(self, outcome: UnitOutcome) -> None:
        self.outcomes.append(outcome)
        dataset, fate = outcome.unit.dataset, outcome.fate
        if fate is not Fate.DIVIDED:
            self.settled[dataset] = self.settled.get(dataset, Settled()).plus(
                finished=int(fate is Fate.FINISHED),
                skipped=int(fate is Fate.SKIPPED),
                failed=int(fate in (Fate.FAILED, Fate.NOT_TRIED)),
                rows=outcome.done.rows if outcome.done is not None else 0,
            )


def replay(report: Report, outcomes: Outcomes) -> None:
    """Tell what a worker wrote down."""
    for dataset, failure in report.refused.items():
        outcomes.denied([dataset], refusal_of(failure))
    for each in report.outcomes:
        match each.fate:
            case Fate.FINISHED if each.done is not None:
                outcomes.finished(each.unit, UnitResult(each.unit.dataset, each.done, None, None, each.rejected))
            case Fate.SKIPPED:
                outcomes.skipped(each.unit, UnitSkipped(SkipReason(each.reason), code=each.code))
            case Fate.FAILED:
                outcomes.failed(each.unit, _failed(each))
            case Fate.DIVIDED:
                outcomes.divided(each.unit)
            case _:
                outcomes.not_tried(each.unit)
        if each.seconds is not None:
            rows = each.done.rows if each.done is not None else 0
            outcomes.ended(each.unit, seconds=each.seconds, rows=rows, end=_ENDS.get(each.fate, "failed"))


def _failed(each: UnitOutcome) -> UnitFailed:
    if each.needs is not None:
        return DatasetDenied(needs=each.needs, code=each.code, request_id=each.request_id)
    return UnitFailed(FailReason(each.reason), code=each.code, request_id=each.request_id)
