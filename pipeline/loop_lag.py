"""How late the event loop wakes: while it is late nothing is read, and no heartbeat is kept."""

import asyncio

EVERY_S = 0.1


class LoopLag:
    """Looks at the loop from a task of its own. `worst_ms` is the latest wake-up so far, in milliseconds."""

    def __init__(self) -> None:
        self.worst_ms = 0

    async def watch(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + EVERY_S
            await asyncio.sleep(EVERY_S)
            self.worst_ms = max(self.worst_ms, round((loop.time() - due_s) * 1000))
