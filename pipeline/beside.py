"""A run and a backfill at once: together they ask for what one alone may ask for.

A backfill always takes its share. A run takes what is left as long as a backfill's lease is held, and everything
otherwise; it looks every `LOOK_EVERY`. Whoever comes second looks before its first request: a run has made room by
then, and a backfill waits until the run at work says, in its lease, that it has. Each takes its own lease before it
looks at the other's, so of two that start at once one at least sees the other.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta

from pipeline.errors import StoreUnavailable
from pipeline.lease import Lease, held_lease
from pipeline.model import RunKind
from pipeline.ports import Clock, Divisible, StateStore

LOOK_EVERY = timedelta(seconds=5)
# For a run to end the requests that are open beyond its part; each has a deadline of its own. One that does not answer
# by then is of a version that knows nothing of this: Graph refuses what is too much, and both wait and go on.
PATIENCE = timedelta(minutes=10)


async def make_room(lease: Lease, state: StateStore, throttle: Divisible, *, left: float, clock: Clock) -> None:
    """Leave a backfill its share, if one is at work: take `left` and tell it, or else everything.

    Raises:
        LeaseLost, StoreRefused, StoreUnavailable
    """
    backfill = await held_lease(state, RunKind.BACKFILL, now=clock())
    throttle.take(1.0 if backfill is None else left)
    if backfill is not None and throttle.keeps_to_part and lease.made_room_for != backfill.run:
        await lease.make_room_for(backfill.run)


async def keep_room(lease: Lease, state: StateStore, throttle: Divisible, *, left: float, clock: Clock) -> None:
    """The same again and again, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_EVERY.total_seconds())
        with suppress(StoreUnavailable):  # the next look tells
            await make_room(lease, state, throttle, left=left, clock=clock)


async def wait_for_room(lease: Lease, state: StateStore, *, stop: asyncio.Event, clock: Clock) -> None:
    """Return when no run is at work, or when it has made room for this backfill; or when told to stop.

    Raises:
        LeaseLost, StoreRefused
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not stop.is_set():
                with suppress(StoreUnavailable):
                    run = await held_lease(state, RunKind.RUN, now=clock())
                    if run is None or run.made_room_for == lease.run:
                        return
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_EVERY.total_seconds() / 2)
