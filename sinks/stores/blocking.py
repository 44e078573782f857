"""Blocking store calls on a bounded pool of threads, each with a deadline.

A thread cannot be stopped: after its deadline a call may still take effect. Whoever gives up on one must
therefore ask the store what became of it, which is what create-only writes and the journal are for.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pipeline.errors import StoreUnavailable

Result = TypeVar("Result")


class BlockingPool:
    """Threads of one store."""

    def __init__(self, *, store: str, threads: int) -> None:
        """`store` names it in messages."""
        self._store = store
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"store-{store}")

    async def run(self, call: Callable[[], Result], *, deadline_s: float) -> Result:
        """The result of `call`; waiting for a free thread counts.

        Raises:
            StoreUnavailable: no answer in time.
        """
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except TimeoutError:
            raise StoreUnavailable(f"{self._store}: no answer within {deadline_s:.0f} seconds") from None

    def close(self) -> None:
        """Take no more calls. Those at work are not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)
