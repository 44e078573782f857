"""Brings faults to requests: which one is hit, and who has to wait for how long."""

import asyncio

from connectors.emulator.counters import Counters
from connectors.emulator.faults import Effect, Fault, Faults


class FaultDesk:
    """One for a running emulator."""

    def __init__(self, faults: Faults, counters: Counters) -> None:
        self._faults = faults
        self._counters = counters
        self._gate = asyncio.Event()
        self._held = 0
        self._somebody_came = asyncio.Condition()

    def strike(self, *, kind: str, path: str, mailbox: str | None = None, page: int | None = None) -> Fault | None:
        """The fault for this request, counted. `page`: the items it asks for, where it says so."""
        fault = self._faults.strike(kind=kind, path=path, mailbox=mailbox, page=page)
        self._counters.faults += fault is not None
        return fault

    async def wait(self, fault: Fault | None) -> None:
        """Returns when the fault lets the request go on."""
        if fault is not None and fault.effect is Effect.SLOW:
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.effect is Effect.HOLD:
            gate = self._gate
            async with self._somebody_came:
                self._held += 1
                self._somebody_came.notify_all()
            await gate.wait()
            self._held -= 1

    async def until_held(self, count: int) -> None:
        """Returns when so many requests are waiting for `release`."""
        async with self._somebody_came:
            await self._somebody_came.wait_for(lambda: self._held >= count)

    def release(self) -> None:
        """Lets held requests go on; later ones are held again."""
        self._gate.set()
        self._gate = asyncio.Event()
