"""The search sees every state, and tells the shortest way to a wrong one."""

from collections.abc import Iterator

import pytest

from tests.model.search import search


def jumps(place: int) -> Iterator[tuple[str, int]]:
    """Around a circle of 12, one or five places at a time."""
    yield "a step", (place + 1) % 12
    yield "a leap", (place + 5) % 12


def test_every_state_is_seen_once() -> None:
    """Circles end the search, they do not prolong it."""
    found = search(0, jumps, lambda place: None, most=12)

    assert found.states == 12
    assert found.violation is None


def test_the_shortest_trace_is_told() -> None:
    """Two leaps are shorter than ten steps."""
    found = search(0, jumps, lambda place: "ten" if place == 10 else None, most=12)

    assert found.trace == ["a leap", "a leap"]
    assert str(found).startswith("ten (")
    assert str(found).endswith("  2. a leap")


def test_a_search_that_is_cut_short_proves_nothing() -> None:
    """Too many states are an error, not a result."""
    with pytest.raises(RuntimeError, match="more than 5 states"):
        search(0, jumps, lambda place: None, most=5)
