"""The workers of a run, as the coordinator leads them: who is there, what they share, who does which task.

    every two seconds    who is present -> who is lost -> lower the shares -> let newcomers begin -> hand tasks out

The engine carries tasks and grants; what is done when a worker comes, goes or falls silent is decided here:

- A worker works only while it has a grant, which is renewed every two seconds. One that hears nothing more stops by
  itself. Its answer, the heartbeat, says how far it is and where Microsoft refused it; the others are told with the
  next grant.
- The budgets are divided among the workers that may be at work. Before one begins, all others have confirmed their
  smaller share; of one that is lost the share, and its tasks, are free when its last grant is over for certain.
- A task is settled once, by the first report that comes back. Nothing that a worker makes is visible before that.
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

from pipeline.equipment import Equipment
from pipeline.errors import EngineLost
from pipeline.telemetry import Event, log_fence
from pipeline.workers.messages import Answer, Done, Failure, Grant, Heartbeat, raise_failure

GRANT = timedelta(seconds=20)  # how long a worker works on without hearing of us
SKEW = timedelta(seconds=2)  # by which clocks may differ, and cancelled requests still be under way
RENEW_EVERY_S = 2.0
WORKERS_WAIT_S = 300.0  # for the first worker, or after the last was lost
MOST_LOSSES = 3  # of workers over one task: it is the task then


class Engine(Protocol):
    """Brings work to other processes. Methods raise EngineLost where the engine itself is gone."""

    async def workers(self) -> Mapping[str, int]:
        """Who is present, and how many tasks each takes at the same time."""
        ...

    async def grant(self, name: str, grant: Grant) -> Heartbeat | None:
        """What the worker of that name says to it; None where it does not answer soon."""
        ...

    async def run(self, name: str, task: bytes) -> bytes | None:
        """The encoded `Answer` to an encoded `Task`; None where it was lost.

        It may be done twice, even at once, and may never come back.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A task's number, and who does it this time."""

    number: int
    id: str
    session: str
    slots: int


@dataclass(eq=False, slots=True)
class _Worker:
    """A worker in service. Until `until` it may be at work, until `confirmed` it is for certain allowed to."""

    name: str
    slots: int
    until: datetime
    confirmed: datetime
    keeps_to: float = 1.0
    session: str = field(default_factory=lambda: secrets.token_hex(8))
    in_hand: dict[str, int] = field(default_factory=dict)  # tasks: their numbers by the id of the assignment
    running: set["asyncio.Future[bytes | None]"] = field(default_factory=set)
    is_lost: bool = False


Encode = Callable[[Assignment], bytes]
Accept = Callable[[int, bytes], Awaitable[bool]]


class Coordinator:
    """Leads all workers that the engine has and the budgets bear."""

    def __init__(self, engine: Engine, equipment: Equipment) -> None:
        self._engine = engine
        self._equipment = equipment
        self._clock = equipment.clock
        self._stop = equipment.stop
        self._most_workers = equipment.throttle.most_workers
        self._part = 1.0
        self._workers: list[_Worker] = []
        self._lost: list[_Worker] = []  # whose last grant may not be over yet
        self._open: set[int] = set()  # tasks that are not settled
        self._waiting: deque[int] = deque()
        self._losses: Counter[int] = Counter()
        self._changed = asyncio.Event()

    def take(self, part: float) -> None:
        """Of all budgets, this process's and the workers'; these hear of it with their next grant."""
        self._part = part
        self._equipment.throttle.take(part)

    @property
    def keeps_to_part(self) -> bool:
        """Whether nobody has more requests open for a mailbox than that, a lost worker neither."""
        workers = all(worker.keeps_to <= self._part for worker in self._workers)
        return workers and not self._lost and self._equipment.throttle.keeps_to_part

    async def slots(self) -> int:
        """How many tasks can be done at the same time; waits until it is one.

        Raises: EngineLost, when nobody comes.
        """
        for _ in range(round(WORKERS_WAIT_S / RENEW_EVERY_S)):
            present = await self._engine.workers()
            if present or self._stop.is_set():
                return max(1, sum(sorted(present.values(), reverse=True)[: self._most_workers]))
            await asyncio.sleep(RENEW_EVERY_S)
        raise EngineLost("the engine has no worker; start some, the next command continues")

    async def work(self, tasks: int, *, encode: Encode, accept: Accept) -> bool:
        """Have tasks 0 to `tasks` done. False when stopped before the end.

        `encode` makes one ready to be sent; `accept` takes its encrypted report, and says whether it was done to its
        end.

        Raises:
            EngineLost, ConfigurationError, SourceRefused, StoreRefused, StoreUnavailable
        """
        self._open, self._waiting = set(range(tasks)), deque(range(tasks))
        self._losses.clear()

        def begin(worker: _Worker) -> None:
            for _ in range(worker.slots):
                group.create_task(self._fill_slot(worker, encode, accept))

        alone_s = 0.0
        try:
            async with asyncio.TaskGroup() as group:
                for worker in self._workers:
                    begin(worker)
                while self._open and not (self._stop.is_set() and not any(each.in_hand for each in self._workers)):
                    for newcomer in await self._renew_all():
                        begin(newcomer)
                    alone_s = 0.0 if self._workers or self._lost else alone_s + RENEW_EVERY_S
                    if alone_s > WORKERS_WAIT_S:
                        raise EngineLost("all workers are gone; start some, the next command continues")
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), RENEW_EVERY_S)
                    if self._stop.is_set():
                        self._tell()
        finally:
            self._equipment.progress.under_way.clear()
            self._equipment.throttle.take_over()
        return not self._open

    async def _renew_all(self) -> list[_Worker]:
        """Look who is there, renew all grants; who is new."""
        present = await self._engine.workers()
        now = self._clock()
        for worker in list(self._workers):
            if worker.name not in present or worker.confirmed < now:
                self._lose(worker)
        for worker in [each for each in self._lost if each.until + SKEW < now]:
            self._lost.remove(worker)
            self._give_back(worker)
        known = {worker.name for worker in (*self._workers, *self._lost)}
        room = 0 if self._stop.is_set() else self._most_workers - len(known)
        names = [name for name in present if name not in known][: max(0, room)]
        workers = len(known) + len(names)
        confirmed = await asyncio.gather(*(self._renew(worker, workers) for worker in self._workers))
        if not names or not all(confirmed):  # else somebody still works with a larger share
            return []
        now = self._clock()
        newcomers = [_Worker(name, present[name], now, now) for name in names]
        accepted = await asyncio.gather(*(self._renew(worker, workers) for worker in newcomers))
        begun = [worker for worker, has_accepted in zip(newcomers, accepted, strict=True) if has_accepted]
        self._workers += begun
        if begun:
            self._equipment.log.info(Event.WORKERS_CHANGED, workers=len(self._workers))
        return begun

    async def _renew(self, worker: _Worker, workers: int) -> bool:
        """Whether the worker has confirmed a new grant."""
        worker.until = self._clock() + GRANT
        heartbeat = await self._engine.grant(
            worker.name,
            Grant(
                session=worker.session,
                until=worker.until,
                workers=workers,
                part=self._part,
                fences=[fence for fence in self._equipment.progress.fences if fence.principal is None],
                stop=self._stop.is_set(),
            ),
        )
        if heartbeat is None or not heartbeat.accepted:
            return False
        worker.confirmed = worker.until
        self._hear(worker, heartbeat)
        return True

    def _hear(self, worker: _Worker, heartbeat: Heartbeat) -> None:
        progress = self._equipment.progress
        progress.of_workers[worker.session] = heartbeat.usage
        worker.keeps_to = heartbeat.keeps_to
        for fence in heartbeat.fences:
            progress.note_fence(fence)
            self._equipment.waits.note(fence)
            log_fence(self._equipment.log, fence)
        progress.under_way.update({id_: told for id_, told in heartbeat.settled.items() if id_ in worker.in_hand})

    def _lose(self, worker: _Worker) -> None:
        """Nothing that it brings counts any more; what it may still do ends with its grant."""
        if worker.is_lost:
            return
        worker.is_lost = True
        self._workers.remove(worker)
        self._lost.append(worker)
        for running in worker.running:
            running.cancel()
        for id_ in worker.in_hand:
            self._equipment.progress.under_way.pop(id_, None)
        self._equipment.log.warning(
            Event.WORKERS_CHANGED,
            workers=len(self._workers),
            what=f"one is lost with {len(worker.in_hand)} groups of units",
        )
        self._tell()

    def _give_back(self, worker: _Worker) -> None:
        for number in worker.in_hand.values():
            self._losses[number] += 1
            if self._losses[number] >= MOST_LOSSES:
                raise EngineLost(f"{MOST_LOSSES} workers were lost over the same units: they may need more memory")
            self._waiting.append(number)
        self._tell()

    async def _fill_slot(self, worker: _Worker, encode: Encode, accept: Accept) -> None:
        """One task after the other, until none is left or the worker is lost."""
        while (number := await self._next(worker)) is not None:
            assignment = Assignment(number=number, id=secrets.token_hex(8), session=worker.session, slots=worker.slots)
            worker.in_hand[assignment.id] = number
            report = await self._report(worker, encode(assignment))
            if report is None:
                self._lose(worker)
                return
            del worker.in_hand[assignment.id]  # before it is accepted: from here on it is ours, whoever is lost
            self._equipment.progress.under_way.pop(assignment.id, None)
            if await accept(number, report):
                self._open.discard(number)
            else:
                self._waiting.append(number)
            self._tell()

    async def _next(self, worker: _Worker) -> int | None:
        while self._open and not worker.is_lost and not self._stop.is_set():
            if self._waiting:
                return self._waiting.popleft()
            await self._changed.wait()
        return None

    async def _report(self, worker: _Worker, task: bytes) -> bytes | None:
        """What the worker reports, encrypted; None when it is lost."""
        running = asyncio.ensure_future(self._engine.run(worker.name, task))
        worker.running.add(running)
        try:
            await asyncio.wait({running})
        finally:
            worker.running.discard(running)
            running.cancel()
        if running.cancelled() or worker.is_lost or (found := running.result()) is None:
            return None
        match msgspec.msgpack.decode(found, type=Answer):
            case Done(report, heartbeat):
                self._hear(worker, heartbeat)
                return report
            case Failure() as failure:
                raise_failure(failure)
        return None

    def _tell(self) -> None:
        """Wake everybody who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()
