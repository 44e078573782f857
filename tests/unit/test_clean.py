"""`status --clean` removes what nothing refers to, and nothing else; a run goes on as if it had not been there."""

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.clean import SALTS_KEPT_FOR, clean
from pipeline.errors import LeaseHeld, LeaseLost
from pipeline.kept import key_of_salt
from pipeline.lease import LEASE_LIFETIME, hold
from pipeline.model import RunKind
from pipeline.run import Request, export
from sinks.stores.memory import Hook, MemoryBucket, MemoryStore, Step
from tests.harness import NOW, Harness, SmallTenant, no_faults

RUN = Request(kind=RunKind.RUN)
BACKFILL = Request(kind=RunKind.BACKFILL, since=NOW - timedelta(days=3), until=NOW)
BEYOND_THE_LEASE = LEASE_LIFETIME + timedelta(seconds=1)


class Died(BaseException):
    """The process is gone."""


def dies_at(number: int) -> Hook:
    seen = 0

    async def hook(_step: Step) -> None:
        nonlocal seen
        seen += 1
        if seen >= number:
            raise Died

    return hook


def small_harness() -> Harness:
    return Harness(SmallTenant.with_mail(users=2, messages=3), part_size_bytes=1)


async def cleaned(harness: Harness, *, hook: Hook = no_faults, salt: str = "s") -> list[str]:
    state = MemoryStore(harness.state_bucket, hook=hook)
    async with AsyncExitStack() as stack:
        leases = [await stack.enter_async_context(hold(state, kind, clock=lambda: harness.now)) for kind in RunKind]
        return await clean(state, leases, salt_fingerprint=salt, now=harness.now)


async def interrupted(harness: Harness, request: Request, step: int) -> None:
    with suppress(BaseException):
        await export(harness.equip(hook=dies_at(step)), request)
    harness.now += BEYOND_THE_LEASE


def without_leases(bucket: MemoryBucket) -> dict[str, bytes]:
    return {key: data for key, data in bucket.objects.items() if not key.startswith("leases/")}


def check_complete(harness: Harness) -> None:
    assert set(harness.keys("mail_messages").values()) <= {1}
    assert harness.message_tokens() == {row["id"] for row in harness.rows("mail_messages")}


async def test_nothing_of_a_sealed_run_is_removed() -> None:
    """History, fields and watermarks of an ordinary state are all referred to."""
    harness = small_harness()
    await export(harness.equip(), RUN)
    before = without_leases(harness.state_bucket)

    assert await cleaned(harness) == []
    assert without_leases(harness.state_bucket) == before


async def test_what_nothing_refers_to_is_removed_and_told() -> None:
    """Late writes of sleepers, probes of the dead, watermarks of a salt that is long gone."""
    harness = small_harness()
    await export(harness.equip(), RUN)
    garbage = [
        "_probe/0123",
        "fields/20200101T000000Z-0000.json",
        "open/backfill/20200101T000000Z-0000/uploads/0001-00001",
        "open/run/20200101T000000Z-0000/journal/mail_messages-00001.json",
        "open/run/20200101T000000Z-0000/seal-0001",
        "owed/another-salt",
        "watermarks/another-salt",
    ]
    state = MemoryStore(harness.state_bucket)
    kept = without_leases(harness.state_bucket)
    for key in garbage:
        await state.create(key, b"")

    assert sorted(await cleaned(harness)) == garbage
    assert without_leases(harness.state_bucket) == kept


async def test_watermarks_of_a_salt_that_was_used_lately_stay() -> None:
    """Who replaced the salt by mistake has some weeks to notice; without watermarks there would be a gap."""
    harness = small_harness()
    await export(harness.equip(), RUN)

    assert await cleaned(harness, salt="a-new-one") == []
    harness.now += SALTS_KEPT_FOR + timedelta(days=1)
    assert await cleaned(harness, salt="a-new-one") == [], "the last sealed run still has it"
    last = harness.state_bucket.objects[max(key for key in harness.state_bucket.objects if key.startswith("history/"))]
    newer = msgspec.json.decode(last)
    newer |= {"run_id": "20270101T000000Z-ffff", "salt_fingerprint": "a-new-one", "started_at": harness.now}
    await MemoryStore(harness.state_bucket).create("history/20270101T000000Z-ffff.json", msgspec.json.encode(newer))
    assert await cleaned(harness, salt="a-new-one") == ["watermarks/s"]


async def test_watermarks_of_a_salt_whose_fingerprint_begins_with_a_dot_stay() -> None:
    """Their key begins otherwise."""
    harness = small_harness()
    await export(harness.equip(), RUN)
    await MemoryStore(harness.state_bucket).create(key_of_salt("watermarks", ".s"), b"")

    assert await cleaned(harness, salt=".s") == []


@pytest.mark.parametrize("kind", RunKind)
async def test_it_refuses_while_a_run_of_any_kind_is_at_work(kind: RunKind) -> None:
    """What a run writes now may look as if nothing referred to it."""
    harness = small_harness()
    async with hold(MemoryStore(harness.state_bucket), kind, clock=lambda: harness.now):
        with pytest.raises(LeaseHeld):
            await cleaned(harness)


async def test_it_stops_when_its_lease_is_gone() -> None:
    """From then on a run may be at work."""
    harness = small_harness()
    state = MemoryStore(harness.state_bucket)
    await state.create("_probe/1", b"")
    async with hold(state, RunKind.RUN, clock=lambda: harness.now) as lease:
        harness.now += BEYOND_THE_LEASE
        with pytest.raises(LeaseLost):
            await clean(state, [lease], salt_fingerprint="s", now=harness.now)

    assert "_probe/1" in harness.state_bucket.objects


async def test_a_cleaning_that_dies_at_any_step_is_continued() -> None:
    """What is removed is referred to by nothing, so it does not matter how far it came."""
    for step in range(1, 40):
        harness = small_harness()
        await interrupted(harness, RUN, 90)
        state = MemoryStore(harness.state_bucket)
        for number in range(3):
            await state.create(f"open/run/20200101T000000Z-0000/uploads/0001-0000{number}", b"")
        with suppress(Died):
            await cleaned(harness, hook=dies_at(step))
        harness.now += BEYOND_THE_LEASE

        await cleaned(harness)
        await export(harness.equip(), RUN)

        check_complete(harness)
        assert not [key for key in harness.state_bucket.objects if "20200101T" in key]


COMMANDS = st.lists(
    st.tuples(st.sampled_from([RUN, BACKFILL]), st.one_of(st.none(), st.integers(1, 160))), min_size=1, max_size=4
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(COMMANDS)
def test_a_cleaning_between_any_two_commands_changes_nothing(commands: list[tuple[Request, int | None]]) -> None:
    """Runs and backfills that end or die at any step, with and without cleanings between: the same state remains.

    Nothing that the next command looks at is removed, whatever the history was.
    """

    async def history(*, is_cleaned: bool) -> tuple[Harness, list[str]]:
        harness, removed = small_harness(), []
        for request, step in commands:
            if step is None:
                await export(harness.equip(), request)
                harness.now += BEYOND_THE_LEASE
            else:
                await interrupted(harness, request, step)
            if is_cleaned:
                removed += await cleaned(harness)
        for request in (BACKFILL, RUN):
            await export(harness.equip(), request)
            harness.now += timedelta(hours=1)
        return harness, removed

    with_cleaning, removed = asyncio.run(history(is_cleaned=True))
    without, _ = asyncio.run(history(is_cleaned=False))

    def shape(harness: Harness) -> list[tuple[str, int]]:
        """Rows by dataset and run, in the order of the runs; run ids themselves are drawn by lot."""
        runs = sorted(key for key in harness.state_bucket.objects if key.startswith("history/"))
        return [
            (dataset, line["rows"])
            for key in runs
            for dataset, line in sorted(msgspec.json.decode(harness.state_bucket.objects[key])["datasets"].items())
        ]

    check_complete(with_cleaning)
    assert shape(with_cleaning) == shape(without)
    assert not [key for key in removed if key.startswith(("history/", "leases/"))]
