"""How far a run has come, as numbers."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.ports import Fence
from pipeline.progress import FENCES_KEPT, Progress

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def _fence(principal: str | None, *, lasts_s: int, since: datetime = NOW) -> Fence:
    scope = "service" if principal is None else "mailbox"
    return Fence(
        scope=scope, service="outlook", principal=principal, since=since, until=since + timedelta(seconds=lasts_s)
    )


def test_fences_that_are_up_are_listed_the_longest_first() -> None:
    """One that is over is not there any more, and a later one of the same scope takes its place."""
    now = NOW
    progress = Progress(now=lambda: now)
    progress.note_fence(_fence("t~a", lasts_s=10))
    progress.note_fence(_fence("t~b", lasts_s=5))
    progress.note_fence(_fence(None, lasts_s=30))
    progress.note_fence(_fence("t~b", lasts_s=20))
    assert [fence.principal for fence in progress.fences] == [None, "t~b", "t~a"]
    now = NOW + timedelta(seconds=10)
    assert [fence.principal for fence in progress.fences] == [None, "t~b"]


def test_fences_that_are_over_do_not_pile_up() -> None:
    """A night of throttled mailboxes takes no more memory than those that wait now."""
    progress = Progress(now=lambda: NOW)
    for number in range(3 * FENCES_KEPT):
        progress.note_fence(_fence(f"t~{number}", lasts_s=1, since=NOW + timedelta(seconds=number)))
    assert len(progress._fences) <= FENCES_KEPT


def test_the_time_left_is_that_of_the_slowest_dataset() -> None:
    """A thousand quick units promise nothing about ten slow ones; before one of those is settled nobody knows."""
    progress = Progress()
    assert progress.seconds_left() is None
    for _ in range(1_000):
        progress.planned("mail_messages")
    for _ in range(10):
        progress.planned("teams_online_meetings")
    progress.of("teams_online_meetings").connector = "msft-teams"
    for line in progress.datasets.values():
        line.since_s = time.monotonic() - 600
    for _ in range(1_000):
        progress.finished("mail_messages", rows=1)
    assert progress.seconds_left() is None

    progress.skipped("teams_online_meetings", "not_found")

    assert progress.seconds_left() == progress.seconds_left("msft-teams") == pytest.approx(9 * 600, rel=0.01)
    for _ in range(9):
        progress.finished("teams_online_meetings", rows=1)
    assert progress.seconds_left() == 0
