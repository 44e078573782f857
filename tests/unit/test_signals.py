"""Signals are heeded while there is work, and nobody listens any more when the loop closes."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from connectors.emulator import Tenant
from pipeline.cli import emulator
from pipeline.signals import signals_heeded
from tests.harness import NOW


def wakeup_fd() -> int:
    """Where Python writes that there was a signal; -1: nowhere."""
    number = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(number)
    return number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_is_told_and_then_the_system_decides_again(number: signal.Signals) -> None:
    """A signal after the work finds no handler that would write to a pipe which closes."""
    stop = asyncio.Event()
    with signals_heeded(stop.set):
        assert wakeup_fd() != -1
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 30)
    assert wakeup_fd() == -1


def test_the_emulator_stops_listening_before_its_loop_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever ends it twice would otherwise see an error about a bad file descriptor."""

    async def served(*_args: Any, **_options: Any) -> None:
        assert wakeup_fd() != -1

    monkeypatch.setattr(emulator, "serve", served)
    with asyncio.Runner() as runner:
        tenant = Tenant(seed=1, users=2, now=NOW)
        runner.run(emulator._serve(tenant, host="", port=0, faults=None, ca_file=Path()))
        assert wakeup_fd() == -1
