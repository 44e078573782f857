"""The governor: slots, fences, pace and adaptive concurrency, in virtual time."""

import asyncio
from datetime import timedelta

import pytest

from connectors.graph.budgets import Budgets
from connectors.graph.throttle import LONGEST_PAUSE_S, FenceTooLong, Governor, Patience
from connectors.graph.traffic import (
    APP_SCOPE,
    TEAMS_EXPORT_TRAFFIC,
    USERS_TRAFFIC,
    Service,
    Traffic,
    chat_traffic,
    mailbox_traffic,
)
from pipeline.ports import Fence
from tests.virtual_time import BEGINNING, now_s, virtual_clock, virtual_time


def _governor(*, told: list[Fence] | None = None, **budgets: int) -> Governor:
    fences = [] if told is None else told
    return Governor(
        Budgets(**budgets),  # type: ignore[arg-type]  # only counts are given
        clock=virtual_clock(),
        on_fence=fences.append,
    )


def _until_s(fence: Fence) -> float:
    return (fence.until - BEGINNING).total_seconds()


def _lasts_s(fence: Fence) -> float:
    return (fence.until - fence.since).total_seconds()


async def _call(
    governor: Governor, traffic: Traffic, *, lasting_s: float = 0.0, refused_s: float | None = None
) -> float:
    """One request; when it was sent."""
    async with governor.admission(traffic, Patience(1e9)) as admission:
        sent_s = now_s()
        await asyncio.sleep(lasting_s)
        if refused_s is None:
            admission.succeeded()
        else:
            admission.refused(retry_after_s=refused_s)
        return sent_s


@virtual_time
async def test_four_requests_at_a_time_for_a_mailbox() -> None:
    """The fifth waits for a slot; callers get theirs in the order they came."""
    governor = _governor()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(_call(governor, mailbox_traffic("m"), lasting_s=10)) for _ in range(6)]
    assert [call.result() for call in calls] == [0, 0, 0, 0, 10, 10]


@virtual_time
async def test_a_smaller_part_holds_as_soon_as_what_is_open_has_ended() -> None:
    """Slots follow the part downwards and upwards; requests that are open beyond it are known."""
    governor = _governor()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(_call(governor, mailbox_traffic("m"), lasting_s=10)) for _ in range(10)]
        await asyncio.sleep(5)
        governor.take(0.5)
        kept = [governor.keeps_to_part]
        await asyncio.sleep(6)
        kept.append(governor.keeps_to_part)
        await asyncio.sleep(4)
        governor.take(1.0)
    assert kept == [False, True]
    assert [call.result() for call in calls] == [0, 0, 0, 0, 10, 10, 15, 15, 20, 20]


@virtual_time
async def test_a_smaller_part_slows_every_budget() -> None:
    """Half of the budget takes twice as long."""

    async def lasts_s(part: float) -> float:
        governor, began_s = _governor(), now_s()
        governor.take(part)
        for _ in range(200):
            await _call(governor, TEAMS_EXPORT_TRAFFIC)
        return now_s() - began_s

    whole_s = await lasts_s(1.0)
    assert await lasts_s(0.5) > 2 * whole_s


@virtual_time
async def test_mailboxes_do_not_wait_for_each_other() -> None:
    """One mailbox's slots and fence leave the others alone."""
    governor = _governor()
    await _call(governor, mailbox_traffic("a"), refused_s=60)
    assert await _call(governor, mailbox_traffic("b")) == 0
    assert await _call(governor, mailbox_traffic("a")) == 60


@virtual_time
async def test_nobody_calls_inside_a_fence() -> None:
    """Callers that were already queued, and those that come later, all wait until the Retry-After is over."""
    governor = _governor()
    async with asyncio.TaskGroup() as group:
        refused = group.create_task(_call(governor, mailbox_traffic("m"), lasting_s=5, refused_s=100))
        queued = [group.create_task(_call(governor, mailbox_traffic("m"), lasting_s=20)) for _ in range(5)]
        await asyncio.sleep(30)
        late = group.create_task(_call(governor, mailbox_traffic("m")))
    assert refused.result() == 0
    inside = [call.result() for call in (*queued, late) if 5 < call.result() < 105]
    assert inside == []
    assert late.result() >= 105


@virtual_time
async def test_a_fence_may_go_up_while_a_caller_waits_for_its_place() -> None:
    """A caller that gets its place in the service behind a new fence gives it back and waits."""
    governor = _governor(directory_in_flight=4)  # begins with one
    async with asyncio.TaskGroup() as group:
        group.create_task(_call(governor, USERS_TRAFFIC, lasting_s=10, refused_s=50))
        second = group.create_task(_call(governor, USERS_TRAFFIC))
    assert second.result() == 60


@virtual_time
async def test_a_service_fence_holds_the_service_and_an_app_fence_everything() -> None:
    """Scopes nest: mailbox, service, application."""
    governor = _governor()
    await _call(governor, TEAMS_EXPORT_TRAFFIC, refused_s=30)
    assert await _call(governor, mailbox_traffic("m")) == 0
    assert await _call(governor, chat_traffic("c")) == 30
    async with governor.admission(USERS_TRAFFIC, Patience(0)) as admission:
        admission.refused(retry_after_s=20, scope=APP_SCOPE)
    assert await _call(governor, mailbox_traffic("m")) == 50


@virtual_time
async def test_retry_after_is_a_floor_that_grows() -> None:
    """Refused again right after the fence: half as long again, and so on; a success starts over."""
    told: list[Fence] = []
    governor = _governor(told=told)
    for _ in range(4):
        await _call(governor, mailbox_traffic("m"), refused_s=10)
    assert [_lasts_s(fence) for fence in told] == [10, 15, 22.5, 33.75]
    await _call(governor, mailbox_traffic("m"))
    await _call(governor, mailbox_traffic("m"), refused_s=10)
    assert _lasts_s(told[-1]) == 10


@virtual_time
async def test_growth_ends_but_a_long_retry_after_is_kept() -> None:
    """Growth stops at ten minutes; what Microsoft asks for is never cut."""
    told: list[Fence] = []
    governor = _governor(told=told)
    for _ in range(30):
        await _call(governor, mailbox_traffic("m"), refused_s=10)
    assert _lasts_s(told[-1]) == LONGEST_PAUSE_S
    await _call(governor, mailbox_traffic("n"), refused_s=3_600)
    assert _lasts_s(told[-1]) == 3_600


@virtual_time
async def test_refusals_of_one_burst_count_once() -> None:
    """Four requests refused together raise one fence, not four times its length."""
    told: list[Fence] = []
    governor = _governor(told=told)
    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(_call(governor, mailbox_traffic("m"), lasting_s=1, refused_s=10))
    assert [_lasts_s(fence) for fence in told] == [10]


@virtual_time
async def test_patience_bounds_the_wait() -> None:
    """A fence longer than what is left of a unit's budget is not waited for, and nothing is sent."""
    governor = _governor()
    await _call(governor, mailbox_traffic("m"), refused_s=50)
    patience = Patience(60)
    async with governor.admission(mailbox_traffic("m"), patience) as admission:
        admission.refused(retry_after_s=50)
    assert patience.left_s == 10
    with pytest.raises(FenceTooLong):
        async with governor.admission(mailbox_traffic("m"), patience):
            pytest.fail("sent inside the fence")
    with pytest.raises(FenceTooLong):
        async with governor.admission(mailbox_traffic("m"), Patience(1e9, longest_s=60)):
            pytest.fail("sent inside the fence")


@virtual_time
async def test_concurrency_halves_on_refusal_and_creeps_up() -> None:
    """Additive increase, multiplicative decrease; one burst of refusals halves once."""
    governor = _governor(teams_in_flight=64)
    assert governor.concurrency(Service.TEAMS) == 16
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(_call(governor, TEAMS_EXPORT_TRAFFIC, lasting_s=1, refused_s=1))
    assert governor.concurrency(Service.TEAMS) == 8
    for _ in range(30):
        await _call(governor, TEAMS_EXPORT_TRAFFIC)
    assert governor.concurrency(Service.TEAMS) == 8  # one at a time does not prove that nine are fine
    async with asyncio.TaskGroup() as group:
        for _ in range(60):
            group.create_task(_call(governor, TEAMS_EXPORT_TRAFFIC, lasting_s=1))
    assert 10 <= governor.concurrency(Service.TEAMS) <= 14


@virtual_time
async def test_one_throttled_mailbox_does_not_slow_the_service() -> None:
    """Only refusals of several mailboxes within half a minute speak of the service."""
    governor = _governor(outlook_in_flight=64)
    for _ in range(5):
        await _call(governor, mailbox_traffic("m"), refused_s=1)
    assert governor.concurrency(Service.OUTLOOK) == 16
    for name in ("n", "o"):
        await _call(governor, mailbox_traffic(name), refused_s=1)
    assert governor.concurrency(Service.OUTLOOK) == 8


@virtual_time
async def test_refusals_here_and_there_are_not_the_number_of_callers() -> None:
    """Every fifth request refused, each time for another mailbox: fewer callers would be refused as often."""
    governor = _governor(outlook_in_flight=64)
    for number in range(100):
        await _call(governor, mailbox_traffic(str(number)), refused_s=1 if number % 5 == 4 else None)
    assert governor.concurrency(Service.OUTLOOK) == 16


@virtual_time
async def test_an_unpublished_limit_is_found() -> None:
    """A service that serves four callers at once, whoever they are, soon has not many more of ours."""
    governor = _governor(outlook_in_flight=128)
    in_flight = 0
    answers: list[bool] = []

    async def calls(mailbox: str) -> None:
        nonlocal in_flight
        for _ in range(100):
            async with governor.admission(mailbox_traffic(mailbox), Patience(1e9)) as admission:
                in_flight += 1
                is_refused = in_flight > 4
                await asyncio.sleep(0.3)
                in_flight -= 1
                answers.append(is_refused)
                if is_refused:
                    admission.refused(retry_after_s=1)
                else:
                    admission.succeeded()

    async with asyncio.TaskGroup() as group:
        for number in range(32):
            group.create_task(calls(str(number)))
    assert governor.concurrency(Service.OUTLOOK) <= 8
    late = answers[len(answers) // 2 :]
    assert sum(late) / len(late) < 0.33


@virtual_time
async def test_concurrency_never_exceeds_what_was_found() -> None:
    """The open requests of a service stay within its level."""
    governor = _governor(outlook_in_flight=8)
    open_now, most = 0, 0

    async def call(number: int) -> None:
        nonlocal open_now, most
        async with governor.admission(mailbox_traffic(str(number)), Patience(1e9)):
            open_now += 1
            most = max(most, open_now)
            await asyncio.sleep(1)
            open_now -= 1

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(call(number))
    assert most == 2


@virtual_time
async def test_cancellation_gives_places_back() -> None:
    """Cancelled callers, waiting or sending, leave no slot taken."""
    governor = _governor(outlook_in_flight=4)
    tasks = [asyncio.create_task(_call(governor, mailbox_traffic("m"), lasting_s=100)) for _ in range(8)]
    await asyncio.sleep(1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await asyncio.wait_for(_call(governor, mailbox_traffic("m")), 1) == 1
    assert governor._mailboxes._places == {}


@virtual_time
async def test_a_chat_is_asked_once_a_second() -> None:
    """Pages of one chat keep their distance; other chats go in between."""
    governor = _governor()
    first = [await _call(governor, chat_traffic("c")) for _ in range(3)]
    assert [round(at, 2) for at in first] == [0.0, 1.04, 2.08]


@virtual_time
async def test_a_listener_is_told_which_scope_waits_and_until_when() -> None:
    """The instant told is the one at which the next request goes; no identifier is shown."""
    told: list[Fence] = []
    governor = _governor(told=told)
    await asyncio.sleep(5)
    await _call(governor, mailbox_traffic("secret-id"), refused_s=40)
    (fence,) = told
    assert (fence.scope, fence.service, fence.principal) == ("mailbox", "outlook", "secret-id")
    assert "secret-id" not in repr(fence)
    assert await _call(governor, mailbox_traffic("secret-id")) == _until_s(fence) == 45
    assert governor.waited_s == 40


@virtual_time
async def test_a_fence_of_a_service_or_of_all_names_nobody() -> None:
    """Whom it concerns is everybody."""
    told: list[Fence] = []
    governor = _governor(told=told)
    await _call(governor, USERS_TRAFFIC, refused_s=20)
    async with governor.admission(TEAMS_EXPORT_TRAFFIC, Patience(1e9)) as admission:
        admission.refused(retry_after_s=20, scope=APP_SCOPE)
    assert [(fence.scope, fence.service, fence.principal) for fence in told] == [
        ("service", "directory", None),
        ("app", "teams", None),
    ]


@virtual_time
async def test_a_fence_that_another_process_met_holds_its_scope_and_is_told_to_nobody() -> None:
    """A worker is refused by a whole service; this one waits with it, and for other services it does not."""
    told: list[Fence] = []
    governor = _governor(told=told)
    governor.heed(Fence(scope="service", service="teams", since=BEGINNING, until=BEGINNING + timedelta(seconds=30)))
    assert await _call(governor, USERS_TRAFFIC) == 0
    assert await _call(governor, TEAMS_EXPORT_TRAFFIC) == 30
    governor.heed(Fence(scope="app", service="teams", since=BEGINNING, until=BEGINNING + timedelta(seconds=50)))
    assert await _call(governor, USERS_TRAFFIC) == 50
    assert told == []


@virtual_time
async def test_who_takes_over_from_others_does_not_begin_with_a_burst() -> None:
    """What others used until now is used: requests go at the steady pace, not all at once."""
    fresh, taking_over = _governor(), _governor()
    taking_over.take_over()
    burst, steady = [[await _call(each, USERS_TRAFFIC) for _ in range(3)] for each in (fresh, taking_over)]
    assert burst == [0, 0, 0]
    assert 0 < steady[0] < steady[1] < steady[2]


@virtual_time
async def test_a_refusal_that_lasts_no_longer_is_not_told_again() -> None:
    """What stands until a later instant stands."""
    told: list[Fence] = []
    governor = _governor(told=told)
    async with (
        governor.admission(mailbox_traffic("m"), Patience(0)) as first,
        governor.admission(mailbox_traffic("m"), Patience(0)) as second,
    ):
        first.refused(retry_after_s=40)
        second.refused(retry_after_s=10)
    assert [_until_s(fence) for fence in told] == [40]


@virtual_time
async def test_without_retry_after_the_pause_grows_with_jitter() -> None:
    """Full jitter between nothing and a range that grows each time."""
    told: list[Fence] = []
    governor = Governor(Budgets(), clock=virtual_clock(random=lambda: 1.0), on_fence=told.append)
    for _ in range(3):
        async with governor.admission(mailbox_traffic("m"), Patience(1e9)) as admission:
            admission.refused(retry_after_s=None)
    assert [_lasts_s(fence) for fence in told] == [4, 6, 9]


def test_traffic_shows_no_identifier() -> None:
    """Ids of mailboxes and chats stay out of every representation."""
    assert "secret" not in repr(mailbox_traffic("secret")) + repr(chat_traffic("secret"))
