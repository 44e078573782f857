"""Several answers at a time: in order, bounded, and a failure that stops the rest."""

import asyncio

import pytest

from connectors.graph.side_by_side import side_by_side
from tests.virtual_time import now_s, virtual_time


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


@virtual_time
async def test_who_backs_off_does_not_hold_up_the_others() -> None:
    """Two places, and three items that take a minute: the others are through as if these were not there."""
    through: dict[int, float] = {}
    quick_under_way, most = 0, 0

    async def work(number: int) -> int:
        nonlocal quick_under_way, most
        is_failing = number < 3
        quick_under_way += not is_failing
        most = max(most, quick_under_way)
        await asyncio.sleep(60 if is_failing else 1)
        quick_under_way -= not is_failing
        through[number] = now_s()
        return number

    assert await side_by_side(work, range(43), at_most=2, slow_after_s=5) == list(range(43))
    assert most == 2
    assert max(at for number, at in through.items() if number >= 3) <= 5 + 5 + 40 / 2
    assert now_s() <= 5 + 60


@virtual_time
async def test_a_failure_while_somebody_is_slow_stops_them_all() -> None:
    """Also those who took the places of the slow ones."""
    under_way = most = 0

    async def work(number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await asyncio.sleep(60 if number < 2 else 4)
            if number == 2:
                raise LookupError("the third")
        finally:
            under_way -= 1

    with pytest.raises(LookupError):
        await side_by_side(work, range(10), at_most=2, slow_after_s=5)
    assert now_s() == 9
    assert (most, under_way) == (4, 0)
