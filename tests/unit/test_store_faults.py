"""Lost replies, failed calls, and a process that wakes up when its lease is gone: the real run, at every step.

`tests.model` searches the protocol for what can go wrong; here the code itself goes through it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from pipeline.errors import FailReason, LeaseLost, StoreRefused, StoreUnavailable, UnitFailed
from pipeline.exits import exit_of_error
from pipeline.lease import LEASE_LIFETIME
from pipeline.manifest import decode_manifest
from pipeline.model import RunKind
from pipeline.run import Outcome, Request, export
from sinks.stores.memory import Step
from tests.harness import Harness, SmallTenant
from tests.virtual_time import virtual_time

RUN = Request(kind=RunKind.RUN)
BEYOND_THE_LEASE = LEASE_LIFETIME + timedelta(seconds=1)

Matches = Callable[[Step], bool]


def small_harness() -> Harness:
    return Harness(SmallTenant.with_mail(users=2, messages=2), part_size_bytes=1)


def step_of(action: str, key: str, when: str = "before") -> Matches:
    """The side `when` of a call, by a piece of its key."""
    return lambda step: step.action == action and key in step.key and step.when == when


@dataclass(slots=True)
class Recorder:
    """Only watches."""

    steps: list[Step] = field(default_factory=list)

    async def __call__(self, step: Step) -> None:
        self.steps.append(step)


@dataclass(slots=True)
class NthStepFails:
    """The store cannot be reached at one step, and works before and afterwards."""

    at: int
    seen: int = 0

    async def __call__(self, step: Step) -> None:
        self.seen += 1
        if self.seen == self.at:
            raise StoreUnavailable("no answer")


class Died(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class DiesAt:
    """Dies at the first step that matches, and stays dead."""

    matches: Matches
    is_dead: bool = False

    async def __call__(self, step: Step) -> None:
        self.is_dead = self.is_dead or self.matches(step)
        if self.is_dead:
            raise Died


@dataclass(slots=True)
class PausesAt:
    """Sleeps before the first step that matches, until it is woken."""

    matches: Matches
    asleep: asyncio.Event = field(default_factory=asyncio.Event)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, step: Step) -> None:
        if not self.asleep.is_set() and self.matches(step):
            self.asleep.set()
            await self.woken.wait()


@dataclass(slots=True)
class PausedExport:
    """An export that sleeps at a step while its lease expires."""

    task: "asyncio.Task[list[Outcome]]"
    pause: PausesAt

    async def wake(self) -> BaseException | None:
        """Let it go on to its end; the error it ends with."""
        self.pause.woken.set()
        async with asyncio.timeout(10):
            return await error_of(self.task)


@asynccontextmanager
async def paused_export(harness: Harness, matches: Matches, *, for_long: bool = True) -> AsyncIterator[PausedExport]:
    """Start an export and return when it sleeps; for long means until its lease has expired."""
    pause = PausesAt(matches)
    task = asyncio.create_task(export(harness.equip(hook=pause), RUN))
    asleep = asyncio.create_task(pause.asleep.wait())
    await asyncio.wait({task, asleep}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    asleep.cancel()
    assert pause.asleep.is_set(), "it never came to that step"
    if for_long:
        harness.now += BEYOND_THE_LEASE
    try:
        yield PausedExport(task, pause)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def steps_of_an_export() -> list[Step]:
    recorder = Recorder()
    await export(small_harness().equip(hook=recorder), RUN)
    return recorder.steps


async def error_of(work: Awaitable[object]) -> BaseException | None:
    """What `work` ends with, when it fails: the gravest error of a group."""
    (result,) = await asyncio.gather(work, return_exceptions=True)
    return exit_of_error(result)[1] if isinstance(result, BaseException) else None


async def die_at(harness: Harness, matches: Matches) -> None:
    with pytest.raises(BaseException):  # noqa: B017 - a group around Died
        await export(harness.equip(hook=DiesAt(matches)), RUN)
    harness.now += BEYOND_THE_LEASE


def check_promises(harness: Harness) -> None:
    """No row twice within a run, and a published manifest lists exactly what is visible of its run."""
    assert set(harness.keys("mail_messages").values()) <= {1}
    for key, data in harness.bucket.objects.items():
        if key.startswith("_manifests/") and key.count(".") == 1:
            manifest = decode_manifest(data)
            listed = {part.path for line in manifest.datasets.values() for part in line.parts}
            visible = {path for path in harness.bucket.objects if f"/{manifest.run_id}/" in path}
            assert listed == visible


def check_complete(harness: Harness) -> None:
    check_promises(harness)
    assert harness.message_tokens() == {row["id"] for row in harness.rows("mail_messages")}
    assert json.loads(harness.state_bucket.objects["open/run.json"])["open"] is None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_store_that_fails_at_any_step_costs_no_more_than_that_run(when: str) -> None:
    """A call that failed, or whose reply was lost, ends the run as unavailable at worst; the next one repairs it."""
    steps = await steps_of_an_export()
    ended = 0
    for number, step in enumerate(steps, 1):
        if step.when != when:
            continue
        harness = small_harness()
        error = await error_of(export(harness.equip(hook=NthStepFails(at=number)), RUN))
        if error is not None:
            ended += 1
            assert isinstance(error, StoreUnavailable), step
        check_promises(harness)
        harness.now += BEYOND_THE_LEASE

        await export(harness.equip(), RUN)

        check_complete(harness)
    assert ended > len(steps) / 4, "the faults have to strike"


@pytest.mark.timeout(300)
async def test_a_process_that_wakes_up_without_its_lease_publishes_nothing_more() -> None:
    """Whatever step it slept at: after another run's end it adds nothing that a reader could see."""
    steps = await steps_of_an_export()
    calls = [step for step in steps if step.when == "before"]
    refused = 0
    for number in range(first_step_with_lease(calls), len(calls)):
        harness = small_harness()
        async with paused_export(harness, NthCall(number)) as paused:
            await export(harness.equip(), RUN)
            visible = dict(harness.bucket.objects)
            check_promises(harness)

            error = await paused.wake()

        assert harness.bucket.objects == visible, calls[number]
        if error is not None:
            refused += 1
            assert isinstance(error, LeaseLost | StoreRefused), calls[number]  # or its upload was given up
        harness.now += BEYOND_THE_LEASE
        await export(harness.equip(), RUN)
        check_complete(harness)
    assert refused > len(calls) / 2


@dataclass(slots=True)
class NthCall:
    """Matches one call by its number, from 0."""

    number: int
    seen: int = -1

    def __call__(self, step: Step) -> bool:
        self.seen += step.when == "before"
        return self.seen == self.number


def first_step_with_lease(calls: list[Step]) -> int:
    return 1 + next(number for number, step in enumerate(calls) if step.action == "replace" and "leases/" in step.key)


async def test_two_processes_that_fence_the_same_part_agree() -> None:
    """One of them slept before it wrote its fence down: both publish the recorded one, so both learn the same."""
    harness = small_harness()
    await die_at(harness, step_of("publish", "mail_messages"))
    async with (
        paused_export(harness, step_of("create", ".fence")) as first,
        paused_export(harness, step_of("publish", "mail_messages"), for_long=False) as second,
    ):
        assert isinstance(await first.wake(), LeaseLost)
        assert await second.wake() is None
        check_promises(harness)

    harness.now += BEYOND_THE_LEASE
    await export(harness.equip(), RUN)

    check_complete(harness)


async def test_a_refused_fence_is_given_up_only_when_its_answer_is_written_down() -> None:
    """Wherever the repair dies, no later process asks an upload that was given up: no store could answer it."""
    for action in ("publish", "create", "abort"):
        for when in ("before", "after"):
            harness = small_harness()
            await die_at(harness, step_of("create", ".outcome"))
            fenced: list[Any] = []

            def at_the_fence(step: Step, action: str = action, when: str = when, fenced: list[Any] = fenced) -> bool:
                fenced += [step] if step.action == "publish" else []
                return bool(fenced) and step.action == action and step.when == when

            await die_at(harness, at_the_fence)
            check_promises(harness)

            await export(harness.equip(), RUN)

            check_complete(harness)


async def test_a_fence_is_not_given_up_by_a_process_that_lost_its_lease() -> None:
    """The next process may be about to ask that upload."""
    harness = small_harness()
    mark = step_of("create", "mail_messages-00001.outcome")
    await die_at(harness, mark)
    async with (
        paused_export(harness, mark) as first,
        paused_export(harness, step_of("attach", "mail_messages"), for_long=False) as second,
    ):
        assert isinstance(await first.wake(), LeaseLost)
        assert await second.wake() is None

    check_complete(harness)


async def test_a_part_that_is_journalled_without_a_lease_is_not_published() -> None:
    """It slept before the journal entry; the run was sealed meanwhile, without those units."""
    harness = small_harness()
    async with paused_export(harness, step_of("create", "mail_messages-00002.json")) as paused:
        for user in harness.tenant.users:
            harness.tenant.errors[user, "mail_messages"] = UnitFailed(FailReason.SERVICE_ERROR)
        await export(harness.equip(), RUN)
        harness.tenant.errors.clear()

        assert isinstance(await paused.wake(), LeaseLost)
        check_promises(harness)

    await export(harness.equip(), RUN)
    check_complete(harness)


async def test_a_run_is_not_decided_by_a_process_that_lost_its_lease() -> None:
    """It slept before it wrote the manifest down; others go on, and read what it could not read."""
    harness = small_harness()
    harness.tenant.errors[harness.tenant.users[1], "mail_messages"] = UnitFailed(FailReason.SERVICE_ERROR)
    async with paused_export(harness, step_of("create", "/seal-")) as first:
        harness.tenant.errors.clear()
        async with paused_export(harness, step_of("create", "/seal-0002")) as second:
            assert isinstance(await first.wake(), LeaseLost)

            await export(harness.equip(), RUN)
            check_complete(harness)

            assert isinstance(await second.wake(), LeaseLost)

    check_complete(harness)


async def test_a_run_that_is_being_forgotten_is_not_begun_again() -> None:
    """One process wakes up and forgets the sealed run while the next one looks at what is left of it."""
    harness = small_harness()
    async with (
        paused_export(harness, step_of("create", "history/")) as first,
        paused_export(harness, step_of("create", "/seal-"), for_long=False) as second,
    ):
        assert await first.wake() is None
        assert await second.wake() is None

    check_complete(harness)


@virtual_time
async def test_a_part_that_is_closed_for_its_age_when_reading_ends_is_in_the_manifest() -> None:
    """The end of the reading waits for it, and does not cancel it."""
    harness = Harness(SmallTenant.with_mail(users=1, messages=2))
    is_closing = asyncio.Event()

    async def hook(step: Step) -> None:
        if step.action == "begin" and "mailbox_settings" in step.key and step.when == "before":
            await is_closing.wait()  # so that reading ends while the other part is being published
        if step.action == "publish" and "mail_messages" in step.key and step.when == "before":
            is_closing.set()
            await asyncio.sleep(1)

    equipment = harness.equip(hook=hook)
    limits = replace(equipment.limits, part_max_age=timedelta(0))

    await export(replace(equipment, limits=limits), RUN)

    check_complete(harness)
