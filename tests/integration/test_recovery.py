"""What a run may lose besides its life: the machine, the bucket, the disk, the network, its lease."""

import asyncio
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.https_server import Asked, Told, served
from tests.integration.deaths import CONNECTORS, RUN, scene
from tests.integration.doomed import Fate, ended
from tests.integration.ground import Folders, operator, s3_ground, seen
from tests.integration.waiting import wait_until
from tests.servers.s3 import Dialect, Fault, Operation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def test_another_machine_waits_for_the_lease_and_continues_from_the_bucket_alone(tmp_path: Path) -> None:
    """Exit 6 with since when and until when, as long as the lost machine may live; then its run goes on."""
    with s3_ground(tmp_path) as s3:
        async with scene(tmp_path, s3, users=2) as here:
            lost = operator(tmp_path / "lost", here.emulator, s3, keys=CONNECTORS)
            fate = Fate(signal.SIGKILL, at_step="after publish mail_messages/")
            assert await lost.call(*RUN, fate=fate) == -signal.SIGKILL
            (begun,) = (await seen(s3, "lost")).runs
            lease = json.loads(s3.state("lost")["leases/run.json"])
            lease["holder"] |= {"host": "lost-machine", "machine": "another boot of another machine"}
            s3.put_state("lost", "leases/run.json", json.dumps(lease).encode())

            other = operator(tmp_path / "other", here.emulator, s3, place="lost", keys=CONNECTORS)
            assert await other.call(*RUN) == 6
            since, until = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", other.log())
            assert since[:19] == lease["since"][:19]
            assert until[:19] == lease["until"][:19]
            assert "lost-machine" in other.log()

            s3.put_state("lost", "leases/run.json", json.dumps(lease | {"until": lease["since"]}).encode())
            assert await other.call(*RUN) == 0, other.log()
            assert (await seen(s3, "lost")).rows == here.expected
            assert (await seen(s3, "lost")).runs == {begun}


async def test_a_process_that_wakes_without_its_lease_publishes_nothing_more(tmp_path: Path) -> None:
    """Stopped by the kernel in the middle of a part; another run has finished the work when it goes on: exit 6."""
    ground = Folders(tmp_path)
    async with scene(tmp_path, ground, users=2) as here:
        sleeper = operator(tmp_path / "shared", here.emulator, ground, keys=CONNECTORS)
        fate = Fate(signal.SIGSTOP, at_step="before publish mail_messages/", lease_s=3)
        process = sleeper.start(*RUN, fate=fate)
        other = operator(tmp_path / "other", here.emulator, ground, place="shared", keys=CONNECTORS)
        await until_asleep(process)
        async with asyncio.timeout(60):
            while (code := await other.call(*RUN)) == 6:
                pass  # the lease lasts a little yet
        assert code == 0, other.log()
        assert (await seen(ground, "shared")).rows == here.expected
        visible = ground.visible("shared")

        wake(process)
        assert await ended(process) == 6, sleeper.log()

        assert ground.visible("shared") == visible
        assert await other.call(*RUN) == 0


async def test_a_full_disk_is_told_and_continued(tmp_path: Path) -> None:
    """Exit 3 with what to do; what was published stays, and once there is room the run goes on."""
    ground = Folders(tmp_path)
    async with scene(tmp_path, ground, users=2) as here:
        someone = operator(tmp_path / "full", here.emulator, ground, keys=CONNECTORS)
        assert await someone.call(*RUN, fate=Fate(disk_bytes=60_000)) == 3
        assert "no space left; free some, the next run continues" in someone.log()
        (begun,) = (await seen(ground, "full")).runs
        before = {key for key in ground.visible("full") if key.endswith(".parquet")}

        assert await someone.call(*RUN) == 0, someone.log()
        assert (await seen(ground, "full")).rows == here.expected
        assert before <= set(ground.visible("full"))
        assert (await seen(ground, "full")).runs == {begun}


async def test_a_full_disk_of_the_state_is_told_and_continued(tmp_path: Path) -> None:
    """Wherever it is full: exit 3 with what to do, no half-written file stays, and the next run goes on."""
    ground = Folders(tmp_path)
    async with scene(tmp_path, ground, users=2) as here:
        written = sum(len(data) for data in ground.state("calm").values())
        for tenths in (1, 3, 6, 9):
            name = f"full-{tenths}"
            someone = operator(tmp_path / name, here.emulator, ground, keys=CONNECTORS)
            assert await someone.call(*RUN, fate=Fate(state_bytes=written * tenths // 10)) == 3, someone.log()
            assert "the state folder: no space left; free some, the next run continues" in someone.log()
            assert not list((tmp_path / name / "state" / ".staging").glob("*@*"))
            before = await seen(ground, name)

            assert await someone.call(*RUN) == 0, someone.log()
            after = await seen(ground, name)
            assert after.rows == here.expected
            assert before.runs <= after.runs
            assert len(after.runs) == 1


async def test_credentials_that_expire_half_way_are_renewed(tmp_path: Path) -> None:
    """The store refuses them in mid-run, whatever end they stated; where there are new ones the run goes on."""
    with s3_ground(tmp_path) as s3, temporary_credentials(tmp_path) as issued:
        async with scene(tmp_path, s3, users=2) as here:
            someone = operator(tmp_path / "half", here.emulator, s3, keys=CONNECTORS)
            published = 0
            over: frozenset[str] = frozenset()

            def over_after_three_parts(operation: Operation, key: str) -> Fault | None:
                nonlocal published, over
                if s3.front.dialect.headers[-1]["HTTP_X_AMZ_SECURITY_TOKEN"] in over:
                    return "expire"
                published += operation in {"put", "complete"} and key.endswith(".parquet")
                if published == 3:
                    over = over or frozenset(issued)
                return None

            s3.front.dialect = Dialect(fault=over_after_three_parts)
            assert await someone.call(*RUN) == 0, someone.log()
            s3.front.dialect = Dialect()
            assert over < set(issued)
            assert (await seen(s3, "half")).rows == here.expected


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("expire", "the credentials are not valid there, or no longer; renew them"),
        ("vanish", "the bucket does not exist; create it or correct its name"),
        ("fail", "S3 fails for now"),
    ],
)
async def test_a_bucket_that_is_lost_half_way(tmp_path: Path, fault: Fault, advice: str) -> None:
    """Exit 3 and what to do; once it is back the run goes on, `verify` passes on all."""
    with s3_ground(tmp_path) as s3:
        async with scene(tmp_path, s3, users=2) as here:
            someone = operator(tmp_path / "half", here.emulator, s3, keys=CONNECTORS)
            published = 0

            def lost_after_three_parts(operation: Operation, key: str) -> Fault | None:
                nonlocal published
                if published >= 3:
                    return fault
                published += operation in {"put", "complete"} and key.endswith(".parquet")
                return None

            s3.front.dialect = Dialect(fault=lost_after_three_parts)
            assert await someone.call(*RUN) == 3, someone.log()
            assert advice in someone.log()
            assert "What was published so far stays valid" in someone.log()
            s3.front.dialect = Dialect()
            before = s3.visible("half")
            assert await someone.call(*RUN) == 0, someone.log()
            assert before.items() < s3.visible("half").items()
            assert (await seen(s3, "half")).rows == here.expected
            assert await someone.call("verify") == 0, someone.log()


async def test_a_damaged_state_is_told_and_continued_once_restored(tmp_path: Path) -> None:
    """Exit 3 and which object it is, whichever it is; once that is restored the run goes on and loses nothing."""
    ground = Folders(tmp_path)
    async with scene(tmp_path, ground, users=2) as here:
        someone = operator(tmp_path / "cut", here.emulator, ground, keys=CONNECTORS)
        fate = Fate(signal.SIGKILL, at_step="after publish mail_messages/RUN/mail_messages-00002")
        assert await someone.call(*RUN, fate=fate) == -signal.SIGKILL
        visible = ground.visible("cut")
        (begun,) = (await seen(ground, "cut")).runs
        journal = f"open/run/{begun}/journal/mail_messages-00001"

        for key in ("leases/run.json", "open/run.json", f"{journal}.json", f"{journal}.outcome"):
            whole = ground.state("cut")[key]
            ground.put_state("cut", key, b"")
            assert await someone.call(*RUN) == 3, key
            assert f"the state holds `{key}`, which is damaged" in someone.log()
            assert visible.items() <= ground.visible("cut").items()
            ground.put_state("cut", key, whole)

        assert await someone.call(*RUN) == 0, someone.log()
        assert (await seen(ground, "cut")).rows == here.expected
        assert (await seen(ground, "cut")).runs == {begun}


async def test_a_second_run_of_the_kind_is_turned_away_at_once(tmp_path: Path) -> None:
    """While the first is at work: exit 6, since when and until when, and nothing of the first is touched."""
    ground = Folders(tmp_path)
    async with scene(tmp_path, ground, users=2) as here:
        first = operator(tmp_path / "busy", here.emulator, ground, keys=CONNECTORS)
        process = first.start(*RUN, fate=Fate(signal.SIGSTOP, at_step="before publish mail_messages/"))
        second = operator(tmp_path / "second", here.emulator, ground, place="busy", keys=CONNECTORS)
        await until_asleep(process)
        here.emulator.counters.reset()

        assert await second.call(*RUN) == 6
        assert re.search(r"another run holds the lease: .+, since 20\S+Z, until 20\S+Z", second.log())
        assert second.steps() == []
        assert not here.emulator.counters.max_in_flight

        wake(process)
        assert await ended(process) == 0, first.log()
        assert (await seen(ground, "busy")).rows == here.expected


@contextmanager
def temporary_credentials(folder: Path) -> Iterator[list[str]]:
    """What a container is given: another session at each question, said to last an hour; their tokens as issued."""
    issued: list[str] = []

    def issue(asked: Asked) -> Told:
        issued.append(f"session-{len(issued)}")
        ends = datetime.now(UTC) + timedelta(hours=1)
        return Told(
            body={
                "AccessKeyId": "temporary",
                "SecretAccessKey": "temporary",
                "Token": issued[-1],
                "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
            }
        )

    with served(issue, folder=folder, tls=False) as endpoint:
        os.environ |= {  # `s3_ground` puts back what was there
            "AWS_ACCESS_KEY_ID": "",
            "AWS_SECRET_ACCESS_KEY": "",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{endpoint.url}/credentials",
        }
        yield issued


async def until_asleep(process: BaseProcess) -> None:
    """The kernel has stopped it."""
    assert process.pid is not None
    async with asyncio.timeout(60):
        await asyncio.to_thread(wait_until, lambda: _state_of(process) == "T")


def _state_of(process: BaseProcess) -> str:
    """As the kernel has it."""
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def wake(process: BaseProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGCONT)
