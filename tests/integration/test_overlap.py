"""A run and a backfill at once, as real processes: together never more than one may ask for."""

import asyncio
import json
import re
import signal
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.emulator import Emulator, Tenant
from connectors.emulator.faults import Effect, Fault
from tests.integration.conftest import NOW
from tests.integration.deaths import CONNECTORS, LITTLE, RUN
from tests.integration.doomed import Fate, ended
from tests.integration.ground import Folders, Row, operator, rows_in, seen
from tests.integration.test_recovery import until_asleep, wake
from tests.integration.waiting import wait_until

BACKFILL = ("backfill", "--from", "2026-02-25", "--to", "2026-03-01")
MAILBOX_REQUESTS_IN_FLIGHT = 4
SLOW = Fault(effect=Effect.SLOW, seconds=0.1)  # so that requests of both are open at once
LOOK_S = 0.2


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", ["run", "backfill"])
async def test_a_run_and_a_backfill_share_each_mailbox(tmp_path: Path, first: str) -> None:
    """Whoever was there first: at most four requests in a mailbox, none refused; both are exact and apart."""
    ground = Folders(tmp_path)
    tenant = Tenant(seed=3, users=4, now=NOW, history=timedelta(days=8), profile=LITTLE)
    commands = {"run": RUN, "backfill": BACKFILL}
    second = "backfill" if first == "run" else "run"
    async with Emulator(tenant) as emulator:
        expected = {}
        for kind, command in commands.items():
            alone = operator(tmp_path / kind, emulator, ground, keys=CONNECTORS)
            assert await alone.call(*command) == 0, alone.log()
            expected[kind] = (await seen(ground, kind)).rows

        emulator.counters.reset()
        emulator.faults.replace([SLOW])
        here = operator(tmp_path / "both", emulator, ground, keys=CONNECTORS)
        there = operator(tmp_path / "there", emulator, ground, place="both", keys=CONNECTORS)
        fate = Fate(signal.SIGSTOP, at_step="before publish mailbox_settings/", look_s=LOOK_S)
        process = here.start(*commands[first], fate=fate)
        await until_asleep(process)
        other = there.start(*commands[second], fate=Fate(look_s=LOOK_S))
        await until_held(ground, second)
        wake(process)
        assert await ended(process) == 0, here.log()
        assert await ended(other) == 0, there.log()

    assert max(emulator.counters.max_in_flight.values()) <= MAILBOX_REQUESTS_IN_FLIGHT
    assert not emulator.counters.refusals
    manifests = [
        json.loads(data) for key, data in ground.visible("both").items() if re.fullmatch(r"_manifests/[^.]+\.json", key)
    ]
    assert {each["kind"] for each in manifests} == commands.keys()
    assert max(each["started_at"] for each in manifests) < min(each["finished_at"] for each in manifests)
    for each in manifests:
        paths = {part["path"] for line in each["datasets"].values() for part in line["parts"]}
        assert {path.split("/")[1] for path in paths} == {each["run_id"]}
        assert rows_of(ground, paths) == expected[each["kind"]]
    assert (await seen(ground, "both")).runs == {each["run_id"] for each in manifests}


def rows_of(ground: Folders, paths: set[str]) -> frozenset[Row]:
    """What a reader finds in these parts."""
    return rows_in({path: data for path, data in ground.visible("both").items() if path in paths}).rows


async def until_held(ground: Folders, kind: str) -> None:
    """A command of the kind is at work."""
    async with asyncio.timeout(60):
        await asyncio.to_thread(wait_until, lambda: f"leases/{kind}.json" in ground.state("both"))
