"""The token of one application: one request at a time, renewed ahead of its end, kept while it is good.

The last good token is our own copy: a token service that fails at minute 61 costs nothing while it is valid.
A token has the permissions of the moment it was issued: every run begins with a fresh one, and a refusal that
a newer one may heal asks for it through `invalidate`.
    https://learn.microsoft.com/entra/identity-platform/access-tokens (checked 2026-11)
Tokens are opaque: Microsoft may issue ones that nobody else can read, so nothing here looks inside.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from connectors.graph.aadsts import SERVICE_PATIENCE_S
from connectors.graph.clock import GraphClock
from connectors.graph.issuer import Issued, Issuer, NotIssued

RENEW_AHEAD_S = 600.0  # before the end; a quarter of the lifetime where that is shorter
RENEW_AGAIN_S = 60.0  # after a failed early renewal
PAUSE_JITTER = 0.25  # workers of one application do not ask again all at once
MOST_INVALIDATIONS = 5  # within ...
INVALIDATION_PERIOD_S = 600.0  # ... this time: a permission that is missing stays missing with new tokens


@dataclass(frozen=True, slots=True)
class _Held:
    value: str = field(repr=False)
    renew_at_s: float
    ends_at_s: float


class Tokens:
    """Bearer tokens of one application for one tenant's Graph."""

    def __init__(
        self, issuer: Issuer, *, patience_s: float = SERVICE_PATIENCE_S, clock: GraphClock | None = None
    ) -> None:
        """`patience_s` bounds how long a fault that may pass is waited for."""
        self._issuer = issuer
        self._patience_s = patience_s
        self._clock = clock or GraphClock()
        self._lock = asyncio.Lock()
        self._held: _Held | None = None
        self._claims = ""
        self._invalidated_s: deque[float] = deque(maxlen=MOST_INVALIDATIONS)

    async def token(self) -> str:
        """A token that is valid now.

        Raises:
            SourceRefused: Entra gives none; `code` is its AADSTS code where it states one.
        """
        held = self._valid()
        if held is not None and (self._clock.monotonic() < held.renew_at_s or self._lock.locked()):
            return held.value  # fresh enough, or somebody else is renewing it
        async with self._lock:
            held = self._valid()
            if held is not None and self._clock.monotonic() < held.renew_at_s:
                return held.value  # renewed while we waited
            return (await self._renewed(held)).value

    def invalidate(self, refused: str, *, claims: str = "") -> None:
        """Graph did not accept this token: the next call gets a new one, unless too many were asked for.

        `claims`: what Graph demands of the new one.
        """
        if self._held is None or self._held.value != refused:
            return  # already replaced
        now_s = self._clock.monotonic()
        oldest_s = self._invalidated_s[0] if len(self._invalidated_s) == MOST_INVALIDATIONS else None
        if oldest_s is None or now_s - oldest_s > INVALIDATION_PERIOD_S:
            self._invalidated_s.append(now_s)
            self._held = None
            self._claims = claims

    def _valid(self) -> _Held | None:
        held = self._held
        return held if held is not None and self._clock.monotonic() < held.ends_at_s else None

    async def _renewed(self, held: _Held | None) -> _Held:
        started_s = self._clock.monotonic()
        while True:
            try:
                issued = await asyncio.to_thread(self._issuer.issue, self._claims)
            except NotIssued as failure:
                now_s = self._clock.monotonic()
                if held is not None and now_s < held.ends_at_s:
                    self._held = _Held(held.value, now_s + RENEW_AGAIN_S, held.ends_at_s)
                    return self._held
                pause_s = failure.pause_s * (1 + PAUSE_JITTER * self._clock.random())
                if now_s + pause_s - started_s > min(failure.patience_s, self._patience_s):
                    raise failure.refusal from None
                await self._clock.sleep(pause_s)
            else:
                self._claims = ""
                self._held = _holding(issued, now_s=self._clock.monotonic())
                return self._held


def _holding(issued: Issued, *, now_s: float) -> _Held:
    renew_s = issued.lifetime_s - min(RENEW_AHEAD_S, issued.lifetime_s / 4)
    if issued.refresh_s is not None:
        renew_s = min(renew_s, issued.refresh_s)
    return _Held(issued.value, now_s + renew_s, now_s + issued.lifetime_s)
