"""SIGTERM and SIGINT as a wish to end, for as long as the work of an event loop lasts."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def signals_heeded(wish: Callable[[], None]) -> Iterator[None]:
    """`wish` is called on the loop for each of them; afterwards the system decides again.

    To be left while the loop runs: one that is closed gives up the pipe through which it hears of signals before it
    forgets its handlers, and a signal in between makes Python complain on stderr of the "signal wakeup fd".
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, wish)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
