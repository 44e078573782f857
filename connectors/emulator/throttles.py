"""The limits of the services, each with its own scope and its own refusal.

https://learn.microsoft.com/graph/throttling-limits (checked 2026-11). Time is the real one: a client waits out a
Retry-After in real seconds, whatever the tenant's clock says.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from connectors.emulator.counters import Counters
from connectors.emulator.errors import GraphError, throttled

MAILBOX_REQUESTS_IN_FLIGHT = 4
MAILBOX_REQUESTS_PER_10_MIN = 10_000
_EXPORTS = ("getAllMessages", "getAllChannelMessages")
TEAMS_PER_SECOND = {
    "chatMessages": 20,
    "channelMessages": 20,
    "replies": 20,
    "channels": 60,
    **dict.fromkeys(_EXPORTS, 200),
}
TEAMS_OTHER_PER_SECOND = 30
CHATS_PER_SECOND_AND_USER = 5
PER_SECOND_AND_TEAM = 4
CALL_REQUESTS = (1_500, 20.0)  # so many in so many seconds
CALL_REQUESTS_OF_RECORD = (40, 20.0)
CALL_REQUESTS_OF_KIND = {"callRecords": (40, 20.0), "pstnCalls": (50, 60.0), "directRoutingCalls": (50, 60.0)}
_SMALL, _MEDIUM = 50, 500  # tenant sizes by number of users
_RESOURCE_UNITS_PER_10_S = (3_500, 5_000, 8_000)
_WARN_ABOVE = 0.8
_ARRIVAL_GRACE_S = 0.25  # a request may have been under way when its scope was told to wait
_TEN_MINUTES_S = 600.0


class Throttles:
    """Counts requests per scope and refuses those beyond a limit."""

    def __init__(
        self,
        counters: Counters,
        *,
        users: int,
        teams_rates: bool,
        app_in_flight: int | None,
        monotonic: Callable[[], float],
    ) -> None:
        self._counters = counters
        self._teams_rates = teams_rates
        self._app_in_flight = app_in_flight
        self._monotonic = monotonic
        self._units_limit = _RESOURCE_UNITS_PER_10_S[(users >= _SMALL) + (users > _MEDIUM)]
        self._in_flight: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._recent: defaultdict[tuple[str, ...], deque[float]] = defaultdict(deque)
        self._units: deque[tuple[float, int]] = deque()
        self._fences: dict[str, tuple[float, float]] = {}

    def arrive(self, scope: str) -> None:
        """Notes a request to `scope`, and whether it came although the scope had been told to wait."""
        now = self._monotonic()
        given_at, until = self._fences.get(scope, (0.0, 0.0))
        if given_at + _ARRIVAL_GRACE_S < now < until:
            self._counters.inside_fence += 1

    def fence(self, scope: str, *, seconds: float) -> None:
        """`scope` has been told to wait for so long."""
        now = self._monotonic()
        self._fences[scope] = (now, now + seconds)

    @contextmanager
    def mailbox(self, app_id: str, user_id: str) -> Iterator[None]:
        """Holds one of the four places of a mailbox. Raises GraphError 429."""
        key = (app_id, user_id)
        if self._in_flight[key] >= MAILBOX_REQUESTS_IN_FLIGHT:
            raise self._refuse_mailbox("MailboxConcurrency", retry_after_s=1)
        of_app = sum(count for (app, _), count in self._in_flight.items() if app == app_id)
        if self._app_in_flight is not None and of_app >= self._app_in_flight:
            raise self._refuse_mailbox("MailboxConcurrency", retry_after_s=1)
        if not self._within(("mailbox", *key), MAILBOX_REQUESTS_PER_10_MIN, _TEN_MINUTES_S):
            raise self._refuse_mailbox("RequestRate", retry_after_s=10)
        self._in_flight[key] += 1
        peak = self._counters.max_in_flight
        peak[user_id] = max(peak.get(user_id, 0), self._in_flight[key])
        try:
            yield
        finally:
            self._in_flight[key] -= 1

    def spend_mailbox_requests(self, app_id: str, user_id: str, count: int) -> int:
        """Takes requests from a mailbox's ten minutes without making them; how many are taken now."""
        recent = self._recent["mailbox", app_id, user_id]
        recent.extend([self._monotonic()] * count)
        return len(recent)

    def teams(self, kind: str, *, app_id: str, keys: Mapping[str, str]) -> None:
        """Counts a request to Teams. Raises GraphError 429 where the rates are enforced and exceeded."""
        if not self._teams_rates:
            return
        limits: list[tuple[tuple[str, ...], int]] = [
            (("teams", app_id, kind), TEAMS_PER_SECOND.get(kind, TEAMS_OTHER_PER_SECOND))
        ]
        limits += [(("thread", app_id, keys[name]), 1) for name in ("chat", "channel") if name in keys]
        if kind == "chats":
            limits.append((("chats-of", app_id, keys["user"]), CHATS_PER_SECOND_AND_USER))
        if "team" in keys and kind not in _EXPORTS:  # these have a limit of their own
            limits.append((("team", app_id, keys["team"]), PER_SECOND_AND_TEAM))
        for key, limit in limits:
            if not self._within(key, limit, 1.0):
                raise throttled("TooManyRequests", "Too many requests.", retry_after_s=1)

    def calls(self, kind: str, *, app_id: str, record_id: str | None) -> None:
        """Counts a request for calls or meetings. Raises GraphError 429 where the rates are enforced and exceeded."""
        if not self._teams_rates:
            return
        limits: list[tuple[tuple[str, ...], int, float]] = [(("calls", app_id), *CALL_REQUESTS)]
        if kind in CALL_REQUESTS_OF_KIND:
            limits.append((("calls", app_id, kind), *CALL_REQUESTS_OF_KIND[kind]))
        if record_id is not None:
            limits.append((("call", app_id, record_id), *CALL_REQUESTS_OF_RECORD))
        for key, limit, seconds in limits:
            if not self._within(key, limit, seconds):
                raise throttled("TooManyRequests", "Too many requests.", retry_after_s=int(seconds))

    def directory(self, units: int, *, app_id: str, tenant_id: str) -> dict[str, str]:
        """Takes resource units from the bucket; the headers that say so. Raises GraphError 429."""
        now = self._monotonic()
        while self._units and self._units[0][0] <= now - 10:
            self._units.popleft()
        self._units.append((now, units))
        share = sum(cost for _, cost in self._units) / self._units_limit
        headers = {"x-ms-resource-unit": str(units)}
        if share > _WARN_ABOVE:
            headers["x-ms-throttle-limit-percentage"] = f"{min(share, 1.8):.1f}"
        if share > 1:
            headers["x-ms-throttle-scope"] = f"Tenant_Application/ReadWrite/{app_id}/{tenant_id}"
            headers["x-ms-throttle-information"] = "ResourceUnitLimitExceeded"
            message = "Too many requests for the tenant."
            raise throttled("Request_ThrottledTemporarily", message, retry_after_s=10, headers=headers)
        return headers

    def _within(self, key: tuple[str, ...], limit: int, seconds: float) -> bool:
        """Notes one request; refused ones count as well."""
        now, recent = self._monotonic(), self._recent[key]
        while recent and recent[0] <= now - seconds:
            recent.popleft()
        recent.append(now)
        return len(recent) <= limit

    @staticmethod
    def _refuse_mailbox(limit: str, *, retry_after_s: int) -> GraphError:
        message = f"Application is over its {limit} limit."
        return throttled("ApplicationThrottled", message, retry_after_s=retry_after_s)
