"""What datasets still owe although watermarks have moved on, from one run to the next.

A unit that failed is caught up from its principal's own watermark. Where the same principal does not read again what it
failed to (another member reads the chat now, nothing points to the meeting any more), its connector says at the end of
a run what is owed, and is reminded of it before the next one. What that is only the connector knows.

One object, encrypted, replaced by compare-and-swap; a run replaces only what an earlier run left, so doing it twice is
the same as once, and a process that slept undoes nothing.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from pipeline.errors import StoreUnavailable
from pipeline.kept import key_of_salt
from pipeline.ports import StateStore
from pipeline.watermarks import SWAP_ATTEMPTS, Vault


class Owed:
    """What is owed under one salt, by connector."""

    def __init__(self, state: StateStore, vault: Vault, *, salt_fingerprint: str) -> None:
        self._state = state
        self._vault = vault
        self._key = key_of_salt("owed", salt_fingerprint)

    async def load(self) -> dict[str, bytes]:
        found = await self._state.read(self._key)
        return {} if found is None else self._open(found.data).by_connector

    async def replacement(self, owed: Mapping[str, bytes], *, at: datetime) -> bytes:
        """What the run that began `at` leaves, for `replace`; empty where nothing was owed before, nor is now."""
        if not owed and await self._state.read(self._key) is None:
            return b""
        return self._vault.seal_blob(msgspec.msgpack.encode(_Kept(at, dict(owed))))

    async def replace(self, replacement: bytes) -> None:
        """Put it in the place of what an earlier run left; nothing happens where it, or a later run's, is there.

        Raises:
            StoreUnavailable: the swap lost again and again.
        """
        if not replacement:
            return
        at = self._open(replacement).at
        for _ in range(SWAP_ATTEMPTS):
            found = await self._state.read(self._key)
            if found is not None and self._open(found.data).at >= at:
                return
            version = found.version if found is not None else None
            if await self._state.replace(self._key, replacement, version=version) is not None:
                return
        raise StoreUnavailable("what is owed could not be replaced: somebody else keeps changing it")

    def _open(self, data: bytes) -> "_Kept":
        return msgspec.msgpack.decode(self._vault.open_blob(data), type=_Kept)


class _Kept(msgspec.Struct, frozen=True):
    at: datetime  # when the run began that left it
    by_connector: dict[str, bytes]
