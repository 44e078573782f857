"""Finished units gather into parts; a part is journalled and published when it is large, old, or the run ends.

Per dataset one part is open at a time. Its bytes may be sent while it grows; nothing of it is visible before the
journal names it. A unit is added whole or not at all, so a part never holds half of one: a part to which adding broke
off, by a fault or because the run was stopped, is never published.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

import msgspec

from pipeline.done import DoneUnit, DoneUnits, RowlessUnits
from pipeline.errors import StoreUnavailable
from pipeline.field_counts import FieldCounts
from pipeline.journal import Entry, RunRecord
from pipeline.memory import SORTING_SHARE, Memory
from pipeline.ports import Blocking, Clock, Destination, PartSummary, Upload

MOST_UNITS = 20_000  # of a part: its journal entry names each of them


class PartEncoder(Protocol):
    """Rows to the bytes of one part."""

    @property
    def size(self) -> int:
        """Bytes the part would have if it were finished now, roughly."""
        ...

    @property
    def held_bytes(self) -> int:
        """Bytes of rows that are kept until they fill a row group."""
        ...

    def append(self, rows: Any, *, owner: str | None) -> bytes:
        """Bytes that became ready, maybe none."""
        ...

    def finish(self) -> tuple[bytes, PartSummary]: ...


T = TypeVar("T")


class PartLedger(Protocol):
    """Numbers parts and publishes them: a run's journal, or what a worker has instead."""

    @property
    def record(self) -> RunRecord: ...

    def next_part(self, dataset: str) -> int: ...

    async def begin(self, destination: Destination, path: str) -> Upload: ...

    async def publish(self, upload: Upload, entry: Entry) -> None:
        """Take charge of a sealed upload and what is in it."""
        ...


@dataclass(frozen=True, slots=True)
class UnitResult:
    """A unit that was read whole: its sanitized rows and what was rejected."""

    dataset: str
    unit: DoneUnit
    owner: str | None
    rows: Any = field(repr=False)
    rejected: Mapping[str, int] = field(default_factory=dict)
    fields: FieldCounts = field(default_factory=FieldCounts)


@dataclass(slots=True)
class IdleUnits:
    """Finished units of a dataset without rows that nothing has written down yet."""

    since: datetime
    units: DoneUnits = field(default_factory=DoneUnits)
    rejected: Counter[str] = field(default_factory=Counter)
    fields: FieldCounts = field(default_factory=FieldCounts)


@dataclass(slots=True)
class _OpenPart:
    number: int
    path: str
    upload: Upload
    encoder: PartEncoder
    opened_at: datetime
    units: DoneUnits = field(default_factory=DoneUnits)
    rejected: Counter[str] = field(default_factory=Counter)
    fields: FieldCounts = field(default_factory=FieldCounts)
    charged: int = 0  # bytes on the memory's account
    is_whole: bool = True  # not while a unit is being added, and never again when that broke off


async def publish_as_it_is() -> None:
    """Nothing is to be done before a part is published."""


class PartAssembler:
    """Owns the open parts of a run."""

    def __init__(
        self,
        *,
        ledger: PartLedger,
        destination: Destination,
        encoder: Callable[[str], PartEncoder],
        blocking: Blocking,
        memory: Memory,
        clock: Clock,
        part_size_bytes: int,
        part_max_age: timedelta,
        before_publishing: Callable[[], Awaitable[None]] = publish_as_it_is,
        published: Callable[[Entry], None] = lambda _entry: None,
    ) -> None:
        """`before_publishing` is awaited when a part is complete and nobody sees it yet; `published` is told of it."""
        self.idle: dict[str, IdleUnits] = {}  # by dataset
        self._ledger = ledger
        self._destination = destination
        self._encoder = encoder
        self._blocking = blocking
        self._memory = memory
        self._clock = clock
        self._part_size_bytes = part_size_bytes
        self._part_max_age = part_max_age
        self._before_publishing = before_publishing
        self._published = published
        self._open: dict[str, _OpenPart] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def add(self, result: UnitResult) -> None:
        """Take a whole unit in; publishes the part when it has grown to its size.

        Raises:
            LeaseLost, StoreRefused, StoreUnavailable: nothing of an unpublished part is visible.
        """
        async with self._lock(result.dataset):
            if result.unit.rows == 0:
                self.take_idle(RowlessUnits(result.dataset, [result.unit], dict(result.rejected), result.fields))
                return
            part = self._open.get(result.dataset) or await self._begin(result.dataset)
            if not part.is_whole:
                raise StoreUnavailable("an earlier unit broke off while it was written to the same part")
            part.is_whole = False
            for rows in self._pieces(result.rows):
                append = partial(part.encoder.append, rows, owner=result.owner)
                ready = await self._encode(part, append, more_bytes=rows.nbytes)
                if ready:
                    await part.upload.write(ready)
                del ready
                self._weigh(part)
            part.units.add(result.unit)
            part.rejected.update(result.rejected)
            part.fields.add(result.fields)
            part.is_whole = True
            if part.encoder.size >= self._part_size_bytes or len(part.units) >= MOST_UNITS:
                await self._close(result.dataset)
        if self._memory.parts_are_in_the_way:
            await self._close_largest()

    def take_idle(self, rowless: RowlessUnits) -> None:
        """Finished units without rows: the next part of the dataset takes them along, or `release_idle`."""
        idle = self.idle.get(rowless.dataset)
        if idle is None:
            idle = self.idle[rowless.dataset] = IdleUnits(self._clock())
        idle.units.extend(rowless.units)
        idle.rejected.update(rowless.rejected)
        idle.fields.add(rowless.fields)

    def release_idle(self, *, aged: bool = False) -> Iterator[RowlessUnits]:
        """Units without rows that no part has taken along; `aged`: only where one should have by now."""
        for dataset in list(self.idle):
            idle = self.idle.get(dataset)  # a part may take it along while its predecessor is written down
            if idle is None:
                continue
            is_old = self._clock() - idle.since >= self._part_max_age
            if not aged or is_old or len(idle.units) >= MOST_UNITS:
                del self.idle[dataset]
                yield RowlessUnits(dataset, list(idle.units), dict(idle.rejected), idle.fields)

    async def publish(self, upload: Upload, entry: Entry) -> None:
        """Publish a sealed part, and let it take along the units without rows."""
        idle = self.idle.pop(entry.dataset, None)
        whole = entry
        if idle is not None:
            idle.rejected.update(entry.rejected)
            idle.fields.add(entry.fields)
            units = (*entry.units, *idle.units)
            whole = msgspec.structs.replace(entry, units=units, rejected=dict(idle.rejected), fields=idle.fields)
        await self._before_publishing()
        await self._ledger.publish(upload, whole)
        self._published(whole)

    async def close_aged(self) -> None:
        """Publish the parts that have been open for longer than the longest age allowed."""
        for dataset in list(self._open):
            async with self._lock(dataset):
                part = self._open.get(dataset)
                if part is not None and self._clock() - part.opened_at >= self._part_max_age:
                    await self._close(dataset)

    async def close_all(self) -> None:
        """Publish every open part that is whole; the units of the others are read again by the next run."""
        for dataset in list(self._open):
            async with self._lock(dataset):
                if dataset in self._open:
                    await self._close(dataset)

    async def abandon(self) -> None:
        """Give up the open parts; their units are read again by the next run."""
        for dataset in list(self._open):
            part = self._open.pop(dataset)
            self._forget(part)
            await part.upload.abort()

    async def _close_largest(self) -> None:
        """Publish the open part that holds the most, before its time, so that reading may go on."""
        dataset = max(self._open, key=lambda dataset: self._open[dataset].charged, default=None)
        if dataset is not None:
            async with self._lock(dataset):
                if dataset in self._open and self._memory.parts_are_in_the_way:
                    await self._close(dataset)

    def _pieces(self, rows: Any) -> Iterator[Any]:
        """The rows of a unit; of one that fills many row groups so few at a time that their bytes are sent between."""
        pieces = math.ceil(rows.nbytes / self._memory.row_group_bytes)
        if pieces <= 1:
            yield rows
            return
        at_once = math.ceil(len(rows) / pieces)
        for first in range(0, len(rows), at_once):
            yield rows.slice(first, at_once)

    def _lock(self, dataset: str) -> asyncio.Lock:
        return self._locks.setdefault(dataset, asyncio.Lock())

    async def _begin(self, dataset: str) -> _OpenPart:
        record = self._ledger.record
        number = self._ledger.next_part(dataset)
        path = part_path(dataset, record.run_id, number, last_day(record.until))
        upload = await self._ledger.begin(self._destination, path)
        part = _OpenPart(number, path, upload, self._encoder(dataset), self._clock())
        self._open[dataset] = part
        return part

    async def _close(self, dataset: str) -> None:
        part = self._open.pop(dataset)
        if not part.is_whole:
            self._forget(part)
            await part.upload.abort()
            return
        try:
            rest, summary = await self._encode(part, part.encoder.finish)
            await part.upload.write(rest)
            del rest
            self._weigh(part)
            await part.upload.seal()
        finally:
            self._forget(part)
        entry = Entry(
            dataset=dataset,
            part=part.number,
            path=part.path,
            rows=summary.rows,
            bytes=summary.bytes,
            sha256=summary.sha256,
            min_time=summary.min_time,
            max_time=summary.max_time,
            units=tuple(part.units),
            rejected=dict(part.rejected),
            fields=part.fields,
            days=dict(summary.days),
        )
        await self.publish(part.upload, entry)

    async def _encode(self, part: _OpenPart, encode: Callable[[], T], *, more_bytes: int = 0) -> T:
        """Let the encoder work on a thread, which may sort all it holds."""

        def work() -> T:
            with self._memory.working(int(SORTING_SHARE * (part.encoder.held_bytes + more_bytes))):
                return encode()

        result: T = await self._blocking(work)
        self._weigh(part)
        return result

    def _weigh(self, part: _OpenPart) -> None:
        """Put on the memory's account what a part holds now."""
        before, part.charged = part.charged, part.encoder.held_bytes + part.upload.held_bytes
        self._memory.charge_parts(part.charged - before)

    def _forget(self, part: _OpenPart) -> None:
        """A part holds nothing any more."""
        before, part.charged = part.charged, 0
        self._memory.charge_parts(-before)


def part_path(dataset: str, run_id: str, number: int, day: date) -> str:
    """`<dataset>/<run_id>/<dataset>-<part>-<YYYYMMDD>.parquet`, the layout the importer expects."""
    return f"{dataset}/{run_id}/{dataset}-{number:05d}-{day:%Y%m%d}.parquet"


def last_day(end: datetime) -> date:
    """The UTC date of the last microsecond before `end`."""
    return (end - timedelta(microseconds=1)).date()
