"""Finished units, as the journal writes them down and a run remembers them until its manifest."""

import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from pipeline.completeness import Finding
from pipeline.field_counts import FieldCounts
from pipeline.model import Window

PACKED_AT_ONCE = 512  # units
_FAST = 1  # zlib's level: a pseudonym takes 33 bytes at any


class DoneUnit(msgspec.Struct, frozen=True, array_like=True):
    """A finished unit; the principal is a pseudonym."""

    principal: str
    start: datetime | None
    end: datetime | None
    rows: int
    completeness: Finding | None = None  # None where nobody knows how many records there are
    withheld: int = 0  # rows that lack what Graph keeps to itself

    @property
    def window(self) -> Window | None:
        return Window(self.start, self.end) if self.start and self.end else None

    @property
    def unexplained(self) -> int:
        return 0 if self.completeness is None else self.completeness.unexplained


class RowlessUnits(msgspec.Struct):
    """Finished units of one dataset that have no rows, so that no part has to name them."""

    dataset: str
    units: list[DoneUnit]
    rejected: dict[str, int] = {}
    fields: FieldCounts = msgspec.field(default_factory=FieldCounts)


class DoneUnits:
    """Units in the order in which they were added, packed: some 40 bytes each, where objects take 200."""

    def __init__(self, units: Iterable[DoneUnit] = ()) -> None:
        self._packed: list[bytes] = []
        self._loose: list[DoneUnit] = []
        self.extend(units)

    def __len__(self) -> int:
        return len(self._packed) * PACKED_AT_ONCE + len(self._loose)

    def __iter__(self) -> Iterator[DoneUnit]:
        for packed in self._packed:
            yield from _decode(zlib.decompress(packed))
        yield from self._loose

    def add(self, unit: DoneUnit) -> None:
        self._loose.append(unit)
        if len(self._loose) == PACKED_AT_ONCE:
            self._packed.append(zlib.compress(_encode(self._loose), _FAST))
            self._loose = []

    def extend(self, units: Iterable[DoneUnit]) -> None:
        for unit in units:
            self.add(unit)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[DoneUnit]).decode
