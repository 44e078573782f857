"""Reading the directory with whichever application may.

Every run writes the directory datasets, whatever connectors it has, and usually each connector has an application of
its own with roles of its own. So a directory dataset is read with the first application that is allowed to.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from pipeline.completeness import Method
from pipeline.errors import DatasetDenied, SkipReason, SourceRefused, UnitSkipped
from pipeline.model import Page, Principal, PrincipalKind, Unit
from pipeline.ports import RowFilter, Source


class FirstPermitted:
    """One dataset behind several applications; moves on to the next when one is refused, and stays there."""

    def __init__(self, candidates: Sequence[Source]) -> None:
        self._candidates = candidates
        self._current = 0

    @property
    def _source(self) -> Source:
        return self._candidates[self._current]

    @property
    def dataset(self) -> str:
        return self._source.dataset

    @property
    def connector(self) -> str:
        return self._source.connector

    @property
    def principals(self) -> PrincipalKind:
        return self._source.principals

    @property
    def windowed(self) -> bool:
        return self._source.windowed

    @property
    def settle(self) -> timedelta:
        return self._source.settle

    @property
    def overlap(self) -> timedelta:
        return self._source.overlap

    @property
    def ahead(self) -> timedelta:
        return self._source.ahead

    @property
    def from_beginning(self) -> bool:
        return self._source.from_beginning

    @property
    def longest_window(self) -> timedelta:
        return self._source.longest_window

    @property
    def instants(self) -> tuple[str, ...]:
        return self._source.instants

    @property
    def completeness(self) -> Method:
        return self._source.completeness

    async def count(self, unit: Unit) -> int | None:
        return await self._source.count(unit)

    def filter(self, unit: Unit) -> RowFilter | None:
        return self._source.filter(unit)

    def enumerated(self, page: Page) -> Sequence[Principal]:
        return self._source.enumerated(page)

    async def pages(self, unit: Unit) -> AsyncIterator[Page]:
        """The unit's pages; a refusal counts only when no application is left, or when pages were given already.

        A mailbox may be closed to one application and open to the next, so that refusal moves on for this unit alone.
        """
        tried = self._current
        while True:
            given = False
            is_last = tried + 1 == len(self._candidates)
            try:
                async for page in self._candidates[tried].pages(unit):
                    given = True
                    yield page
            except (DatasetDenied, SourceRefused):
                if given or is_last:
                    raise
                self._current = max(self._current, tried + 1)
            except UnitSkipped as skipped:
                if given or is_last or skipped.reason is not SkipReason.OUT_OF_POLICY:
                    raise
            else:
                return
            tried += 1
