"""One writer per state location and kind: a create-only object with an expiry, renewed while the run lives.

Whoever finds a live lease stops at once. A lease is free when it has expired, or when its holder is a process of
this very machine that is gone: such a process can publish nothing any more, and what it had on the wire is fenced off
by the journal. A holder that could not renew in time has lost the lease, whether or not anybody took it.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from pipeline.errors import LeaseHeld, LeaseLost, StoreRefused, StoreUnavailable
from pipeline.kept import understood
from pipeline.model import RunKind
from pipeline.ports import Clock, StateStore

LEASE_LIFETIME = timedelta(seconds=90)  # long enough for a slow store, short enough to wait for after a lost machine
HEARTBEATS_PER_LIFETIME = 4  # three renewals may fail before the lease is gone


class Holder(msgspec.Struct, frozen=True):
    """Names a process well enough to know from the same machine whether it still lives."""

    host: str
    machine: str  # boot id and pid name space; empty where the system does not tell
    pid: int
    started: str  # start time in clock ticks: a later process with the same pid differs

    @classmethod
    def current(cls) -> "Holder":
        return cls(socket.gethostname(), _machine(), os.getpid(), _started(os.getpid()) or "")

    def is_gone(self) -> bool:
        """True only where this can be known: same machine, same name space, no such process."""
        return bool(self.machine) and self.machine == _machine() and _started(self.pid) != self.started


class _Record(msgspec.Struct):
    kind: RunKind
    run: str  # a random word: two runs of one process are two holders
    holder: Holder
    since: datetime
    until: datetime
    made_room_for: str = ""  # the `run` of a backfill beside this one: `pipeline.beside`


class Lease:
    """A held lease. `check` before anything becomes visible."""

    def __init__(self, state: StateStore, key: str, record: _Record, version: str, clock: Clock) -> None:
        self._state = state
        self._key = key
        self._record = record
        self._version = version
        self._clock = clock
        self._lost = False
        self._renewing = asyncio.Lock()

    @property
    def run(self) -> str:
        """The word that tells this holder from all others."""
        return self._record.run

    @property
    def made_room_for(self) -> str:
        """The `run` of the backfill that was told that it may begin; empty where there was none."""
        return self._record.made_room_for

    def check(self) -> None:
        """Raises: LeaseLost, when somebody else may be writing by now."""
        if self._lost or self._clock() >= self._record.until:
            raise LeaseLost("the lease was not renewed in time; another run may have taken over")

    async def renew(self) -> None:
        """Raises: LeaseLost, when another run took the lease."""
        await self._renew(made_room_for=self._record.made_room_for)

    async def make_room_for(self, backfill: str) -> None:
        """Renew, and tell a backfill that it may begin. Raises: LeaseLost, when another run took the lease."""
        await self._renew(made_room_for=backfill)

    async def _renew(self, *, made_room_for: str) -> None:
        async with self._renewing:
            until = self._clock() + LEASE_LIFETIME
            record = msgspec.structs.replace(self._record, until=until, made_room_for=made_room_for)
            version = await self._state.replace(self._key, msgspec.json.encode(record), version=self._version)
            if version is None:
                record, version = await self._renewed_unheard()
            self._record, self._version = record, version

    async def _renewed_unheard(self) -> tuple[_Record, str]:
        """What stands there, when it is an earlier renewal of our own whose reply was lost."""
        found = await self._state.read(self._key)
        if found is not None:
            record = understood(self._key, found.data, _Record)
            if record.run == self._record.run:
                return record, found.version
        self._lost = True
        raise LeaseLost("another run took the lease")

    async def keep(self) -> None:
        """Renew for ever; ends only by cancellation or with LeaseLost."""
        while True:
            await asyncio.sleep(LEASE_LIFETIME.total_seconds() / HEARTBEATS_PER_LIFETIME)
            with suppress(StoreUnavailable):  # the next beat tries again; `check` knows when it is too late
                await self.renew()
            self.check()

    async def release(self) -> None:
        """Leave the lease expired, so that the next run need not wait. Losing it meanwhile is fine."""
        record = msgspec.structs.replace(self._record, until=self._record.since)
        with suppress(StoreUnavailable, StoreRefused):  # whatever ended the run says more than this would
            await self._state.replace(self._key, msgspec.json.encode(record), version=self._version)


@dataclass(frozen=True, slots=True)
class HeldLease:
    """Who is at work."""

    host: str
    since: datetime
    until: datetime
    run: str
    made_room_for: str


async def held_lease(state: StateStore, kind: RunKind, *, now: datetime) -> HeldLease | None:
    """The lease of a kind as somebody holds it, None when it is free. Needs the right to read only."""
    found = await state.read(_key(kind))
    if found is None:
        return None
    record = understood(_key(kind), found.data, _Record)
    if record.until <= now or record.holder.is_gone():
        return None
    return HeldLease(record.holder.host, record.since, record.until, record.run, record.made_room_for)


@asynccontextmanager
async def hold(state: StateStore, kind: RunKind, *, clock: Clock) -> AsyncIterator[Lease]:
    """Hold the lease of `kind`; the caller keeps it alive with `Lease.keep`.

    Raises:
        LeaseHeld: another run holds it.
    """
    lease = await _acquire(state, kind, clock)
    try:
        yield lease
    finally:
        await asyncio.shield(lease.release())


async def _acquire(state: StateStore, kind: RunKind, clock: Clock) -> Lease:
    key = _key(kind)
    now = clock()
    record = _Record(kind, secrets.token_hex(4), Holder.current(), now, now + LEASE_LIFETIME)
    found = await state.read(key)
    if found is not None:
        other = understood(key, found.data, _Record)
        if other.until > now and not other.holder.is_gone():
            raise LeaseHeld(kind=kind, holder=other.holder.host, since=other.since, until=other.until)
    version = await state.replace(
        key, msgspec.json.encode(record), version=found.version if found is not None else None
    )
    if version is None:
        raise LeaseHeld(kind=kind, holder="a run that started this moment", since=now, until=record.until)
    return Lease(state, key, record, version, clock)


def _key(kind: RunKind) -> str:
    return f"leases/{kind}.json"


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Start time of a living process, None when there is none (a zombie counts as gone)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else fields[19]
