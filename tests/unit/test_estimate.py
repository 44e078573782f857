"""Sampling arithmetic: what is drawn next, what follows from what was drawn, and how sure that is."""

from itertools import pairwise
from random import Random

import pytest

from pipeline.estimate import (
    FEWEST_REQUESTS,
    MOST_REQUESTS,
    Observation,
    Range,
    Stratum,
    allowance,
    choose,
    spread_order,
    total_of,
)
from pipeline.ports import RequestKind

KIND = RequestKind("outlook")


def stratum(dataset: str, units: int, *requests: float, cost: int = 1) -> Stratum:
    return Stratum(dataset, units, [Observation({KIND: each}, 10 * each, cost) for each in requests])


def test_every_beginning_of_the_order_is_spread_evenly() -> None:
    """Of 1,000 units the first 50 leave no gap of more than 60, and each unit comes once."""
    order = list(spread_order(1_000, offset=0.3))
    assert sorted(order) == list(range(1_000))
    first = sorted(order[:50])
    assert max(right - left for left, right in pairwise(first)) <= 60


def test_the_total_is_right_on_average_however_skewed_the_units_are() -> None:
    """Over many offsets the mean of the estimates is the true sum within a few percent."""
    sizes = [Random(7).lognormvariate(1, 1.2) for _ in range(500)]
    estimates = []
    for offset in range(100):
        order = list(spread_order(len(sizes), offset=offset / 100))
        estimates.append(stratum("mail", len(sizes), *(sizes[place] for place in order[:25])).total)
    assert sum(estimates) / len(estimates) == pytest.approx(sum(sizes), rel=0.05)


def test_a_stratum_read_whole_is_certain() -> None:
    """Nothing is left that could differ."""
    whole = stratum("mail", 3, 1, 2, 9)
    assert (whole.total, whole.deviation()) == (12, 0)
    assert total_of([whole], {KIND: 5}).requests == Range(17, 17, 17)


def test_unseen_strata_come_first_then_the_uncertain_ones() -> None:
    """One unit of each, then where a request narrows the range the most."""
    expected = Range(0, 100, 1_000)
    unseen, seen = stratum("calls", 4), stratum("mail", 1_000, 1, 30)
    assert [each.dataset for each in choose([seen, unseen], expected=expected, affordable=10, at_most=1)] == ["calls"]
    steady = stratum("calendar", 1_000, 1, 1, 1, 1, 1, 1)
    chosen = choose([steady, seen], expected=expected, affordable=10, at_most=4)
    assert [each.dataset for each in chosen] == ["mail"] * 4


def test_no_more_is_chosen_than_can_be_afforded() -> None:
    """By what a unit of the stratum has cost so far; refused ones and precise totals take nothing."""
    dear = stratum("contacts", 100, 9, 12, cost=10)
    wide = Range(0, 100, 1_000)
    assert len(choose([dear], expected=wide, affordable=25, at_most=8)) == 2
    assert choose([dear], expected=Range(99, 100, 101), affordable=1_000, at_most=8) == []
    dear.refused = "permission"
    assert (choose([dear], expected=wide, affordable=1_000, at_most=8), dear.total) == ([], 0)


def test_a_sample_takes_two_percent_between_its_bounds() -> None:
    """A handful in a small tenant, minutes in a large one; at most 2 % where the estimate is a fifth too high."""
    assert (allowance(100), allowance(10**9)) == (FEWEST_REQUESTS, MOST_REQUESTS)
    assert allowance(1.2 * 10_000) <= 0.02 * 10_000
