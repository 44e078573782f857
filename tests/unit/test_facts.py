"""What a run tells of its days and times: measured cheaply, bounded, kept over interruptions."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pipeline.facts import (
    MOST_DAYS,
    MOST_WAITS,
    SLOWEST_UNITS,
    Chronicle,
    Stage,
    Wait,
    Waits,
    gather_facts,
    longest_waits,
)
from pipeline.history import run_facts
from pipeline.model import Principal, PrincipalKind, RunKind, Unit
from pipeline.ports import Fence
from pipeline.run import Request, export
from sinks.stores.memory import MemoryStore, Step
from tests.harness import NOW, Harness, SmallTenant


def seconds(*values: float) -> Iterator[float]:
    yield from values


def chronicle(*instants_s: float) -> Chronicle:
    instants = seconds(*instants_s)
    return Chronicle(
        clock=lambda: NOW,
        pseudonym=lambda principal: f"t~{principal.id}",
        waits=Waits(),
        monotonic=lambda: next(instants),
    )


def wait(start_s: float, length_s: float) -> Wait:
    start = NOW + timedelta(seconds=start_s)
    return Wait("mailbox", "outlook", "t~1", start, start + timedelta(seconds=length_s), 1)


def test_stages_are_timed_and_a_repeated_one_goes_on() -> None:
    """Seconds of a stage that comes twice are added up, in the order of first appearance."""
    measured = chronicle(0, 2, 5, 9)
    for stage in ("reading", "sealing", "reading"):
        measured.stage(stage)

    assert measured.attempt().stages == [Stage("reading", 6.0), Stage("sealing", 3.0)]


def test_only_the_slowest_units_are_kept_slowest_first() -> None:
    """However many units there were, the list has a fixed length and names principals by pseudonym."""
    measured = chronicle()
    for number in range(100):
        unit = Unit("mail_messages", Principal(PrincipalKind.USER, str(number)))
        measured.unit(unit, seconds=float(number), rows=number, end="done")

    slowest = measured.attempt().slowest_units
    assert [unit.seconds for unit in slowest] == [99.0 - index for index in range(SLOWEST_UNITS)]
    assert slowest[0].principal == "t~99"


def test_a_night_of_throttling_is_bounded_by_its_longest_waits() -> None:
    """Beyond the bound the short waits are counted, not listed; what is listed stays in order of time."""
    kept, left_out = longest_waits(wait(start, 1 + start % 7) for start in range(2 * MOST_WAITS))

    assert (len(kept), left_out) == (MOST_WAITS, MOST_WAITS)
    assert kept == sorted(kept, key=lambda each: each.from_)
    assert min(each.seconds for each in kept) >= 4


def test_refusals_that_follow_on_one_another_are_one_wait() -> None:
    """A fence that is made longer is one wait of its scope; one much later is another; a second take begins anew."""
    waits = Waits()
    for since, until in ((0, 10), (11, 26), (100, 110)):
        at = NOW + timedelta(seconds=since)
        waits.note(
            Fence(scope="service", service="teams", since=at, until=NOW + timedelta(seconds=until), principal=None)
        )

    taken, left_out = waits.take()
    assert [((each.from_ - NOW).total_seconds(), each.seconds, each.refusals) for each in taken] == [
        (0, 26, 2),
        (100, 10, 1),
    ]
    assert (left_out, waits.take()) == (0, ([], 0))


def test_days_beyond_the_bound_are_one_number() -> None:
    """Old channel messages cannot make the file grow without end, and no row is lost from the sum."""
    first = datetime(2020, 1, 1, tzinfo=UTC)
    counts = {f"{first + timedelta(days=number):%Y-%m-%d}": 2 for number in range(MOST_DAYS + 50)}

    days = gather_facts("r", [], {"teams_channel_messages": counts}).datasets["teams_channel_messages"]

    assert (len(days.days), days.earlier, min(days.days)) == (MOST_DAYS, 100, "2020-02-20")


async def test_a_run_seals_its_days_with_its_rows() -> None:
    """The side file counts every row of a dated dataset once, and the state keeps the same bytes."""
    harness = Harness(SmallTenant.with_mail(users=2, messages=30))
    [outcome] = await export(harness.equip(), Request(kind=RunKind.RUN))

    published = harness.bucket.objects[f"_manifests/{outcome.run_id}.facts.json"]
    facts = await run_facts(MemoryStore(harness.state_bucket), outcome.run_id)
    assert published == harness.state_bucket.objects[f"facts/{outcome.run_id}.json"]
    assert facts is not None
    assert facts.datasets["mail_messages"].days == {"2026-02-28": 12, "2026-03-01": 48}
    assert "entra_users" not in facts.datasets  # it has no time
    assert [stage.stage for stage in facts.attempts[0].stages][-1] == "sealing"
    assert {unit.end for unit in facts.slowest_units} == {"done"}


async def test_an_interrupted_attempt_is_part_of_the_facts() -> None:
    """A run that was stopped and continued tells of both attempts, and of all days."""
    harness = Harness(SmallTenant.with_mail(users=8, messages=30), part_size_bytes=1)
    stop = asyncio.Event()

    async def stop_at_the_first_settings(step: Step) -> None:
        if step.action == "publish" and step.key.startswith("mailbox_settings/"):
            stop.set()

    [first] = await export(
        replace(harness.equip(hook=stop_at_the_first_settings), stop=stop), Request(kind=RunKind.RUN)
    )
    [second] = await export(harness.equip(), Request(kind=RunKind.RUN))

    facts = await run_facts(MemoryStore(harness.state_bucket), second.run_id)
    assert first.interrupted
    assert facts is not None
    assert len(facts.attempts) == 2
    assert sum(facts.datasets["mail_messages"].days.values()) == 240
