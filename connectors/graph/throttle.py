"""The governor: lets a request go when every limit allows it, and holds all callers when Graph refuses.

A request passes, in this order, so that nobody waits while holding what others could use:
  1. a slot of its mailbox (first come first served),
  2. its turn in every budget it draws on (`connectors.graph.budgets`),
  3. the fences of its scopes: while a Retry-After lasts, nobody calls inside its scope, since requests made
     while throttled count too (https://learn.microsoft.com/graph/throttling, checked 2026-11),
  4. a place among the open requests of its service. That number adapts: one more for each round of
     successes, half of it on a refusal, so that an unpublished limit is found instead of hit again and again.

One governor belongs to one run and is used on one event loop.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from connectors.graph.budgets import Budgets, Paces
from connectors.graph.clock import GraphClock
from connectors.graph.errors import GraphError
from connectors.graph.traffic import APP_SCOPE, Scope, ScopeKind, Service, Traffic, service_scope
from pipeline.ports import Fence, OnFence

START_SHARE = 0.25  # of the highest concurrency: where the adaptive one begins
PAUSE_BASE_S = 4.0  # range of the first pause after a refusal that names none; it grows with each repeat
SHORTEST_PAUSE_S = 0.5  # chance may say zero; a refusal is never answered at once
PAUSE_GROWTH = 1.5  # a refusal right after a fence makes the next one longer
MOST_REPEATS = 20  # growth stops there; a power without end would overflow
LONGEST_PAUSE_S = 600.0  # how long such growth may make a fence; a longer Retry-After is kept as it is
PAUSE_JITTER = 0.1  # fences end a little later than asked, and not all at the same moment
SPREAD_SCOPES = 3  # refusals of so many mailboxes or chats ...
SPREAD_S = 30.0  # ... within so many seconds ...
SPREAD_SHARE = 0.28  # ... are the service's, where they are so large a part of what was sent; else the mailboxes'


class FenceTooLong(GraphError):
    """The fence of a scope lasts longer than the caller may wait."""


class Patience:
    """How many seconds one unit may still spend behind fences, and behind one of them."""

    def __init__(self, seconds: float, *, longest_s: float = float("inf")) -> None:
        self.left_s = seconds
        self.longest_s = longest_s

    def spend(self, seconds: float) -> None:
        self.left_s -= seconds


class Admission:
    """The permission to send one request, and what came of it."""

    def __init__(self, governor: "Governor", traffic: Traffic, started_s: float) -> None:
        self._governor = governor
        self._traffic = traffic
        self._started_s = started_s

    def succeeded(self) -> None:
        """Graph answered: the scope is fine, the service can bear a little more."""
        self._governor.note_success(self._traffic, self._started_s)

    def refused(self, *, retry_after_s: float | None, scope: Scope | None = None) -> None:
        """Graph throttled: nobody calls in the scope until its Retry-After is over."""
        self._governor.note_refusal(
            self._traffic, self._started_s, retry_after_s=retry_after_s, scope=scope or self._traffic.scope
        )


class Governor:
    """All throttling of one run."""

    def __init__(
        self,
        budgets: Budgets | None = None,
        *,
        clock: GraphClock | None = None,
        on_fence: OnFence = lambda _: None,
    ) -> None:
        self._budgets = budgets or Budgets()
        self._clock = clock or GraphClock()
        self._on_fence = on_fence
        self._whole = self._budgets.part
        self._paces = Paces(self._budgets)
        self._mailboxes = _MailboxSlots(self._budgets.mailbox_in_flight)
        self._fences: dict[Scope, _Fence] = {}
        self._services = {service: _Adaptive(self._budgets.in_flight(service)) for service in Service}
        self._lately = {service: _Lately() for service in Service}
        self.waited_s = 0.0  # behind fences, all callers together

    def take(self, part: float) -> None:
        """Of every budget and of each mailbox's slots take `part` (0 to 1] from now on.

        Requests that are open go on: see `keeps_to_part`.
        """
        self._follow(replace(self._budgets, part=self._whole * part))

    @property
    def keeps_to_part(self) -> bool:
        """Whether no mailbox has more requests open than our part allows, from before it was made smaller."""
        return self._mailboxes.keep_to_limit

    @asynccontextmanager
    async def admission(self, traffic: Traffic, patience: Patience) -> AsyncIterator[Admission]:
        """Wait until the request may go, and hold its slots while it is open.

        Raises:
            FenceTooLong: the wait would exceed `patience`; nothing was sent.
        """
        service = self._services[traffic.service]
        async with self._mailboxes.slot(traffic.scope):
            await self._turn(traffic)
            while True:
                await self._behind_fences(traffic, patience)
                await service.places.take()
                if self._fence_of(traffic) is None:
                    break
                service.places.give_back()  # a fence went up while we queued
            now_s = self._clock.monotonic()
            self._lately[traffic.service].sent(now_s=now_s)
            try:
                yield Admission(self, traffic, now_s)
            finally:
                service.places.give_back()

    @property
    def most_workers(self) -> int:
        """Among so many the budgets can be divided."""
        return self._budgets.most_workers

    def take_over(self) -> None:
        """Others have used the budgets until now."""
        self._paces.used_by_others(until_s=self._clock.monotonic())

    def heed(self, fence: Fence) -> None:
        """Keep behind a fence of all applications or a service that another process met; it is told to nobody."""
        scope = APP_SCOPE if fence.scope == ScopeKind.APP else service_scope(Service(fence.service))
        until_s = self._clock.monotonic() + (fence.until - self._clock.now()).total_seconds()
        known = self._fences.setdefault(scope, _Fence())
        known.until_s = max(known.until_s, until_s)

    def divide(self, workers: int) -> None:
        """From now on so many workers share the budgets."""
        self._follow(self._budgets.divided(workers))

    def _follow(self, budgets: Budgets) -> None:
        if budgets == self._budgets:
            return
        self._budgets = budgets
        self._paces.follow(budgets)
        self._mailboxes.change(budgets.mailbox_in_flight)
        for service, adaptive in self._services.items():
            adaptive.bound(budgets.in_flight(service))

    def concurrency(self, service: Service) -> int:
        """How many requests of the service may be open at once, as found so far."""
        return self._services[service].places.limit

    def note_success(self, traffic: Traffic, started_s: float) -> None:
        self._services[traffic.service].raise_a_little()
        for scope in traffic.scopes:
            fence = self._fences.get(scope)
            if fence is not None and started_s >= fence.until_s:
                del self._fences[scope]

    def note_refusal(self, traffic: Traffic, started_s: float, *, retry_after_s: float | None, scope: Scope) -> None:
        now_s = self._clock.monotonic()
        fence = self._fences.get(scope)
        if fence is None:
            fence = self._fences[scope] = _Fence()
        elif started_s >= fence.until_s:
            fence.repeats += 1  # somebody waited the fence out and was refused again
        until_s = now_s + self._pause(retry_after_s, fence.repeats)
        if until_s > fence.until_s:
            fence.until_s = until_s
            self._tell(scope, traffic.service, lasts_s=until_s - now_s)
        lately = self._lately[traffic.service]
        lately.refused(scope, now_s=now_s)
        if scope.kind in (ScopeKind.APP, ScopeKind.SERVICE) or lately.is_refused_widely:
            self._services[traffic.service].halve(started_s=started_s, now_s=now_s)

    def _pause(self, retry_after_s: float | None, repeats: int) -> float:
        growth = PAUSE_GROWTH ** min(repeats, MOST_REPEATS)
        if retry_after_s is None:
            return max(SHORTEST_PAUSE_S, self._clock.random() * min(LONGEST_PAUSE_S, PAUSE_BASE_S * growth))
        pause = max(retry_after_s, min(LONGEST_PAUSE_S, retry_after_s * growth))
        return pause * (1 + PAUSE_JITTER * self._clock.random())

    def _tell(self, scope: Scope, service: Service, *, lasts_s: float) -> None:
        since = self._clock.now()
        self._on_fence(
            Fence(
                scope=scope.kind,
                service=service,
                principal=scope.key if scope.kind in (ScopeKind.MAILBOX, ScopeKind.CHAT) else None,
                since=since,
                until=since + timedelta(seconds=lasts_s),
            )
        )

    async def _turn(self, traffic: Traffic) -> None:
        now_s = self._clock.monotonic()
        at_s = max(self._paces.reserve(draw, now_s=now_s) for draw in traffic.draws)
        if at_s > now_s:
            await self._clock.sleep(at_s - now_s)

    async def _behind_fences(self, traffic: Traffic, patience: Patience) -> None:
        while (fence := self._fence_of(traffic)) is not None:
            wait_s = fence.until_s - self._clock.monotonic()
            if wait_s > min(patience.left_s, patience.longest_s):
                raise FenceTooLong
            patience.spend(wait_s)
            self.waited_s += wait_s
            await self._clock.sleep(wait_s)

    def _fence_of(self, traffic: Traffic) -> "_Fence | None":
        """The fence that holds this request the longest, if any is up."""
        now_s = self._clock.monotonic()
        fences = (self._fences.get(scope) for scope in traffic.scopes)
        up = [fence for fence in fences if fence is not None and fence.until_s > now_s]
        return max(up, key=lambda fence: fence.until_s, default=None)


class _Fence:
    """Nobody calls before `until_s`; `repeats` counts refusals that came right after it."""

    def __init__(self) -> None:
        self.until_s = 0.0
        self.repeats = 0


class _Lately:
    """What was sent to a service within SPREAD_S, and which scopes it refused.

    Requests count from the moment they are sent: a refusal is quicker than an answer, and would seem the rule.
    """

    def __init__(self) -> None:
        self._sent_s: deque[float] = deque()
        self._refusals: deque[tuple[float, Scope]] = deque()

    def sent(self, *, now_s: float) -> None:
        self._sent_s.append(now_s)
        while self._sent_s[0] < now_s - SPREAD_S:
            self._sent_s.popleft()

    def refused(self, scope: Scope, *, now_s: float) -> None:
        self._refusals.append((now_s, scope))
        while self._refusals[0][0] < now_s - SPREAD_S:
            self._refusals.popleft()

    @property
    def is_refused_widely(self) -> bool:
        """Whether so many are refused, in so many places, that it is not the places but our number.

        By more than chance explains: the first few requests say little.
        """
        sent, scopes = len(self._sent_s), {scope for _, scope in self._refusals}
        chance = 2 * math.sqrt(sent * SPREAD_SHARE * (1 - SPREAD_SHARE))
        return len(scopes) >= SPREAD_SCOPES and len(self._refusals) >= sent * SPREAD_SHARE + chance


class _Places:
    """A first-come-first-served limit of open requests that may change while it is in use."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._queue: deque[asyncio.Future[None]] = deque()

    @property
    def is_full(self) -> bool:
        return self._taken >= self.limit

    @property
    def keeps_to_limit(self) -> bool:
        return self._taken <= self.limit

    @property
    def is_idle(self) -> bool:
        return self._taken == 0 and not self._queue

    async def take(self) -> None:
        if self._taken < self.limit and not self._queue:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back()  # the place was handed over in the moment we were cancelled
            raise

    def give_back(self) -> None:
        self._taken -= 1
        self.hand_out()

    def hand_out(self) -> None:
        while self._queue and self._taken < self.limit:
            turn = self._queue.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)


class _Adaptive:
    """Additive increase, multiplicative decrease of the open requests of one service."""

    def __init__(self, highest: int) -> None:
        self._highest = highest
        self._level = max(1.0, highest * START_SHARE)
        self._halved_at_s = float("-inf")
        self.places = _Places(int(self._level))

    def raise_a_little(self) -> None:
        if self.places.is_full:  # a level that nobody uses proves nothing
            self._set(min(self._highest, self._level + 1 / self._level))

    def bound(self, highest: int) -> None:
        """Another upper end; beyond the present level it is reached little by little."""
        self._highest = highest
        self._set(min(self._level, highest))

    def halve(self, *, started_s: float, now_s: float) -> None:
        if started_s >= self._halved_at_s:  # a request sent before the last decrease tells nothing new
            self._halved_at_s = now_s
            self._set(max(1.0, self._level / 2))

    def _set(self, level: float) -> None:
        self._level = level
        self.places.limit = int(level)
        self.places.hand_out()


class _MailboxSlots:
    """So many open requests for each mailbox; only mailboxes in use take memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._places: dict[str, _Places] = {}

    @property
    def keep_to_limit(self) -> bool:
        return all(places.keeps_to_limit for places in self._places.values())

    def change(self, limit: int) -> None:
        """So many for each mailbox from now on; what is open beyond that ends in its own time."""
        self._limit = limit
        for places in self._places.values():
            places.limit = limit
            places.hand_out()

    @asynccontextmanager
    async def slot(self, scope: Scope) -> AsyncIterator[None]:
        if scope.kind is not ScopeKind.MAILBOX:
            yield
            return
        places = self._places.setdefault(scope.key, _Places(self._limit))
        await places.take()
        try:
            yield
        finally:
            places.give_back()
            if places.is_idle:
                self._places.pop(scope.key, None)
