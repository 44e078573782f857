"""A tenant, a place to write to, and somebody whose runs are killed there: what must be true after each death.

After a death a reader who globs sees no row twice within a run and no half unit. After the run that comes through, the
rows are those of an undisturbed run, under the run id of the death (unless that run was over), and nothing was asked
of Graph for a mailbox that was read and published before.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import msgspec

from connectors.emulator import Emulator, Tenant, TenantProfile
from pipeline.journal import Entry
from tests.integration.conftest import NOW
from tests.integration.doomed import Fate, Operator
from tests.integration.ground import Ground, Row, operator, rows_in, seen
from tests.integration.site import token

RUN = ("run", "--until", "2026-03-02T03:00:00Z")
CONNECTORS: dict[str, object] = {"connectors": {"entra-id": {}, "outlook-mail": {}, "outlook-calendar": {}}}
MAILBOX_DATASETS = {"mailbox_settings", "mail_messages", "mail_contacts", "calendar_events"}
UNIT_FOR_EACH_OWNER = MAILBOX_DATASETS - {"calendar_events"} | {"entra_users", "entra_groups", "entra_group_members"}
LITTLE = TenantProfile(mailboxes={}, mail_per_week=20, meetings_per_week=6)


@dataclass(frozen=True, slots=True)
class Scene:
    """A tenant, a place to write to, and what an undisturbed run makes of both."""

    emulator: Emulator
    ground: Ground
    folder: Path
    keys: Mapping[str, object]
    expected: frozenset[Row]
    steps: list[str]  # that an undisturbed run takes


@asynccontextmanager
async def scene(
    folder: Path, ground: Ground, *, users: int, keys: Mapping[str, object] | None = None
) -> AsyncIterator[Scene]:
    """`keys` are settings beyond those of `operator`; without any, users have mail and a calendar."""
    tenant = Tenant(seed=3, users=users, now=NOW, history=timedelta(days=5), profile=LITTLE)
    async with Emulator(tenant) as emulator:
        calm = operator(folder / "calm", emulator, ground, keys=CONNECTORS if keys is None else keys)
        assert await calm.call(*RUN) == 0, calm.log()
        expected = (await seen(ground, "calm")).rows
        assert len({owner for dataset, owner, _ in expected if dataset == "mail_messages"}) == users
        yield Scene(emulator, ground, folder, CONNECTORS if keys is None else keys, expected, calm.steps())


@dataclass(slots=True)
class Victim:
    """Somebody whose runs are killed, and what is known of the deaths until now."""

    scene: Scene
    name: str
    runs: set[str] = field(default_factory=set)  # that published anything
    done: set[str] = field(default_factory=set)  # pseudonyms of users whom the next run has no reason to ask for
    runs_over: int = 0

    async def die(self, fate: Fate) -> bool:
        """Whether the run died; if its fate came too late, it has come through."""
        someone = self._operator()
        self.scene.emulator.counters.reset()
        code = await someone.call(*RUN, fate=fate)
        if code == 0:
            await asyncio.to_thread(self._check_whole, someone)
            return False
        assert code == -signal.SIGKILL, someone.log()
        await asyncio.to_thread(self._take_stock, someone)
        return True

    async def recover(self) -> None:
        """A run that nothing happens to puts everything right."""
        someone = self._operator()
        self.scene.emulator.counters.reset()
        assert await someone.call(*RUN) == 0, (self.name, someone.log())
        await asyncio.to_thread(self._check_whole, someone)

    def steps(self) -> list[str]:
        """What the stores saw of the last run."""
        return self._operator().steps()

    def _operator(self) -> Operator:
        return operator(self.scene.folder / self.name, self.scene.emulator, self.scene.ground, keys=self.scene.keys)

    def _take_stock(self, someone: Operator) -> None:
        last = f"{self.name}: {someone.steps()[-1]}"
        visible, state = self.scene.ground.visible(self.name), self.scene.ground.state(self.name)
        found = rows_in(visible)
        check_no_half_unit(found.rows, self.scene.expected, last)
        self._check_nobody_is_asked_again(last)
        self.runs |= found.runs
        slot = state.get("open/run.json")
        is_over = slot is not None and json.loads(slot)["open"] is None
        self.runs_over += is_over
        self.done = set() if is_over else read_mailboxes(visible, state)

    def _check_whole(self, someone: Operator) -> None:
        last = f"{self.name}: {someone.steps()[-1]}"
        found = rows_in(self.scene.ground.visible(self.name))
        assert found.rows == self.scene.expected, last
        assert len(found.runs) == 1 + self.runs_over, last
        assert self.runs <= found.runs, last
        self._check_nobody_is_asked_again(last)

    def _check_nobody_is_asked_again(self, last: str) -> None:
        asked = {token(user) for user in self.scene.emulator.counters.max_in_flight}
        assert not asked & self.done, last


def check_no_half_unit(found: frozenset[Row], expected: frozenset[Row], last: str) -> None:
    """Of each principal's dataset all or nothing, where that is one unit: a calendar is several."""
    assert found <= expected, last
    units = {row[:2] for row in found if row[0] in UNIT_FOR_EACH_OWNER}
    assert {row for row in expected if row[:2] in units} <= found, last


def read_mailboxes(visible: Mapping[str, bytes], state: Mapping[str, bytes]) -> set[str]:
    """Pseudonyms of the users everything of whose mailbox is visible, or known to be empty."""
    read: dict[str, set[str]] = {}
    for key, data in state.items():
        if "/journal/" in key and key.endswith(".json"):
            entry = msgspec.json.decode(data, type=Entry)
            is_there = sha256(visible.get(entry.path, b"")).hexdigest() == entry.sha256  # and no fence in its place
            for unit in entry.units if is_there else ():
                read.setdefault(unit.principal, set()).add(entry.dataset)
    return {principal for principal, datasets in read.items() if datasets >= MAILBOX_DATASETS}
