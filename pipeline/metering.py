"""Counts the requests that a piece of work makes, however deep below it they are made.

Connectors tell of each request (`told`); whoever wants to know what something takes does it inside `metered`. A task
that is started inside counts too, since it inherits the context.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from pipeline.ports import RequestKind


@dataclass(slots=True)
class Meter:
    """What was made so far."""

    requests: Counter[RequestKind] = field(default_factory=Counter)
    seconds: float = 0.0  # that the answers took, each for itself

    @property
    def count(self) -> int:
        return self.requests.total()

    def times(self, factor: float) -> Mapping[RequestKind, float]:
        """The requests of so many such pieces of work."""
        return {kind: count * factor for kind, count in self.requests.items()}


@contextmanager
def metered() -> Iterator[Meter]:
    """Count what is asked inside; a meter around this one counts it too."""
    meter = Meter()
    token = _meters.set((*_meters.get(), meter))
    try:
        yield meter
    finally:
        _meters.reset(token)


def told(kind: RequestKind, *, seconds: float) -> None:
    """A request of this kind was sent and answered, or refused, after so many seconds."""
    for meter in _meters.get():
        meter.requests[kind] += 1
        meter.seconds += seconds


def joined(*several: Mapping[RequestKind, float]) -> dict[RequestKind, float]:
    """The sum of requests, by kind."""
    return {
        kind: math.fsum(each.get(kind, 0.0) for each in several)
        for kind in dict.fromkeys(k for e in several for k in e)
    }


_meters: ContextVar[tuple[Meter, ...]] = ContextVar("meters", default=())
