"""A run that is done by workers, in memory: each is a process of its own in all but name, and any of them may fail."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import msgspec
import pytest

from pipeline.cli.export import deadline_stops
from pipeline.errors import (
    ConfigurationError,
    EngineLost,
    FailReason,
    SkipReason,
    SourceRefused,
    UnitFailed,
    UnitSkipped,
)
from pipeline.execution import STOP_GRACE
from pipeline.exits import Exit, exit_of_outcomes
from pipeline.manifest import Manifest
from pipeline.model import RunKind
from pipeline.ports import Fence
from pipeline.progress import Progress, Settled, Usage
from pipeline.run import Outcome, Request, export
from pipeline.workers.coordinator import RENEW_EVERY_S, Coordinator
from pipeline.workers.messages import Done, Grant, Heartbeat, Task, failure_of, refusal_of
from pipeline.workers.worker import Worker
from tests.harness import NOW, Harness, SmallTenant, Unthrottled
from tests.virtual_time import now_s, virtual_time

RUN = Request(kind=RunKind.RUN)


@dataclass(slots=True)
class NearEngine:
    """An engine whose workers are here. `dying` workers vanish with the tasks in their hands."""

    harness: Harness
    present: dict[str, int] = field(default_factory=lambda: {"a": 2, "b": 2})
    dying: set[str] = field(default_factory=set)
    executions: int = 1  # of every task, at once; the last to end is the one that counts
    other_settings: bool = False
    stop: asyncio.Event | None = None  # set when the first task is done
    coming: str = ""  # arrives while the first task, which takes a while, is done
    grants: list[tuple[str, Grant]] = field(default_factory=list)
    tasks: Counter[int] = field(default_factory=Counter)  # how often each was given to a worker
    task_s: float = 0  # how long a task takes
    in_hand: set[str] = field(default_factory=set)
    told: Heartbeat = field(default_factory=lambda: Heartbeat(accepted=True))  # what workers say of themselves

    async def workers(self) -> Mapping[str, int]:
        self.harness.now = NOW + timedelta(seconds=now_s())
        return dict(self.present)

    async def grant(self, name: str, grant: Grant) -> Heartbeat | None:
        self.grants.append((name, grant))
        return self.told if name in self.present else None

    async def run(self, name: str, task: bytes) -> bytes | None:
        wanted = msgspec.msgpack.decode(task, type=Task)
        self.tasks[wanted.numbering.first] += 1
        if self.coming:
            self.present[self.coming] = 1
        await asyncio.sleep(self.task_s)
        answers = await asyncio.gather(*(self._done(wanted) for _ in range(self.executions)))
        if name in self.dying:
            self.present.pop(name, None)
            await asyncio.sleep(3600)
        if self.stop is not None:
            self.stop.set()
        return answers[-1]

    async def _done(self, task: Task) -> bytes:
        equipment = self.harness.equip()
        if self.other_settings:
            equipment = replace(equipment, identity=replace(equipment.identity, salt_fingerprint="another"))
        try:
            report = await (await Worker.prepared(equipment, task)).do(task)
        except ConfigurationError as error:
            return msgspec.msgpack.encode(failure_of(error))
        return msgspec.msgpack.encode(Done(equipment.vault.seal_blob(msgspec.msgpack.encode(report)), self.told))


class StuckEngine(NearEngine):
    """From its second task on, nothing that worker b has in hand ends."""

    async def run(self, name: str, task: bytes) -> bytes | None:
        if name == "b" and self.tasks:
            await asyncio.sleep(3600)
        return await NearEngine.run(self, name, task)


def sealed(outcomes: list[Outcome]) -> Manifest:
    (outcome,) = outcomes
    assert outcome.manifest is not None
    return outcome.manifest


def tenant() -> SmallTenant:
    tenant = SmallTenant.with_mail(users=9, messages=10)
    tenant.errors[tenant.users[1], "mail_messages"] = UnitSkipped(SkipReason.NO_MAILBOX)
    tenant.errors[tenant.users[2], "mail_messages"] = UnitFailed(FailReason.TIMEOUT)
    tenant.messages[tenant.users[3]] = []
    return tenant


def counted(manifest: Manifest) -> object:
    lines = {
        dataset: (line.rows, line.rejected, line.units, line.completeness)
        for dataset, line in manifest.datasets.items()
    }
    return lines, manifest.skipped, manifest.failed, manifest.status


@virtual_time
async def test_workers_do_what_one_process_does() -> None:
    """Rows, counts, skips, failures and watermarks are those of a run without workers."""
    alone, led = Harness(tenant()), Harness(tenant())
    expected = sealed(await export(alone.equip(), RUN))

    manifest = sealed(await export(led.equip(), RUN, engine=NearEngine(led)))

    assert counted(manifest) == counted(expected)
    assert {key[1:] for key in led.keys("mail_messages")} == {key[1:] for key in alone.keys("mail_messages")}
    assert set(led.keys("mail_messages").values()) == {1}
    equipment = alone.equip(), led.equip()
    assert await equipment[0].watermarks.load() == await equipment[1].watermarks.load()


@virtual_time
async def test_a_task_that_is_done_twice_at_once_is_published_once() -> None:
    """Both executions seal parts of the same name; one set is published, and of the other no bytes stay."""
    harness = Harness(tenant())

    manifest = sealed(await export(harness.equip(), RUN, engine=NearEngine(harness, executions=2)))

    assert set(harness.keys("mail_messages").values()) == {1}
    assert manifest.datasets["mail_messages"].rows == 60
    assert not harness.bucket.staged


@virtual_time
async def test_what_a_lost_worker_had_in_hand_is_done_by_others_once_its_grant_is_over() -> None:
    """Complete and exact; and nobody else has the dead worker's share, or its mailboxes, while it might still ask."""
    harness = Harness(tenant())
    engine = NearEngine(harness, dying={"a"})

    manifest = sealed(await export(harness.equip_for(workers=2), RUN, engine=engine))

    assert manifest.datasets["mail_messages"].rows == 60
    assert set(harness.keys("mail_messages").values()) == {1}
    assert max(engine.tasks.values()) == 2
    last = max(grant.until for worker, grant in engine.grants if worker == "a")
    alone = [grant for worker, grant in engine.grants if worker == "b" and grant.workers == 1]
    assert alone
    assert min(grant.until for grant in alone) - timedelta(seconds=20) > last


@virtual_time
async def test_a_run_that_is_stopped_with_workers_goes_on_without_them() -> None:
    """What was reported is published; the next command continues the same run, and nothing is there twice."""
    harness = Harness(tenant())
    equipment = harness.equip()
    (stopped,) = await export(equipment, RUN, engine=NearEngine(harness, {"a": 1}, stop=equipment.stop))
    assert stopped.interrupted
    before = harness.keys("mail_messages")
    assert before

    manifest = sealed(await export(harness.equip(), RUN))

    assert manifest.run_id == stopped.run_id
    assert manifest.datasets["mail_messages"].rows == 60 > len(before)
    assert set(harness.keys("mail_messages").values()) == {1}


@virtual_time
async def test_a_deadline_ends_a_run_with_workers_in_order() -> None:
    """No task is begun after it; those in hand are finished and published; the next command continues the run."""
    harness = Harness(tenant())
    equipment = harness.equip()
    engine = NearEngine(harness, {"a": 1}, task_s=4)
    with deadline_stops(equipment.stop, timedelta(seconds=6), equipment.log):
        (stopped,) = await export(equipment, RUN, engine=engine)
    assert stopped.interrupted
    assert exit_of_outcomes([stopped]) is Exit.INTERRUPTED
    assert 6 < now_s() <= 6 + RENEW_EVERY_S + engine.task_s
    assert sum(engine.tasks.values()) == 2
    assert engine.grants[-1][1].stop

    manifest = sealed(await export(harness.equip(), RUN))

    assert manifest.run_id == stopped.run_id
    assert manifest.datasets["mail_messages"].rows == 60
    assert set(harness.keys("mail_messages").values()) == {1}


@virtual_time
async def test_a_deadline_does_not_wait_for_workers_that_do_not_end() -> None:
    """After the grace time what they have in hand is given up, invisible; what was reported before stays published."""
    harness = Harness(tenant())
    equipment = harness.equip_for(workers=2)
    engine = StuckEngine(harness, {"a": 1, "b": 1}, task_s=1)
    with deadline_stops(equipment.stop, timedelta(seconds=3), equipment.log):
        (stopped,) = await export(equipment, RUN, engine=engine)
    assert stopped.interrupted
    assert now_s() <= 3 + STOP_GRACE.total_seconds() + RENEW_EVERY_S
    assert 0 < len(harness.keys("mail_messages")) < 60

    manifest = sealed(await export(harness.equip(), RUN))

    assert manifest.datasets["mail_messages"].rows == 60
    assert set(harness.keys("mail_messages").values()) == {1}
    assert not harness.bucket.staged


@virtual_time
async def test_a_deadline_passes_while_no_worker_has_come() -> None:
    """Nobody waits for workers any more: interrupted, not refused."""
    harness = Harness(tenant())
    equipment = harness.equip()
    with deadline_stops(equipment.stop, timedelta(seconds=10), equipment.log):
        (stopped,) = await export(equipment, RUN, engine=NearEngine(harness, {}))
    assert stopped.interrupted
    assert now_s() <= 10 + 2 * RENEW_EVERY_S


@virtual_time
async def test_nobody_begins_before_all_others_have_their_smaller_share() -> None:
    """A newcomer's first grant comes after those that make room for it."""
    harness = Harness(tenant())
    engine = NearEngine(harness, present={"a": 1}, coming="b", task_s=3)

    await export(harness.equip_for(workers=2), RUN, engine=engine)

    first = next(index for index, (worker, _) in enumerate(engine.grants) if worker == "b")
    before = [grant.workers for worker, grant in engine.grants[:first] if worker == "a"]
    assert before[-1] == 2


@virtual_time
async def test_other_settings_are_found_out_before_anything_is_read() -> None:
    """A worker with another salt ends the command with a line that names it."""
    harness = Harness(tenant())
    with pytest.raises(ExceptionGroup) as caught:
        await export(harness.equip(), RUN, engine=NearEngine(harness, other_settings=True))
    assert "privacy.salt: a worker has another one" in str(leaf(caught.value))
    assert not [key for key in harness.bucket.objects if key.startswith("mail_messages/")]


@virtual_time
async def test_units_over_which_workers_die_end_the_command() -> None:
    """After three losses of the same task it is not given to a fourth; what is published stays."""
    harness = Harness(tenant())
    engine = NearEngine(harness, present=dict.fromkeys("abcdef", 2), dying=set("abcdef"))
    with pytest.raises(ExceptionGroup) as caught:
        await export(harness.equip_for(workers=2), RUN, engine=engine)
    assert isinstance(leaf(caught.value), EngineLost)


def leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class QuickEngine(NearEngine):
    """Workers that have nothing to do: every task is done at once."""

    async def run(self, name: str, task: bytes) -> bytes | None:
        del name, task
        return msgspec.msgpack.encode(Done(b"", self.told))


@virtual_time
async def test_a_report_that_is_being_taken_over_is_not_done_again() -> None:
    """A worker that is lost while its parts are published, however long that takes, costs nothing: they are there."""
    harness = Harness(tenant())
    engine = QuickEngine(harness, present={"a": 1, "b": 1})
    accepted: Counter[int] = Counter()

    async def accept(number: int, _report: bytes) -> bool:
        accepted[number] += 1
        engine.present.pop("a", None)
        await asyncio.sleep(60)
        return True

    coordinator = Coordinator(engine, harness.equip_for(workers=2))
    assert await coordinator.work(4, encode=lambda _assignment: b"", accept=accept)

    assert accepted == {0: 1, 1: 1, 2: 1, 3: 1}


@virtual_time
async def test_what_workers_tell_of_themselves_is_the_runs() -> None:
    """Requests and fences of all workers are the run's; a fence of a service is told to the others."""
    harness = Harness(tenant())
    fence = Fence(scope="service", service="outlook", since=NOW, until=NOW + timedelta(hours=1))
    mailbox = replace(fence, scope="mailbox", principal="t~abc")
    usage = Usage({("outlook", "200"): 7}, bytes=70, waited_s=1.5)
    engine = NearEngine(harness, told=Heartbeat(accepted=True, usage=usage, fences=[fence, mailbox]), task_s=3)
    throttle = Unthrottled(most_workers=2)
    equipment = replace(harness.equip(), throttle=throttle, progress=Progress(now=lambda: harness.now))

    await export(equipment, RUN, engine=engine)

    assert equipment.progress.usage() == Usage({("outlook", "200"): 14}, bytes=140, waited_s=3.0)
    assert equipment.progress.fenced.keys() == {("outlook", "service"), ("outlook", "mailbox")}
    assert not engine.grants[0][1].fences
    assert engine.grants[-1][1].fences == [fence]
    assert throttle.times_taken_over >= 1


@virtual_time
async def test_the_display_shows_units_of_tasks_that_workers_have_in_hand() -> None:
    """They count from the heartbeat that tells of them, and once: the report takes their place."""
    harness = Harness(tenant())
    equipment = replace(harness.equip_for(workers=2), progress=Progress(now=lambda: harness.now))
    settled = {"mail_messages": Settled(finished=3, rows=30)}
    seen: list[int] = []

    class TellingEngine(NearEngine):
        async def grant(self, name: str, grant: Grant) -> Heartbeat | None:
            seen.append(equipment.progress.lines["mail_messages"].rows)
            return Heartbeat(accepted=True, settled=dict.fromkeys(self.in_hand, settled))

        async def run(self, name: str, task: bytes) -> bytes | None:
            identifier = msgspec.msgpack.decode(task, type=Task).id
            self.in_hand.add(identifier)
            await asyncio.sleep(5)
            return await NearEngine.run(self, name, task)

    engine = TellingEngine(harness, present={"a": 1})
    await export(equipment, RUN, engine=engine)

    assert 30 in seen
    assert equipment.progress.lines["mail_messages"].rows == 60
    assert not equipment.progress.under_way


@virtual_time
async def test_workers_make_room_for_a_backfill_like_one_process() -> None:
    """A smaller part goes to every worker; there is room once each has said that it keeps to it."""
    harness = Harness(tenant())
    engine = QuickEngine(harness, present={"a": 1}, told=Heartbeat(accepted=True))
    coordinator = Coordinator(engine, harness.equip_for(workers=2))
    coordinator.take(0.5)
    seen: list[bool] = []

    async def accept(_number: int, _report: bytes) -> bool:
        seen.append(coordinator.keeps_to_part)
        engine.told = Heartbeat(accepted=True, keeps_to=0.5)
        await asyncio.sleep(60)
        seen.append(coordinator.keeps_to_part)
        return True

    assert await coordinator.work(1, encode=lambda _assignment: b"", accept=accept)

    assert seen == [False, True]
    assert {grant.part for _, grant in engine.grants} == {0.5}


def test_a_refusal_keeps_its_reason_between_machines() -> None:
    """What a worker was refused for is what the manifest says."""
    refusal = SourceRefused("No token", remedy="Wait", code="gone", reason=FailReason.NETWORK)
    told = refusal_of(failure_of(refusal))
    assert (str(told), told.code, told.reason) == (str(refusal), "gone", FailReason.NETWORK)
