"""What every test can count on."""

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
