"""How far each principal's datasets have been exported by `run`.

A watermark moves only after the manifest that covers it is sealed: one ahead of its data would be a gap that nobody
can see. All of them are one object, replaced by compare-and-swap; its bytes are encrypted by the `Vault`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from pipeline.errors import StoreUnavailable
from pipeline.ports import StateStore

WATERMARKS_KEY = "watermarks"
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


async def load_watermarks(state: StateStore, vault: Vault) -> dict[Key, datetime]:
    found = await state.read(WATERMARKS_KEY)
    return {} if found is None else vault.open(found.data)


async def advance_watermarks(state: StateStore, vault: Vault, advances: Iterable[tuple[Key, datetime]]) -> None:
    """Move watermarks forward, never back. Doing it twice is the same as once.

    Raises:
        StoreUnavailable: the swap lost again and again.
    """
    moves = dict(advances)
    for _ in range(SWAP_ATTEMPTS):
        found = await state.read(WATERMARKS_KEY)
        known = {} if found is None else vault.open(found.data)
        ahead = {key: at for key, at in moves.items() if key not in known or known[key] < at}
        if not ahead:
            return
        version = found.version if found is not None else None
        if await state.replace(WATERMARKS_KEY, vault.seal(known | ahead), version=version) is not None:
            return
    raise StoreUnavailable("the watermarks could not be replaced: somebody else keeps changing them")
