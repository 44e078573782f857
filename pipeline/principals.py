"""All principals of one kind, in the order in which they were found; there may be hundreds of thousands."""

from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import overload

from pipeline.digests import GrowingDigests
from pipeline.model import Principal, PrincipalKind


class Principals(Sequence[Principal]):
    """Their ids as one text, 60 bytes for each: objects would take 240. Each is found once."""

    def __init__(self, kind: PrincipalKind, principals: Iterable[Principal] = ()) -> None:
        self.kind = kind
        self._ids = bytearray()
        self._ends = array("I", [0])
        self._known = GrowingDigests()
        for principal in principals:
            self.add(principal)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Principal: ...

    @overload
    def __getitem__(self, place: slice) -> list[Principal]: ...

    def __getitem__(self, place: int | slice) -> Principal | list[Principal]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        place %= len(self)
        return Principal(self.kind, self._ids[self._ends[place] : self._ends[place + 1]].decode())

    def __repr__(self) -> str:
        return f"Principals({self.kind}, {len(self)})"

    def add(self, principal: Principal) -> None:
        """Nothing happens where it was found before: pages of a directory that changes overlap."""
        id_ = principal.id.encode()
        if self._known.add(int.from_bytes(blake2b(id_, digest_size=8).digest(), "big")):
            self._ids += id_
            self._ends.append(len(self._ids))
