"""What a run tells of itself beyond its manifest: rows by day, slowest units, waits, and how long its stages took.

The side file `_manifests/<run_id>.facts.json`; what each key means stands in docs/facts.md. It is for readers, nothing
is decided by it. Rows by day are counted with the parts, so they cover every published row, whichever process wrote
it. Times are those of the attempts at the run that ended in order; what a killed process had measured is lost.
"""

import heapq
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Literal

import msgspec

from pipeline.model import Principal, Unit
from pipeline.ports import Clock, Fence

FACTS_VERSION = 1
SLOWEST_UNITS = 20
MOST_WAITS = 300  # the longest ones; a night of throttling must not grow the file without end
MOST_DAYS = 400  # of one dataset, the newest; what is older is one number
MOST_ATTEMPTS = 100
SAME_WAIT_WITHIN = timedelta(seconds=5)  # a refusal so soon after a fence goes on with it

UnitEnd = Literal["done", "skipped", "failed"]


class Stage(msgspec.Struct, frozen=True):
    stage: str
    seconds: float


class SlowUnit(msgspec.Struct, frozen=True):
    """`seconds` from the first request to the last row, waits included."""

    dataset: str
    principal: str
    seconds: float
    rows: int
    end: UnitEnd


class Wait(msgspec.Struct, frozen=True):
    """How long nobody could call in a scope, after so many refusals. `principal` only for a mailbox or chat."""

    scope: str
    service: str
    principal: str | None
    from_: datetime = msgspec.field(name="from")
    to: datetime
    refusals: int

    @property
    def seconds(self) -> float:
        return (self.to - self.from_).total_seconds()


class Attempt(msgspec.Struct, frozen=True):
    """One process's work at a run."""

    from_: datetime = msgspec.field(name="from")
    to: datetime
    stages: list[Stage]
    slowest_units: list[SlowUnit]
    waits: list[Wait]
    waits_left_out: int = 0


class AttemptLine(msgspec.Struct, frozen=True):
    from_: datetime = msgspec.field(name="from")
    to: datetime
    stages: list[Stage]


class DatasetDays(msgspec.Struct, frozen=True):
    """Rows by UTC date (`YYYY-MM-DD`) of the dataset's time; `earlier` are those of days not listed."""

    days: dict[str, int]
    earlier: int = 0


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    facts_version: int = FACTS_VERSION
    run_id: str
    attempts: list[AttemptLine] = []
    datasets: dict[str, DatasetDays] = {}
    slowest_units: list[SlowUnit] = []
    waits: list[Wait] = []
    waits_left_out: int = 0


class Waits:
    """Gathers the fences of a run; those of one scope that follow on one another are one wait."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str, str | None], Wait] = {}
        self._over: list[Wait] = []
        self._left_out = 0

    def note(self, fence: Fence) -> None:
        """A fence was raised, or lasts longer now; its principal is a pseudonym."""
        key = (fence.scope, fence.service, fence.principal)
        known = self._latest.get(key)
        if known is not None and fence.since <= known.to + SAME_WAIT_WITHIN:
            since, refusals = known.from_, known.refusals + 1
        else:
            since, refusals = fence.since, 1
            self._close(known)
        until = fence.until if known is None else max(known.to, fence.until)
        self._latest[key] = Wait(fence.scope, fence.service, fence.principal, since, until, refusals)

    def take(self) -> tuple[list[Wait], int]:
        """The longest waits since the last call, in order of time, and how many more there were."""
        kept, left_out = longest_waits([*self._over, *self._latest.values()])
        left_out += self._left_out
        self._latest, self._over, self._left_out = {}, [], 0
        return kept, left_out

    def _close(self, wait: Wait | None) -> None:
        if wait is not None:
            self._over.append(wait)
        if len(self._over) >= 4 * MOST_WAITS:
            self._over, left_out = longest_waits(self._over)
            self._left_out += left_out


class Chronicle:
    """Measures one attempt at a run."""

    def __init__(
        self,
        *,
        clock: Clock,
        pseudonym: Callable[[Principal], str],
        waits: Waits,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._pseudonym = pseudonym
        self._waits = waits
        self._monotonic = monotonic
        self._started_at = clock()
        self._stage: str | None = None
        self._stage_from_s = 0.0
        self._seconds: dict[str, float] = {}
        self._slowest: list[tuple[float, int, Unit, int, UnitEnd]] = []
        self._units = 0

    def stage(self, name: str) -> None:
        """The stage before ends here; a stage that comes again goes on."""
        now_s = self._monotonic()
        if self._stage is not None:
            self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now_s - self._stage_from_s
        self._stage, self._stage_from_s = name, now_s

    def unit(self, unit: Unit, *, seconds: float, rows: int, end: UnitEnd) -> None:
        """A unit was read, or given up, after so many seconds."""
        self._units += 1
        measured = (seconds, self._units, unit, rows, end)  # the number keeps units from being compared
        if len(self._slowest) < SLOWEST_UNITS:
            heapq.heappush(self._slowest, measured)
        else:
            heapq.heappushpop(self._slowest, measured)

    def attempt(self) -> Attempt:
        """What was measured until now; call it once, at the end."""
        if self._stage is not None:
            self.stage(self._stage)
        waits, left_out = self._waits.take()
        return Attempt(
            from_=self._started_at,
            to=self._clock(),
            stages=[Stage(name, round(seconds, 1)) for name, seconds in self._seconds.items()],
            slowest_units=[
                SlowUnit(unit.dataset, self._pseudonym(unit.principal), round(seconds, 1), rows, end)
                for seconds, _, unit, rows, end in sorted(self._slowest, reverse=True)
            ],
            waits=waits,
            waits_left_out=left_out,
        )


def gather_facts(run_id: str, attempts: Sequence[Attempt], days: Mapping[str, Mapping[str, int]]) -> Facts:
    """The facts of a run from all attempts at it; `days` are rows by dataset and UTC date."""
    slowest = [unit for attempt in attempts for unit in attempt.slowest_units]
    waits, left_out = longest_waits(wait for attempt in attempts for wait in attempt.waits)
    return Facts(
        run_id=run_id,
        attempts=[AttemptLine(attempt.from_, attempt.to, attempt.stages) for attempt in attempts],
        datasets={dataset: _newest_days(counts) for dataset, counts in days.items() if counts},
        slowest_units=heapq.nlargest(SLOWEST_UNITS, slowest, key=attrgetter("seconds")),
        waits=waits,
        waits_left_out=left_out + sum(attempt.waits_left_out for attempt in attempts),
    )


def longest_waits(waits: Iterable[Wait]) -> tuple[list[Wait], int]:
    """At most MOST_WAITS of them in order of time, and how many were left out."""
    every = list(waits)
    longest = heapq.nlargest(MOST_WAITS, every, key=attrgetter("seconds"))
    return sorted(longest, key=attrgetter("from_")), len(every) - len(longest)


def encode_facts(facts: Facts) -> bytes:
    return msgspec.json.format(msgspec.json.encode(facts), indent=1) + b"\n"


def decode_facts(data: bytes) -> Facts:
    """Raises: msgspec.DecodeError, msgspec.ValidationError, when the bytes are no facts of this version."""
    return msgspec.json.decode(data, type=Facts)


async def keep_attempt(
    attempt: Attempt,
    *,
    recall: Callable[[str], Awaitable[bytes | None]],
    remember: Callable[[str, bytes], Awaitable[bytes]],
) -> None:
    """Keep an interrupted attempt with the open run."""
    number = len(await earlier_attempts(recall=recall))
    if number < MOST_ATTEMPTS:
        await remember(_name(number), msgspec.json.encode(attempt))


async def earlier_attempts(*, recall: Callable[[str], Awaitable[bytes | None]]) -> list[Attempt]:
    """The interrupted attempts that were kept, oldest first."""
    attempts: list[Attempt] = []
    while (kept := await recall(_name(len(attempts)))) is not None:
        attempts.append(msgspec.json.decode(kept, type=Attempt))
    return attempts


def _newest_days(counts: Mapping[str, int]) -> DatasetDays:
    newest = sorted(counts)[-MOST_DAYS:]
    return DatasetDays(
        {day: counts[day] for day in newest}, Counter(counts).total() - sum(counts[day] for day in newest)
    )


def _name(number: int) -> str:
    return f"attempt-{number:05d}"
