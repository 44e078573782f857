"""What the state keeps about principals, sealed: a reader of the bucket learns nothing from it.

Watermarks are columns (dataset, principal, watermark) in Parquet, because a hundred thousand principals are
read at the start of every run. The bytes are encrypted with AES-256-GCM under a key derived from the salt by
HKDF-SHA256, so there is no second secret to keep, and state of another salt, whose pseudonyms mean nothing
here, does not open.

Layout: one version byte, twelve bytes of nonce, ciphertext with its tag. The version byte and what the bytes
are for are authenticated too.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.errors import ConfigurationError

_VERSION = b"\x01"
_KEY_BYTES = 32
_NONCE_BYTES = 12  # random: safe for 2^32 seals under one key
_INFO = b"m365-export state encryption v1"
_SNAPSHOT = b"snapshot"
_BLOB = b"blob"

_SCHEMA = pa.schema([("dataset", pa.string()), ("principal", pa.string()), ("watermark", pa.timestamp("us", tz="UTC"))])
# A principal has a row per dataset; the default of 1 MiB gives up on their dictionary after 20,000 of them.
_DICTIONARY_BYTES = 256 * 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def derive_key(salt: bytes) -> bytes:
    """The key for the state that belongs to `salt`."""
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_INFO).derive(salt)


def seal_snapshot(rows: Mapping[tuple[str, str], datetime], key: bytes) -> bytes:
    """Watermarks by (dataset, pseudonym of the principal), encrypted."""
    ordered = sorted(rows.items())
    table = pa.Table.from_arrays(
        [
            pa.array([dataset for (dataset, _), _ in ordered], pa.string()),
            pa.array([principal for (_, principal), _ in ordered], pa.string()),
            pa.array([watermark for _, watermark in ordered], _SCHEMA.field("watermark").type),
        ],
        schema=_SCHEMA,
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", dictionary_pagesize_limit=_DICTIONARY_BYTES)
    return _seal(sink.getvalue().to_pybytes(), key, _SNAPSHOT)


def open_snapshot(data: bytes, key: bytes) -> dict[tuple[str, str], datetime]:
    """What `seal_snapshot` was given.

    Raises:
        ConfigurationError: sealed under another salt, damaged, or written by a newer version.
    """
    content = _open(data, key, _SNAPSHOT)
    table = pq.read_table(pa.BufferReader(content), schema=_SCHEMA).combine_chunks()
    keys = zip(_texts(table.column("dataset")), _texts(table.column("principal")), strict=True)
    return dict(zip(keys, _instants(table.column("watermark")), strict=True))


def seal_blob(data: bytes, key: bytes) -> bytes:
    """Any bytes, encrypted."""
    return _seal(data, key, _BLOB)


def open_blob(data: bytes, key: bytes) -> bytes:
    """What `seal_blob` was given.

    Raises:
        ConfigurationError: sealed under another salt, damaged, or written by a newer version.
    """
    return _open(data, key, _BLOB)


class StateVault:
    """Seals and opens the state of one salt; the errors are those of the functions above."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, rows: Mapping[tuple[str, str], datetime]) -> bytes:
        """Watermarks by (dataset, pseudonym), encrypted."""
        return seal_snapshot(rows, self._key)

    def open(self, data: bytes) -> dict[tuple[str, str], datetime]:
        """What `seal` was given."""
        return open_snapshot(data, self._key)

    def seal_blob(self, data: bytes) -> bytes:
        """Any bytes, encrypted."""
        return seal_blob(data, self._key)

    def open_blob(self, data: bytes) -> bytes:
        """What `seal_blob` was given."""
        return open_blob(data, self._key)


def _seal(content: bytes, key: bytes, purpose: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(key).encrypt(nonce, content, _VERSION + purpose)


def _open(data: bytes, key: bytes, purpose: bytes) -> bytes:
    version, nonce, sealed = data[:1], data[1 : 1 + _NONCE_BYTES], data[1 + _NONCE_BYTES :]
    if version != _VERSION:
        raise ConfigurationError("state: an object is empty, damaged, or written by a newer version of m365-export")
    try:
        return AESGCM(key).decrypt(nonce, sealed, _VERSION + purpose)
    except (InvalidTag, ValueError):  # ValueError: too short to hold nonce and tag
        raise ConfigurationError(
            "state: an object does not open with this salt; it was sealed under another privacy.salt "
            "or is damaged. Restore the salt, or start with a new state location"
        ) from None


def _texts(column: pa.ChunkedArray) -> list[str]:
    """A principal has a row per dataset: each distinct text is made once, and shared."""
    encoded = column.combine_chunks().dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    return [distinct[index] for index in encoded.indices.to_pylist()]


def _instants(column: pa.ChunkedArray) -> list[datetime]:
    """Nearly all watermarks are the end of some run, so each distinct one is made once."""
    known: dict[int, datetime] = {}
    instants = []
    for microseconds in column.cast(pa.int64()).to_pylist():
        instant = known.get(microseconds)
        if instant is None:
            instant = known[microseconds] = _EPOCH + timedelta(microseconds=microseconds)
        instants.append(instant)
    return instants
