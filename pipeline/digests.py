"""A set of identifiers that nothing can be read from: 64-bit keyed digests, eight bytes each.

Two of a million identifiers share a digest once in 37 million such sets.
"""

import secrets
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2b
from typing import Self

_KEY_BYTES = 16


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
        digest = blake2b(text.lower().encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "big")
