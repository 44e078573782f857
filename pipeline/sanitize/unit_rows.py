"""The rows of a unit: its batches joined, each key once."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


def once_per_key(batches: Sequence[pa.Table], *, schema: pa.Schema, key: Sequence[str]) -> pa.Table:
    """All rows; of those with equal keys the one read last, since pages of a changing mailbox overlap.

    Columns that begin with `_` are the same for the whole unit and do not tell rows apart.
    """
    held = [batch for batch in batches if len(batch)]
    rows = pa.concat_tables(held) if held else schema.empty_table()
    columns = [_column(rows, path) for path in key if not path.startswith("_")]
    if not columns:
        return rows
    keys = columns[0] if len(columns) == 1 else _joined(columns)
    if pc.count_distinct(keys, mode="all").as_py() == len(rows):
        return rows
    positions = pa.table({"key": keys, "position": pa.array(range(len(rows)), pa.int64())})
    last = positions.group_by("key").aggregate([("position", "max")])["position_max"]
    return rows.take(last.sort())


def _column(rows: pa.Table, path: str) -> pa.ChunkedArray:
    name, *inner = path.split(".")
    return pc.struct_field(rows[name], inner) if inner else rows[name]


def _joined(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    """Several key columns as one text; the separator is in no identifier."""
    texts = [column.cast(pa.string()).fill_null("") for column in columns]
    return pc.binary_join_element_wise(*texts, "\x1f")
