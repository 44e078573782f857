"""Memory: what is held stays within the limit, and whatever the sizes, everybody gets on."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import equipment
from pipeline.memory import SORTING_SHARE, Memory
from tests.harness import Harness, SmallTenant

LIMIT = 4_800
UNIT = LIMIT // 6

# A unit: the rows that each of its pages becomes, all of them together less than what one unit may hold.
units = st.lists(st.lists(st.integers(0, UNIT // 8), max_size=8), min_size=1, max_size=12)


async def read(memory: Memory, pages: list[int], ended: list[int]) -> None:
    """What a reader does, a turn of the loop for each wait."""
    with memory.hold("mail") as hold:
        for rows in pages:
            await asyncio.wait_for(hold.room(), timeout=30)
            memory.weigh(rows // 5)
            await asyncio.sleep(0)
            hold.arrived(2 * rows)
            memory.weigh(-(rows // 5))
            await asyncio.sleep(0)
            hold.cleaned(2 * rows, rows_bytes=rows)
        hold.ended()
        await asyncio.sleep(0)
    ended.append(sum(pages))


@given(units=units)
def test_every_sequence_of_units_comes_to_its_end(units: list[list[int]]) -> None:
    """Nobody waits for ever, and in the end nothing is on any account."""
    memory = Memory(LIMIT)
    ended: list[int] = []

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for pages in units:
                tasks.create_task(read(memory, pages, ended))

    asyncio.run(run())
    assert sorted(ended) == sorted(map(sum, units))
    assert memory.used_bytes == 0


@given(units=units)
def test_what_is_held_stays_below_the_limit(units: list[list[int]]) -> None:
    """With pages as large as expected, the rest of the limit is there for the unit that goes first."""
    memory = Memory(LIMIT)
    memory.note_page("mail", UNIT // 4)
    ended: list[int] = []

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            for pages in units:
                tasks.create_task(read(memory, pages, ended))

    asyncio.run(run())
    assert memory.most_used_bytes <= LIMIT


async def test_open_parts_that_fill_memory_leave_one_unit_going() -> None:
    """The first one never waits; the others do, until it ends or the parts give room back."""
    memory = Memory(LIMIT)
    memory.charge_parts(LIMIT)
    with memory.hold("mail") as first, memory.hold("mail") as second:
        await asyncio.wait_for(first.room(), timeout=1)
        waiting = asyncio.ensure_future(second.room())
        await asyncio.sleep(0)
        assert second.is_waiting
        memory.charge_parts(-LIMIT)
        await asyncio.wait_for(waiting, timeout=1)


async def test_a_unit_that_is_cancelled_while_it_waits_leaves_nothing_behind() -> None:
    """Its account ends with it, and the next one is the first."""
    memory = Memory(LIMIT)
    memory.charge_parts(LIMIT)
    with memory.hold("mail") as first:
        await first.room()

        async def cancelled() -> None:
            with memory.hold("mail") as hold:
                await hold.room()

        task = asyncio.ensure_future(cancelled())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert memory.used_bytes == LIMIT


async def test_a_unit_begins_when_units_like_it_would_fit() -> None:
    """So that those who have begun go on, instead of all waiting with half of their rows."""
    memory = Memory(LIMIT)
    memory.note_page("mail", 10)
    memory.note_unit("mail", 500)
    begun = 0
    holds = [memory.hold("mail") for _ in range(8)]
    for context in holds:
        begun += context.__enter__().admit()
    held = LIMIT - UNIT - int(SORTING_SHARE * memory.row_group_bytes)
    assert begun == held // 500
    for context in holds:
        context.__exit__(None, None, None)


def test_pages_get_smaller_when_it_is_tight() -> None:
    """By a third, until there is room again."""
    memory = Memory(LIMIT)
    usual = memory.page_bytes
    memory.charge_parts(LIMIT * 2 // 3)
    assert memory.page_bytes == usual * 2 // 3
    assert memory.parts_are_in_the_way
    memory.charge_parts(-LIMIT * 2 // 3)
    assert memory.page_bytes == usual


def test_room_is_kept_for_work_once_seen() -> None:
    """What a thread needed once it may need again."""
    memory = Memory(LIMIT)
    assert memory.has_room(LIMIT // 2)
    with memory.working(LIMIT // 2):
        assert memory.used_bytes == LIMIT // 2
    assert memory.used_bytes == 0
    assert not memory.has_room(LIMIT // 2)


def test_a_process_that_grows_leaves_less_for_rows() -> None:
    """What is not on any account is taken off the limit, down to the least; what is on one is not."""
    memory = Memory(5_000, process_bytes=10_000)
    memory.charge_parts(2_000)
    limits = []
    for resident_bytes in (6_000, 7_000, 6_000, 20_000):
        memory.heed(resident_bytes)
        limits.append(memory.limit_bytes)
    assert limits == [5_000, 4_000, 4_000, 1_250]


@pytest.mark.parametrize(("kept", "given_back", "limit"), [(3_000, 3_000, 5_000), (9_000, 4_500, 4_500)])
async def test_what_allocators_keep_leaves_no_less_for_rows(
    monkeypatch: pytest.MonkeyPatch, kept: int, given_back: int, limit: int
) -> None:
    """They give it back before the process counts as having grown, and only then."""
    memory, taken = Memory(5_000, process_bytes=10_000), [kept]
    monkeypatch.setattr(equipment, "resident_bytes", lambda: taken[-1])
    monkeypatch.setattr(equipment, "give_back", lambda: taken.append(given_back))
    await replace(Harness(SmallTenant.with_mail(users=1, messages=1)).equip(), memory=memory).mind_memory()
    assert memory.limit_bytes == limit
    assert len(taken) == (1 if kept == given_back else 2)
