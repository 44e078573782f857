"""Rows of finished units to the bytes of one Parquet part, while the part grows.

Rows gather until they fill a row group; a group is sorted, written and handed out as bytes, so that what is
held is one group and not the part. Equal input gives equal bytes, however it was cut into tables, until a
group is closed early because its rows are large.

https://parquet.apache.org/docs/file-format/metadata/ (checked 2026-11): `sorting_columns` is declared per row
group.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.ports import PartSummary
from sinks.parquet.flat import Layout, flat_schema, flat_table

ROW_GROUP_ROWS = 131_072
# Several datasets have a part open at a time; without a cap, wide rows would hold hundreds of megabytes each.
ROW_GROUP_BYTES = 96 * 1024 * 1024
# Measured on pseudonymized mail: 3 takes a fifth longer and saves 3 %.
ZSTD_LEVEL = 1
# A table takes some kilobytes beside its rows: those of few rows (the settings of one mailbox) are joined soon.
FEW_ROWS = 256
FEW_TABLES = 256
COMPRESSED_SHARE = 0.3  # of the rows in memory, until the part itself shows how it compresses


class PartEncoder:
    """Encodes one part. May be called from any thread, by one caller at a time."""

    def __init__(
        self,
        schema: pa.Schema,
        *,
        sort_by: str | None,
        layout: Layout = "nested",
        row_group_rows: int = ROW_GROUP_ROWS,
        row_group_bytes: int = ROW_GROUP_BYTES,
    ) -> None:
        """`schema` is that of the rows, in both layouts; `sort_by` is the dotted path of an instant in them.

        Raises:
            ValueError: `sort_by` names no instant of `schema`.
        """
        self._schema = schema
        self._sort_by = tuple(sort_by.split(".")) if sort_by is not None else None
        self._layout = layout
        self._row_group_rows = row_group_rows
        self._row_group_bytes = row_group_bytes
        self._held: list[pa.Table] = []
        self._few: list[pa.Table] = []  # the last ones, of few rows each
        self._held_rows = 0
        self._encoded_from = 0  # bytes the rows of the written groups had in memory
        self._min_time: datetime | None = None
        self._max_time: datetime | None = None
        self._days: Counter[str] = Counter()
        self.rows = 0
        self.buffered_bytes = 0
        if self._sort_by is not None and not pa.types.is_timestamp(_type_at(schema, self._sort_by)):
            raise ValueError(f"{sort_by}: is no instant")
        written = flat_schema(schema) if layout == "flat" else schema
        self._drain = _Drain()
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._drain, mode="w"),
            written,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=_repeating(written),
            write_statistics=True,
            sorting_columns=_sorting_columns(written, self._sort_by),
        )

    @property
    def written_bytes(self) -> int:
        """Bytes handed out or ready to be."""
        return self._drain.position

    @property
    def size(self) -> int:
        """Bytes the part would have if it were finished now, estimated from how its rows compress."""
        share = self.written_bytes / self._encoded_from if self._encoded_from else COMPRESSED_SHARE
        return self.written_bytes + int(self.buffered_bytes * share)

    def append(self, table: pa.Table) -> bytes:
        """Add rows; the bytes that became ready, often none."""
        for few in self._pieces(table):
            self._hold(few)
            self._held_rows += few.num_rows
            self.rows += few.num_rows
            self.buffered_bytes += few.nbytes
            while self._held_rows >= self._row_group_rows:
                self._write_group(self._row_group_rows)
            if self.buffered_bytes >= self._row_group_bytes:
                self._write_group(self._held_rows)
        return self._drain.take()

    def _pieces(self, table: pa.Table) -> Iterator[pa.Table]:
        """The rows, those of a unit that is larger than a row group in pieces of that size; nothing is copied."""
        pieces = math.ceil(table.nbytes / self._row_group_bytes)
        rows = math.ceil(table.num_rows / max(1, pieces))
        for first in range(0, table.num_rows, max(1, rows)):
            yield table.slice(first, rows)

    def finish(self) -> tuple[bytes, PartSummary]:
        """The rest of the part and what the manifest says of it. Nothing may follow."""
        if self._held_rows:
            self._write_group(self._held_rows)
        self._writer.close()
        rest = self._drain.take()
        summary = PartSummary(
            rows=self.rows,
            bytes=self._drain.position,
            sha256=self._drain.sha256.hexdigest(),
            min_time=self._min_time,
            max_time=self._max_time,
            days=dict(sorted(self._days.items())),
        )
        return rest, summary

    def _hold(self, table: pa.Table) -> None:
        """Keep rows in their order."""
        if table.num_rows >= FEW_ROWS:
            self._join_few()
            self._held.append(table)
            return
        self._few.append(table)
        if len(self._few) >= FEW_TABLES:
            self._join_few()

    def _join_few(self) -> None:
        if self._few:
            self._held.append(pa.concat_tables(self._few).combine_chunks())
            self._few.clear()

    def _write_group(self, count: int) -> None:
        self._join_few()
        columns, rest = self._split(count)
        self._encoded_from += self.buffered_bytes - rest.nbytes
        self._held = [rest] if rest.num_rows else []
        self._held_rows = rest.num_rows
        self.buffered_bytes = rest.nbytes
        del rest
        order = None
        if self._sort_by is not None:
            times = _values_at(columns[self._schema.get_field_index(self._sort_by[0])], self._sort_by)
            self._note_times(times)
            order = pc.array_sort_indices(times, null_placement="at_end")  # equal times keep their order
            del times
        for place in range(len(columns)):  # each takes the place of what it was made from, so that one is held twice
            columns[place] = _gathered(columns[place], order)
        group = pa.Table.from_arrays(columns, schema=self._schema)
        columns.clear()
        if self._layout == "flat":
            group = flat_table(group)
        self._writer.write_table(group, row_group_size=count)

    def _split(self, count: int) -> tuple[list[pa.ChunkedArray], pa.Table]:
        """The columns of the first `count` rows held, and the rows after them, which keep nothing of those alive."""
        held = pa.concat_tables(self._held)
        rest = held.slice(count)
        return held.slice(0, count).columns, pa.table(
            [_gathered(column, None) for column in rest.columns], schema=self._schema
        )

    def _note_times(self, times: pa.Array) -> None:
        bounds = pc.min_max(times).as_py()
        if bounds["min"] is not None:
            low, high = bounds["min"].astimezone(UTC), bounds["max"].astimezone(UTC)
            self._min_time = min(low, self._min_time or low)
            self._max_time = max(high, self._max_time or high)
            for each in pc.value_counts(times.drop_null().cast(pa.date32())).to_pylist():
                self._days[each["values"].isoformat()] += each["counts"]


def empty_part(
    schema: pa.Schema, *, sort_by: str | None = None, layout: Layout = "nested"
) -> tuple[bytes, PartSummary]:
    """A valid part without rows."""
    return PartEncoder(schema, sort_by=sort_by, layout=layout).finish()


class _Drain:
    """The file that the Parquet writer believes in: hashes what arrives and hands it on."""

    closed = False

    def __init__(self) -> None:
        self.position = 0
        self.sha256 = hashlib.sha256()
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.position += len(data)
        self.sha256.update(data)
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        self.closed = True


def _type_at(schema: pa.Schema, path: tuple[str, ...]) -> pa.DataType:
    of: pa.DataType = pa.struct(list(schema))
    for name in path:
        if name == "[]":
            of = of.value_type
            continue
        if not pa.types.is_struct(of) or of.get_field_index(name) < 0:
            raise ValueError(f"{'.'.join(path)}: no such column")
        of = of.field(name).type
    return of


def _values_at(column: pa.ChunkedArray, path: tuple[str, ...]) -> pa.Array:
    whole = _gathered(column, None)
    return pc.struct_field(whole, list(path[1:])) if len(path) > 1 else whole


def _gathered(column: pa.ChunkedArray, order: pa.Array | None) -> pa.Array:
    """The values in one piece of their own, for where the chunks end would show in the bytes; in `order`, if given."""
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return whole if order is None else whole.take(order)


def _sorting_columns(schema: pa.Schema, path: tuple[str, ...] | None) -> list[pq.SortingColumn] | None:
    """What the file says of its order; nothing where the flat layout hides the column inside JSON text."""
    if path is None:
        return None
    leaves = _leaf_paths(pa.struct(list(schema)))
    return [pq.SortingColumn(leaves.index(path), nulls_first=False)] if path in leaves else None


def _repeating(schema: pa.Schema) -> list[str]:
    """Columns worth a dictionary, as Parquet spells their paths. Instants hardly repeat: plain, they are smaller."""
    paths = _leaf_paths(pa.struct(list(schema)))
    return [
        ".".join("list.element" if name == "[]" else name for name in path)
        for path in paths
        if not pa.types.is_timestamp(_type_at(schema, path))
    ]


def _leaf_paths(of: pa.DataType) -> list[tuple[str, ...]]:
    """Paths of the leaves, depth first, as Parquet counts its columns; list items have names of their own."""
    if pa.types.is_struct(of):
        return [(field.name, *rest) for field in of for rest in _leaf_paths(field.type)]
    if pa.types.is_list(of):
        return [("[]", *rest) for rest in _leaf_paths(of.value_type)]
    return [()]
