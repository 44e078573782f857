"""The run over a small tenant in memory: what it writes, how it goes on, what it leaves out and why."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipeline import execution
from pipeline.errors import (
    ConfigurationError,
    FailReason,
    LeaseHeld,
    SkipReason,
    SourceRefused,
    StoreUnavailable,
    UnitFailed,
    UnitSkipped,
)
from pipeline.exits import Exit, exit_of_outcomes
from pipeline.history import summarise
from pipeline.journal import CALLS_AT_ONCE
from pipeline.lease import hold
from pipeline.manifest import Manifest, decode_manifest
from pipeline.model import RunKind
from pipeline.ports import StateStore
from pipeline.run import Request, export
from sinks.stores.memory import Step
from tests.harness import NOW, Harness, SmallTenant

RUN = Request(kind=RunKind.RUN)


async def run_once(harness: Harness, request: Request = RUN) -> Manifest:
    outcomes = await export(harness.equip(), request)
    assert len(outcomes) == 1
    manifest = outcomes[0].manifest
    assert manifest is not None
    return manifest


async def test_a_first_run_writes_every_message_once() -> None:
    """All messages of the lookback are there, each once, and the manifest counts them."""
    harness = Harness(SmallTenant.with_mail(users=3, messages=20))

    manifest = await run_once(harness)

    assert harness.message_tokens() == {row["id"] for row in harness.rows("mail_messages")}
    assert set(harness.keys("mail_messages").values()) == {1}
    assert manifest.datasets["mail_messages"].rows == 60
    assert manifest.status == "complete"


async def test_the_manifest_in_the_bucket_lists_every_part() -> None:
    """What a reader finds under `_manifests` names exactly the objects that are there."""
    harness = Harness(SmallTenant.with_mail(users=2, messages=5))

    manifest = await run_once(harness)

    published = decode_manifest(harness.bucket.objects[f"_manifests/{manifest.run_id}.json"])
    listed = {part.path for line in published.datasets.values() for part in line.parts}
    assert listed == {key for key in harness.bucket.objects if key.endswith(".parquet")}


async def test_an_idle_mailbox_is_no_work_for_the_worker_threads() -> None:
    """Units of which nothing was read are done, and nothing is sanitized or compared for them."""
    harness = Harness(SmallTenant.with_mail(users=30, messages=0))
    equipment = harness.equip()
    work: Counter[str] = Counter()

    async def counting(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        work[function.__name__] += 1
        return await equipment.blocking(function, *args, **kwargs)

    (outcome,) = await export(replace(equipment, blocking=counting), RUN)

    assert outcome.manifest is not None
    assert outcome.manifest.datasets["mail_messages"].units.done >= 30
    assert work["clean"] == 1 + 30, "the users, and the settings of each"


@pytest.mark.parametrize("end", ["stopped", "killed"])
async def test_idle_mailboxes_are_not_read_again_after_an_interruption(
    end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No part names their units: they are written down when one should have come, and when a run is stopped."""
    monkeypatch.setattr(execution, "LOOK_EVERY_S", 0.01)
    users, windows, in_flight = 10, 15, 8
    harness = Harness(SmallTenant.with_mail(users=users, messages=0), part_size_bytes=1)
    requests, is_noted, read = harness.tenant.requests, asyncio.Event(), 0

    async def watch(step: Step) -> None:
        if "/rowless/" in step.key and step.action == "create" and step.when == "after":
            is_noted.set()

    async def interrupted(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal read
        if requests["mailbox_settings"] == users - 2 and not read:
            read = requests["mail_messages"] - in_flight
            if end == "killed":
                harness.now += limits.part_max_age
                await is_noted.wait()
                raise StoreUnavailable("as if it had died")
            equipment.stop.set()
        return await equipment.blocking(function, *args, **kwargs)

    equipment = harness.equip(hook=watch)
    limits = replace(equipment.limits, part_max_age=timedelta(seconds=5))  # the lease lasts longer
    with suppress(ExceptionGroup):
        await export(replace(equipment, blocking=interrupted, limits=limits), RUN)
    assert read > users * windows // 3
    assert not harness.keys("mail_messages")
    requests.clear()
    manifest = await run_once(harness)

    assert requests["mail_messages"] <= users * windows - read
    assert manifest.datasets["mail_messages"].units.done == users * windows
    assert manifest.status == "complete"
    assert not [key for key in harness.state_bucket.objects if key.startswith("open/run/")]
    requests.clear()
    harness.now = NOW + timedelta(days=1)
    await run_once(harness)
    assert requests["mail_messages"] == users, "their watermarks moved"


async def test_the_next_run_exports_only_what_is_new() -> None:
    """A second run begins at the watermark, to the microsecond."""
    harness = Harness(SmallTenant.with_mail(users=2, messages=10))
    await run_once(harness)
    user = harness.tenant.users[0]
    harness.tenant.deliver(user, "on-the-edge", NOW)
    harness.tenant.deliver(user, "later", NOW + timedelta(hours=3))
    harness.now = NOW + timedelta(days=1)

    second = await run_once(harness)

    assert second.datasets["mail_messages"].rows == 2
    assert harness.message_tokens() == {row["id"] for row in harness.rows("mail_messages")}
    assert set(Counter(row["id"] for row in harness.rows("mail_messages")).values()) == {1}


async def test_a_user_without_mailbox_is_a_named_skip() -> None:
    """An expected reason leaves the run complete and stands in the manifest with a pseudonym."""
    tenant = SmallTenant.with_mail(users=2, messages=3)
    tenant.errors[tenant.users[0], "mail_messages"] = UnitSkipped(SkipReason.NO_MAILBOX)
    manifest = await run_once(Harness(tenant))

    assert manifest.status == "complete"
    assert [(line.dataset, line.reason) for line in manifest.skipped] == [("mail_messages", "no_mailbox")]
    assert manifest.skipped[0].principal is not None
    assert manifest.skipped[0].principal.startswith("t~")


async def test_a_failing_mailbox_costs_that_mailbox_only_and_is_caught_up_later() -> None:
    """The run is partial, the others are exported, and the next run fills the gap from the old watermark."""
    tenant = SmallTenant.with_mail(users=3, messages=6)
    broken = tenant.users[1]
    tenant.errors[broken, "mail_messages"] = UnitFailed(FailReason.SERVICE_ERROR, code="InternalServerError")
    harness = Harness(tenant)

    first = await run_once(harness)

    assert first.status == "partial"
    assert [(line.dataset, line.reason) for line in first.failed] == [("mail_messages", "service_error")]
    assert first.datasets["mail_messages"].rows == 12

    tenant.errors.clear()
    harness.now = NOW + timedelta(days=1)
    second = await run_once(harness)

    assert second.datasets["mail_messages"].rows == 6
    assert harness.message_tokens() == {row["id"] for row in harness.rows("mail_messages")}


async def test_a_failed_oldest_window_holds_the_watermark_back() -> None:
    """A later window that succeeded does not hide an earlier one that failed."""
    tenant = SmallTenant.with_mail(users=1, messages=4)
    harness = Harness(tenant)
    tenant.deliver(tenant.users[0], "old", NOW - timedelta(days=29))
    tenant.errors[tenant.users[0], "mail_messages"] = UnitFailed(FailReason.SERVICE_ERROR)
    await run_once(harness)
    tenant.errors.clear()
    harness.now = NOW + timedelta(hours=1)

    await run_once(harness)

    assert harness.message_tokens() == {row["id"] for row in harness.rows("mail_messages")}


async def test_a_window_that_is_too_large_is_divided() -> None:
    """Halves are units of their own; nothing is lost and nothing doubled."""
    harness = Harness(SmallTenant.with_mail(users=1, messages=40), memory_bytes=24_000)

    manifest = await run_once(harness)

    assert manifest.datasets["mail_messages"].units.done > 15
    assert harness.message_tokens() == {row["id"] for row in harness.rows("mail_messages")}
    assert set(harness.keys("mail_messages").values()) == {1}


async def test_small_parts_roll_over() -> None:
    """A part that has grown to its size is published and the next one begun."""
    harness = Harness(SmallTenant.with_mail(users=4, messages=30), part_size_bytes=1)

    manifest = await run_once(harness)

    assert len(manifest.datasets["mail_messages"].parts) >= 4
    assert set(harness.keys("mail_messages").values()) == {1}


async def test_a_backfill_leaves_watermarks_alone_and_can_be_repeated() -> None:
    """Two backfills of a range hold the same set; a run afterwards starts where it would have anyway."""
    harness = Harness(SmallTenant.with_mail(users=2, messages=48))
    range_ = Request(kind=RunKind.BACKFILL, since=NOW - timedelta(hours=30), until=NOW - timedelta(hours=6))

    first = await run_once(harness, range_)
    harness.now = NOW + timedelta(minutes=5)
    second = await run_once(harness, range_)

    by_run: dict[str, set[str]] = {}
    for row in harness.rows("mail_messages"):
        by_run.setdefault(row["_run_id"], set()).add(row["id"])
    assert by_run[first.run_id] == by_run[second.run_id]
    assert len(by_run[first.run_id]) == 2 * 24
    assert not any(key.startswith("watermarks") for key in harness.state_bucket.objects)


async def test_a_second_run_of_the_kind_is_turned_away() -> None:
    """While one run holds the lease another one stops at once and says until when."""
    harness = Harness(SmallTenant.with_mail(users=1, messages=1))
    async with hold(harness.equip().state, RunKind.RUN, clock=lambda: harness.now):
        with pytest.raises(LeaseHeld, match="2026-03-02"):
            await export(harness.equip(), RUN)


async def test_a_stop_leaves_an_open_run_that_the_next_command_continues() -> None:
    """What was published stays, the rest comes under the same run id."""
    harness = Harness(SmallTenant.with_mail(users=6, messages=10), part_size_bytes=1)
    equipment = harness.equip()
    equipment.stop.set()
    stopped = await export(equipment, RUN)
    assert stopped == [] or stopped[0].interrupted

    manifest = await run_once(harness)

    assert harness.message_tokens() == {row["id"] for row in harness.rows("mail_messages")}
    assert set(harness.keys("mail_messages").values()) == {1}
    assert manifest.status == "complete"


async def test_an_open_run_belongs_to_its_destination() -> None:
    """From the first part on: another destination is refused, although nothing is sealed yet."""
    harness = Harness(SmallTenant.with_mail(users=2, messages=3), part_size_bytes=1)

    async def break_off(step: Step) -> None:
        if harness.keys("mail_messages"):
            raise StoreUnavailable("gone")

    with pytest.raises(ExceptionGroup):
        await export(harness.equip(hook=break_off), RUN)
    assert harness.keys("mail_messages")

    harness.now = NOW + timedelta(minutes=5)
    equipment = harness.equip()
    moved = replace(equipment, identity=replace(equipment.identity, destination="memory://elsewhere"))
    with pytest.raises(ConfigurationError, match="another tenant or another destination"):
        await export(moved, RUN)


async def test_a_backfill_up_to_an_end_that_is_to_come_is_continued() -> None:
    """It means up to when it began; asked for again in the same words it goes on under its own id."""
    harness = Harness(SmallTenant.with_mail(users=3, messages=5), part_size_bytes=1)
    asked = Request(kind=RunKind.BACKFILL, since=NOW - timedelta(days=20), until=NOW + timedelta(days=3))

    async def break_off(step: Step) -> None:
        if harness.keys("mail_messages"):
            raise StoreUnavailable("gone")

    with pytest.raises(ExceptionGroup):
        await export(harness.equip(hook=break_off), asked)
    begun = {name.split("/")[1] for name in harness.bucket.objects if name.endswith(".parquet")}

    harness.now = NOW + timedelta(minutes=5)
    (outcome,) = await export(harness.equip(), asked)
    assert {outcome.run_id} == begun


async def test_an_interrupted_backfill_that_gives_way_to_another_is_told_as_partial() -> None:
    """What it lacks is nobody else's work: the command that seals it ends with 4, though its own range is complete."""
    harness = Harness(SmallTenant.with_mail(users=3, messages=5), part_size_bytes=1)

    async def break_off(step: Step) -> None:
        if harness.keys("mail_messages"):
            raise StoreUnavailable("gone")

    with pytest.raises(ExceptionGroup):
        await export(harness.equip(hook=break_off), Request(kind=RunKind.BACKFILL, since=NOW - timedelta(days=20)))

    harness.now = NOW + timedelta(minutes=5)
    outcomes = await export(harness.equip(), Request(kind=RunKind.BACKFILL, since=NOW - timedelta(days=2)))

    manifests = [outcome.manifest for outcome in outcomes if outcome.manifest is not None]
    assert [manifest.status for manifest in manifests] == ["partial", "complete"]
    assert {line.reason for line in manifests[0].failed} == {"abandoned"}
    assert exit_of_outcomes(outcomes) is Exit.PARTIAL


async def test_another_profile_is_refused_until_it_is_accepted() -> None:
    """History would split silently: exit 2 with the difference, unless the operator accepts it."""
    harness = Harness(SmallTenant.with_mail(users=1, messages=2))
    await run_once(harness)
    harness.profile = "psoxy"
    harness.now = NOW + timedelta(days=1)

    with pytest.raises(ConfigurationError, match=r"privacy\.profile: is psoxy, was strict"):
        await export(harness.equip(), RUN)

    await run_once(harness, Request(kind=RunKind.RUN, accept_new_pseudonyms=True))


async def test_status_tells_a_run_that_is_at_work_from_one_that_was_interrupted() -> None:
    """As long as its lease holds it is running; when that has expired it is open."""
    harness = Harness(SmallTenant.with_mail(users=1, messages=2))
    equipment = harness.equip()
    shown: list[str] = []

    async def look(step: Step) -> None:
        if step.action == "publish" and step.when == "after" and "mail_messages" in step.key:
            state = harness.equip().state
            shown.extend([await status_lines(state, harness), await status_lines(state, harness, later=True)])

    async def status_lines(state: StateStore, harness: Harness, *, later: bool = False) -> str:
        now = harness.now + timedelta(hours=1) if later else harness.now
        summary = await summarise(state, equipment.watermarks, runs=1, now=now)
        assert [record.kind for record in summary.open_runs] == ["run"]
        # This very process holds the lease, so nobody takes it for gone.
        return ", ".join(f"{kind} until {lease.until:%H:%M:%S}" for kind, lease in summary.working.items())

    await export(harness.equip(hook=look), RUN)

    assert shown[:2] == ["run until 00:01:30", ""]


async def test_a_dataset_without_a_token_says_why() -> None:
    """A token service that is out of reach is no missing permission."""
    tenant = SmallTenant.with_mail(users=2, messages=3)
    refusal = SourceRefused("No token", remedy="Wait", reason=FailReason.NETWORK)
    tenant.errors |= {(user, "mail_messages"): refusal for user in tenant.users}

    manifest = await run_once(Harness(tenant))

    assert [(each.principal, each.dataset, each.reason) for each in manifest.failed] == [
        (None, "mail_messages", FailReason.NETWORK)
    ]
    assert manifest.status == "partial"


async def test_the_parts_of_an_interrupted_run_are_read_several_at_a_time() -> None:
    """A bucket answers slowly and a night has thousands of them; never more at once than it has threads."""
    harness = Harness(SmallTenant.with_mail(users=6, messages=5), part_size_bytes=1)

    async def fail_at_the_end(step: Step) -> None:
        if step.key.startswith("_manifests/"):
            raise StoreUnavailable("gone")

    with pytest.raises(ExceptionGroup):
        await export(harness.equip(hook=fail_at_the_end), RUN)
    for key in [key for key in harness.state_bucket.objects if "/seal-" in key]:
        del harness.state_bucket.objects[key]  # as if it had died before it was decided
    at_once, most = 0, 0

    async def watch(step: Step) -> None:
        nonlocal at_once, most
        if step.action == "read" and "/journal/" in step.key:
            at_once += 1 if step.when == "before" else -1
            most = max(most, at_once)
            await asyncio.sleep(0)

    (outcome,) = await export(harness.equip(hook=watch), RUN)
    assert outcome.manifest is not None
    assert outcome.manifest.datasets["mail_messages"].rows == 30
    assert most == 2 * CALLS_AT_ONCE


async def test_what_is_kept_of_an_open_run_is_removed_several_keys_at_a_time() -> None:
    """A night leaves thousands of keys behind; the slot that names the run is cleared when all of them are gone."""
    harness = Harness(SmallTenant.with_mail(users=6, messages=5), part_size_bytes=1)
    at_once, most = 0, 0
    left_when_cleared: list[str] = []

    async def watch(step: Step) -> None:
        nonlocal at_once, most
        if step.action == "delete" and "/journal/" in step.key:
            at_once += 1 if step.when == "before" else -1
            most = max(most, at_once)
            await asyncio.sleep(0)
        if most and step.key == "open/run.json" and step.when == "before" and step.action == "replace":
            left_when_cleared.extend(key for key in harness.state_bucket.objects if key.startswith("open/run/"))

    await export(harness.equip(hook=watch), RUN)
    assert most == CALLS_AT_ONCE
    assert not left_when_cleared
    assert not [key for key in harness.state_bucket.objects if key.startswith("open/run/")]
