"""The write-ahead list of a run's parts, and how an interrupted run is put right.

A part is journalled before it is published, and publishing is create-only. So a journal entry without an outcome
means one of two things: the part is there, or it is not and a dead process may still be sending it. A restart
settles which, by publishing a valid empty part at the same path: refused, then the part is there and its units are
done; accepted, then whatever arrives late is refused and the units are read again. The attempt to fence is itself
recorded first, with the name of its upload, so that a second crash gets the same answer as the first would have. Two
processes that fence the same part (one slept, and woke up without its lease) publish the one fence that is recorded.

What became of a part is written down once, and only then an upload of it is given up. A store may take an upload that
was given up for one that was completed, so a process that slept may be told that its own became visible; it finds the
outcome written down by then, and that is what counts.

How a run ends is decided once: whoever takes it up bars the decision that an earlier process may still be sending.

`open/<kind>.json` says which run of a kind is open, and what that run is; at most one is. It is only ever swapped for
the version that was read under the lease, and a run that ends leaves its name there. So a process that slept before it
could open its run finds another version when it wakes, and cannot any more.

Keys of an open run, below `open/<kind>/<run_id>/`:
    prepared-<connector>                 what a connector had learnt (encrypted)
    learnt-<number>                      what datasets had learnt from the pages of others (encrypted)
    journal/<dataset>-<part>.json        a part, its checksum, its units; create-only
    journal/<dataset>-<part>.fence       an empty part is being put in its place
    journal/<dataset>-<part>.outcome     what is visible: the part, or the empty one; create-only
    rowless/<attempt>-<number>           units without rows that no part has taken along; create-only
    uploads/<attempt>-<number>           an upload that was begun, so that its bytes do not stay if nobody ends it
    uploads/worker-<random>              the same, begun by a worker on behalf of the run
    attempt-<number>                     what an interrupted attempt measured (see `facts`)
    seal-<attempt>                       how it ends (see `seal`); empty: that attempt decides nothing any more
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from pipeline.done import DoneUnit, DoneUnits, RowlessUnits
from pipeline.errors import LeaseLost, StoreRefused, StoreUnavailable
from pipeline.field_counts import FieldCounts
from pipeline.kept import damaged, understood
from pipeline.lease import Lease
from pipeline.model import RunKind
from pipeline.ports import Destination, PartSummary, StateStore, Upload, Versioned

CALLS_AT_ONCE = 8  # parts are read with their outcome: as many calls as a bucket has threads


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What an open run is, and what its rows mean."""

    run_id: str
    kind: RunKind
    started_at: datetime
    until: datetime  # the end of the run's window; a dataset may end earlier by its settle time
    since: datetime | None = None  # backfill only: the start of the range
    connectors: tuple[str, ...]
    profile: str
    scope: str  # fingerprint
    rules_fingerprint: str
    salt_fingerprint: str
    schema_versions: dict[str, int]  # of every dataset the run writes


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One part: what it holds and where it goes."""

    dataset: str
    part: int
    path: str
    rows: int
    bytes: int
    sha256: str
    min_time: datetime | None
    max_time: datetime | None
    units: tuple[DoneUnit, ...]
    rejected: dict[str, int] = {}
    fields: FieldCounts = msgspec.field(default_factory=FieldCounts)
    days: dict[str, int] = {}  # rows by the UTC date of their time


EmptyPart = Callable[[str], tuple[bytes, PartSummary]]
"""The bytes of a valid part of a dataset without rows."""


class _Slot(msgspec.Struct, frozen=True, kw_only=True):
    """Which run of a kind is open. `last`: the run that was open before, so that no two versions are alike."""

    open: RunRecord | None
    last: str = ""


class _Fence(msgspec.Struct, frozen=True, kw_only=True):
    """An empty part on its way: the name of its upload, and what the manifest is to say of it."""

    token: str
    bytes: int
    sha256: str


class _BegunUpload(msgspec.Struct, frozen=True, kw_only=True):
    path: str
    token: str


_BARRED = b""
_PUBLISHED = b"published"
_FENCED = b"fenced"


class Journal:
    """The journal of one open run. Only the holder of the lease may have one."""

    def __init__(self, state: StateStore, record: RunRecord, lease: Lease, *, is_open: bool = False) -> None:
        """`is_open`: an earlier process has written down what the run is."""
        self.record = record
        self.entries: list[Entry] = []  # of all visible parts; their units are packed away, see `done`
        self.rowless: list[RowlessUnits] = []  # the same of units that no part names
        self._done: dict[str, DoneUnits] = {}
        self._state = state
        self._lease = lease
        self._root = _root(record)
        self._is_open = is_open
        self._opening = asyncio.Lock()  # several parts may be the first
        self._attempt = 1  # how many processes have worked at the run, this one included
        self._last_part: dict[str, int] = {}  # by dataset, whether its publication succeeded or not
        self._begun = 0  # uploads of this process
        self._noted = 0  # lists of units without rows, the same
        self._unended: dict[str, str] = {}  # path of an upload to the key that remembers it

    async def begin(self, destination: Destination, path: str) -> Upload:
        """Begin an upload whose bytes are given up by the next process if this one ends before it does so."""
        await self.open()
        upload = await destination.begin(path)
        self._begun += 1
        key = f"{self._root}/uploads/{self._attempt:04d}-{self._begun:05d}"
        try:
            await self._state.create(key, msgspec.json.encode(_BegunUpload(path=path, token=upload.token)))
        except BaseException:  # a cancellation too: nobody may know its name now
            with suppress(StoreRefused, StoreUnavailable):
                await upload.abort()
            raise
        self._unended[path] = key
        return upload

    async def take_over(self, destination: Destination, path: str, *, token: str, note: str) -> Upload:
        """An upload that a worker began and sealed; `note` is what `note_upload` gave."""
        upload = await destination.attach(path, token)
        self._unended[path] = note
        return upload

    async def publish(self, upload: Upload, entry: Entry) -> None:
        """Journal a sealed upload, then make it visible.

        Raises:
            LeaseLost: another run has taken this one over; the part stays invisible.
        """
        key = self._key(entry)
        self._last_part[entry.dataset] = entry.part
        await self.open()
        self._lease.check()
        if not await self._state.create(f"{key}.json", msgspec.json.encode(entry)):
            raise LeaseLost("another run continues this one")
        self._lease.check()
        if not await upload.publish():
            raise LeaseLost("another run fenced this part off")
        if await self._outcome(key, _PUBLISHED) != _PUBLISHED:
            raise LeaseLost("another run fenced this part off")
        self._note(entry)
        if entry.path in self._unended:
            await self._state.delete(self._unended.pop(entry.path))

    async def note_rowless(self, rowless: RowlessUnits) -> None:
        """Journal units without rows, where no part came to take them along.

        A process that slept may do so late. Nothing is wrong then but a count: they were read, and so they were again.

        Raises:
            LeaseLost: another run has taken this one over.
        """
        await self.open()
        self._lease.check()
        self._noted += 1
        key = f"{self._root}/rowless/{self._attempt:04d}-{self._noted:05d}"
        if not await self._state.create(key, msgspec.json.encode(rowless)):
            raise LeaseLost("another run continues this one")
        self._note_rowless(rowless)

    async def recover(self, destination: Destination, empty: EmptyPart) -> None:
        """Settle every part of the interrupted run; afterwards `entries` holds what is visible."""
        self._lease.check()
        prefix = f"{self._root}/journal/"
        keys = set(await self._state.keys(prefix))
        for batch in _batches(sorted(key for key in keys if key.endswith(".json"))):
            outcomes = [f"{key.removesuffix('.json')}.outcome" for key in batch]
            read = await self._read_all([*batch, *keys.intersection(outcomes)])
            for key in batch:
                found = read[key]
                if found is not None:
                    entry = understood(key, found.data, Entry)
                    self._note(await self._settle(entry, keys, read, destination, empty))
        for batch in _batches(await self._state.keys(f"{self._root}/rowless/")):
            for key, found in (await self._read_all(batch)).items():
                if found is not None:
                    self._note_rowless(understood(key, found.data, RowlessUnits))
        await self.give_up_uploads(destination)

    async def _read_all(self, keys: Iterable[str]) -> dict[str, Versioned | None]:
        """Objects by key, asked for at once: a night has thousands of parts, a bucket takes its time for each."""
        wanted = list(keys)
        return dict(zip(wanted, await asyncio.gather(*map(self._state.read, wanted)), strict=True))

    async def give_up_uploads(self, destination: Destination) -> None:
        """Abort what earlier processes began and did not end.

        Only when the outcome of every part is written down: whoever publishes what was given up may hear that it did.
        """
        for key in await self._state.keys(f"{self._root}/uploads/"):
            if key.startswith(f"{self._root}/uploads/{self._attempt:04d}-"):
                continue
            found = await self._state.read(key)
            if found is None:
                continue
            begun = understood(key, found.data, _BegunUpload)
            upload = await destination.attach(begun.path, begun.token)
            self._lease.check()
            await upload.abort()
            await self._state.delete(key)

    async def _settle(
        self,
        entry: Entry,
        keys: set[str],
        read: Mapping[str, Versioned | None],
        destination: Destination,
        empty: EmptyPart,
    ) -> Entry:
        key = self._key(entry)
        if f"{key}.outcome" in keys:
            found = read[f"{key}.outcome"]
            if found is None:
                raise LeaseLost("another run finished this one")
            outcome = found.data
        else:
            upload = await self._fence(key, entry, keys, destination, empty)
            outcome = await self._outcome(key, _FENCED if await upload.publish() else _PUBLISHED)
            if outcome == _PUBLISHED:
                # Until the outcome stands, a restart has to ask this very upload again; and so has one that took the
                # lease before it stood.
                self._lease.check()
                await upload.abort()
        if outcome not in {_PUBLISHED, _FENCED}:
            raise damaged(f"{key}.outcome")
        return entry if outcome == _PUBLISHED else _hollow(entry, await self._recorded_fence(key))

    async def _outcome(self, key: str, outcome: bytes) -> bytes:
        """Write down what became of a part; what stands there, when somebody else did before."""
        if await self._state.create(f"{key}.outcome", outcome):
            return outcome
        found = await self._state.read(f"{key}.outcome")
        if found is None:
            raise LeaseLost("another run finished this one")
        return found.data

    async def _fence(
        self, key: str, entry: Entry, keys: set[str], destination: Destination, empty: EmptyPart
    ) -> Upload:
        """The one fence that is recorded; if there is none, one that is from now on."""
        if f"{key}.fence" not in keys:
            content, summary = empty(entry.dataset)
            upload = await destination.begin(entry.path)
            await upload.write(content)
            await upload.seal()
            fence = _Fence(token=upload.token, bytes=summary.bytes, sha256=summary.sha256)
            if await self._state.create(f"{key}.fence", msgspec.json.encode(fence)):
                return upload
            if (await self._recorded_fence(key)).token != fence.token:
                await upload.abort()
        return await destination.attach(entry.path, (await self._recorded_fence(key)).token)

    async def _recorded_fence(self, key: str) -> _Fence:
        found = await self._state.read(f"{key}.fence")
        if found is None:
            raise LeaseLost("another run finished this one")
        return understood(f"{key}.fence", found.data, _Fence)

    def unused_part(self) -> int:
        """A number above those of all parts of this attempt and of earlier ones, whatever their dataset."""
        return 1 + max([*(entry.part for entry in self.entries), *self._last_part.values()], default=0)

    def next_part(self, dataset: str) -> int:
        """A part number of `dataset` that no entry uses, nor a part whose publication failed."""
        known = max((entry.part for entry in self.entries if entry.dataset == dataset), default=0)
        return 1 + max(known, self._last_part.get(dataset, 0))

    def done(self) -> Iterable[tuple[str, DoneUnit]]:
        """Every finished unit with its dataset."""
        for dataset, units in self._done.items():
            for unit in units:
                yield dataset, unit

    async def decided(self) -> bytes | None:
        """How the interrupted run ends. None: it is open, and no earlier process can decide it any more.

        Call it first, and look at the history only afterwards: a decision that is gone from here stands there.
        """
        while True:
            self._lease.check()
            if await self._state.create(self._decision_key, _BARRED):
                self._attempt += 1
                return None
            decision = await self.decision()
            if decision != _BARRED:
                return decision
            self._attempt += 1

    async def decide(self, decision: bytes) -> None:
        """Write down how the run ends.

        Raises:
            LeaseLost: another run has taken this one over.
        """
        await self.open()
        self._lease.check()
        if not await self._state.create(self._decision_key, decision) and await self.decision() != decision:
            raise LeaseLost("another run continues this one")

    async def decision(self) -> bytes:
        """What was decided, byte for byte.

        Raises:
            LeaseLost: another run finished this one.
        """
        found = await self._state.read(self._decision_key)
        if found is None:
            raise LeaseLost("another run finished this one")
        return found.data

    async def remember(self, name: str, data: bytes) -> bytes:
        """Keep `data` with the run, the first time; the kept bytes, every time."""
        key = f"{self._root}/{name}"
        await self.open()
        self._lease.check()
        if await self._state.create(key, data):
            return data
        kept = await self.recall(name)
        return data if kept is None else kept

    async def recall(self, name: str) -> bytes | None:
        return await kept_with(self._state, self.record, name)

    async def close(self) -> None:
        """Forget the open run. The slot is cleared last, so that an interrupted close is continued."""
        for batch in _batches(await self._state.keys(f"{self._root}/")):
            await asyncio.gather(*map(self._state.delete, batch))
        slot, version = await _read_slot(self._state, self.record.kind)
        if slot.open is not None and slot.open.run_id == self.record.run_id:
            closed = _Slot(open=None, last=self.record.run_id)
            await self._state.replace(_slot_key(self.record.kind), msgspec.json.encode(closed), version=version)

    @property
    def is_open(self) -> bool:
        """Whether anything of the run is kept, so that it will be continued."""
        return self._is_open

    async def open(self) -> None:
        """Write down what the run is, before anything else of it: from now on it can be resumed.

        A run that ends before it has anything to keep leaves nothing behind, and the next one begins afresh.

        Raises:
            LeaseLost: another run of the kind was opened meanwhile.
        """
        async with self._opening:
            if self._is_open:
                return
            key = _slot_key(self.record.kind)
            slot, version = await _read_slot(self._state, self.record.kind)
            self._lease.check()  # after reading: whoever opens a run once the lease has passed on changes the version
            if slot.open is not None:
                raise LeaseLost("another run of this kind is open")
            opened = msgspec.json.encode(_Slot(open=self.record, last=slot.last))
            if await self._state.replace(key, opened, version=version) is None:
                found = await self._state.read(key)
                if found is None or found.data != opened:  # else it is our own, and the answer was lost
                    raise LeaseLost("another run of this kind was opened meanwhile")
            self._is_open = True

    def _note(self, entry: Entry) -> None:
        """A part is visible."""
        self._done.setdefault(entry.dataset, DoneUnits()).extend(entry.units)
        self.entries.append(msgspec.structs.replace(entry, units=()))

    def _note_rowless(self, rowless: RowlessUnits) -> None:
        self._done.setdefault(rowless.dataset, DoneUnits()).extend(rowless.units)
        self.rowless.append(msgspec.structs.replace(rowless, units=[]))

    @property
    def _decision_key(self) -> str:
        return f"{self._root}/seal-{self._attempt:04d}"

    def _key(self, entry: Entry) -> str:
        return f"{self._root}/journal/{entry.dataset}-{entry.part:05d}"


async def kept_with(state: StateStore, record: RunRecord, name: str) -> bytes | None:
    """What is kept with an open run under this name."""
    found = await state.read(f"{_root(record)}/{name}")
    return None if found is None else found.data


async def note_upload(state: StateStore, record: RunRecord, path: str, token: str) -> str:
    """Write down an upload begun on behalf of a run by a process that has no journal; the key of the note.

    It is given up with those of earlier processes, unless the run took it over and published it.
    """
    key = f"{_root(record)}/uploads/worker-{secrets.token_hex(8)}"
    await state.create(key, msgspec.json.encode(_BegunUpload(path=path, token=token)))
    return key


async def open_run(state: StateStore, kind: RunKind) -> RunRecord | None:
    """The run of a kind that was begun and is not sealed, if there is one."""
    return (await _read_slot(state, kind))[0].open


def open_run_prefix(kind: RunKind) -> str:
    """Below it lies what is kept of each open run of a kind: `<prefix><run id>/…`."""
    return f"open/{kind}/"


async def _read_slot(state: StateStore, kind: RunKind) -> tuple[_Slot, str | None]:
    found = await state.read(_slot_key(kind))
    if found is None:
        return _Slot(open=None), None
    return understood(_slot_key(kind), found.data, _Slot), found.version


def _slot_key(kind: RunKind) -> str:
    return f"open/{kind}.json"


def _root(record: RunRecord) -> str:
    return f"{open_run_prefix(record.kind)}{record.run_id}"


def _hollow(entry: Entry, fence: _Fence) -> Entry:
    """What is visible where an empty part took the place of one."""
    return msgspec.structs.replace(
        entry, rows=0, bytes=fence.bytes, sha256=fence.sha256, min_time=None, max_time=None,
        units=(), rejected={}, fields=FieldCounts(), days={},
    )  # fmt: skip


def _batches(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(keys), CALLS_AT_ONCE):
        yield keys[first : first + CALLS_AT_ONCE]
