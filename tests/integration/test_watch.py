"""A run that Microsoft throttles, seen from a second terminal."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.instants import parse_instant
from connectors.emulator import Emulator, Tenant
from connectors.emulator.faults import Fault
from connectors.graph.budgets import Budgets
from connectors.graph.client import Manners
from connectors.graph.throttle import Governor
from connectors.graph.traffic import Scope, ScopeKind, Traffic
from pipeline.model import RunKind
from pipeline.run import Request, export
from tests.integration.site import SALT, Site, token

FENCE_S = 300  # longer than a second terminal takes to start on a busy machine
PATIENCE_S = 60.0


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A tenant in the real time of this machine: two processes have to agree on it."""
    tenant = Tenant(seed=7, users=6, now=datetime.now(UTC), history=timedelta(days=2), ticking=True)
    async with Emulator(tenant, host="127.0.0.1", port=0) as emulator:
        yield Site(tenant, emulator, tmp_path, manners=Manners(budgets=Budgets.unpaced()))


async def test_a_second_terminal_shows_which_scope_waits_and_until_when(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instant is that of the governor's fence, to the second; the watching ends with the run."""
    governors: list[Governor] = []
    refused = asyncio.Event()

    class Observed(Governor):
        def note_refusal(
            self, traffic: Traffic, started_s: float, *, retry_after_s: float | None, scope: Scope
        ) -> None:
            super().note_refusal(traffic, started_s, retry_after_s=retry_after_s, scope=scope)
            governors.append(self)
            refused.set()

    monkeypatch.setattr("pipeline.app.Governor", Observed)
    site.emulator.faults.replace([Fault(kind="messages", status=429, retry_after=FENCE_S, times=1)])
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        run = tasks.create_task(_export(site))
        await refused.wait()
        terminal = await _terminal(site, "status", "--watch")
        shown = await _line(terminal, "waits:")
        ((scope, fence),) = governors[0]._fences.items()
        lasts_s = fence.until_s - asyncio.get_running_loop().time()
        until = datetime.now(UTC) + timedelta(seconds=lasts_s)
        run.cancel()
        rest, errors = await terminal.communicate()

    found = re.search(r"waits: outlook mailbox (\S+), until (\S+) \(", shown)
    assert found is not None, shown
    assert scope.kind is ScopeKind.MAILBOX
    assert found[1] == token(scope.key)
    assert abs(parse_instant(found[2]) - until) <= timedelta(seconds=0.6)
    assert terminal.returncode == 0, errors
    assert b"open: run" in rest
    assert not list(site.folder.glob("state/live/*"))


async def test_without_a_run_the_second_terminal_says_so(site: Site) -> None:
    """And ends at once, with what `status` shows."""
    (site.folder / "state").mkdir()
    async with asyncio.timeout(PATIENCE_S):
        terminal = await _terminal(site, "status", "--watch")
        shown, errors = await terminal.communicate()

    assert terminal.returncode == 0, errors
    assert shown.decode().splitlines()[:2] == ["no run at work", "no run yet"]


async def _export(site: Site) -> None:
    async with site.equipment(RunKind.RUN) as equipment:
        await export(equipment, Request(kind=RunKind.RUN))


async def _terminal(site: Site, *arguments: str) -> asyncio.subprocess.Process:
    """A command of its own on the same settings."""
    keys = {
        "M365_EXPORT__" + key.upper().replace(".", "__").replace("-", "_"): json.dumps(value)
        for key, value in site.overrides().items()
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipeline.cli", *arguments),
        env={
            **os.environ,
            **keys,
            "CLIENT_SECRET": site.emulator.client_secret,
            "SALT": SALT,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        cwd=site.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _line(terminal: asyncio.subprocess.Process, beginning: str) -> str:
    """The first line that begins so."""
    assert terminal.stdout is not None
    async for line in terminal.stdout:
        if line.decode().startswith(beginning):
            return line.decode()
    raise AssertionError(f"no line began with {beginning}")
