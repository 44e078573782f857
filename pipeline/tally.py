"""What a run left out, and why; and when a dataset fails so uniformly that trying on is pointless."""

from collections import Counter

from pipeline.errors import DatasetDenied, FailReason, SkipReason, UnitFailed, UnitSkipped
from pipeline.manifest import LeftOut, UnitCounts

UNIFORM_FAILURES = 20  # so many first units of a dataset failing alike mean: it is not the mailbox
UNIFORM_SHARE = 0.9  # of those failures; a request that timed out among them says nothing else
LATER_FAILURES = 100  # so many in a row mean it too, though others came through: the service has gone meanwhile


class Tally:
    """Counts a run's units by outcome. Principals are pseudonyms."""

    def __init__(self) -> None:
        self._skipped: dict[tuple[str, str], str] = {}
        self._failed: dict[tuple[str, str], str] = {}
        self._denied: dict[str, str] = {}
        self._done: Counter[str] = Counter()
        self._failures: dict[str, Counter[tuple[str, str]]] = {}
        self._in_a_row: dict[str, tuple[tuple[str, str], int]] = {}  # the last failures of a dataset with one cause
        self._refusals: dict[str, Counter[str]] = {}
        self._units: dict[str, UnitCounts] = {}

    def done(self, dataset: str) -> None:
        self._done[dataset] += 1
        self._in_a_row.pop(dataset, None)
        self._counts(dataset).done += 1

    def skipped(self, dataset: str, principal: str, error: UnitSkipped) -> None:
        self._skipped[dataset, principal] = error.reason
        self._counts(dataset).skipped += 1
        if error.reason is SkipReason.OUT_OF_SCOPE:
            return  # nobody was asked
        self._refusals.setdefault(dataset, Counter())[f"{error.reason}/{error.code}"] += 1

    def failed(self, dataset: str, principal: str, error: UnitFailed) -> None:
        """Count a failed unit; one that fails like so many before it condemns the dataset."""
        self._counts(dataset).failed += 1
        if isinstance(error, DatasetDenied):
            self._denied[dataset] = FailReason.PERMISSION
            return
        self._failed[dataset, principal] = error.reason
        cause = (error.reason, error.code)
        causes = self._failures.setdefault(dataset, Counter())
        causes[cause] += 1
        last, count = self._in_a_row.get(dataset, (cause, 0))
        in_a_row = count + 1 if last == cause else 1
        self._in_a_row[dataset] = (cause, in_a_row)
        is_most = causes[cause] >= max(UNIFORM_FAILURES, UNIFORM_SHARE * causes.total())
        is_uniform = is_most and not self._done[dataset]
        if is_uniform or in_a_row >= LATER_FAILURES:
            self._denied[dataset] = error.reason

    def deny(self, dataset: str, reason: str) -> None:
        """The whole dataset cannot be read."""
        self._denied[dataset] = reason
        self._counts(dataset)

    def is_denied(self, dataset: str) -> bool:
        return dataset in self._denied

    def not_tried(self, dataset: str) -> None:
        """A unit of a denied dataset: failed without a request."""
        self._counts(dataset).failed += 1

    def settle(self) -> None:
        """Graph refuses an excluded mailbox and a missing permission alike; refused everywhere means the latter.

        So does an application access policy of Teams that covers nobody.
        """
        for dataset, refusals in self._refusals.items():
            refused_everywhere = {refusal.partition("/")[0] for refusal in refusals} == {SkipReason.OUT_OF_POLICY}
            if refused_everywhere and not self._done[dataset] and refusals.total() > 1:
                self._denied[dataset] = FailReason.PERMISSION
                counts = self._counts(dataset)
                counts.skipped, counts.failed = 0, counts.failed + counts.skipped
                self._skipped = {unit: reason for unit, reason in self._skipped.items() if unit[0] != dataset}

    def units(self, dataset: str) -> UnitCounts:
        return self._units.get(dataset, UnitCounts())

    def skips(self) -> list[LeftOut]:
        return [LeftOut(principal, dataset, reason) for (dataset, principal), reason in sorted(self._skipped.items())]

    def failures(self) -> list[LeftOut]:
        whole = [LeftOut(None, dataset, reason) for dataset, reason in sorted(self._denied.items())]
        single = [
            LeftOut(principal, dataset, reason)
            for (dataset, principal), reason in sorted(self._failed.items())
            if dataset not in self._denied
        ]
        return whole + single

    def _counts(self, dataset: str) -> UnitCounts:
        return self._units.setdefault(dataset, UnitCounts())
