"""A run and a backfill at once: who makes room, who waits, and for how long."""

import asyncio
from datetime import UTC, datetime

from pipeline.beside import LOOK_EVERY, PATIENCE, keep_room, make_room, wait_for_room
from pipeline.lease import Lease, hold
from pipeline.model import RunKind
from sinks.stores.memory import MemoryStore
from tests.harness import Unthrottled
from tests.virtual_time import now_s, virtual_time

LEFT = 0.5


def clock() -> datetime:
    return datetime(2026, 3, 2, tzinfo=UTC)


async def waited_s(lease: Lease, state: MemoryStore, *, stop: asyncio.Event | None = None) -> float:
    began_s = now_s()
    await wait_for_room(lease, state, stop=stop or asyncio.Event(), clock=clock)
    return now_s() - began_s


@virtual_time
async def test_a_backfill_begins_at_once_when_no_run_is_at_work() -> None:
    """A run that comes then sees it before its first request, and takes what is left."""
    state, throttle = MemoryStore(), Unthrottled()
    async with hold(state, RunKind.BACKFILL, clock=clock) as backfill:
        assert await waited_s(backfill, state) == 0
        async with hold(state, RunKind.RUN, clock=clock) as run:
            await make_room(run, state, throttle, left=LEFT, clock=clock)
            assert throttle.part == LEFT


@virtual_time
async def test_a_backfill_waits_until_the_run_has_made_room() -> None:
    """The run sees it at its next look, but says so only when nothing is open beyond its part."""
    state, throttle = MemoryStore(), Unthrottled()
    throttle.keeps_to_part = False
    async with hold(state, RunKind.RUN, clock=clock) as run, asyncio.TaskGroup() as tasks:
        await make_room(run, state, throttle, left=LEFT, clock=clock)
        looking = tasks.create_task(keep_room(run, state, throttle, left=LEFT, clock=clock))
        async with hold(state, RunKind.BACKFILL, clock=clock) as backfill:
            waiting = tasks.create_task(waited_s(backfill, state))
            await asyncio.sleep(4.5 * LOOK_EVERY.total_seconds())
            assert throttle.part == LEFT
            assert not waiting.done()
            throttle.keeps_to_part = True
            assert await waiting <= 5.5 * LOOK_EVERY.total_seconds()
        await asyncio.sleep(1.5 * LOOK_EVERY.total_seconds())
        assert throttle.part == 1.0
        async with hold(state, RunKind.BACKFILL, clock=clock) as later:  # what was said to another one does not count
            assert await waited_s(later, state) > 0
        looking.cancel()


@virtual_time
async def test_waiting_has_an_end() -> None:
    """Beside a run that never answers; and at once when told to stop."""
    state, stop = MemoryStore(), asyncio.Event()
    async with hold(state, RunKind.RUN, clock=clock), hold(state, RunKind.BACKFILL, clock=clock) as backfill:
        assert await waited_s(backfill, state) == PATIENCE.total_seconds()
        stop.set()
        assert await waited_s(backfill, state, stop=stop) == 0


@virtual_time
async def test_what_a_run_said_stays_in_its_lease_when_it_is_renewed() -> None:
    """A heartbeat does not take it back."""
    state = MemoryStore()
    async with hold(state, RunKind.RUN, clock=clock) as run, hold(state, RunKind.BACKFILL, clock=clock) as backfill:
        await make_room(run, state, Unthrottled(), left=LEFT, clock=clock)
        await run.renew()
        assert await waited_s(backfill, state) == 0
