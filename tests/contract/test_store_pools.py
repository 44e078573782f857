"""A store has as many connections as threads: all are used at once, and kept."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from sinks.stores.gcs.bucket import THREADS as GCS_THREADS
from sinks.stores.s3.bucket import THREADS as S3_THREADS
from tests.contract.backends import Backend, gcs_backend, s3_backend

CALLS_PER_THREAD = 4


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.parametrize(("store", "threads"), [("s3", S3_THREADS), ("gcs", GCS_THREADS)])
async def test_every_thread_keeps_a_connection(
    store: str,
    threads: int,
    stack: AsyncExitStack,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Many calls at once open no more connections than there are threads, and throw none away."""
    state = backend_of(store, stack, request).state()
    await state.prove()  # over its first connection
    caplog.set_level("DEBUG", logger="urllib3.connectionpool")

    won = await asyncio.gather(*(state.create(f"k{number}", b"") for number in range(threads * CALLS_PER_THREAD)))

    assert all(won)
    said = [record.getMessage() for record in caplog.records]
    assert not [line for line in said if "Connection pool is full" in line]
    opened = [line for line in said if re.match(r"Starting new HTTPS? connection|Resetting dropped connection", line)]
    assert 0 < len(opened) < threads


def backend_of(store: str, stack: AsyncExitStack, request: pytest.FixtureRequest) -> Backend:
    if store == "s3":
        return s3_backend(stack, request.getfixturevalue("s3")[0])
    return gcs_backend(stack, *request.getfixturevalue("gcs"))
