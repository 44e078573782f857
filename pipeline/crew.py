"""The workers of a run, as the coordinator leads them: who is there, what they share, who does which errand.

    beat    who is present -> who is lost -> lower the shares -> hire newcomers -> hand errands out

The engine carries errands and grants; what is done when a worker comes, goes or falls silent is decided here:

- A worker works only while it has a grant, which every beat renews. One that hears nothing more stops by itself.
- The budgets are divided among the workers that may be at work. Before one is hired, all others have confirmed their
  smaller share; of one that is lost the share, and its errands, are free when its last grant is over for certain.
- An errand is settled once, by the first report that comes back. Nothing that a worker makes is visible before that.
"""

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from pipeline.errands import Answer, Brought, Grant, Trouble, raise_trouble
from pipeline.errors import EngineLost
from pipeline.ports import Clock
from pipeline.telemetry import Event, Log

GRANT = timedelta(seconds=20)  # how long a worker works on without hearing of us
SKEW = timedelta(seconds=2)  # by which clocks may differ, and cancelled requests still be under way
BEAT_S = 2.0
WORKERS_WAIT_S = 300.0  # for the first worker, or after the last was lost
MOST_LOSSES = 3  # of one errand: it is the errand then


class Engine(Protocol):
    """Brings work to other processes. Methods raise EngineLost where the engine itself is gone."""

    async def workers(self) -> Mapping[str, int]:
        """Who is present, and how many errands each takes at the same time."""
        ...

    async def grant(self, worker: str, grant: Grant) -> bool:
        """Whether the worker has confirmed it, soon."""
        ...

    async def read(self, worker: str, errand: bytes) -> bytes | None:
        """Have an errand done; None where it was lost. It may be done twice, even at once, and may never come back."""
        ...


@dataclass(eq=False, slots=True)
class _Hand:
    """A hired worker. Until `until` it may be at work, until `confirmed` it is for certain allowed to."""

    name: str
    lanes: int
    until: datetime
    confirmed: datetime
    hire: str = field(default_factory=lambda: secrets.token_hex(8))
    errands: set[int] = field(default_factory=set)
    readings: set["asyncio.Future[bytes | None]"] = field(default_factory=set)
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """An errand's number, and who is to do it."""

    number: int
    hire: str
    lanes: int


class Crew:
    """Hires all workers that the engine has and the budgets bear."""

    def __init__(self, engine: Engine, *, most_workers: int, stop: asyncio.Event, clock: Clock, log: Log) -> None:
        self._engine = engine
        self._most_workers = most_workers
        self._stop = stop
        self._clock = clock
        self._log = log
        self._hands: list[_Hand] = []
        self._lost: list[_Hand] = []  # whose last grant may not be over yet
        self._open: set[int] = set()
        self._waiting: deque[int] = deque()
        self._losses: Counter[int] = Counter()
        self._wake = asyncio.Event()

    async def lanes(self) -> int:
        """How many errands can be done at the same time; waits until it is one.

        Raises: EngineLost, when nobody comes.
        """
        for _ in range(round(WORKERS_WAIT_S / BEAT_S)):
            present = await self._engine.workers()
            if present:
                return sum(sorted(present.values(), reverse=True)[: self._most_workers])
            await asyncio.sleep(BEAT_S)
        raise EngineLost("the engine has no worker; start some, the next command continues")

    async def work(
        self, errands: int, *, make: Callable[[Task], bytes], accept: Callable[[int, bytes], Awaitable[bool]]
    ) -> bool:
        """Have errands 0 to `errands` done. False when stopped before the end.

        `make` encodes one; `accept` takes its encrypted report, and says whether the errand was done to its end.

        Raises:
            EngineLost, ConfigurationError, SourceRefused, StoreRefused, StoreUnavailable
        """
        self._open, self._waiting = set(range(errands)), deque(range(errands))
        self._losses.clear()

        def put_to_work(hand: _Hand) -> None:
            for _ in range(hand.lanes):
                tasks.create_task(self._lane(hand, make, accept))

        alone_s = 0.0
        async with asyncio.TaskGroup() as tasks:
            for hand in self._hands:
                put_to_work(hand)
            while self._open and not (self._stop.is_set() and not any(hand.errands for hand in self._hands)):
                for hired in await self._beat():
                    put_to_work(hired)
                alone_s = 0.0 if self._hands or self._lost else alone_s + BEAT_S
                if alone_s > WORKERS_WAIT_S:
                    raise EngineLost("all workers are gone; start some, the next command continues")
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), BEAT_S)
                if self._stop.is_set():
                    self._tell()
        return not self._open

    async def _beat(self) -> list[_Hand]:
        """Look who is there, renew all grants; who is new."""
        present = await self._engine.workers()
        for hand in list(self._hands):
            if hand.name not in present or hand.confirmed < self._clock():
                self._lose(hand)
        for hand in [hand for hand in self._lost if hand.until + SKEW < self._clock()]:
            self._lost.remove(hand)
            self._give_back(hand)
        known = {hand.name for hand in (*self._hands, *self._lost)}
        room = 0 if self._stop.is_set() else self._most_workers - len(known)
        recruits = [name for name in present if name not in known][: max(0, room)]
        workers = len(known) + len(recruits)
        confirmed = await asyncio.gather(*(self._renew(hand, workers) for hand in self._hands))
        hired: list[_Hand] = []
        if recruits and all(confirmed):  # else somebody still works with a larger share
            now = self._clock()
            hands = [_Hand(name, present[name], now, now) for name in recruits]
            answers = await asyncio.gather(*(self._renew(hand, workers) for hand in hands))
            hired = [hand for hand, has_answered in zip(hands, answers, strict=True) if has_answered]
            self._hands += hired
            if hired:
                self._log.info(Event.WORKERS_CHANGED, workers=len(self._hands))
        return hired

    async def _renew(self, hand: _Hand, workers: int) -> bool:
        hand.until = self._clock() + GRANT
        grant = Grant(hire=hand.hire, until=hand.until, workers=workers, stop=self._stop.is_set())
        is_confirmed = await self._engine.grant(hand.name, grant)
        if is_confirmed:
            hand.confirmed = hand.until
        return is_confirmed

    def _lose(self, hand: _Hand) -> None:
        """Nothing that it brings counts any more; what it may still do ends with its grant."""
        if hand.is_lost:
            return
        hand.is_lost = True
        self._hands.remove(hand)
        self._lost.append(hand)
        for reading in hand.readings:
            reading.cancel()
        self._log.warning(
            Event.WORKERS_CHANGED,
            workers=len(self._hands),
            what=f"one is lost with {len(hand.errands)} groups of units",
        )
        self._tell()

    def _give_back(self, hand: _Hand) -> None:
        for number in hand.errands:
            self._losses[number] += 1
            if self._losses[number] >= MOST_LOSSES:
                raise EngineLost(f"{MOST_LOSSES} workers were lost over the same units: they may need more memory")
            self._waiting.append(number)
        self._tell()

    async def _lane(
        self, hand: _Hand, make: Callable[[Task], bytes], accept: Callable[[int, bytes], Awaitable[bool]]
    ) -> None:
        """One errand after the other, until none is left or the worker is lost."""
        while (number := await self._next(hand)) is not None:
            hand.errands.add(number)
            report = await self._report(hand, make(Task(number, hand.hire, hand.lanes)))
            if report is None:
                self._lose(hand)
                return
            self._open.discard(number)
            is_whole = await accept(number, report)
            hand.errands.discard(number)
            if not is_whole:
                self._open.add(number)
                self._waiting.append(number)
            self._tell()

    async def _next(self, hand: _Hand) -> int | None:
        while self._open and not hand.is_lost and not self._stop.is_set():
            if self._waiting:
                return self._waiting.popleft()
            await self._wake.wait()
        return None

    async def _report(self, hand: _Hand, errand: bytes) -> bytes | None:
        """What the worker reports, encrypted; None when it is lost."""
        reading = asyncio.ensure_future(self._engine.read(hand.name, errand))
        hand.readings.add(reading)
        try:
            await asyncio.wait({reading})
        finally:
            hand.readings.discard(reading)
            reading.cancel()
        if reading.cancelled() or hand.is_lost or (found := reading.result()) is None:
            return None
        match msgspec.msgpack.decode(found, type=Answer):
            case Brought(report):
                return report
            case Trouble() as trouble:
                raise_trouble(trouble)
        return None

    def _tell(self) -> None:
        """Wake everybody who waits for a change."""
        self._wake.set()
        self._wake = asyncio.Event()
