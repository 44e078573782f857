"""How far a run has read whose data, when it is about to be sealed."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.done import DoneUnit
from pipeline.errors import FailReason
from pipeline.manifest import LeftOut
from pipeline.model import Principal, Window, covered_until
from pipeline.watermarks import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Between what instants a run reads, by dataset."""

    origins: Mapping[str, datetime]
    """Where it begins for principals without a watermark."""
    overlaps: Mapping[str, timedelta]
    """How much before a watermark it begins."""
    ends: Mapping[str, datetime]
    """Where it ends, what is planned ahead left aside."""

    def due(self, dataset: str, watermark: datetime | None) -> datetime:
        """Where the run begins for a principal with this watermark."""
        return self.origins[dataset] if watermark is None else watermark - self.overlaps[dataset]


class FinishedWindows:
    """The windows that were read, of everybody of whom any was."""

    def __init__(self, done: Callable[[], Iterable[tuple[str, DoneUnit]]], *, given_up: Collection[Key] = ()) -> None:
        """`done` gives all finished units.

        A window of which something may be missing is not finished, so the next run reads it again, unless its
        principal's dataset is `given_up`.
        """
        self._done = done
        self._given_up = given_up
        self._latest: tuple[str, dict[str, tuple[Window, ...]]] = ("", {})

    def of(self, dataset: str) -> Mapping[str, Sequence[Window]]:
        """By principal. Those of one dataset are kept until another one is asked for: all together are many."""
        if self._latest[0] != dataset:
            self._latest = ("", {})
            self._latest = (dataset, self._gathered(dataset))
        return self._latest[1]

    def _gathered(self, dataset: str) -> dict[str, tuple[Window, ...]]:
        windows: dict[str, tuple[Window, ...]] = {}
        alike: dict[tuple[Window, ...], tuple[Window, ...]] = {}  # nearly all principals have the same
        for of, unit in self._done():
            if of == dataset and unit.window is not None:
                finished = windows.get(unit.principal, ())
                if not unit.unexplained or (dataset, unit.principal) in self._given_up:
                    finished = (*finished, unit.window)
                windows[unit.principal] = alike.setdefault(finished, finished)
        return windows


class RunReach:
    """A `pipeline.ports.Reach`."""

    def __init__(
        self,
        *,
        done: FinishedWindows,
        known: Mapping[Key, datetime],
        bounds: Bounds,
        failed: Iterable[LeftOut],
        pseudonym: Callable[[Principal], str],
    ) -> None:
        """`known`: the watermarks before; `failed`: as the manifest says."""
        self._done = done
        self._known = known
        self._bounds = bounds
        self._failed = {(line.dataset, line.principal) for line in failed if line.reason != FailReason.PERMISSION}
        self._pseudonym = pseudonym

    def unread_from(self, dataset: str, principal: Principal, *, since: datetime | None = None) -> datetime | None:
        pseudonym = self._pseudonym(principal)
        begin = self._bounds.due(dataset, self._known.get((dataset, pseudonym))) if since is None else since
        reached = covered_until(begin, self._done.of(dataset).get(pseudonym, ()))
        return reached if reached < self._bounds.ends[dataset] else None

    def end_of(self, dataset: str) -> datetime:
        return self._bounds.ends[dataset]

    def has_failed(self, dataset: str, principal: Principal) -> bool:
        return (dataset, None) in self._failed or (dataset, self._pseudonym(principal)) in self._failed
