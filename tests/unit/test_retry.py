"""Retry policy: what is tried again, how long after, and when it is enough."""

from datetime import UTC, datetime

import pytest
from tenacity import RetryCallState

from connectors.graph.clock import GraphClock
from connectors.graph.errors import BANDWIDTH_PAUSE_S, BUSY_STORE_PAUSE_S, Refusal, classify, fault
from connectors.graph.retry import (
    GROW_AFTER,
    LONGEST_HEADER_S,
    PageSize,
    RetryPolicy,
    SizeHabit,
    Tries,
    UnitBudget,
    parse_retry_after,
)

NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)


class Time:
    """Seconds the test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def clock(self, *, random: float = 1.0) -> GraphClock:
        return GraphClock(monotonic=lambda: self.now_s, random=lambda: random)


def _tries(*, random: float = 1.0, time: Time | None = None, size: PageSize | None = None) -> Tries:
    clock = (time or Time()).clock(random=random)
    policy = RetryPolicy()
    return Tries(policy, UnitBudget(policy, clock), size, clock)


def _pause(tries: Tries, error: Refusal) -> float:
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]  # only its outcome is looked at
    state.set_exception((type(error), error, None))
    return tries.pause(state)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("120,120", 120.0),
        ("120, 60", 120.0),
        ("0", 0.0),
        ("-5", 0.0),
        ("Mon, 02 Mar 2026 12:01:30 GMT", 90.0),
        ("Mon, 02 Mar 2026 11:00:00 GMT", 0.0),
        ("Monday, 02-Mar-26 12:00:10 GMT", 10.0),
        ("99999999", LONGEST_HEADER_S),
        ("1e999", LONGEST_HEADER_S),
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
    ],
)
def test_retry_after_in_all_its_forms(header: str | None, seconds: float | None) -> None:
    """Integer, decimal, date, sent twice, past, absent or nonsense."""
    assert parse_retry_after(header, now=NOW) == seconds


def test_service_errors_are_retried_five_times() -> None:
    """Six requests in all, then the last refusal stands."""
    tries = _tries()
    assert [tries.again(classify(500, b"")) for _ in range(6)] == [True] * 5 + [False]


def test_an_empty_404_is_retried_twice() -> None:
    """It may be transient, or gone."""
    tries = _tries()
    assert [tries.again(classify(404, b"")) for _ in range(3)] == [True, True, False]


def test_a_new_token_is_tried_once() -> None:
    """What a fresh token does not heal is final."""
    tries = _tries()
    assert [tries.again(classify(401, b"")) for _ in range(2)] == [True, False]


def test_throttling_costs_no_attempts() -> None:
    """The admission holds it back; attempts are for failures."""
    tries = _tries()
    assert all(tries.again(classify(429, b"")) for _ in range(100))
    assert tries.again(classify(500, b""))


def test_final_refusals_and_foreign_errors_are_not_retried() -> None:
    """Neither a permission nor a bug of ours gets better with time."""
    tries = _tries()
    assert not tries.again(classify(400, b""))
    assert not tries.again(classify(410, b""))
    assert not tries.again(ValueError())


def test_back_off_doubles_under_full_jitter_up_to_a_cap() -> None:
    """From nothing to twice the range of the pause before."""
    upper, lower = _tries(random=1.0), _tries(random=0.0)
    pauses = []
    for _ in range(8):
        error = classify(500, b"")
        upper.again(error)
        lower.again(error)
        pauses.append(_pause(upper, error))
        assert _pause(lower, error) == 0.0
    assert pauses == [4, 8, 16, 32, 64, 120, 120, 120]


def test_some_refusals_need_longer() -> None:
    """A mailbox that is being moved is not asked again within seconds."""
    tries = _tries(random=0.0)
    busy = classify(503, b'{"error":{"code":"ErrorMailboxMoveInProgress"}}')
    tries.again(busy)
    assert _pause(tries, busy) == BUSY_STORE_PAUSE_S
    assert classify(509, b"").row.pause_s == BANDWIDTH_PAUSE_S


def test_throttled_and_unauthorized_requests_do_not_wait_here() -> None:
    """The fence does the waiting; a new token needs none."""
    tries = _tries()
    for error in (classify(429, b""), classify(401, b"")):
        tries.again(error)
        assert _pause(tries, error) == 0.0


def test_the_deadline_of_the_unit_ends_everything() -> None:
    """After six hours even a first failure is the last."""
    time = Time()
    tries = _tries(time=time)
    time.now_s = RetryPolicy().unit_s
    assert not tries.again(classify(429, b""))


def test_a_spent_budget_names_what_used_it_up() -> None:
    """The report says which code and request-id it was."""
    policy = RetryPolicy()
    tries = _tries()
    tries.again(classify(429, b'{"error":{"code":"TooManyRequests"}}', request_id="ab-1"))
    from connectors.graph.retry import THROTTLE_BUDGET_SPENT  # noqa: PLC0415 - beside its only use

    spent = tries.spent(THROTTLE_BUDGET_SPENT)
    assert (spent.code, spent.request_id) == ("TooManyRequests", "ab-1")
    assert policy.throttled_s == 1_800


def test_leniency_begins_after_two_malformed_answers() -> None:
    """Two more chances for a clean answer first."""
    tries = _tries()
    seen = []
    for _ in range(3):
        seen.append(tries.is_lenient)
        tries.again(fault("malformed_json"))
    assert seen == [False, False, True]


def test_pages_shrink_after_two_failures_and_recover() -> None:
    """Half after each second failure in a row, never below one; twice as much after ten successes."""
    size = PageSize(8)
    tries = _tries(size=size)
    sizes = []
    for _ in range(4):
        tries.again(classify(504, b""))
        sizes.append(size.items)
    assert sizes == [8, 4, 4, 2]
    assert size.is_reduced
    for _ in range(10):
        size.succeeded()
    assert size.items == 4
    for _ in range(10):
        size.succeeded()
    assert (size.items, size.is_reduced) == (8, False)
    for _ in range(20):
        size.failed()
    assert size.items == 1


def test_what_one_collection_learnt_the_next_begin_with() -> None:
    """And after ten that came through so, the next one tries twice as many."""
    habit = SizeHabit()
    first = habit.page_size(1_000)
    for _ in range(4):
        first.failed()
    habit.note(first)
    assert [first.items, habit.page_size(1_000).items, habit.page_size(100).items] == [250, 250, 100]
    for _ in range(10):
        habit.note(habit.page_size(1_000))
    assert habit.page_size(1_000).items == 500
    for _ in range(20):
        habit.note(habit.page_size(1_000))
    assert habit.page_size(1_000).items == 1_000
    assert not habit.page_size(1_000).is_reduced


def test_other_failures_do_not_shrink_the_page() -> None:
    """A 500 says nothing about its size."""
    size = PageSize(8)
    tries = _tries(size=size)
    for _ in range(5):
        tries.again(classify(500, b""))
    assert size.items == 8


def test_a_page_that_weighs_too_much_halves_the_next() -> None:
    """It grows back when twice as much would fit, and not before."""
    size = PageSize(1_000)
    size.weighed(900, at_most=500)
    assert size.items == 500
    size.weighed(450, at_most=500)
    for _ in range(2 * GROW_AFTER):
        size.succeeded()
    assert size.items == 500
    size.weighed(200, at_most=500)
    size.succeeded()
    assert size.items == 1_000
