"""A loop whose time jumps as soon as everybody waits: hours of back-off run in milliseconds."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ParamSpec

from connectors.graph.clock import GraphClock

P = ParamSpec("P")
BEGINNING = datetime(2026, 3, 2, tzinfo=UTC)  # what the calendar says at second 0


class VirtualLoop(asyncio.SelectorEventLoop):
    """Real sockets are not for this loop: it never waits for them."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:  # only another thread can wake us up now
            return super().select(0.01)
        self._jump(timeout)
        return ready


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Runs an asynchronous test in virtual time, beginning at second 0."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def now_s() -> float:
    """Seconds since the test began."""
    return asyncio.get_running_loop().time()


def virtual_clock(*, random: Callable[[], float] = lambda: 0.0) -> GraphClock:
    """A clock of the running loop; chance is what the test says."""
    return GraphClock(
        monotonic=now_s, sleep=asyncio.sleep, random=random, now=lambda: BEGINNING + timedelta(seconds=now_s())
    )
