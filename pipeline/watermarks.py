"""How far each principal's datasets have been exported by `run`.

A watermark moves only after the manifest that covers it is sealed: one ahead of its data would be a gap that nobody
can see. All of them are one object, replaced by compare-and-swap; its bytes are encrypted by the `Vault`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from pipeline.errors import StoreUnavailable
from pipeline.ports import StateStore, Versioned

SWAP_ATTEMPTS = 5  # only a run moves watermarks and holds a lease; a lost swap is a lost reply

Key = tuple[str, str]
"""Dataset and the principal's pseudonym."""


class Vault(Protocol):
    """Encrypts what the state must not show: who was exported how far, which chats exist."""

    def seal(self, rows: Mapping[Key, datetime]) -> bytes: ...

    def open(self, data: bytes) -> dict[Key, datetime]:
        """Raises: ConfigurationError, when the bytes were sealed under another salt or are damaged."""
        ...

    def seal_blob(self, data: bytes) -> bytes: ...

    def open_blob(self, data: bytes) -> bytes:
        """Raises: ConfigurationError, as `open` does."""
        ...


class Watermarks:
    """The watermarks of one salt: under another salt the same person is somebody else, and nothing is known yet."""

    def __init__(self, state: StateStore, vault: Vault, *, salt_fingerprint: str) -> None:
        self._state = state
        self._vault = vault
        self.salt_fingerprint = salt_fingerprint
        self._key = f"watermarks/{salt_fingerprint}"

    async def load(self) -> dict[Key, datetime]:
        return self._open(await self._state.read(self._key))

    async def advance(self, advances: Iterable[tuple[Key, datetime]]) -> None:
        """Move watermarks forward, never back. Doing it twice is the same as once.

        Raises:
            StoreUnavailable: the swap lost again and again.
        """
        moves = dict(advances)
        for _ in range(SWAP_ATTEMPTS):
            found = await self._state.read(self._key)
            known = self._open(found)
            ahead = {key: at for key, at in moves.items() if key not in known or known[key] < at}
            if not ahead:
                return
            version = found.version if found is not None else None
            if await self._state.replace(self._key, self._vault.seal(known | ahead), version=version) is not None:
                return
        raise StoreUnavailable("the watermarks could not be replaced: somebody else keeps changing them")

    def _open(self, found: Versioned | None) -> dict[Key, datetime]:
        return {} if found is None else self._vault.open(found.data)
