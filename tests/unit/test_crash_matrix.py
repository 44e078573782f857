"""Whatever step a run dies at, the next run leaves the bucket right.

The store tells every visible step; the run is killed before and after each of them, once. Afterwards a reader who
globs sees no row twice within a run, and a second run completes the set.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from pipeline.errors import StoreRefused
from pipeline.model import RunKind
from pipeline.run import Request, export
from sinks.stores.memory import MemoryStore, Step
from tests.harness import Harness, SmallTenant

RUN = Request(kind=RunKind.RUN)
STEPS_AT_LEAST = 60


class Died(BaseException):
    """The process is gone: nothing it does afterwards reaches a store."""


@dataclass(slots=True)
class Killer:
    """Dies at the n-th step, and stays dead."""

    at: int
    seen: int = 0
    steps: list[Step] = field(default_factory=list)

    async def __call__(self, step: Step) -> None:
        self.seen += 1
        self.steps.append(step)
        if self.seen >= self.at:
            raise Died


def small_harness() -> Harness:
    return Harness(SmallTenant.with_mail(users=3, messages=7), part_size_bytes=1)


async def count_steps() -> int:
    counter = Killer(at=1_000_000)
    await export(small_harness().equip(hook=counter), RUN)
    return counter.seen


async def die_at(harness: Harness, step: int) -> None:
    with pytest.raises(BaseException) as caught:
        await export(harness.equip(hook=Killer(at=step)), RUN)
    assert caught.group_contains(Died) if isinstance(caught.value, BaseExceptionGroup) else True
    harness.now += timedelta(minutes=2)  # the dead holder's lease expires


def check_no_row_twice_within_a_run(harness: Harness) -> None:
    assert set(harness.keys("mail_messages").values()) <= {1}


def check_complete(harness: Harness) -> None:
    check_no_row_twice_within_a_run(harness)
    assert harness.message_tokens() == {row["id"] for row in harness.rows("mail_messages")}


async def test_a_run_has_enough_steps_to_die_at() -> None:
    """Otherwise the matrix below would prove little."""
    assert await count_steps() >= STEPS_AT_LEAST


@pytest.mark.timeout(300)
async def test_the_next_run_repairs_a_death_at_any_step() -> None:
    """Dying once, anywhere: no row twice, and after the next run none missing, under one run id."""
    for step in range(1, await count_steps() + 1):
        harness = small_harness()
        await die_at(harness, step)
        check_no_row_twice_within_a_run(harness)

        await export(harness.equip(), RUN)

        check_complete(harness)
        assert len({row["_run_id"] for row in harness.rows("mail_messages")}) == 1
        assert len(harness.bucket.staged) <= 1, "one upload, whose name nobody had heard when the process died"


@pytest.mark.timeout(600)
@pytest.mark.slow
async def test_dying_again_during_the_repair_is_repaired_too() -> None:
    """Dying twice, at every second step of the repair: the fence gives the same answer both times."""
    for first in range(1, await count_steps() + 1, 5):
        for second in range(1, 60, 4):
            harness = small_harness()
            await die_at(harness, first)
            killer = Killer(at=second)
            with suppress(BaseException):  # the repair may also be done before it dies
                await export(harness.equip(hook=killer), RUN)
            harness.now += timedelta(minutes=2)
            check_no_row_twice_within_a_run(harness)

            await export(harness.equip(), RUN)

            check_complete(harness)


async def test_an_upload_of_the_dead_that_arrives_late_is_refused() -> None:
    """A publication still on the wire when the next run fences the part off makes nothing visible."""
    harness = small_harness()
    witness = Killer(at=1_000_000)
    await export(small_harness().equip(hook=witness), RUN)
    publications = [
        number
        for number, step in enumerate(witness.steps, 1)
        if step.action == "publish" and step.when == "before" and step.key.startswith("mail_messages")
    ]
    killer = Killer(at=publications[0])
    with pytest.raises(BaseException):  # noqa: B017 - a group around Died
        await export(harness.equip(hook=killer), RUN)
    harness.now += timedelta(minutes=2)
    key = killer.steps[publications[0] - 1].key
    assert killer.steps[publications[0] - 1].action == "publish"
    tokens = list(harness.bucket.staged)
    await export(harness.equip(), RUN)
    settled = harness.keys("mail_messages")

    assert tokens
    for token in tokens:
        late = await MemoryStore(harness.bucket).attach(key, token)
        with suppress(StoreRefused):  # it was given up
            assert not await late.publish()

    assert settled == harness.keys("mail_messages")
    check_complete(harness)


async def test_a_late_mark_of_the_dead_does_not_bring_its_rows_back() -> None:
    """A store that takes an upload that was given up for a completed one makes a sleeper mark its part as published.

    The part is an empty one by then, so its units are read again all the same.
    """
    harness = small_harness()
    witness = Killer(at=1_000_000)
    await export(small_harness().equip(hook=witness), RUN)
    publication = next(
        number
        for number, step in enumerate(witness.steps, 1)
        if step.action == "publish" and step.when == "before" and step.key.startswith("mail_messages")
    )
    await die_at(harness, publication)
    with pytest.raises(BaseException):  # noqa: B017 - a group around Died
        await export(harness.equip(hook=die_after_fencing), RUN)
    harness.now += timedelta(minutes=2)
    state = MemoryStore(harness.state_bucket)
    outcomes = [key for key in await state.keys("open/") if key.endswith(".outcome")]
    fenced = [key for key in outcomes if harness.state_bucket.objects[key] == b"fenced"]
    assert len(fenced) == 1
    assert not await state.create(fenced[0], b"published")

    await export(harness.equip(), RUN)

    check_complete(harness)


async def die_after_fencing(step: Step) -> None:
    """The process ends as soon as it has put an empty part in the place of one."""
    if step.action == "create" and step.key.endswith(".outcome") and step.when == "after":
        raise Died
