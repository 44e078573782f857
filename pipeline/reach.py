"""How far a run has read whose data, when it is about to be sealed."""

from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.done import DoneUnit
from pipeline.errors import FailReason
from pipeline.manifest import LeftOut
from pipeline.model import Principal, Window, covered_until
from pipeline.watermarks import Key

FIRST_LETTERS = 3  # of a pseudonym, which begins with "t~": 64 piles

WindowsByDataset = Mapping[str, Sequence[Window]]


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
    """The windows that were read, of everybody of whom any was: 55 bytes for a principal, however many datasets."""

    def __init__(self, done: Iterable[tuple[str, DoneUnit]], *, given_up: Collection[Key] = ()) -> None:
        """`done` gives all finished units, in any order.

        A window of which something may be missing is not finished, so the next run reads it again, unless its
        principal's dataset is `given_up`.
        """
        self._texts = bytearray()  # of the principals, in order
        self._ends = array("I", [0])  # where the text of each ends
        self._windows = array("I")  # of each, as a place among the sets: nearly all have the same
        self._sets: list[WindowsByDataset] = []
        self._take(done, given_up)

    def __iter__(self) -> Iterator[tuple[str, WindowsByDataset]]:
        """Principals and their windows, both in order."""
        for place, windows in enumerate(self._windows):
            yield self._principal(place).decode(), self._sets[windows]

    def of(self, dataset: str, principal: str) -> Sequence[Window]:
        """Those of one principal's dataset; none where none is finished."""
        wanted = principal.encode()
        place = bisect_left(range(len(self._windows)), wanted, key=self._principal)
        if place == len(self._windows) or self._principal(place) != wanted:
            return ()
        return self._sets[self._windows[place]].get(dataset, ())

    def _take(self, done: Iterable[tuple[str, DoneUnit]], given_up: Collection[Key]) -> None:
        """Sort in two steps, so that the units of a few principals exist at a time: by first letters, then whole."""
        kinds: dict[tuple[str, datetime, datetime, bool], int] = {}  # of units: nearly all are alike
        piles: dict[str, bytearray] = {}
        for dataset, unit in done:
            if unit.start is not None and unit.end is not None:
                is_finished = not unit.unexplained or (dataset, unit.principal) in given_up
                kind = kinds.setdefault((dataset, unit.start, unit.end, is_finished), len(kinds))
                pile = piles.setdefault(unit.principal[:FIRST_LETTERS], bytearray())
                pile += f"{unit.principal} {kind}\n".encode()
        sets: dict[tuple[int, ...], int] = {}
        for letters in sorted(piles):
            found: dict[str, list[int]] = {}
            for line in piles.pop(letters).decode().split("\n")[:-1]:
                principal, _, number = line.rpartition(" ")
                found.setdefault(principal, []).append(int(number))
            for principal in sorted(found):
                self._texts += principal.encode()
                self._ends.append(len(self._texts))
                self._windows.append(sets.setdefault(tuple(sorted(found[principal])), len(sets)))
        known = list(kinds)
        self._sets = [_by_dataset(known[number] for number in numbers) for numbers in sets]

    def _principal(self, place: int) -> bytes:
        return bytes(self._texts[self._ends[place] : self._ends[place + 1]])


def _by_dataset(units: Iterable[tuple[str, datetime, datetime, bool]]) -> WindowsByDataset:
    """A dataset of which no window is finished is there too: something was read."""
    windows: dict[str, tuple[Window, ...]] = {}
    for dataset, start, end, is_finished in sorted(units):
        finished = (Window(start, end),) if is_finished else ()
        windows[dataset] = windows.get(dataset, ()) + finished
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
        reached = covered_until(begin, self._done.of(dataset, pseudonym))
        return reached if reached < self._bounds.ends[dataset] else None

    def end_of(self, dataset: str) -> datetime:
        return self._bounds.ends[dataset]

    def has_failed(self, dataset: str, principal: Principal) -> bool:
        return (dataset, None) in self._failed or (dataset, self._pseudonym(principal)) in self._failed
