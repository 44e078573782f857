"""A process that works for runs of others: settings and secrets of its own, errands and grants from a coordinator.

    grant     until when, with how many others; renewed every few seconds
    do        one errand, at the first of a hire with everything opened and learnt that its run needs

The engine calls these two functions by name, on the event loop of the worker process, which imports this module when
it starts (`dask worker --preload pipeline.cli.worker`): later it would keep the first grant waiting. A worker reads its
settings as every command does, from $M365_EXPORT_CONFIG or ./m365-export.yaml and the environment.
"""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from config.model import CONNECTOR_NAMES
from pipeline.app import equip
from pipeline.cli.console import Globals
from pipeline.cli.settings import load
from pipeline.equipment import Equipment
from pipeline.errands import Answer, Brought, Errand, Grant, Lapsed, trouble_of
from pipeline.workshop import Workshop


async def do(errand: bytes) -> bytes:
    """The encoded `Answer` to an encoded `Errand`; every error becomes one."""
    return msgspec.msgpack.encode(await _answer(msgspec.msgpack.decode(errand, type=Errand)))


def grant(encoded: bytes) -> bool:
    """Take an encoded `Grant`; whether the worker keeps to it from now on."""
    given = msgspec.msgpack.decode(encoded, type=Grant)
    is_taken = _hires.setdefault(given.hire, _Hire()).renew(given)
    for name in [name for name, hire in _hires.items() if hire.is_over]:
        _closing.add(closing := asyncio.ensure_future(_hires.pop(name).close()))
        closing.add_done_callback(_closing.discard)
    return is_taken


NEVER = datetime.min.replace(tzinfo=UTC)


async def dask_teardown(_worker: object) -> None:
    """What Dask calls when the process ends: give connections and files back."""
    while _hires:
        await _hires.popitem()[1].close()


@dataclass(slots=True)
class _Hire:
    """One time of service, for one run."""

    until: datetime = NEVER
    workers: int = 1
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    begun: set[int] = field(default_factory=set)
    deadlines: set[asyncio.Timeout] = field(default_factory=set)
    equipment: Equipment | None = None
    workshop: Workshop | None = None
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    resources: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def left_s(self) -> float:
        return (self.until - datetime.now(UTC)).total_seconds()

    @property
    def is_over(self) -> bool:
        return self.left_s <= 0 and not self.deadlines

    def renew(self, given: Grant) -> bool:
        """False where it comes too late: when a grant is over, the coordinator may give the work to others."""
        if self.left_s <= 0 and (self.begun or self.workshop is not None):
            return False
        self.until, self.workers = given.until, given.workers
        for deadline in self.deadlines:
            deadline.reschedule(asyncio.get_running_loop().time() + self.left_s)
        if self.equipment is not None:
            self.equipment.divide_budgets(given.workers)
        if given.stop:
            self.stop.set()
        return True

    async def report(self, errand: Errand) -> bytes:
        """Raises: TimeoutError, when the grant runs out first."""
        deadline = asyncio.timeout(self.left_s)
        self.deadlines.add(deadline)
        try:
            async with deadline:
                workshop = await self._open(errand)
                report = await workshop.do(errand)
                assert self.equipment is not None  # noqa: S101 - it came with the workshop
                return self.equipment.vault.seal_blob(msgspec.msgpack.encode(report))
        finally:
            self.deadlines.discard(deadline)

    async def close(self) -> None:
        await self.resources.aclose()

    async def _open(self, errand: Errand) -> Workshop:
        async with self.opening:
            if self.workshop is None:
                options = Globals(config=_settings_file(), log_format="json", log_level="warning", show_progress=False)
                settings, reader = load(options)
                self.equipment = await self.resources.enter_async_context(
                    equip(
                        settings,
                        reader=reader,
                        kind=errand.kind,
                        log=options.logger(),
                        connectors=[name for name in CONNECTOR_NAMES if name in errand.connectors],
                        stop=self.stop,
                        workers=self.workers,
                    )
                )
                self.workshop = await Workshop.open(self.equipment, errand)
                self.equipment.divide_budgets(self.workers)  # it may have changed meanwhile
            return self.workshop


_hires: dict[str, _Hire] = {}
_closing: set["asyncio.Future[None]"] = set()


async def _answer(errand: Errand) -> Answer:
    hire = _hires.get(errand.hire)
    # What an errand teaches is told once: a second execution, which an engine may begin, could not tell it again.
    if hire is None or hire.left_s <= 0 or errand.numbering.first in hire.begun:
        return Lapsed()
    hire.begun.add(errand.numbering.first)
    try:
        return Brought(await hire.report(errand))
    except TimeoutError:
        return Lapsed()
    except Exception as error:  # noqa: BLE001 - its text may hold a value; the coordinator gets what may be told
        return trouble_of(error)


def _settings_file() -> Path | None:
    named = os.environ.get("M365_EXPORT_CONFIG")
    return Path(named) if named else None
