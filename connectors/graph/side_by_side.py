"""Several answers at a time, for the few places where one unit needs many small ones."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def side_by_side(
    function: Callable[[Item], Awaitable[Result]], items: Iterable[Item], *, at_most: int
) -> list[Result]:
    """The results in the order of the items; at most so many are waited for at once.

    The first failure stops the others and is raised as it is, not in a group.
    """
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def work() -> None:
        for place, item in waiting:
            results[place] = await function(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_most):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [results[place] for place in sorted(results)]
