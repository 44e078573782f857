"""Sets of identifiers that nothing can be read from: 64-bit keyed digests.

    Digests        made at once, does not change: eight bytes each
    GrowingDigests one is added after the other: eleven bytes each, or up to sixteen where it has just grown

Two of a million identifiers share a digest once in 37 million such sets.
"""

import secrets
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Self

_KEY_BYTES = 16
_FREE = 0
_SMALLEST_TABLE = 1 << 8
_FULLEST = 0.75  # of a table that is searched slot by slot
_GROWTH = 1.5


class Digests:
    """Texts in any letter case; does not change. Sets that are compared or saved together share one `key`."""

    def __init__(self, texts: Iterable[str] = (), *, key: bytes = b"") -> None:
        self._key = key
        self._sorted = array("Q", sorted({self._digest(text) for text in texts}))

    @staticmethod
    def new_key() -> bytes:
        return secrets.token_bytes(_KEY_BYTES)

    def __len__(self) -> int:
        return len(self._sorted)

    def __contains__(self, text: str) -> bool:
        digest = self._digest(text)
        place = bisect_left(self._sorted, digest)
        return place < len(self._sorted) and self._sorted[place] == digest

    def __repr__(self) -> str:
        return f"Digests({len(self)})"

    def without(self, others: "Digests") -> "Digests":
        """Those that are not among `others`, which were made with the same key."""
        left = Digests(key=self._key)
        left._sorted = array("Q", sorted(set(self._sorted).difference(others._sorted)))  # noqa: SLF001 - of our own class
        return left

    def to_bytes(self) -> bytes:
        return self._sorted.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, *, key: bytes) -> Self:
        """What `to_bytes` gave, on a machine of the same byte order."""
        digests = cls(key=key)
        digests._sorted.frombytes(data)
        return digests

    def _digest(self, text: str) -> int:
        return keyed_digest(text.lower(), key=self._key)


class GrowingDigests:
    """An open-addressed table: numbers in one array, no object for each.

    One thread may add while others look.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _SMALLEST_TABLE))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        return (digest for digest in self._slots if digest != _FREE)

    def __contains__(self, digest: int) -> bool:
        slots = self._slots
        return slots[_slot(slots, digest or 1)] != _FREE

    def add(self, digest: int) -> bool:
        """Whether it is new."""
        digest = digest or 1  # nought is a free slot
        slot = _slot(self._slots, digest)
        if self._slots[slot] == digest:
            return False
        if self._count >= len(self._slots) * _FULLEST:
            self._grow()
            slot = _slot(self._slots, digest)
        self._slots[slot] = digest
        self._count += 1
        return True

    def _grow(self) -> None:
        slots = array("Q", bytes(8 * int(len(self._slots) * _GROWTH)))
        for digest in self:
            slots[_slot(slots, digest)] = digest
        self._slots = slots  # at once: whoever looks meanwhile sees one table or the other


def keyed_digest(text: str, *, key: bytes) -> int:
    """64 bits of it."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest(), "big")


def _slot(slots: "array[int]", digest: int) -> int:
    """Where the digest is, or the free slot where it belongs."""
    slot = digest % len(slots)
    while slots[slot] not in (digest, _FREE):
        slot = (slot + 1) % len(slots)
    return slot
