"""Blocking calls run on few threads and end in time."""

import threading

import pytest

from pipeline.errors import StoreUnavailable
from sinks.stores.blocking import BlockingPool


async def test_a_call_that_hangs_is_given_up() -> None:
    """The caller hears of the deadline while the thread is still stuck."""
    pool = BlockingPool(store="state", threads=1)
    free = threading.Event()

    with pytest.raises(StoreUnavailable, match="state: no answer within 0 seconds"):
        await pool.run(free.wait, deadline_s=0.01)

    with pytest.raises(StoreUnavailable):  # the only thread is taken: waiting for it counts
        await pool.run(lambda: None, deadline_s=0.01)
    free.set()
    assert await pool.run(lambda: "answer", deadline_s=30) == "answer"
    pool.close()


async def test_errors_of_the_call_reach_the_caller() -> None:
    """What the call raises is raised."""
    pool = BlockingPool(store="state", threads=1)

    def fail() -> None:
        raise KeyError("k")

    with pytest.raises(KeyError):
        await pool.run(fail, deadline_s=30)
    pool.close()
