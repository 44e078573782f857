"""A thousand fault schedules: those of the integration tests, and twenty times as many."""

from pathlib import Path

import pytest

from tests.integration.test_fault_schedules import run_schedules, small_and_quick

__all__ = ["small_and_quick"]

SEEDS, BATCH = 1_000, 50

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    # What requests leaves of a connection that breaks in its TLS handshake is closed by the collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
@pytest.mark.usefixtures("small_and_quick")
async def test_every_schedule_ends_exact_or_names_what_is_missing(first: int, tmp_path: Path) -> None:
    """Refusals, broken answers and broken connections, through a TCP proxy; most exports come through whole."""
    ends = await run_schedules(range(first, first + BATCH), tmp_path)
    assert sum(ends.values()) == BATCH
    assert ends["complete"] > BATCH / 3
