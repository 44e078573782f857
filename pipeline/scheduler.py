"""Works through units: several principals at a time, a few units of each, and stops when told.

Principals are taken in the order given, so whoever plans decides what comes first. Within a principal at most
`per_principal` units are read at once; the client's throttle keeps the service's own limits on top of that.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

from pipeline.model import Unit

Read = Callable[[Unit], Awaitable[None]]


class Scheduler:
    """Reads units; `read` deals with every expected error itself, so what it raises ends the run."""

    def __init__(self, *, principals_in_flight: int, per_principal: int, stop: asyncio.Event) -> None:
        self._principals_in_flight = principals_in_flight
        self._per_principal = per_principal
        self._stop = stop

    async def work(self, groups: Iterable[Sequence[Unit]], read: Read) -> bool:
        """Read every unit of every group (one group a principal). False when stopped before the end.

        A group is asked for when its turn has come: those of a large tenant need not all exist at once.
        """
        waiting = iter(groups)
        async with asyncio.TaskGroup() as tasks:
            workers = [
                tasks.create_task(self._principal_worker(waiting, read)) for _ in range(self._principals_in_flight)
            ]
        return all(worker.result() for worker in workers) and next(waiting, None) is None

    async def _principal_worker(self, waiting: Iterator[Sequence[Unit]], read: Read) -> bool:
        """Whether it ended with no unit of a group that it had begun left."""
        while not self._stop.is_set() and (group := next(waiting, None)) is not None:
            units = deque(group)
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(self._per_principal, len(units))):
                    tasks.create_task(self._unit_worker(units, read))
            if units:
                return False
        return True

    async def _unit_worker(self, units: deque[Unit], read: Read) -> None:
        while units and not self._stop.is_set():
            await read(units.popleft())
