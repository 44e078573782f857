"""What the state keeps about principals, sealed: a reader of the bucket learns nothing from it.

Watermarks are columns (principal, dataset, watermark) in Parquet, because a hundred thousand principals are
read at the start of every run; they are written and read a few thousand rows at a time. The bytes are encrypted
with AES-256-GCM under a key derived from the salt by HKDF-SHA256, so there is no second secret to keep, and state
of another salt, whose pseudonyms mean nothing here, does not open.

Layout: one version byte, twelve bytes of nonce, ciphertext with its tag. The version byte and what the bytes
are for are authenticated too.
"""

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, pairwise

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.errors import ConfigurationError
from pipeline.watermarks import Key, by_principal

_KEY_BYTES = 32
_NONCE_BYTES = 12  # random: safe for 2^32 seals under one key
_INFO = b"m365-export state encryption v1"
_SNAPSHOT = b"snapshot"
_BLOB = b"blob"
# The version that is written, then older ones that are read too. Watermarks of version 1 are ordered by dataset.
_VERSIONS = {_SNAPSHOT: (b"\x02", b"\x01"), _BLOB: (b"\x01",)}

_SCHEMA = pa.schema([("principal", pa.string()), ("dataset", pa.string()), ("watermark", pa.timestamp("us", tz="UTC"))])
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_AT_ONCE = 8_192  # of a row group, and that exist as objects


def derive_key(salt: bytes) -> bytes:
    """The key for the state that belongs to `salt`."""
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=_INFO).derive(salt)


def seal_snapshot(rows: Iterable[tuple[Key, datetime]], key: bytes) -> bytes:
    """Watermarks by (dataset, pseudonym of the principal), encrypted.

    Raises:
        ValueError: they are not ordered `by_principal`, or one came twice.
    """
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, _SCHEMA, compression="zstd") as writer:
        for batch in _batches(rows):
            writer.write_batch(batch)
    return _seal(memoryview(sink.getvalue()).cast("B"), key, _SNAPSHOT)


def open_snapshot(data: bytes, key: bytes) -> Mapping[Key, datetime]:
    """What `seal_snapshot` was given, in the same order.

    Raises:
        ConfigurationError: sealed under another salt, damaged, or written by a newer version.
    """
    return _Snapshot(_rows(data, key))


def snapshot_rows(data: bytes, key: bytes) -> Iterator[tuple[Key, datetime]]:
    """The same, one after the other: a few thousand are held at a time.

    Raises:
        ConfigurationError: as `open_snapshot`.
    """
    instants = _Instants()
    return (((dataset, principal), instants[at]) for principal, dataset, at in _rows(data, key))


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

    def rows(self, data: bytes) -> Iterator[tuple[Key, datetime]]:
        """The same, one after the other."""
        return snapshot_rows(data, self._key)

    def seal_blob(self, data: bytes) -> bytes:
        """Any bytes, encrypted."""
        return seal_blob(data, self._key)

    def open_blob(self, data: bytes) -> bytes:
        """What `seal_blob` was given."""
        return open_blob(data, self._key)


class _Snapshot(Mapping[Key, datetime]):
    """Watermarks in arrays: 75 bytes for a principal of two datasets. A dictionary would take 350."""

    def __init__(self, rows: Iterable[tuple[str, str, int]]) -> None:
        self._texts = bytearray()  # of the principals, in order
        self._ends = array("I", [0])  # where the text of each ends
        self._rows = array("I")  # where the rows of each begin
        self._datasets = array("B")  # by row, as a place among the names
        self._instants = array("q")  # by row, in microseconds
        self._names: list[str] = []
        self._made = _Instants()
        self._latest = 0  # the place that was found last: who asks goes through them in order
        self._take(rows)

    def __len__(self) -> int:
        return len(self._instants)

    def __iter__(self) -> Iterator[Key]:
        for place in range(len(self._ends) - 1):
            principal = self._principal(place).decode()
            for row in range(self._rows[place], self._rows[place + 1]):
                yield self._names[self._datasets[row]], principal

    def __getitem__(self, key: Key) -> datetime:
        dataset, principal = key
        place = self._place(principal.encode())
        if place is not None:
            for row in range(self._rows[place], self._rows[place + 1]):
                if self._names[self._datasets[row]] == dataset:
                    return self._made[self._instants[row]]
        raise KeyError(key)

    def _take(self, rows: Iterable[tuple[str, str, int]]) -> None:
        codes: dict[str, int] = {}
        last = None
        for principal, dataset, instant in rows:
            if principal != last:
                self._texts += principal.encode()
                self._ends.append(len(self._texts))
                self._rows.append(len(self._instants))
                last = principal
            self._datasets.append(codes.setdefault(dataset, len(codes)))
            self._instants.append(instant)
        self._rows.append(len(self._instants))
        self._names = list(codes)

    def _place(self, principal: bytes) -> int | None:
        count = len(self._ends) - 1
        for place in (self._latest, self._latest + 1):
            if place < count and self._principal(place) == principal:
                self._latest = place
                return place
        place = bisect_left(range(count), principal, key=self._principal)
        if place == count or self._principal(place) != principal:
            return None
        self._latest = place
        return place

    def _principal(self, place: int) -> bytes:
        return bytes(self._texts[self._ends[place] : self._ends[place + 1]])


class _Instants(dict[int, datetime]):
    """Instants by their microseconds, each made once: nearly all watermarks are the end of some run."""

    def __missing__(self, microseconds: int) -> datetime:
        made = self[microseconds] = _EPOCH + timedelta(microseconds=microseconds)
        return made


def _rows(data: bytes, key: bytes) -> Iterator[tuple[str, str, int]]:
    """Principal, dataset and microseconds of each watermark. Raises: ConfigurationError, at once."""
    file = pq.ParquetFile(pa.BufferReader(_open(data, key, _SNAPSHOT)))
    if file.schema_arrow.names == _SCHEMA.names:
        batches = file.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False)
    else:  # version 1
        ordered = file.read(_SCHEMA.names).sort_by([("principal", "ascending"), ("dataset", "ascending")])
        batches = iter(ordered.to_batches(max_chunksize=_ROWS_AT_ONCE))
    return chain.from_iterable(map(_columns, batches))


def _columns(batch: pa.RecordBatch) -> Iterator[tuple[str, str, int]]:
    principals, datasets, watermarks = batch.columns
    return zip(principals.to_pylist(), datasets.to_pylist(), watermarks.cast(pa.int64()).to_pylist(), strict=True)


def _batches(rows: Iterable[tuple[Key, datetime]]) -> Iterator[pa.RecordBatch]:
    waiting, last = iter(rows), ("", "")
    while few := list(islice(waiting, _ROWS_AT_ONCE)):
        places = [by_principal(key) for key, _ in few]
        if any(place <= before for before, place in pairwise([last, *places])):
            raise ValueError("watermarks come in the order of their principals, each once")
        last = places[-1]
        principals, datasets = zip(*places, strict=True)
        instants = [at for _, at in few]
        columns = [principals, datasets, instants]
        yield pa.record_batch(
            [pa.array(each, field.type) for each, field in zip(columns, _SCHEMA, strict=True)], _SCHEMA
        )


def _seal(content: bytes | memoryview, key: bytes, purpose: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    version, *_ = _VERSIONS[purpose]
    return version + nonce + AESGCM(key).encrypt(nonce, content, version + purpose)


def _open(data: bytes, key: bytes, purpose: bytes) -> bytes:
    whole = memoryview(data)  # of which slices are no copies
    version, nonce, sealed = data[:1], data[1 : 1 + _NONCE_BYTES], whole[1 + _NONCE_BYTES :]
    if version not in _VERSIONS[purpose]:
        raise ConfigurationError("state: an object is empty, damaged, or written by a newer version of m365-export")
    try:
        return AESGCM(key).decrypt(nonce, sealed, version + purpose)
    except (InvalidTag, ValueError):  # ValueError: too short to hold nonce and tag
        raise ConfigurationError(
            "state: an object does not open with this salt; it was sealed under another privacy.salt "
            "or is damaged. Restore the salt, or start with a new state location"
        ) from None
