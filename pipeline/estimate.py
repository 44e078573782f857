"""What a run would take, reckoned from samples of its units. Everything here is arithmetic on numbers already measured.

The units of one dataset are a stratum. Each stratum is sampled without replacement; its mean times its number of units
is right on average whatever the sizes of the mailboxes, and the spread of the sample says how far off it may be. The
next sample is taken where it narrows the range of the total the most for a request (Neyman's allocation).
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.metering import joined
from pipeline.ports import RequestKind

SAMPLED_SHARE = 0.016  # of the requests expected of the run: at most 2 % of them, also where that is a fifth too many
FEWEST_REQUESTS = 50  # that a sample may take also where that is more: a few for each dataset
MOST_REQUESTS = 2_000  # of a sample, however large the tenant: a plan takes minutes
PRECISE_ENOUGH = 0.03  # half the range of the total, relative to it: then no more samples are taken
DEVIATIONS = 2.0  # standard errors to each side of an estimate: 19 of 20 runs lie within
PRIOR_SPREAD = 0.5  # relative; believed of every stratum as if one unit had shown it
WORTH_A_LOOK = 2.0  # requests or rows that units are believed to differ by before many were seen; empty ones too
SMALL_STRATUM = 0.02  # of all units; one sampled unit says enough of so few for a beginning
ROWS_MATTER = 0.02  # how much the range of the rows counts beside that of the requests
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate, and between what it may lie."""

    low: float
    central: float
    high: float

    @classmethod
    def around(cls, central: float, deviation: float, *, at_least: float = 0.0) -> "Range":
        margin = DEVIATIONS * deviation
        return cls(max(at_least, central - margin), max(at_least, central), max(at_least, central + margin))


@dataclass(frozen=True, slots=True)
class Observation:
    """One sampled unit: what reading it would take and bring; `cost` requests were made to know that."""

    requests: Mapping[RequestKind, float]
    rows: float
    cost: int

    @property
    def total(self) -> float:
        return math.fsum(self.requests.values())


@dataclass(slots=True)
class Stratum:
    """The units of one dataset, and what was learnt of some of them."""

    dataset: str
    units: int
    observed: list[Observation] = field(default_factory=list)
    refused: str = ""  # why the dataset cannot be read; then it takes nothing
    is_exhausted: bool = False  # there is none left to sample
    share: float = 1.0  # of the units that are read at all; those observed are
    share_deviation: float = 0.0  # its standard error

    @property
    def cost(self) -> float:
        """Requests that sampling one more unit takes: as the last few did, since the first ones learn more."""
        return max(1.0, _mean([each.cost for each in self.observed[-3:]]))

    @property
    def requests(self) -> dict[RequestKind, float]:
        """Of all units, by kind."""
        if self.refused or not self.observed:
            return {}
        share = self.units * self.share / len(self.observed)
        return {
            kind: count * share for kind, count in joined(*(each.requests for each in self.observed)).items() if count
        }

    @property
    def total(self) -> float:
        return math.fsum(self.requests.values())

    @property
    def rows(self) -> Range:
        if self.refused:
            return Range(0, 0, 0)
        rows = [each.rows for each in self.observed]
        return Range.around(self.units * self.share * _mean(rows), self._deviation(rows))

    def deviation(self) -> float:
        """Standard error of the total."""
        return self._deviation([each.total for each in self.observed])

    def narrowed(self, pending: int, *, requests: float, rows: float) -> float:
        """How much one more unit, besides those pending, narrows the relative ranges of both totals; by request."""
        taken = len(self.observed) + pending
        sizes = [each.total for each in self.observed]
        counts = [each.rows for each in self.observed]
        of_requests, of_rows = (
            (self._variance(values, taken, WORTH_A_LOOK) - self._variance(values, taken + 1, WORTH_A_LOOK))
            / max(total, 1.0) ** 2
            for values, total in ((sizes, requests), (counts, rows))
        )
        return (of_requests + ROWS_MATTER * of_rows) / self.cost

    def _deviation(self, values: Sequence[float]) -> float:
        of_share = self.units * _mean(values) * self.share_deviation
        return math.sqrt(self._variance(values, len(values)) + (0.0 if self.refused else of_share**2))

    def _variance(self, values: Sequence[float], count: int, least: float = 0.0) -> float:
        """Of the estimated sum over all units, from a sample of `count` that spreads like `values`."""
        if self.refused or not count:
            return 0.0
        mean = _mean(values)
        believed = max(PRIOR_SPREAD * mean, least) ** 2
        spread = (math.fsum((value - mean) ** 2 for value in values) + believed) / max(len(values), 1)
        read = self.units * self.share
        return read**2 * spread / count * max(0.0, 1 - count / max(read, 1.0))


@dataclass(frozen=True, slots=True)
class Total:
    """All strata together, and what is known exactly."""

    requests: Range
    kinds: Mapping[RequestKind, float]


def total_of(strata: Sequence[Stratum], known: Mapping[RequestKind, float]) -> Total:
    """`known`: requests that were made already and that the run makes too, for the directory."""
    kinds = joined(known, *(stratum.requests for stratum in strata))
    deviation = math.sqrt(math.fsum(stratum.deviation() ** 2 for stratum in strata))
    certain = math.fsum(known.values())
    return Total(Range.around(math.fsum(kinds.values()), deviation, at_least=certain), kinds)


def allowance(expected_requests: float) -> float:
    """How many requests a sample of such a run may take."""
    return min(MOST_REQUESTS, max(FEWEST_REQUESTS, SAMPLED_SHARE * expected_requests))


def choose(strata: Sequence[Stratum], *, expected: Range, affordable: float, at_most: int) -> list[Stratum]:
    """The strata of which a unit each is to be sampled next; one may come several times. Empty: it is enough.

    First one unit of every stratum, then a second of those with many units (the first may have been an empty mailbox),
    then wherever a request narrows the ranges of the totals the most.
    """
    rows = math.fsum(stratum.rows.central for stratum in strata)
    many = SMALL_STRATUM * sum(stratum.units for stratum in strata)
    pending: Counter[str] = Counter()
    is_precise = expected.high - expected.low <= 2 * PRECISE_ENOUGH * expected.central

    def urgency(stratum: Stratum) -> tuple[int, float]:
        taken = len(stratum.observed) + pending[stratum.dataset]
        if not taken or (taken == 1 and stratum.units > many):
            return 2 - taken, float(stratum.units)
        return 0, stratum.narrowed(pending[stratum.dataset], requests=expected.central, rows=rows)

    def is_open(stratum: Stratum) -> bool:
        taken = len(stratum.observed) + pending[stratum.dataset]
        is_wanted = urgency(stratum)[0] > 0 or (bool(stratum.observed) and not is_precise)
        is_left = not stratum.refused and not stratum.is_exhausted
        return is_left and taken < stratum.units and stratum.cost <= affordable and is_wanted

    chosen: list[Stratum] = []
    while len(chosen) < at_most and (open_ := [each for each in strata if is_open(each)]):
        best = max(open_, key=urgency)
        affordable -= best.cost
        pending[best.dataset] += 1
        chosen.append(best)
    return chosen


def spread_order(count: int, *, offset: float) -> Iterator[int]:
    """0 … count-1 in an order of which every beginning is spread evenly over them; `offset` in [0, 1) chooses it."""
    return iter(sorted(range(count), key=lambda place: (offset + place * _GOLDEN) % 1.0))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
