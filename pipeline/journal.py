"""The write-ahead list of a run's parts, and how an interrupted run is put right.

A part is journalled before it is published, and publishing is create-only. So a journal entry without a `published`
mark means one of two things: the part is there, or it is not and a dead process may still be sending it. A restart
settles which, by publishing a valid empty part at the same path: refused, then the part is there and its units are
done; accepted, then whatever arrives late is refused and the units are read again. The attempt to fence is itself
recorded first, with the name of its upload, so that a second crash gets the same answer as the first would have. Two
processes that fence the same part (one slept, and woke up without its lease) publish the one fence that is recorded.

How a run ends is decided once: whoever takes it up bars the decision that an earlier process may still be sending.

Keys of an open run, below `open/<kind>/<run_id>/`:
    run.json                             what the run is; written first, deleted last
    prepared-<connector>                 what a connector had learnt (encrypted)
    learnt-<number>                      what datasets had learnt from the pages of others (encrypted)
    journal/<dataset>-<part>.json        a part, its checksum, its units; create-only
    journal/<dataset>-<part>.published   it is visible
    journal/<dataset>-<part>.fence       an empty part is being put in its place
    journal/<dataset>-<part>.fenced      the empty part is what is visible
    seal-<attempt>                       how it ends (see `seal`); empty: that attempt decides nothing any more
"""

from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from pipeline.completeness import Finding
from pipeline.errors import LeaseLost
from pipeline.field_counts import FieldCounts
from pipeline.lease import Lease
from pipeline.model import RunKind, Window
from pipeline.ports import Destination, PartSummary, StateStore, Upload


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


class DoneUnit(msgspec.Struct, frozen=True, array_like=True):
    """A finished unit; the principal is a pseudonym."""

    principal: str
    start: datetime | None
    end: datetime | None
    rows: int
    completeness: Finding | None = None  # None where nobody knows how many records there are

    @property
    def window(self) -> Window | None:
        return Window(self.start, self.end) if self.start and self.end else None

    @property
    def unexplained(self) -> int:
        return 0 if self.completeness is None else self.completeness.unexplained


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


EmptyPart = Callable[[str], tuple[bytes, PartSummary]]
"""The bytes of a valid part of a dataset without rows."""

_BARRED = b""


class Journal:
    """The journal of one open run. Only the holder of the lease may have one."""

    def __init__(self, state: StateStore, record: RunRecord, lease: Lease, *, is_open: bool = False) -> None:
        """`is_open`: an earlier process has written down what the run is."""
        self.record = record
        self.entries: list[Entry] = []
        self._state = state
        self._lease = lease
        self._root = _root(record)
        self._is_open = is_open
        self._attempt = 1  # how many processes have worked at the run, this one included
        self._last_part: dict[str, int] = {}  # by dataset, whether its publication succeeded or not

    async def publish(self, upload: Upload, entry: Entry) -> None:
        """Journal a sealed upload, then make it visible.

        Raises:
            LeaseLost: another run has taken this one over; the part stays invisible.
        """
        key = self._key(entry)
        self._last_part[entry.dataset] = entry.part
        await self._open()
        self._lease.check()
        if not await self._state.create(f"{key}.json", msgspec.json.encode(entry)):
            raise LeaseLost("another run continues this one")
        self._lease.check()
        if not await upload.publish():
            raise LeaseLost("another run fenced this part off")
        await self._state.create(f"{key}.published", b"")
        self.entries.append(entry)

    async def recover(self, destination: Destination, empty: EmptyPart) -> None:
        """Settle every part of the interrupted run; afterwards `entries` holds what is visible."""
        self._lease.check()
        prefix = f"{self._root}/journal/"
        keys = set(await self._state.keys(prefix))
        for key in sorted(key for key in keys if key.endswith(".json")):
            found = await self._state.read(key)
            if found is None:
                continue
            entry = msgspec.json.decode(found.data, type=Entry)
            self.entries.append(await self._settle(entry, keys, destination, empty))

    async def _settle(self, entry: Entry, keys: set[str], destination: Destination, empty: EmptyPart) -> Entry:
        key = self._key(entry)
        if f"{key}.published" in keys:
            return entry
        content, summary = empty(entry.dataset)
        hollow = msgspec.structs.replace(
            entry, rows=0, bytes=summary.bytes, sha256=summary.sha256, min_time=None, max_time=None,
            units=(), rejected={}, fields=FieldCounts(),
        )  # fmt: skip
        if f"{key}.fenced" in keys:
            return hollow
        upload = await self._fence(key, entry.path, content, keys, destination)
        if await upload.publish():
            await self._state.create(f"{key}.fenced", b"")
            return hollow
        await self._state.create(f"{key}.published", b"")
        # Until the mark stands, a restart has to ask this very upload again; and so has one that took the lease
        # before it stood.
        self._lease.check()
        await upload.abort()
        return entry

    async def _fence(self, key: str, path: str, content: bytes, keys: set[str], destination: Destination) -> Upload:
        if f"{key}.fence" not in keys:
            upload = await destination.begin(path)
            await upload.write(content)
            await upload.seal()
            if await self._state.create(f"{key}.fence", upload.token.encode()):
                return upload
        found = await self._state.read(f"{key}.fence")
        if found is None:
            raise LeaseLost("another run finished this one")
        return await destination.attach(path, found.data.decode())

    def next_part(self, dataset: str) -> int:
        """A part number of `dataset` that no entry uses, nor a part whose publication failed."""
        known = max((entry.part for entry in self.entries if entry.dataset == dataset), default=0)
        return 1 + max(known, self._last_part.get(dataset, 0))

    def done(self) -> Iterable[tuple[str, DoneUnit]]:
        """Every finished unit with its dataset."""
        for entry in self.entries:
            for unit in entry.units:
                yield entry.dataset, unit

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
        await self._open()
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
        await self._open()
        self._lease.check()
        if await self._state.create(key, data):
            return data
        kept = await self.recall(name)
        return data if kept is None else kept

    async def recall(self, name: str) -> bytes | None:
        found = await self._state.read(f"{self._root}/{name}")
        return None if found is None else found.data

    async def close(self) -> None:
        """Forget the open run; `run.json` goes last, so that an interrupted close is continued."""
        keys = await self._state.keys(f"{self._root}/")
        last = f"{self._root}/run.json"
        for key in keys:
            if key != last:
                await self._state.delete(key)
        await self._state.delete(last)

    async def _open(self) -> None:
        """Write down what the run is, before anything else of it: from now on it can be resumed.

        A run that ends before it has anything to keep leaves nothing behind, and the next one begins afresh.
        """
        if self._is_open:
            return
        self._lease.check()
        if not await self._state.create(f"{self._root}/run.json", msgspec.json.encode(self.record)):
            raise LeaseLost("a run with this id is open already")
        self._is_open = True

    @property
    def _decision_key(self) -> str:
        return f"{self._root}/seal-{self._attempt:04d}"

    def _key(self, entry: Entry) -> str:
        return f"{self._root}/journal/{entry.dataset}-{entry.part:05d}"


async def open_runs(state: StateStore, kind: RunKind) -> list[RunRecord]:
    """The interrupted runs of a kind, oldest first."""
    records = []
    for key in await state.keys(f"open/{kind}/"):
        if key.endswith("/run.json"):
            found = await state.read(key)
            if found is not None:
                records.append(msgspec.json.decode(found.data, type=RunRecord))
    return sorted(records, key=lambda record: record.run_id)


def _root(record: RunRecord) -> str:
    return f"open/{record.kind}/{record.run_id}"
