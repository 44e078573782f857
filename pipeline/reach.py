"""How far a run has read whose data, when it is about to be sealed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

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

    def due(self, key: Key, known: Mapping[Key, datetime]) -> datetime:
        """Where the run begins for one principal's dataset."""
        return known[key] - self.overlaps[key[0]] if key in known else self.origins[key[0]]


class RunReach:
    """A `pipeline.ports.Reach`."""

    def __init__(
        self,
        *,
        done: Mapping[Key, list[Window]],
        known: Mapping[Key, datetime],
        bounds: Bounds,
        failed: Iterable[LeftOut],
        pseudonym: Callable[[Principal], str],
    ) -> None:
        """`done`: the windows that were read; `known`: the watermarks before; `failed`: as the manifest says."""
        self._done = done
        self._known = known
        self._bounds = bounds
        self._failed = {(line.dataset, line.principal) for line in failed if line.reason != FailReason.PERMISSION}
        self._pseudonym = pseudonym

    def unread_from(self, dataset: str, principal: Principal, *, since: datetime | None = None) -> datetime | None:
        key = (dataset, self._pseudonym(principal))
        begin = self._bounds.due(key, self._known) if since is None else since
        reached = covered_until(begin, self._done.get(key, []))
        return reached if reached < self._bounds.ends[dataset] else None

    def end_of(self, dataset: str) -> datetime:
        return self._bounds.ends[dataset]

    def has_failed(self, dataset: str, principal: Principal) -> bool:
        return (dataset, None) in self._failed or (dataset, self._pseudonym(principal)) in self._failed
