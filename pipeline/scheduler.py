"""Works through units: several principals at a time, a few units of each, and stops when told.

Principals are taken in the order given, so whoever plans decides what comes first. Within a principal at most
`per_principal` units are read at once; the client's throttle keeps the service's own limits on top of that.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from pipeline.model import Unit

Read = Callable[[Unit], Awaitable[None]]


class Scheduler:
    """Reads units; `read` deals with every expected error itself, so what it raises ends the run."""

    def __init__(self, *, principals_in_flight: int, per_principal: int, stop: asyncio.Event) -> None:
        self._principals_in_flight = principals_in_flight
        self._per_principal = per_principal
        self._stop = stop

    async def work(self, groups: Sequence[Sequence[Unit]], read: Read) -> bool:
        """Read every unit of every group (one group a principal). False when stopped before the end."""
        waiting = deque(deque(group) for group in groups)
        in_hand = list(waiting)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self._principals_in_flight, len(waiting))):
                tasks.create_task(self._principal_worker(waiting, read))
        return not any(in_hand)

    async def _principal_worker(self, waiting: deque[deque[Unit]], read: Read) -> None:
        while waiting and not self._stop.is_set():
            units = waiting.popleft()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(self._per_principal, len(units))):
                    tasks.create_task(self._unit_worker(units, read))

    async def _unit_worker(self, units: deque[Unit], read: Read) -> None:
        while units and not self._stop.is_set():
            await read(units.popleft())
