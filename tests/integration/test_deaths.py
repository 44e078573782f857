"""A real process is killed at a chosen step of what a store sees; the next command of the kind puts everything right.

After each death a reader who globs sees no row twice and no half unit. After the repair the rows are those of an
undisturbed run, under one run id, and nothing was asked of Graph for a mailbox that was read and published before.
"""

import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from connectors.emulator import Emulator, Tenant, TenantProfile
from pipeline.journal import Entry
from tests.integration.conftest import NOW
from tests.integration.doomed import Fate
from tests.integration.ground import Folders, Ground, Row, operator, s3_ground, seen
from tests.integration.site import token

RUN = ("run", "--until", "2026-03-02T03:00:00Z")
CONNECTORS: dict[str, object] = {"connectors": {"entra-id": {}, "outlook-mail": {}, "outlook-calendar": {}}}
MAILBOX_DATASETS = {"mailbox_settings", "mail_messages", "mail_contacts", "calendar_events"}
LITTLE = TenantProfile(mailboxes={}, mail_per_week=20, meetings_per_week=6)
# Where one thing has just been made sure of, and the next one not yet.
DECISIVE = (  # RUN stands for the run's id
    "after replace open/run.json",
    "after begin mail_messages/",
    "after create open/run/RUN/journal/mail_messages-00001.json",
    "after publish mail_messages/",
    "after create open/run/RUN/journal/mail_messages-00002.outcome",
    "after create open/run/RUN/seal-0001",
    "after publish _manifests/RUN.json",
    "after replace watermarks/",
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A tenant, a place to write to, and what an undisturbed run makes of both."""

    emulator: Emulator
    ground: Ground
    folder: Path
    expected: frozenset[Row]
    steps: list[str]  # that an undisturbed run takes


@pytest.fixture(params=["local", "s3"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    if request.param == "local":
        yield Folders(tmp_path)
        return
    with s3_ground(tmp_path) as s3:
        yield s3


@asynccontextmanager
async def scene(folder: Path, ground: Ground, *, users: int) -> AsyncIterator[Scene]:
    tenant = Tenant(seed=3, users=users, now=NOW, history=timedelta(days=5), profile=LITTLE)
    async with Emulator(tenant) as emulator:
        calm = operator(folder / "calm", emulator, ground, keys=CONNECTORS)
        assert await calm.call(*RUN) == 0, calm.log()
        expected = (await seen(ground, "calm")).rows
        assert len({owner for dataset, owner, _ in expected if dataset == "mail_messages"}) == users
        yield Scene(emulator, ground, folder, expected, calm.steps())


async def die_and_repair(scene: Scene, name: str, fate: Fate) -> int:
    """Kill one run, check what is visible, run again, check everything; how many mailboxes needed no second reading."""
    someone = operator(scene.folder / name, scene.emulator, scene.ground, keys=CONNECTORS)
    code = await someone.call(*RUN, fate=fate)
    assert code == -signal.SIGKILL, someone.log()
    last = someone.steps()[-1]
    found = await seen(scene.ground, name)
    check_no_half_unit(found.rows, scene.expected, last)
    is_over = state_of(scene.ground, name) == "over"
    done = read_mailboxes(scene.ground, name)

    scene.emulator.counters.reset()
    assert await someone.call(*RUN) == 0, (last, someone.log())

    repaired = await seen(scene.ground, name)
    assert repaired.rows == scene.expected, last
    assert len(repaired.runs) == (2 if is_over else 1), last
    assert found.runs <= repaired.runs, last
    asked = {token(user) for user in scene.emulator.counters.max_in_flight}
    assert not asked & done, last
    return len(done)


def check_no_half_unit(found: frozenset[Row], expected: frozenset[Row], last: str) -> None:
    """Of each principal's dataset all or nothing, where that is one unit: a calendar is several."""
    assert found <= expected, last
    units = {row[:2] for row in found if row[0] != "calendar_events"}
    assert {row for row in expected if row[:2] in units} <= found, last


def state_of(ground: Ground, name: str) -> str:
    """Whether the run is still open; if not, the next command begins another."""
    slot = ground.state(name).get("open/run.json")
    if slot is None:
        return "not begun"
    return "over" if json.loads(slot)["open"] is None else "open"


def read_mailboxes(ground: Ground, name: str) -> set[str]:
    """Pseudonyms of the users everything of whose mailbox is visible, or known to be empty."""
    if state_of(ground, name) == "over":
        return set()
    read: dict[str, set[str]] = {}
    visible = ground.visible(name)
    for key, data in ground.state(name).items():
        if "/journal/" in key and key.endswith(".json"):
            entry = msgspec.json.decode(data, type=Entry)
            for unit in entry.units if entry.path in visible else ():
                read.setdefault(unit.principal, set()).add(entry.dataset)
    return {principal for principal, datasets in read.items() if datasets >= MAILBOX_DATASETS}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_process_that_is_killed_at_a_decisive_step_is_continued(tmp_path: Path) -> None:
    """On S3: whatever was sure stays, and whatever was not is made sure."""
    with s3_ground(tmp_path) as s3:
        async with scene(tmp_path, s3, users=2) as here:
            for number, step in enumerate(DECISIVE):
                await die_and_repair(here, f"death-{number}", Fate(signal.SIGKILL, at_step=step))


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_a_process_that_is_killed_at_any_step_is_continued(tmp_path: Path, ground: Ground) -> None:
    """Before and after every call that changes something, on a folder and on S3."""
    async with scene(tmp_path, ground, users=2) as here:
        spared = 0
        for number in range(1, len(here.steps) + 1):
            spared += await die_and_repair(here, f"death-{number}", Fate(signal.SIGKILL, at=number))
        assert spared > 0
