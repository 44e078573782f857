"""How fast the export allows itself to ask, and the bookkeeping that keeps it there.

Every budget stays `margin` below Microsoft's limit, because clocks and windows differ. Pacing is a generic
cell rate algorithm: `burst` units may go at once, then one each `interval`; so any period of the limit's
length sees at most burst + period/interval units, which the arithmetic below makes equal to the budget.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from connectors.graph import limits
from connectors.graph.traffic import Draw, Limit, Service

BURST_SHARE = 0.1  # of a budget may go at once; the rest is spread over the period
SWEEP_EVERY = 4_096  # reservations between two removals of the paces nobody has used for a while


# Whoever reads a user, a team, or what belongs to the whole tenant is the only one who draws on these.
_OF_ONE_PRINCIPAL = frozenset({
    Limit.MAILBOX, Limit.TEAMS_CHAT, Limit.TEAMS_CHAT_LIST, Limit.TEAMS_TEAM,
    Limit.CALL_RECORD_LIST, Limit.CALL_RECORD, Limit.CALL_LOG,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `units` in any `period_s` seconds, of which `burst` may go at once (None: the usual share)."""

    units: float
    period_s: float
    burst: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What one run allows itself: Microsoft's limits, of which `paced` takes `margin` and `part` off."""

    margin: float = 0.04
    part: float = 1.0  # of everything; a backfill beside the nightly run has a part of its own
    workers: int = 1  # that divide between them what is not one principal's, for a principal is read by one of them

    mailbox: Rate = Rate(limits.MAILBOX_REQUESTS_PER_10_MIN, 600)
    directory: Rate = Rate(limits.DIRECTORY_UNITS_PER_10_S_SMALL, 10)  # the tenant's size is not known beforehand
    teams: Rate = Rate(limits.TEAMS_REQUESTS_PER_S, 1)
    teams_export: Rate = Rate(limits.TEAMS_EXPORT_REQUESTS_PER_S, 1)
    teams_chat: Rate = Rate(limits.TEAMS_REQUESTS_PER_S_PER_CHAT, 1)
    teams_chat_list: Rate = Rate(limits.TEAMS_CHAT_LISTS_PER_S_PER_USER, 1)
    teams_chat_messages: Rate = Rate(limits.TEAMS_CHAT_MESSAGES_REQUESTS_PER_S, 1)
    teams_channels: Rate = Rate(limits.TEAMS_CHANNELS_REQUESTS_PER_S, 1)
    teams_channel_messages: Rate = Rate(limits.TEAMS_CHANNEL_MESSAGES_REQUESTS_PER_S, 1)
    # A team is asked three things a night, each once: they need not wait for each other.
    teams_team: Rate = Rate(limits.TEAMS_REQUESTS_PER_S_PER_TEAM, 1, burst=3)
    call_record_list: Rate = Rate(limits.CALL_RECORD_LISTS_PER_20_S, 20)
    call_record: Rate = Rate(limits.CALL_RECORDS_REQUESTS_PER_20_S, 20)
    call_log: Rate = Rate(limits.CALL_LOG_REQUESTS_PER_60_S_PER_COLLECTION, 60)
    meeting: Rate = Rate(limits.MEETING_REQUESTS_PER_S, 1)

    per_mailbox_in_flight: int = limits.MAILBOX_REQUESTS_IN_FLIGHT
    # Upper ends of the adaptive concurrency; it starts at a quarter of them and finds its own level.
    outlook_in_flight: int = 128
    directory_in_flight: int = 16
    teams_in_flight: int = 64
    calls_in_flight: int = 32
    meetings_in_flight: int = 8

    @classmethod
    def unpaced(cls) -> Self:
        """For a tenant of one's own, the emulated one: nothing is held back, refusals and fences still count."""
        rates: dict[str, Any] = {
            each.name: Rate(1_000_000, 1) for each in fields(cls) if isinstance(each.default, Rate)
        }
        return cls(**rates)

    def share(self, part: float) -> Self:
        """The same budgets for one of several consumers, which takes `part` (0 to 1] of each."""
        if not 0 < part <= 1:
            raise ValueError("a share is above 0 and at most 1")
        return replace(self, part=self.part * part)

    def divided(self, workers: int) -> Self:
        """The same budgets for one of so many workers."""
        return replace(self, workers=workers)

    @property
    def most_workers(self) -> int:
        """Among so many a budget can be divided: below one request a period there is nothing left to divide."""
        whole = replace(self, workers=1)
        return max(1, int(min(whole.paced(limit).units for limit in Limit if limit not in _OF_ONE_PRINCIPAL)))

    def paced(self, limit: Limit) -> Rate:
        """The rate to keep: Microsoft's limit less the margin, times our part."""
        rates: Mapping[Limit, Rate] = {
            Limit.MAILBOX: self.mailbox,
            Limit.DIRECTORY: self.directory,
            Limit.TEAMS: self.teams,
            Limit.TEAMS_EXPORT: self.teams_export,
            Limit.TEAMS_CHAT: self.teams_chat,
            Limit.TEAMS_CHAT_LIST: self.teams_chat_list,
            Limit.TEAMS_CHAT_MESSAGES: self.teams_chat_messages,
            Limit.TEAMS_CHANNELS: self.teams_channels,
            Limit.TEAMS_CHANNEL_MESSAGES: self.teams_channel_messages,
            Limit.TEAMS_TEAM: self.teams_team,
            Limit.CALL_RECORD_LIST: self.call_record_list,
            Limit.CALL_RECORD: self.call_record,
            Limit.CALL_LOG: self.call_log,
            Limit.MEETING: self.meeting,
        }
        rate = rates[limit]
        workers = 1 if limit in _OF_ONE_PRINCIPAL else self.workers
        return replace(rate, units=rate.units * (1 - self.margin) * self.part / workers)

    def in_flight(self, service: Service) -> int:
        """The most requests of a service that may ever be open at once."""
        highest = {
            Service.OUTLOOK: self.outlook_in_flight,
            Service.DIRECTORY: self.directory_in_flight,
            Service.TEAMS: self.teams_in_flight,
            Service.CALLS: self.calls_in_flight,
            Service.MEETINGS: self.meetings_in_flight,
        }
        workers = 1 if service is Service.CALLS else self.workers  # the tenant is a principal too
        return max(1, int(highest[service] * self.part / workers))

    @property
    def mailbox_in_flight(self) -> int:
        """The most requests that may be open at once for one mailbox."""
        return max(1, int(self.per_mailbox_in_flight * self.part))


class Paces:
    """Hands out the instants at which requests may go, first come first served."""

    def __init__(self, budgets: Budgets) -> None:
        self._cells = {limit: _Cell.of(budgets.paced(limit)) for limit in Limit}
        self._used_until_s: float | None = None
        self._spent_until: dict[tuple[Limit, str], float] = {}
        self._reservations = 0

    def follow(self, budgets: Budgets) -> None:
        """Keep to other budgets from now on; what was used stays used."""
        self._cells = {limit: _Cell.of(budgets.paced(limit)) for limit in Limit}

    def used_by_others(self, *, until_s: float) -> None:
        """Until that instant others have used the budgets to the full: no burst goes before they have filled again."""
        self._used_until_s = until_s

    def reserve(self, draw: Draw, *, now_s: float) -> float:
        """The earliest instant the request may go; the units are taken from the budget at once."""
        self._sweep(now_s)
        cell = self._cells[draw.limit]
        key = (draw.limit, draw.key)
        before = now_s if self._used_until_s is None else self._used_until_s + cell.burst * cell.interval_s
        spent_until = max(now_s, before, self._spent_until.get(key, now_s)) + draw.units * cell.interval_s
        self._spent_until[key] = spent_until
        return max(now_s, spent_until - cell.burst * cell.interval_s)

    def _sweep(self, now_s: float) -> None:
        self._reservations += 1
        if self._reservations % SWEEP_EVERY == 0:
            self._spent_until = {key: until for key, until in self._spent_until.items() if until > now_s}


@dataclass(frozen=True, slots=True)
class _Cell:
    burst: float
    interval_s: float

    @classmethod
    def of(cls, rate: Rate) -> Self:
        if rate.units < 2:  # one at a time: there is no room for a burst beside the steady flow
            return cls(1, rate.period_s / min(rate.units, 1))
        burst = max(1.0, BURST_SHARE * rate.units)
        if rate.burst is not None:
            burst = max(burst, min(rate.burst, rate.units - 0.5))
        return cls(burst, rate.period_s / (rate.units - burst))
