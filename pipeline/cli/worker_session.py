"""A worker process's service for runs of others, with settings and secrets of its own.

A session begins with its first grant and ends when the last one is over. Its first task opens everything that the run
needs. Settings are read as every command reads them, from $M365_EXPORT_CONFIG or ./m365-export.yaml and the
environment.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from config.model import CONNECTOR_NAMES
from pipeline.app import equip, utc_now
from pipeline.cli.console import Globals
from pipeline.cli.settings import load
from pipeline.equipment import Equipment
from pipeline.ports import Clock, Fence
from pipeline.workers.messages import Answer, Done, Expired, Grant, Heartbeat, Task, failure_of
from pipeline.workers.worker import Worker

NEVER = datetime.min.replace(tzinfo=UTC)


class Sessions:
    """All sessions of a process; usually one at a time."""

    def __init__(self, *, clock: Clock = utc_now) -> None:
        self._clock = clock
        self._open: dict[str, _Session] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def grant(self, encoded: bytes) -> bytes:
        """Begin or renew a session. On the event loop."""
        given = msgspec.msgpack.decode(encoded, type=Grant)
        heartbeat = self._open.setdefault(given.session, _Session(self._clock)).renew(given)
        for name in [name for name, session in self._open.items() if session.is_over]:
            closing = asyncio.get_running_loop().create_task(self._open.pop(name).close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        return msgspec.msgpack.encode(heartbeat)

    async def do(self, encoded: bytes) -> bytes:
        """The answer to a task; every error becomes one."""
        return msgspec.msgpack.encode(await self._answer(msgspec.msgpack.decode(encoded, type=Task)))

    async def close(self) -> None:
        while self._open:
            await self._open.popitem()[1].close()

    async def _answer(self, task: Task) -> Answer:
        session = self._open.get(task.session)
        # What a task teaches is told once: a second execution, which an engine may begin, could not tell it again.
        if session is None or session.left_s <= 0 or task.id in session.begun:
            return Expired()
        session.begun.add(task.id)
        try:
            report = await session.report(task)
            return Done(report, session.heartbeat())
        except TimeoutError:
            return Expired()
        except Exception as error:  # noqa: BLE001 - its text may hold a value; the coordinator gets what may be told
            return failure_of(error)


@dataclass(slots=True)
class _Session:
    """One time of service, for one run."""

    clock: Clock
    until: datetime = NEVER
    workers: int = 1
    part: float = 1.0
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    begun: set[str] = field(default_factory=set)
    deadlines: set[asyncio.Timeout] = field(default_factory=set)
    fences: list[Fence] = field(default_factory=list)  # that the coordinator has not been told of
    equipment: Equipment | None = None
    worker: Worker | None = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    resources: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def left_s(self) -> float:
        return (self.until - self.clock()).total_seconds()

    @property
    def is_over(self) -> bool:
        return self.left_s <= 0 and not self.deadlines

    def renew(self, given: Grant) -> Heartbeat:
        """Not accepted where it comes too late: when a grant is over, the coordinator may give the work to others."""
        if self.left_s <= 0 and (self.begun or self.worker is not None):
            return Heartbeat(accepted=False)
        self.until, self.workers, self.part = given.until, given.workers, given.part
        for deadline in self.deadlines:
            deadline.reschedule(asyncio.get_running_loop().time() + self.left_s)
        if given.stop:
            self.stop.set()
        if self.equipment is not None:
            self.equipment.throttle.divide(given.workers)
            self.equipment.throttle.take(given.part)
            for fence in given.fences:
                self.equipment.throttle.heed(fence)
        return self.heartbeat()

    async def report(self, task: Task) -> bytes:
        """Raises: TimeoutError, when the grant runs out first."""
        deadline = asyncio.timeout(self.left_s)
        self.deadlines.add(deadline)
        try:
            async with deadline:
                equipment, worker = await self._opened(task)
                await equipment.mind_memory()
                return equipment.vault.seal_blob(msgspec.msgpack.encode(await worker.do(task)))
        finally:
            self.deadlines.discard(deadline)

    async def close(self) -> None:
        await self.resources.aclose()

    def heartbeat(self) -> Heartbeat:
        """How far the tasks in hand are, and what was asked of Graph."""
        if self.equipment is None:
            return Heartbeat(accepted=True, keeps_to=self.part)
        fences, self.fences = self.fences, []
        return Heartbeat(
            accepted=True,
            keeps_to=self.part if self.equipment.throttle.keeps_to_part else 1.0,
            usage=self.equipment.progress.usage(),
            fences=fences,
            settled=self.worker.settled if self.worker is not None else {},
        )

    async def _opened(self, task: Task) -> tuple[Equipment, Worker]:
        """Everything the run needs, from its first task on."""
        async with self.opening:
            if self.equipment is None:
                options = Globals(config=_settings_file(), log_format="json", log_level="warning", show_progress=False)
                settings, reader = load(options)
                self.equipment = await self.resources.enter_async_context(
                    equip(
                        settings,
                        reader=reader,
                        kind=task.kind,
                        log=options.logger(),
                        connectors=[name for name in CONNECTOR_NAMES if name in task.connectors],
                        stop=self.stop,
                        workers=self.workers,
                        on_fence=[self._note_fence],
                    )
                )
                self.equipment.throttle.divide(self.workers)  # it may have changed meanwhile
                self.equipment.throttle.take(self.part)
            if self.worker is None:
                self.worker = await Worker.prepared(self.equipment, task)
            return self.equipment, self.worker

    def _note_fence(self, fence: Fence) -> None:
        self.fences.append(fence)


def _settings_file() -> Path | None:
    named = os.environ.get("M365_EXPORT_CONFIG")
    return Path(named) if named else None


SESSIONS = Sessions()
