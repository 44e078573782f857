"""What the state keeps: where that of a salt lies, and that it is read back whole or refused."""

from typing import TypeVar

import msgspec

from pipeline.errors import StoreRefused

T = TypeVar("T")


def key_of_salt(folder: str, fingerprint: str) -> str:
    """Where the state keeps something of one salt.

    One fingerprint in 64 begins with a dot, which no part of a key does; none has a dash.
    """
    name = f"-{fingerprint[1:]}" if fingerprint.startswith(".") else fingerprint
    return f"{folder}/{name}"


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
