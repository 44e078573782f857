"""A storm over a tenant, and how long the budgets themselves demand that an export of it takes."""

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from connectors.emulator import Body, Effect, Emulator, Fault, Tenant, TenantProfile
from connectors.graph.client import Manners
from connectors.graph.clock import GraphClock
from connectors.graph.retry import RetryPolicy
from connectors.graph.throttle import PAUSE_GROWTH, PAUSE_JITTER
from pipeline.manifest import Manifest
from tests.integration.conftest import NOW
from tests.integration.site import Site
from tests.integration.truth import Truth

CHANCE = 0.5  # every back-off is as long as the average one
HISTORY = timedelta(days=20)
KEYS: dict[str, object] = {"connectors": {"outlook-mail": {}}, "initial_lookback": "20d"}
DATASETS = ("entra_users", "entra_groups", "entra_group_members", "mailbox_settings", "mail_messages", "mail_contacts")
# All requests to mailboxes; the lists of the directory are none of them.
_MAILBOXES = "/v1.0/users?*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things take: an answer that comes, a Retry-After, the first back-off on the average."""

    latency_s: float = 0.3  # about what Graph takes
    retry_after_s: float = 1.0
    back_off_s: float = 2.0

    @property
    def manners(self) -> Manners:
        """Those of a client with such back-offs."""
        clock = GraphClock(random=lambda: CHANCE)
        return Manners(retry=RetryPolicy(base_s=self.back_off_s / CHANCE), clock=clock)

    def storm(self) -> list[Fault]:
        """Every fifth request refused, 503 without a word, resets, 504 on big pages."""
        return [
            Fault(kind="messages", page_above=250, status=504, code="UnknownError"),
            Fault(path=_MAILBOXES, every=5, status=429, code="ApplicationThrottled", retry_after=self.retry_after_s),
            Fault(path=_MAILBOXES, every=17, status=503, body=Body.EMPTY),
            Fault(path=_MAILBOXES, every=23, effect=Effect.RESET),
            Fault(path=_MAILBOXES, every=29, effect=Effect.RESET_BODY),
            Fault(path="/v1.0/*", effect=Effect.SLOW, seconds=self.latency_s),
        ]


def stormy_tenant(*, users: int, mail_per_week: int) -> Tenant:
    """A tenant whose clock ticks, so that its tokens end."""
    profile = TenantProfile(mail_per_week=mail_per_week)
    return Tenant(seed=11, users=users, now=NOW, history=HISTORY, profile=profile, ticking=True)


@dataclass(slots=True)
class Weather:
    """Writes down what each request met, to know afterwards what had to be waited for."""

    pace: Pace
    met: list[tuple[float, str, str, Fault | None]] = field(default_factory=list)  # when, whose, what, which

    def watch(self, emulator: Emulator) -> None:
        desk = emulator._desk
        strike = desk.strike

        def watched(*, kind: str, path: str, mailbox: str | None = None, page: int | None = None) -> Fault | None:
            fault = strike(kind=kind, path=path, mailbox=mailbox, page=page)
            self.met.append((time.monotonic(), mailbox or path, kind, fault))
            return fault

        desk.strike = watched  # type: ignore[method-assign]  # to look over its shoulder

    def demanded_s(self, *, in_flight: int) -> float:
        """Seconds an export needs that does everything else in no time.

        The requests of a mailbox for one kind of data follow each other: each takes its latency, or what the retry
        policy pauses. A Retry-After holds the whole mailbox, longer when it was refused again right after. So many
        mailboxes are read at a time, in the order in which they were begun, after the lists of the directory.
        """
        lists_s = self.pace.latency_s * sum(kind in ("users", "groups") for _, _, kind, _ in self.met)
        requests: dict[str, list[tuple[float, str, Fault | None]]] = defaultdict(list)
        for at_s, mailbox, kind, fault in self.met:
            if kind not in ("users", "groups", "token", "discovery"):
                requests[mailbox].append((at_s, kind, fault))
        free_at_s = [0.0] * in_flight
        for met in requests.values():
            busy_s = self._longest_chain_s(met) + _fenced_s(met)
            heapq.heapreplace(free_at_s, free_at_s[0] + busy_s)
        return lists_s + max(free_at_s)

    def _longest_chain_s(self, met: Iterable[tuple[float, str, Fault | None]]) -> float:
        """Of the kinds of data of one mailbox; failures of one page in a row pause twice as long each time."""
        chains: Counter[str] = Counter()
        seconds: dict[str, float] = defaultdict(float)
        for _, kind, fault in met:
            if fault is not None and fault.retry_after is not None:
                continue
            if fault is None or fault.effect is Effect.SLOW:
                chains[kind] = 0
                seconds[kind] += self.pace.latency_s
                continue
            seconds[kind] += self.pace.back_off_s * 2 ** chains[kind]
            chains[kind] += fault.page_above is None  # a smaller page is another question
        return max(seconds.values(), default=0.0)


def _fenced_s(met: Iterable[tuple[float, str, Fault | None]]) -> float:
    """How long a mailbox had to be left alone; refusals that came together count once."""
    total_s = until_s = 0.0
    repeats = 0
    for at_s, _, fault in met:
        if fault is not None and fault.retry_after is not None:
            repeats += 0 < until_s <= at_s
            end_s = at_s + float(fault.retry_after) * PAUSE_GROWTH**repeats * (1 + CHANCE * PAUSE_JITTER)
            total_s += max(0.0, end_s - max(at_s, until_s))
            until_s = max(until_s, end_s)
        elif at_s >= until_s and (fault is None or fault.effect is Effect.SLOW):
            until_s, repeats = 0.0, 0
    return total_s


@dataclass(frozen=True, slots=True)
class Voyage:
    """One export through the storm."""

    manifest: Manifest
    truth: Truth
    took_s: float
    computed_s: float  # by processor, of exporter and emulator together
    demanded_s: float

    def figures(self, site: Site) -> Mapping[str, object]:
        counters = site.emulator.counters
        return {
            "messages": len(self.truth.messages),
            "requests": counters.requests_total,
            "refused": counters.refusals.total(),
            "median in flight": counters.median_in_flight,
            "most for a mailbox": max(counters.max_in_flight.values()),
            "inside a fence": counters.inside_fence,
            "tokens": counters.requests["token"],
            "took": f"{self.took_s:.1f} s",
            "demanded by budgets": f"{self.demanded_s:.1f} s",
            "demanded by processor": f"{self.computed_s:.1f} s",
        }


async def sail(site: Site, pace: Pace) -> Voyage:
    """Export the whole tenant through the storm."""
    weather = Weather(pace)
    weather.watch(site.emulator)
    site.manners = pace.manners
    site.emulator.faults.replace(pace.storm())
    started_s, computed_s = time.monotonic(), time.process_time()
    manifest = await site.run()
    took_s, computed_s = time.monotonic() - started_s, time.process_time() - computed_s
    settings, _ = site.settings()
    truth = Truth.of_first_run(site.tenant, manifest.window.from_, manifest.window.to)
    return Voyage(
        manifest,
        truth.of_datasets(*DATASETS),
        took_s,
        computed_s,
        weather.demanded_s(in_flight=settings.limits.mailboxes_in_flight),
    )
