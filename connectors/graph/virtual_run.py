"""A run in virtual time: its requests go through the budgets and places of a real one, and only the clock is made up.

The rates are those of `connectors.graph.budgets`, kept by the same `Paces` that hold a run back. Workers divide them,
so together they have what one has; what grows with their number is how many principals are worked on at once, and the
processors. A principal's jobs are begun together; its place is free for the next when the last of them is done.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heapreplace

from connectors.graph.budgets import Budgets, Paces
from connectors.graph.traffic import Draw, Limit, Service, Traffic

REQUEST_S = 0.25  # an answer without records: assumed
RECORD_S = 0.001  # how much longer each record on it makes it: a page of 1,000 messages takes 1.25 s
RECORDS_PER_CPU_S = 80_000.0  # from the wire to Parquet, on the one core that a worker keeps busy
IN_FLIGHT, CORES = "in flight", "processors"


@dataclass(frozen=True, slots=True)
class Job:
    """What one principal's datasets of one kind take: so many requests, of which `side_by_side` are open at once."""

    traffic: Traffic
    requests: float
    records: float = 0.0
    side_by_side: int = 1

    @property
    def open_s(self) -> float:
        """That all its requests are open, together."""
        return self.requests * REQUEST_S + self.records * RECORD_S

    @property
    def lasts_s(self) -> float:
        """Where nothing holds it up."""
        return self.open_s / self.side_by_side


@dataclass(frozen=True, slots=True)
class Phase:
    """What a run does before it goes on: how long that took, and which limit was used to what share of it."""

    name: str
    seconds: float
    requests: float
    limit: str
    used: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualRun:
    """The equipment: `budgets` of all workers together, and how many principals each works on at once."""

    budgets: Budgets
    workers: int
    principals_in_flight: int

    def phase(self, name: str, principals: Iterable[Sequence[Job]]) -> Phase:
        """Work through the jobs of all principals, in their order."""
        course = _Course(self.budgets, workers=self.workers)
        places = [(0.0, worker) for _ in range(self.principals_in_flight) for worker in range(self.workers)]
        heapify(places)
        held_s = 0.0  # by principals whose answers are waited for, if nothing else held them up
        for jobs in principals:
            free_s, worker = places[0]
            done_s = [course.do(job, free_s, worker) for job in jobs]
            heapreplace(places, (max(done_s, default=free_s), worker))
            held_s += max(job.lasts_s for job in jobs)
        seconds = max(free_s for free_s, _ in places)
        alone = {**course.alone(), f"mailboxes {IN_FLIGHT}": held_s / len(places)}
        limit = max(alone, key=lambda name: alone[name])
        return Phase(name, seconds, course.requests, limit, alone[limit] / seconds)


class _Course:
    """What of one phase is taken until when, and how much was taken in all."""

    def __init__(self, budgets: Budgets, *, workers: int) -> None:
        self.requests = 0.0
        self.records = 0.0
        self._budgets = budgets
        self._workers = workers
        self._taken: dict[Limit, float] = {}
        self._open_s: dict[Service, float] = {}
        self._paces = Paces(budgets)
        self._places = {service: [0.0] * budgets.in_flight(service) for service in Service}
        self._cores = [0.0] * workers

    def do(self, job: Job, free_s: float, worker: int) -> float:
        """When the job is done that may begin at `free_s`."""
        places = self._places[job.traffic.service]
        lasts_s = job.lasts_s
        start_s = max(free_s, places[0])
        for _ in range(min(job.side_by_side, len(places))):
            heapreplace(places, max(places[0], start_s) + lasts_s)
        last_s = start_s
        for draw in job.traffic.draws:
            units = draw.units * job.requests
            last_s = max(last_s, self._paces.reserve(replace(draw, units=units), now_s=start_s))
            if not draw.key:
                self._taken[draw.limit] = self._taken.get(draw.limit, 0.0) + units
        self._cores[worker] = max(self._cores[worker], start_s) + job.records / RECORDS_PER_CPU_S
        self.requests += job.requests
        self.records += job.records
        self._open_s[job.traffic.service] = self._open_s.get(job.traffic.service, 0.0) + job.open_s
        return max(start_s + lasts_s, last_s + REQUEST_S, self._cores[worker])

    def alone(self) -> dict[str, float]:
        """How long each limit would have taken, were it the only one."""
        paces = Paces(self._budgets)
        alone = {str(limit): paces.reserve(Draw(limit, units=units), now_s=0.0) for limit, units in self._taken.items()}
        for service, open_s in self._open_s.items():
            alone[f"{service} {IN_FLIGHT}"] = open_s / self._budgets.in_flight(service)
        alone[CORES] = self.records / RECORDS_PER_CPU_S / self._workers
        return alone
