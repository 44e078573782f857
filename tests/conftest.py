"""What every test can count on."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """A test that sets logging up does not leave it behind, bound to a stream that is closed by then."""
    yield
    structlog.reset_defaults()
