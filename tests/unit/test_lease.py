"""One writer per kind: who holds the lease, who may take it, who has lost it."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from pipeline.errors import LeaseHeld, LeaseLost, StoreUnavailable
from pipeline.lease import LEASE_LIFETIME, Holder, hold
from pipeline.model import RunKind
from sinks.stores.memory import MemoryBucket, MemoryStore, Step


class Watch:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def test_the_second_of_a_kind_is_turned_away_and_told_until_when() -> None:
    """A live lease of the kind stops the next run at once; another kind is free."""
    state, watch = MemoryStore(), Watch()
    async with hold(state, RunKind.RUN, clock=watch):
        with pytest.raises(LeaseHeld) as caught:
            async with hold(state, RunKind.RUN, clock=watch):
                pass
        async with hold(state, RunKind.BACKFILL, clock=watch):
            pass

    assert caught.value.until == watch.now + LEASE_LIFETIME


async def test_a_released_lease_is_free_at_once() -> None:
    """Whoever ends properly makes nobody wait."""
    state, watch = MemoryStore(), Watch()
    async with hold(state, RunKind.RUN, clock=watch):
        pass
    async with hold(state, RunKind.RUN, clock=watch) as lease:
        lease.check()


async def test_an_expired_lease_can_be_taken_and_its_holder_notices() -> None:
    """A paused process that wakes up late publishes nothing more."""
    bucket, watch = MemoryBucket(), Watch()
    async with hold(MemoryStore(bucket), RunKind.RUN, clock=watch) as paused:
        watch.now += LEASE_LIFETIME + timedelta(seconds=1)
        with pytest.raises(LeaseLost):
            paused.check()
        async with hold(MemoryStore(bucket), RunKind.RUN, clock=watch):
            with pytest.raises(LeaseLost):
                await paused.renew()


async def test_a_renewed_lease_lasts() -> None:
    """A heartbeat moves the expiry."""
    state, watch = MemoryStore(), Watch()
    async with hold(state, RunKind.RUN, clock=watch) as lease:
        for _ in range(5):
            watch.now += LEASE_LIFETIME / 2
            await lease.renew()
            lease.check()


async def test_a_renewal_whose_reply_was_lost_does_not_cost_the_lease() -> None:
    """The next heartbeat finds its own record and goes on from there."""
    watch, lost = Watch(), False

    async def hook(step: Step) -> None:
        if lost and step.action == "replace" and step.when == "after":
            raise StoreUnavailable("no answer")

    async with hold(MemoryStore(hook=hook), RunKind.RUN, clock=watch) as lease:
        watch.now += LEASE_LIFETIME / 4
        lost = True
        with pytest.raises(StoreUnavailable):
            await lease.renew()
        lost = False
        watch.now += LEASE_LIFETIME / 4

        await lease.renew()
        watch.now += LEASE_LIFETIME * 3 / 4 - timedelta(seconds=1)
        lease.check()
        await lease.renew()
        watch.now += LEASE_LIFETIME - timedelta(seconds=1)
        lease.check()


async def test_a_lease_whose_process_is_gone_is_free() -> None:
    """On the same machine nobody waits for a process that does not exist any more."""
    state, watch = MemoryStore(), Watch()
    async with hold(state, RunKind.RUN, clock=watch):
        found = await state.read("leases/run.json")
        assert found is not None
        record = msgspec.json.decode(found.data)
        record["holder"]["started"] = "1"
        assert await state.replace("leases/run.json", msgspec.json.encode(record), version=found.version)
        async with hold(state, RunKind.RUN, clock=watch) as lease:
            lease.check()


def test_a_holder_knows_that_it_lives() -> None:
    """The own process is never taken for gone, nor is one of another machine."""
    assert not Holder.current().is_gone()
    assert not Holder("elsewhere", "another-boot/1", 1, "1").is_gone()
