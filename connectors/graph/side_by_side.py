"""Several answers at a time, for the few places where one unit needs many small ones."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def side_by_side(
    function: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item],
    *,
    at_most: int,
    slow_after_s: float | None = None,
) -> list[Result]:
    """The results in the order of the items; at most so many are waited for at once.

    With `slow_after_s`, in seconds, those that take longer are not counted any more: whoever is backing off makes
    room for the others. The first failure stops the others and is raised as it is, not in a group.
    """
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))
    loop = asyncio.get_running_loop()

    async def work() -> None:
        worker, has_made_room = asyncio.current_task(), False

        def make_room() -> None:
            nonlocal has_made_room
            if worker is not None and not worker.cancelling():
                has_made_room = True
                group.create_task(work())

        for place, item in waiting:
            timer = None if slow_after_s is None else loop.call_later(slow_after_s, make_room)
            try:
                results[place] = await function(item)
            finally:
                if timer is not None:
                    timer.cancel()
            if has_made_room:  # somebody else goes on in our place
                return

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_most):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [results[place] for place in sorted(results)]
