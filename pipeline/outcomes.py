"""What becomes of each unit, told at once to the tally, the progress and the log."""

from collections.abc import Callable, Iterable, Sequence

from pipeline.errors import DatasetDenied, SkipReason, SourceRefused, UnitFailed, UnitSkipped
from pipeline.facts import Chronicle, UnitEnd
from pipeline.journal import Entry
from pipeline.model import Principal, Unit
from pipeline.parts import UnitResult
from pipeline.progress import Progress
from pipeline.tally import Tally
from pipeline.telemetry import Event, Log


class OutcomeReport:
    """The only place that counts a unit, so that manifest, display and log agree."""

    def __init__(
        self,
        *,
        tally: Tally,
        progress: Progress,
        log: Log,
        pseudonym: Callable[[Principal], str],
        chronicle: Chronicle | None = None,
    ) -> None:
        self._tally = tally
        self._progress = progress
        self._log = log
        self._pseudonym = pseudonym
        self._chronicle = chronicle

    def planned(self, units: Sequence[Unit]) -> None:
        for unit in units:
            self._progress.planned(unit.dataset)

    def finished(self, unit: Unit, result: UnitResult) -> None:
        self._tally.done(unit.dataset)
        self._progress.finished(unit.dataset, rows=result.unit.rows, rejected=sum(result.rejected.values()))
        if result.rejected:
            self._log.warning(
                Event.RECORDS_REJECTED,
                dataset=unit.dataset,
                principal=result.unit.principal,
                rejected=dict(result.rejected),
            )
        if result.unit.withheld:
            self._log.warning(
                Event.ROWS_WITHHELD,
                dataset=unit.dataset,
                principal=result.unit.principal,
                rows=result.unit.withheld,
                reason=SkipReason.OUT_OF_POLICY,
            )
        finding = result.unit.completeness
        if finding is not None and finding.unexplained:
            self._log.error(
                Event.UNIT_INCOMPLETE,
                dataset=unit.dataset,
                principal=result.unit.principal,
                expected=finding.expected,
                rows=result.unit.rows,
                changed=finding.changed_while_reading,
                unexplained=finding.unexplained,
            )

    def not_tried(self, unit: Unit) -> None:
        """A unit of a dataset that is known to fail: failed without a request."""
        self._tally.not_tried(unit.dataset)
        self._progress.failed(unit.dataset)

    def is_denied(self, dataset: str) -> bool:
        return self._tally.is_denied(dataset)

    def divided(self, unit: Unit) -> None:
        self._log.info(Event.UNIT_DIVIDED, dataset=unit.dataset, principal=self._pseudonym(unit.principal))
        self._progress.planned(unit.dataset)

    def ended(self, unit: Unit, *, seconds: float, rows: int | None, end: UnitEnd) -> None:
        self._progress.of(unit.dataset).seconds += seconds
        if rows is not None and self._chronicle is not None:  # else its halves tell
            self._chronicle.unit(unit, seconds=seconds, rows=rows, end=end)

    def published(self, entry: Entry) -> None:
        self._progress.published(entry.dataset, size_bytes=entry.bytes)
        self._log.info(
            Event.PART_PUBLISHED, dataset=entry.dataset, rows=entry.rows, bytes=entry.bytes, units=len(entry.units)
        )

    def progress(self) -> None:
        """How far the run has come, for whoever reads the log of a run that takes hours."""
        progress = self._progress
        self._log.info(
            Event.PROGRESS,
            what=progress.stage,
            units=progress.units_settled,
            planned=progress.units_planned,
            rows=progress.rows,
            seconds_left=progress.seconds_left(),
            waits=len(progress.fences),
        )

    def skipped(self, unit: Unit, error: UnitSkipped) -> None:
        pseudonym = self._pseudonym(unit.principal)
        self._tally.skipped(unit.dataset, pseudonym, error)
        self._progress.skipped(unit.dataset, error.reason)
        self._log.info(Event.UNIT_SKIPPED, dataset=unit.dataset, principal=pseudonym, reason=error.reason)

    def failed(self, unit: Unit, error: UnitFailed) -> None:
        """Also where the failure condemns the whole dataset, which is told once."""
        denied_before = self._tally.is_denied(unit.dataset)
        pseudonym = self._pseudonym(unit.principal)
        self._tally.failed(unit.dataset, pseudonym, error)
        self._progress.failed(unit.dataset)
        if not self._tally.is_denied(unit.dataset):
            self._log.error(
                Event.UNIT_FAILED,
                dataset=unit.dataset,
                principal=pseudonym,
                reason=error.reason,
                code=error.code,
                request_id=error.request_id,
            )
        elif not denied_before:
            needs = error.needs if isinstance(error, DatasetDenied) else ()
            self._log.error(Event.DATASET_DENIED, dataset=unit.dataset, what=str(error), code=error.code, needs=needs)

    def denied(self, datasets: Iterable[str], error: SourceRefused | UnitFailed) -> None:
        """Whole datasets cannot be read, whatever the principal."""
        for dataset in datasets:
            if not self._tally.is_denied(dataset):
                self._tally.deny(dataset, error.reason)
                needs = error.needs if isinstance(error, DatasetDenied) else ()
                self._log.error(Event.DATASET_DENIED, dataset=dataset, what=str(error), code=error.code, needs=needs)
