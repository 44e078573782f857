"""Waits for what another process does, which nothing but looking tells."""

import time
from collections.abc import Callable

LOOK_EVERY_S = 0.02


def wait_until(happened: Callable[[], bool], *, within_s: float = 60) -> None:
    """Blocks. Fails the test where it takes longer."""
    until = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < until
        time.sleep(LOOK_EVERY_S)  # it is another process, so there is nothing to await
