"""The tenant's own time, which a test or an operator moves."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from connectors.emulator.ticks import to_ticks


class Clock:
    """Stands still, or goes on by whole seconds if `ticking`. What the tenant shows and which tokens hold follow it."""

    def __init__(
        self, now: datetime, *, ticking: bool = False, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._ticking = ticking
        self.set(now)

    @property
    def now(self) -> datetime:
        """The present instant of the tenant, in UTC."""
        if not self._ticking:
            return self._base
        return self._base + timedelta(seconds=int(self._monotonic() - self._since))

    @property
    def ticks(self) -> int:
        """The present instant in ticks."""
        return to_ticks(self.now)

    def set(self, instant: datetime) -> None:
        """Jump to an aware instant, forwards or backwards."""
        self._base = instant.astimezone(UTC)
        self._since = self._monotonic()

    def advance(self, delta: timedelta) -> None:
        """Jump by `delta`."""
        self.set(self.now + delta)
