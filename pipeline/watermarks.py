"""How far each principal's datasets have been exported by `run`.

A watermark moves only after the manifest that covers it is sealed: one ahead of its data would be a gap that nobody
can see. All of them are one object, replaced by compare-and-swap; its bytes are encrypted by the `Vault`.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from heapq import merge
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import Protocol

from pipeline.errors import StoreUnavailable
from pipeline.kept import key_of_salt
from pipeline.ports import Blocking, StateStore, Versioned

SWAP_ATTEMPTS = 5  # only a run moves watermarks and holds a lease; a lost swap is a lost reply

Key = tuple[str, str]
"""Dataset and the principal's pseudonym."""


def by_principal(key: Key) -> tuple[str, str]:
    """The order of watermarks: all of one principal, then those of the next, so that each is named once."""
    dataset, principal = key
    return principal, dataset


class Vault(Protocol):
    """Encrypts what the state must not show: who was exported how far, which chats exist."""

    def seal(self, rows: Iterable[tuple[Key, datetime]]) -> bytes:
        """Each key once, ordered `by_principal`. Raises: ValueError, when they come otherwise."""
        ...

    def open(self, data: bytes) -> Mapping[Key, datetime]:
        """Ordered `by_principal`. Raises: ConfigurationError, when sealed under another salt, or damaged."""
        ...

    def rows(self, data: bytes) -> Iterator[tuple[Key, datetime]]:
        """The same, one after the other. Raises: ConfigurationError, as `open` does."""
        ...

    def seal_blob(self, data: bytes) -> bytes: ...

    def open_blob(self, data: bytes) -> bytes:
        """Raises: ConfigurationError, as `open` does."""
        ...


class Watermarks:
    """The watermarks of one salt: under another salt the same person is somebody else, and nothing is known yet.

    Those of a hundred thousand principals take seconds to open and seal. Threads do it, so that the lease is renewed.
    """

    def __init__(
        self, state: StateStore, vault: Vault, *, salt_fingerprint: str, blocking: Blocking = asyncio.to_thread
    ) -> None:
        self._state = state
        self._vault = vault
        self.salt_fingerprint = salt_fingerprint
        self._key = key_of_salt("watermarks", salt_fingerprint)
        self._blocking = blocking

    async def load(self) -> Mapping[Key, datetime]:
        """All of them, ordered `by_principal`."""
        found = await self._state.read(self._key)
        if found is None:
            return {}
        known: Mapping[Key, datetime] = await self._blocking(self._vault.open, found.data)
        return known

    async def advance(self, moves: bytes) -> None:
        """Move watermarks forward, never back, to those that were sealed. Doing it twice is the same as once.

        Raises:
            StoreUnavailable: the swap lost again and again.
        """
        for _ in range(SWAP_ATTEMPTS):
            found = await self._state.read(self._key)
            moved: bytes | None = await self._blocking(self._moved, found, moves)
            if moved is None:
                return
            version = found.version if found is not None else None
            if await self._state.replace(self._key, moved, version=version) is not None:
                return
        raise StoreUnavailable("the watermarks could not be replaced: somebody else keeps changing them")

    def _moved(self, found: Versioned | None, moves: bytes) -> bytes | None:
        """All watermarks after the move, sealed; None where none moves."""
        if all(new == old for new, old in zip_longest(self._latest(found, moves), self._rows(found))):
            return None
        return self._vault.seal(self._latest(found, moves))

    def _latest(self, found: Versioned | None, moves: bytes) -> Iterator[tuple[Key, datetime]]:
        """The later one of each key, in order; one after the other, since there are many."""
        both = merge(self._rows(found), self._vault.rows(moves), key=lambda row: (by_principal(row[0]), row[1]))
        for _, same in groupby(both, key=itemgetter(0)):
            *_, latest = same
            yield latest

    def _rows(self, found: Versioned | None) -> Iterator[tuple[Key, datetime]]:
        return iter(()) if found is None else self._vault.rows(found.data)
