"""Budgets: no period ever sees more than its share of Microsoft's limit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.graph.budgets import Budgets, Paces, Rate
from connectors.graph.traffic import Draw, Limit, Service


def _starts(paces: Paces, draw: Draw, asked_at: list[float]) -> list[float]:
    return [paces.reserve(draw, now_s=at) for at in asked_at]


@settings(max_examples=60)
@given(
    units=st.floats(0.5, 40),
    period_s=st.sampled_from([1.0, 10.0]),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=120),
)
def test_no_period_sees_more_than_the_budget(units: float, period_s: float, gaps: list[float]) -> None:
    """Whenever requests come, any window of the limit's length holds at most the paced units."""
    paces = Paces(Budgets(teams=Rate(units, period_s), margin=0.0))
    now, asked = 0.0, []
    for gap in gaps:
        now += gap
        asked.append(now)
    starts = sorted(_starts(paces, Draw(Limit.TEAMS), asked))
    for first in starts:
        inside = [at for at in starts if first <= at < first + period_s - 1e-6]
        assert len(inside) <= max(units, 1) + 1e-6


def test_a_mailbox_gets_its_9600_in_ten_minutes() -> None:
    """The margin is what is lost, not more: 96 % of the limit can be used."""
    paces = Paces(Budgets())
    starts = _starts(paces, Draw(Limit.MAILBOX, "m"), [0.0] * 9_601)
    assert starts[959] == 0.0  # a tenth may go at once
    assert starts[9_599] == pytest.approx(600)
    assert starts[9_600] > 600


def test_mailboxes_have_budgets_of_their_own() -> None:
    """One mailbox's requests do not delay another's."""
    paces = Paces(Budgets())
    _starts(paces, Draw(Limit.MAILBOX, "a"), [0.0] * 5_000)
    assert paces.reserve(Draw(Limit.MAILBOX, "b"), now_s=0.0) == 0.0


def test_expensive_requests_draw_more() -> None:
    """Five resource units wait five times as long as one."""
    cheap, dear = Paces(Budgets()), Paces(Budgets())
    for _ in range(200):
        last_cheap = cheap.reserve(Draw(Limit.DIRECTORY, units=1), now_s=0.0)
        last_dear = dear.reserve(Draw(Limit.DIRECTORY, units=5), now_s=0.0)
    assert last_cheap == 0.0
    assert last_dear > 1.0


def test_a_share_divides_every_budget() -> None:
    """Half of everything for a backfill beside the nightly run, and never less than one request at a time."""
    half = Budgets().share(0.5)
    assert half.paced(Limit.TEAMS).units == Budgets().paced(Limit.TEAMS).units / 2
    assert half.mailbox_in_flight == 2
    assert Budgets(per_mailbox_in_flight=1).share(0.1).mailbox_in_flight == 1
    assert half.share(0.5).in_flight(Service.OUTLOOK) == Budgets().outlook_in_flight // 4


def test_paces_of_idle_mailboxes_are_forgotten() -> None:
    """Memory follows the mailboxes in use, not all that were ever read."""
    paces = Paces(Budgets())
    for number in range(5_000):
        paces.reserve(Draw(Limit.MAILBOX, str(number)), now_s=float(number))
    assert len(paces._spent_until) < 1_000


def test_what_a_night_asks_of_a_team_need_not_wait() -> None:
    """Three requests at once, then no more than the limit in any second."""
    paces = Paces(Budgets())
    starts = _starts(paces, Draw(Limit.TEAMS_TEAM, "t"), [0.0] * 12)
    assert starts[2] == 0.0 < starts[3]
    for first in starts:
        assert len([at for at in starts if first <= at < first + 1 - 1e-6]) <= 4
    half = Paces(Budgets().share(0.5))
    assert _starts(half, Draw(Limit.TEAMS_TEAM, "t"), [0.0] * 3) == [0.0, 1.0, 2.0]


def test_workers_divide_what_is_not_one_principals() -> None:
    """Budgets of the tenant are divided; those of a mailbox, a chat, a team or a log belong to its only reader."""
    whole, third = Budgets(), Budgets().divided(3)
    assert third.paced(Limit.TEAMS).units == pytest.approx(whole.paced(Limit.TEAMS).units / 3)
    assert third.in_flight(Service.OUTLOOK) == whole.in_flight(Service.OUTLOOK) // 3
    for limit in (Limit.MAILBOX, Limit.TEAMS_CHAT, Limit.TEAMS_TEAM, Limit.CALL_RECORD):
        assert third.paced(limit) == whole.paced(limit)


def test_no_more_workers_than_a_budget_can_be_divided_among() -> None:
    """With so many each has a request a period left; a backfill, with half of everything, bears half as many."""
    budgets = Budgets()
    most = budgets.most_workers
    shared = budgets.divided(most).paced(Limit.MEETING)
    assert 1 <= shared.units < 1 + 1 / most
    assert budgets.share(0.5).most_workers == most // 2


@pytest.mark.parametrize("limit", [Limit.TEAMS, Limit.DIRECTORY, Limit.MEETING])
def test_workers_that_come_and_go_keep_to_the_whole_budget_together(limit: Limit) -> None:
    """Greedy workers, one, then three, then two: no period sees more than Microsoft's limit."""
    whole = Budgets()
    period_s = whole.paced(limit).period_s
    sent: list[float] = []

    def work(paces: Paces, *, since_s: float, until_s: float) -> None:
        now_s = since_s
        while (at_s := paces.reserve(Draw(limit), now_s=now_s)) < until_s:
            sent.append(at_s)
            now_s = at_s

    first = Paces(whole)
    work(first, since_s=0, until_s=5 * period_s)
    first.follow(whole.divided(3))
    others = [Paces(whole.divided(3)) for _ in range(2)]
    for paces in others:
        paces.used_by_others(until_s=5 * period_s)
    for paces in (first, *others):
        work(paces, since_s=5 * period_s, until_s=10 * period_s)
    for paces in others:  # the first is lost; its share is free after a while
        paces.follow(whole.divided(2))
        work(paces, since_s=12 * period_s, until_s=15 * period_s)
    sent.sort()
    given = whole.paced(limit).units / (1 - whole.margin)
    left = 0
    for right, at_s in enumerate(sent):
        while sent[left] <= at_s - period_s:
            left += 1
        assert right - left + 1 <= given + 1
