"""What the state keeps about principals, sealed: a reader of the bucket learns nothing from it.

Watermarks are columns (dataset, principal, watermark) in Parquet, because a hundred thousand principals are
read at the start of every run. The bytes are encrypted with AES-256-GCM under a key derived from the salt by
HKDF-SHA256, so there is no second secret to keep, and state of another salt, whose pseudonyms mean nothing
here, does not open.

Layout: one version byte, twelve bytes of nonce, ciphertext with its tag. The version byte and what the bytes
are for are authenticated too.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.errors import ConfigurationError
from pipeline.watermarks import Key

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
_ROWS_AT_ONCE = 8_192  # that exist as objects


def derive_key(salt: bytes) -> bytes:
    """The key for the state that belongs to `salt`."""
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_INFO).derive(salt)


def seal_snapshot(rows: Iterable[tuple[Key, datetime]], key: bytes) -> bytes:
    """Watermarks by (dataset, pseudonym of the principal), encrypted.

    Raises:
        ValueError: keys are not in order, or one came twice.
    """
    table = pa.Table.from_batches(_batches(rows), schema=_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", dictionary_pagesize_limit=_DICTIONARY_BYTES)
    return _seal(sink.getvalue().to_pybytes(), key, _SNAPSHOT)


def open_snapshot(data: bytes, key: bytes) -> Mapping[Key, datetime]:
    """What `seal_snapshot` was given, in the same order.

    Raises:
        ConfigurationError: sealed under another salt, damaged, or written by a newer version.
    """
    content = pa.BufferReader(_open(data, key, _SNAPSHOT))
    file = pq.ParquetFile(content, read_dictionary=["dataset", "principal"])
    return _Snapshot(file.read(use_threads=False))  # several would take a third more memory


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

    def seal(self, rows: Iterable[tuple[Key, datetime]]) -> bytes:
        """Watermarks by (dataset, pseudonym), encrypted."""
        return seal_snapshot(rows, self._key)

    def open(self, data: bytes) -> Mapping[Key, datetime]:
        """What `seal` was given."""
        return open_snapshot(data, self._key)

    def seal_blob(self, data: bytes) -> bytes:
        """Any bytes, encrypted."""
        return seal_blob(data, self._key)

    def open_blob(self, data: bytes) -> bytes:
        """What `seal_blob` was given."""
        return open_blob(data, self._key)


class _Snapshot(Mapping[Key, datetime]):
    """Watermarks as columns, ordered by key: 75 bytes for a principal of two datasets. A dictionary would take 350."""

    def __init__(self, table: pa.Table) -> None:
        self._rows: dict[str, range] = {}
        first = 0
        for each in pc.value_counts(table["dataset"]).to_pylist():  # in the order in which they come
            self._rows[each["values"]] = range(first, first + each["counts"])
            first += each["counts"]
        principals = table["principal"].unify_dictionaries().combine_chunks()
        self._places = _numbers(principals.indices, "i")
        _, offsets, texts = principals.dictionary.buffers()
        self._offsets = memoryview(offsets or b"").cast("i")
        self._texts = memoryview(texts or b"")
        self._instants = _numbers(table["watermark"].combine_chunks(), "q")
        self._made: dict[int, datetime] = {}  # nearly all watermarks are the end of some run

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Key]:
        for dataset, rows in self._rows.items():
            for row in rows:
                yield dataset, self._principal(row).decode()

    def __getitem__(self, key: Key) -> datetime:
        dataset, principal = key
        rows, wanted = self._rows.get(dataset, range(0)), principal.encode()
        place = bisect_left(rows, wanted, key=self._principal)
        if place == len(rows) or self._principal(rows[place]) != wanted:
            raise KeyError(key)
        return self._instant(rows[place])

    def _principal(self, row: int) -> bytes:
        place = self._places[row]
        return bytes(self._texts[self._offsets[place] : self._offsets[place + 1]])

    def _instant(self, row: int) -> datetime:
        microseconds = self._instants[row]
        instant = self._made.get(microseconds)
        if instant is None:
            instant = self._made[microseconds] = _EPOCH + timedelta(microseconds=microseconds)
        return instant


def _batches(rows: Iterable[tuple[Key, datetime]]) -> Iterator[pa.RecordBatch]:
    waiting, last = iter(rows), ("", "")
    while few := list(islice(waiting, _ROWS_AT_ONCE)):
        keys = [key for key, _ in few]
        if any(key <= before for before, key in pairwise([last, *keys])):
            raise ValueError("watermarks come in the order of their keys, each once")
        last = keys[-1]
        datasets, principals = zip(*keys, strict=True)
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(datasets, pa.string()),
                pa.array(principals, pa.string()),
                pa.array([at for _, at in few], _SCHEMA.field("watermark").type),
            ],
            schema=_SCHEMA,
        )


def _numbers(array: pa.Array, kind: Literal["i", "q"]) -> memoryview:
    """The numbers of a column without nulls."""
    if not len(array):
        return memoryview(b"").cast(kind)
    return memoryview(array.buffers()[1]).cast(kind)[array.offset : array.offset + len(array)]


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
