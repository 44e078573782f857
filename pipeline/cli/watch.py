"""`status --watch`: the runs that are at work now, from any terminal that may read the state."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from config.instants import format_instant
from config.model import Settings
from config.secrets import SecretReader
from pipeline.app import open_memory, state_vault, utc_now
from pipeline.cli.console import out
from pipeline.cli.display import REFRESHES_PER_S, progress_view
from pipeline.lease import HeldLease, held_lease
from pipeline.live import Snapshot, last_told
from pipeline.model import RunKind
from pipeline.ports import StateStore
from pipeline.watermarks import Vault

LOOK_EVERY_S = 2.0  # reads are cheap; what is told between two of them is not missed for long

Work = Mapping[RunKind, tuple[HeldLease, Snapshot | None]]
"""Who is at work, and what that run told last."""


def watch(settings: Settings, reader: SecretReader) -> None:
    """Show the runs at work until there is none; Ctrl-C ends only the watching."""
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(settings, reader, out()))


async def at_work(state: StateStore, vault: Vault, *, now: datetime) -> Work:
    """The runs whose lease is held. What a process that was killed left behind is none of them."""
    found = {}
    for kind in RunKind:
        lease = await held_lease(state, kind, now=now)
        if lease is not None:
            found[kind] = (lease, await last_told(state, vault, kind))
    return found


async def _watch(settings: Settings, reader: SecretReader, console: Console) -> None:
    async with open_memory(settings, reader) as (state, _):
        vault = state_vault(settings, reader)
        work = await at_work(state, vault, now=utc_now())
        if not work:
            console.print("no run at work")
            return
        if not console.is_terminal:
            await _print_news(state, vault, console, work)
            return
        with Live(
            console=console,
            refresh_per_second=REFRESHES_PER_S,
            get_renderable=lambda: _view(work, now=utc_now()),
            transient=True,
        ):
            while work:
                await asyncio.sleep(LOOK_EVERY_S)
                work = await at_work(state, vault, now=utc_now())


async def _print_news(state: StateStore, vault: Vault, console: Console, work: Work) -> None:
    """For a pipe: the whole view whenever something new was told."""
    shown: Work = {}
    while work:
        if work != shown:
            console.print(_view(work, now=utc_now()))
            shown = work
        await asyncio.sleep(LOOK_EVERY_S)
        work = await at_work(state, vault, now=utc_now())


def _view(work: Work, *, now: datetime) -> RenderableType:
    return Group(*(_one(kind, lease, told, now=now) for kind, (lease, told) in work.items()))


def _one(kind: RunKind, lease: HeldLease, told: Snapshot | None, *, now: datetime) -> RenderableType:
    if told is None:
        return Text(f"{kind} on {lease.host} since {format_instant(lease.since)}; it has told nothing yet")
    return progress_view(told, now=now)
