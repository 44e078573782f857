"""The command line in a process of its own, to which something happens at one step that a store can see.

The stores are wrapped where the composition root opens them, and count: before and after every call that changes
something. At the chosen number the process is killed or stopped by the kernel; nothing of the product knows about it.
Processes are forked from one that has imported everything, so that hundreds of deaths take minutes.
"""

import asyncio
import errno
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import sinks.stores.local.destination as local
import sinks.stores.local.folder as folder
import sinks.stores.s3  # noqa: F401 - imported once, for all processes
from pipeline import app, beside, lease
from pipeline.cli.main import main
from pipeline.ports import Upload, Versioned
from pipeline.sanitize.rules import built_in_rules
from sinks.stores.registry import OpenDestination, OpenState, open_destination, open_state

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([__name__, "pytest"])  # whose command is the main module of each process
PATIENCE_S = 120.0
built_in_rules()  # read once, for all processes


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to a process."""

    signal: int = 0
    """What the kernel sends it, 0 for nothing …"""
    at: int = 0
    """… at the step of this number, from 1; or, if that is 0, …"""
    at_step: str = ""
    """… at one that begins so, such as `before publish mail_messages/RUN/`; RUN stands for the run's id …"""
    occurrence: int = 1
    """… and that is the first of them, or the second …"""
    delay_s: float = 0.0
    """… or so long after it, wherever the process is by then."""
    lease_s: float | None = None
    """How long its lease lasts."""
    look_s: float | None = None
    """How often it looks whether a run or backfill is at work beside it."""
    disk_bytes: int | None = None
    """How many bytes of parts fit on the disk of a destination."""
    state_bytes: int | None = None
    """How many bytes fit on the disk of a state."""


@dataclass(slots=True)
class Doom:
    """Counts steps, writes them down, and brings the fate about."""

    fate: Fate
    steps: int
    seen: int = 0
    named: int = 0
    is_done: bool = False
    state_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __call__(self, step: str) -> None:
        self.seen += 1
        os.write(self.steps, f"{step}\n".encode())
        is_named = bool(self.fate.at_step and nameless(step).startswith(self.fate.at_step))
        self.named += is_named
        is_it = self.seen == self.fate.at or (is_named and self.named == self.fate.occurrence)
        if self.fate.signal and is_it and not self.is_done:
            self.is_done = True
            self._bring_about()

    def _bring_about(self) -> None:
        if not self.fate.delay_s:
            os.kill(os.getpid(), self.fate.signal)
            return
        later = threading.Timer(self.fate.delay_s, os.kill, (os.getpid(), self.fate.signal))
        later.daemon = True  # who is done before that has come through
        later.start()

    @asynccontextmanager
    async def around(self, action: str, key: str) -> AsyncIterator[None]:
        async with self._turn():
            self(f"before {action} {key}")
        yield
        self(f"after {action} {key}")

    @asynccontextmanager
    async def around_state(self, action: str, key: str) -> AsyncIterator[None]:
        async with self._turn():
            self(f"before {action} {key}")
            yield
        self(f"after {action} {key}")

    def _turn(self) -> AbstractAsyncContextManager[None]:
        """Nobody is put to sleep with the lock of the state's folder in its hand: it would keep everybody out."""
        return self.state_lock if self.fate.signal == signal.SIGSTOP else nullcontext()


@dataclass(frozen=True, slots=True)
class WatchedState:
    state: OpenState
    doom: Doom

    async def prove(self) -> None:
        await self.state.prove()

    async def close(self) -> None:
        await self.state.close()

    async def read(self, key: str) -> Versioned | None:
        return await self.state.read(key)

    async def keys(self, prefix: str) -> list[str]:
        return await self.state.keys(prefix)

    async def create(self, key: str, data: bytes) -> bool:
        async with self.doom.around_state("create", key):
            return await self.state.create(key, data)

    async def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        async with self.doom.around_state("replace", key):
            return await self.state.replace(key, data, version=version)

    async def delete(self, key: str) -> None:
        async with self.doom.around_state("delete", key):
            await self.state.delete(key)


@dataclass(frozen=True, slots=True)
class WatchedUpload:
    upload: Upload
    doom: Doom

    @property
    def key(self) -> str:
        return self.upload.key

    @property
    def token(self) -> str:
        return self.upload.token

    @property
    def held_bytes(self) -> int:
        return self.upload.held_bytes

    async def write(self, data: bytes) -> None:
        async with self.doom.around("write", self.key):
            await self.upload.write(data)

    async def seal(self) -> None:
        async with self.doom.around("seal", self.key):
            await self.upload.seal()

    async def publish(self) -> bool:
        async with self.doom.around("publish", self.key):
            return await self.upload.publish()

    async def abort(self) -> None:
        async with self.doom.around("abort", self.key):
            await self.upload.abort()


@dataclass(frozen=True, slots=True)
class WatchedDestination:
    destination: OpenDestination
    doom: Doom

    async def prove(self) -> None:
        await self.destination.prove()

    async def close(self) -> None:
        await self.destination.close()

    async def begin(self, key: str) -> Upload:
        async with self.doom.around("begin", key):
            return WatchedUpload(await self.destination.begin(key), self.doom)

    async def attach(self, key: str, token: str) -> Upload:
        return WatchedUpload(await self.destination.attach(key, token), self.doom)


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody at a shell in `folder`, with a settings file and secrets in the environment."""

    folder: Path
    environ: Mapping[str, str]

    def start(self, *arguments: str, fate: Fate | None = None) -> BaseProcess:
        """The command, at work; `steps` and `log` in the folder tell what it does."""
        process = PROCESSES.Process(target=_live, args=(self, arguments, fate or Fate()), daemon=True)
        process.start()
        return process

    async def call(self, *arguments: str, fate: Fate | None = None) -> int:
        """The command's exit code, or less its signal."""
        return await ended(self.start(*arguments, fate=fate))

    def steps(self) -> list[str]:
        """What the stores saw of the last command."""
        return (self.folder / "steps").read_text().splitlines()

    def log(self) -> str:
        """What the last command said, on either stream."""
        return (self.folder / "log").read_text()


def nameless(step: str) -> str:
    """A step without the run's id."""
    return re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{4}", "RUN", step)


async def ended(process: BaseProcess) -> int:
    """The exit code; a process that does not end is killed, and that is an error."""
    await asyncio.to_thread(process.join, PATIENCE_S)
    if process.exitcode is None:
        process.kill()
        raise AssertionError("the command does not end")
    return process.exitcode


def _live(operator: Operator, arguments: Sequence[str], fate: Fate) -> None:
    """The life of the process."""
    log = os.open(operator.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.stdout = os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w")
    os.environ.update(operator.environ)
    doom = Doom(fate, os.open(operator.folder / "steps", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600))
    _replace(app, "open_destination", lambda *about: WatchedDestination(open_destination(*about), doom))
    _replace(app, "open_state", lambda *about: WatchedState(open_state(*about), doom))
    if fate.lease_s is not None:
        _replace(lease, "LEASE_LIFETIME", timedelta(seconds=fate.lease_s))
    if fate.look_s is not None:
        _replace(beside, "LOOK_EVERY", timedelta(seconds=fate.look_s))
    if fate.disk_bytes is not None:
        _replace(local, "write_all", _SmallDisk(fate.disk_bytes).write_all)
    if fate.state_bytes is not None:
        _replace(folder, "write_all", _SmallDisk(fate.state_bytes).write_all)
    sys.argv = ["m365-export", "--config", str(operator.folder / "m365-export.yaml"), *arguments]
    main()


def _replace(module: Any, name: str, value: object) -> None:
    setattr(module, name, value)


class _SmallDisk:
    def __init__(self, free_bytes: int) -> None:
        self._free_bytes = free_bytes

    def write_all(self, descriptor: int, data: bytes) -> None:
        if len(data) > self._free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._free_bytes -= len(data)
        os.write(descriptor, data)
