"""What every test can count on."""

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# The same examples every time, and no verdict from a machine that happens to be slow.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """A test that sets logging up does not leave it behind, bound to a stream that is closed by then."""
    yield
    structlog.reset_defaults()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a fifth of the time, tests wait for processes that they started or killed."""
    return (os.cpu_count() or 1) + 1
