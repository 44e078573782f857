"""The stores that the contract is tried on."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.contract.backends import Backend, local_backend, memory_backend

BACKENDS = ["memory", "local"]


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        yield memory_backend(stack) if request.param == "memory" else local_backend(stack, tmp_path)
