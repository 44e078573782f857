"""What the state keeps of a run is read back whole or refused, never taken for something else."""

from typing import TypeVar

import msgspec

from pipeline.errors import StoreRefused

T = TypeVar("T")


def understood(key: str, data: bytes, kept: type[T]) -> T:
    """What lies at `key`, which nobody but this tool writes.

    Raises:
        StoreRefused: it is damaged, or a newer version wrote it; names the key, never what it holds.
    """
    try:
        return msgspec.json.decode(data, type=kept)
    except msgspec.DecodeError:
        raise damaged(key) from None


def damaged(key: str) -> StoreRefused:
    """The error that tells an operator which object of the state cannot be understood."""
    return StoreRefused(
        f"the state holds `{key}`, which is damaged or was written by a newer version. "
        "Run the version that wrote it, or restore the object from a backup or an earlier version of it"
    )
