"""Looks into parts that were read again: schema, rows, keys, and what must not be in them.

One row group is held at a time; the keys of all rows go to temporary files, as digests.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sinks.parquet.flat import Layout, flat_schema, nested_table
from sinks.parquet.schema import EXPORTED_AT, OWNER, RUN_ID

_BUCKETS = 64  # by the first bits of a key's digest: one of them at a time is looked at in memory
_DIGEST_BYTES = 16  # two different keys of a run share one with a probability below 1e-20
_PART_BYTES = 4
_SPOOL_BYTES = 256 * 1024  # of a bucket in memory; more goes to a file without a name


class Verdict(Protocol):
    """What the guard found; the text of a breach names dataset, column and rule."""

    @property
    def breach(self) -> object | None: ...


class Guard(Protocol):
    """The part of the egress guard that needs no directory."""

    def check(self, rows: pa.Table, *, owner: str | None = None) -> Verdict: ...


class UnknownSchemaCheck:
    """The parts of a dataset, or of a version of one, that this product does not know: it cannot vouch for them."""

    def __init__(self, *, written_by: str) -> None:
        """`written_by` is the version that does know."""
        self._written_by = written_by

    def differences(self, file: IO[bytes], *, path: str, rows: int) -> list[str]:
        """That nothing can be said of a part with rows."""
        del file, path
        return [f"schema: not known here; verify it with m365-export {self._written_by}"] if rows else []

    def holds_rows(self, file: IO[bytes]) -> bool:
        """Whether it is anything but a valid part without rows."""
        return holds_rows(file)

    def repeated(self) -> Mapping[str, int]:
        """Nothing is known of keys."""
        return {}


class PartCheck:
    """The parts of one dataset of one run; `schema` is a nested `part_schema` with the metadata that is expected."""

    def __init__(self, schema: pa.Schema, *, run_id: str, key: Sequence[str], guard: Guard) -> None:
        """`key` has the dotted paths of the columns that tell rows apart."""
        self._schema = schema
        self._run_id = run_id
        self._key = [tuple(path.split(".")) for path in key]
        self._guard = guard
        self._layout: Layout | None = None  # of the first part with rows
        self._keys = _Keys()

    def differences(self, file: IO[bytes], *, path: str, rows: int) -> list[str]:
        """What is wrong with the content of a part that should have `rows` rows."""
        try:
            return list(self._differences(pq.ParquetFile(file), path=path, rows=rows))
        except (pa.ArrowException, OSError):  # what a damaged file makes Arrow raise
            return ["unreadable: no valid Parquet"]

    def holds_rows(self, file: IO[bytes]) -> bool:
        """Whether it is anything but a valid part without rows."""
        return holds_rows(file)

    def repeated(self) -> Mapping[str, int]:
        """By path: how many rows have a key that another row has too."""
        return self._keys.repeated()

    def _differences(self, parquet: pq.ParquetFile, *, path: str, rows: int) -> Iterator[str]:
        if parquet.metadata.num_rows != rows:
            yield f"rows: {parquet.metadata.num_rows:,}, the manifest says {rows:,}"
        if not parquet.metadata.num_rows:
            return  # it holds the place of a part; whoever put it there may have had other rules
        yield from self._metadata_differences(parquet.schema_arrow.metadata or {})
        layout = self._layout_of(parquet.schema_arrow)
        if layout is None:
            yield f"schema: {_told(parquet.schema_arrow, self._schema)}"
            return
        self._layout = self._layout or layout
        if layout != self._layout:
            yield "schema: another layout than the run's first part"
        found: set[str] = set()
        for group in range(parquet.num_row_groups):
            table = parquet.read_row_group(group)
            nested = nested_table(table, self._schema) if layout == "flat" else table
            found.update(self._content_differences(nested))
            self._keys.add(path, _key_digests(nested, self._key))
        yield from sorted(found)

    def _metadata_differences(self, metadata: Mapping[bytes, bytes]) -> Iterator[str]:
        for name, value in self._schema.metadata.items():
            if metadata.get(name) != value:
                yield f"metadata: {name.decode().removeprefix('m365_export.')} is not the run's"

    def _layout_of(self, schema: pa.Schema) -> Layout | None:
        if schema.equals(self._schema):
            return "nested"
        return "flat" if schema.equals(flat_schema(self._schema)) else None

    def _content_differences(self, table: pa.Table) -> Iterator[str]:
        if pc.unique(table[RUN_ID]).to_pylist() != [self._run_id]:
            yield "rows: some are of another run"
        owners = [owner for owner in pc.unique(table[OWNER]).to_pylist() if owner is not None]
        columns = table.drop_columns([OWNER, RUN_ID, EXPORTED_AT])  # as they were when the export's guard saw them
        verdicts = [self._guard.check(columns)]
        verdicts += [self._guard.check(columns.slice(0, 0), owner=owner) for owner in owners]
        for verdict in verdicts:
            if verdict.breach is not None:
                yield f"guard: {verdict.breach}"


def holds_rows(file: IO[bytes]) -> bool:
    """Whether a file is anything but valid Parquet without rows."""
    try:
        return bool(pq.ParquetFile(file).metadata.num_rows)
    except (pa.ArrowException, OSError):
        return True


class _Keys:
    """Digests of the keys of all rows, in temporary files, so that no number of rows is too large."""

    def __init__(self) -> None:
        self._paths: list[str] = []
        self._files = ExitStack()
        self._buckets = [
            self._files.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES))  # noqa: SIM115 - the stack closes it
            for _ in range(_BUCKETS)
        ]

    def add(self, path: str, digests: Iterator[bytes]) -> None:
        if path not in self._paths[-1:]:
            self._paths.append(path)
        part = (len(self._paths) - 1).to_bytes(_PART_BYTES, "big")
        for digest in digests:
            self._buckets[digest[0] % _BUCKETS].write(digest + part)

    def repeated(self) -> dict[str, int]:
        """By path, how many rows have a key that is not theirs alone; the digests are gone afterwards."""
        repeated: Counter[str] = Counter()
        with self._files:
            for bucket in self._buckets:
                repeated.update(self._repeated_in(bucket))
        return dict(repeated)

    def _repeated_in(self, bucket: IO[bytes]) -> Iterator[str]:
        size = _DIGEST_BYTES + _PART_BYTES
        bucket.seek(0)
        held = bucket.read()
        entries = [held[start : start + size] for start in range(0, len(held), size)]
        counts = Counter(entry[:_DIGEST_BYTES] for entry in entries)
        for entry in entries:
            if counts[entry[:_DIGEST_BYTES]] > 1:
                yield self._paths[int.from_bytes(entry[_DIGEST_BYTES:], "big")]


def _key_digests(table: pa.Table, paths: Sequence[tuple[str, ...]]) -> Iterator[bytes]:
    columns = [_values_at(table, path).to_pylist() for path in paths]
    for key in zip(*columns, strict=True):
        yield hashlib.blake2b(msgspec.msgpack.encode(key), digest_size=_DIGEST_BYTES).digest()


def _values_at(table: pa.Table, path: tuple[str, ...]) -> pa.ChunkedArray:
    column = table[path[0]]
    return pc.struct_field(column, list(path[1:])) if len(path) > 1 else column


def _told(actual: pa.Schema, expected: pa.Schema) -> str:
    """How they differ. A column that is not expected is counted only: its name may be anything."""
    missing = [name for name in expected.names if name not in actual.names]
    flat = flat_schema(expected)
    changed = [
        field.name
        for field in expected
        if field.name in actual.names and actual.field(field.name).type not in (field.type, flat.field(field.name).type)
    ]
    added = sum(name not in expected.names for name in actual.names)
    told = [
        f"without {', '.join(missing)}" if missing else "",
        f"another type of {', '.join(changed)}" if changed else "",
        f"{added} columns too many" if added else "",
    ]
    return "; ".join(filter(None, told)) or "the columns are in another order or layout"
