"""Several answers at a time: in order, bounded, and a failure that stops the rest."""

import asyncio

import pytest

from connectors.graph.side_by_side import side_by_side


async def test_results_keep_the_order_of_the_items() -> None:
    """Whoever is ready first."""

    async def slow_at_first(number: int) -> int:
        for _ in range(10 - number):
            await asyncio.sleep(0)
        return number * number

    assert await side_by_side(slow_at_first, range(10), at_most=4) == [number * number for number in range(10)]
    assert await side_by_side(slow_at_first, [], at_most=4) == []


async def test_no_more_than_allowed_are_under_way() -> None:
    """And as many as allowed."""
    under_way, most = 0, 0

    async def work(_: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    await side_by_side(work, range(20), at_most=3)
    assert most == 3


async def test_a_failure_comes_as_it_is_and_stops_the_others() -> None:
    """Not in a group, so that callers handle it by its type."""
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0)
        if number == 1:
            raise LookupError("one")

    with pytest.raises(LookupError):
        await side_by_side(work, range(100), at_most=2)
    assert len(begun) < 10
