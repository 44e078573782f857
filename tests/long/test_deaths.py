"""The crash matrix: real processes are killed, on a folder and on S3, and what follows puts everything right.

- At every step: before and after each call of an undisturbed run that changes something in a store (268 of them:
  lease, progress, journal, uploads and their pieces, publication, outcome, decision, manifest and its side files,
  watermarks, history, clearing away, release), each at every one of its occurrences.
- At every step with which a repair begins: bars, fences and what is given up, after a death between journal and
  publication.
- At every step at which datasets keep what they taught others (an export of Teams).
- At random moments: 200 of them on each store, every second one during the repair of another.

What must be true afterwards: `tests/integration/deaths.py`. Each group of deaths has a tenant and a store of its own,
so that groups run side by side.
"""

import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

from tests.integration.deaths import CONNECTORS, Scene, Victim, scene
from tests.integration.doomed import Fate, nameless
from tests.integration.ground import Folders, Ground, s3_ground

GROUPS, REPAIR_GROUPS = 8, 3
RANDOM_KILLS, KILLS_PER_GROUP = 200, 25
LATEST_S = 0.2  # after a step; most are followed by the next within that time
SEED = 20260302
# After a death when the run was over comes another run, whose overlap is to reach no further back than the first.
BEYOND_THE_OVERLAP: dict[str, object] = {"initial_lookback": "8d"}
WITHOUT_GROUPS: dict[str, object] = BEYOND_THE_OVERLAP | {
    "privacy": {"salt": "env:M365_EXPORT_SALT", "groups": False}
}  # steps like those of others
ALL_CONNECTORS: dict[str, object] = {
    "connectors": {name: {} for name in ("entra-id", "outlook-mail", "outlook-calendar", "msft-teams")}
}
BETWEEN_JOURNAL_AND_PUBLICATION = Fate(
    signal.SIGKILL, at_step="after create open/run/RUN/journal/mail_messages-00002.json"
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


@pytest.fixture(params=["local", "s3"])
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    if request.param == "local":
        yield Folders(tmp_path)
        return
    with s3_ground(tmp_path) as s3:
        yield s3


@pytest.fixture
async def mail(tmp_path: Path, ground: Ground) -> AsyncIterator[Scene]:
    """Two users with mail and a calendar; every unit is a part."""
    async with scene(tmp_path, ground, users=2, keys=CONNECTORS | WITHOUT_GROUPS) as here:
        yield here


@pytest.mark.parametrize("group", range(GROUPS))
async def test_a_process_that_is_killed_at_any_step_is_continued(mail: Scene, group: int) -> None:
    """Before and after every call that changes something; whoever was read before is not read again."""
    spared = 0
    for number, fate in list(enumerate(at_each(mail.steps)))[group::GROUPS]:
        victim = Victim(mail, f"death-{number}")
        assert await victim.die(fate), fate
        spared += len(victim.done)
        await victim.recover()
    assert spared > 0


@pytest.mark.parametrize("group", range(REPAIR_GROUPS))
async def test_a_repair_that_is_killed_at_any_step_is_continued(mail: Scene, group: int) -> None:
    """Before and after every call until what an earlier process left is settled."""
    practice = Victim(mail, "practice")
    assert await practice.die(BETWEEN_JOURNAL_AND_PUBLICATION)
    await practice.recover()
    steps = practice.steps()
    settled = next(number for number, step in enumerate(steps) if "/uploads/0002-" in step)  # it begins one of its own
    assert any(".fence" in step for step in steps[:settled])
    for number in range(1, settled + 1)[group::REPAIR_GROUPS]:
        victim = Victim(mail, f"repair-{number}")
        assert await victim.die(BETWEEN_JOURNAL_AND_PUBLICATION)
        assert await victim.die(Fate(signal.SIGKILL, at=number))
        await victim.recover()


async def test_a_process_that_is_killed_while_it_keeps_what_it_learnt_is_continued(
    tmp_path: Path, ground: Ground
) -> None:
    """Meetings are found through the events of a calendar that is not read again."""
    async with scene(tmp_path, ground, users=2, keys=ALL_CONNECTORS | WITHOUT_GROUPS) as here:
        fates = [fate for fate in at_each(here.steps) if "/learnt-" in fate.at_step]
        assert len(fates) >= 4
        for number, fate in enumerate(fates):
            victim = Victim(here, f"death-{number}")
            assert await victim.die(fate), fate
            await victim.recover()


@pytest.mark.parametrize("first", range(0, RANDOM_KILLS, KILLS_PER_GROUP))
async def test_kills_at_random_moments_lose_nothing_and_double_nothing(
    tmp_path: Path, ground: Ground, first: int
) -> None:
    """While Graph answers, bytes are sent, records are sanitized; parts hold several units of all connectors."""
    chance = random.Random(SEED + first)
    keys = ALL_CONNECTORS | BEYOND_THE_OVERLAP | {"output": {"part_size": "16KiB"}}
    async with scene(tmp_path, ground, users=3, keys=keys) as here:
        kills = place = 0
        while kills < KILLS_PER_GROUP:
            victim = Victim(here, f"place-{place}")
            place += 1
            died = 0
            while died < 2 and await victim.die(at_random(chance, len(here.steps))):
                died += 1
            if died == 2:
                await victim.recover()
            kills += died


def at_each(steps: Iterable[str]) -> list[Fate]:
    """Death at each of the steps, whatever the order in which they come."""
    met: Counter[str] = Counter()
    fates = []
    for step in map(nameless, steps):
        met[step] += 1
        fates.append(Fate(signal.SIGKILL, at_step=step, occurrence=met[step]))
    return fates


def at_random(chance: random.Random, steps: int) -> Fate:
    return Fate(signal.SIGKILL, at=chance.randint(1, steps), delay_s=chance.uniform(0, LATEST_S))
