"""Breadth-first search through every state a model can reach; the first violation found is a shortest one."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

State = TypeVar("State", bound=Hashable)

Successors = Callable[[State], Iterable[tuple[str, State]]]
"""Every step that can be taken in a state: what it is called, and where it leads."""

Violation = Callable[[State], str | None]
"""What is wrong with a state; None, when nothing is."""


@dataclass(frozen=True, slots=True)
class Found(Generic[State]):
    """`violation` is None when all `states` were seen and none of them is wrong."""

    states: int
    violation: str | None = None
    trace: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        steps = [f"{number:3}. {step}" for number, step in enumerate(self.trace, 1)]
        return "\n".join([f"{self.violation or 'no violation'} ({self.states} states)", *steps])


def search(first: State, successors: Successors[State], violation: Violation[State], *, most: int) -> Found[State]:
    """Look at every state that `first` leads to, nearest first, until one is wrong.

    Raises:
        RuntimeError: there are more than `most` states, so nothing is proven.
    """
    reached_from: dict[State, tuple[State, str] | None] = {first: None}
    waiting = deque([first])
    while waiting:
        state = waiting.popleft()
        wrong = violation(state)
        if wrong is not None:
            return Found(len(reached_from), wrong, _steps_to(state, reached_from))
        for step, following in successors(state):
            if following not in reached_from:
                reached_from[following] = (state, step)
                waiting.append(following)
        if len(reached_from) > most:
            raise RuntimeError(f"more than {most} states: make the model smaller")
    return Found(len(reached_from))


def _steps_to(state: State, reached_from: dict[State, tuple[State, str] | None]) -> list[str]:
    steps = []
    origin = reached_from[state]
    while origin is not None:
        state, step = origin
        steps.append(step)
        origin = reached_from[state]
    return steps[::-1]
