"""Parts as readers find them: sorted, described, the same in every engine."""

import hashlib
import io
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ports import PartSummary
from sinks.parquet.encoder import PartEncoder, empty_part
from sinks.parquet.flat import Layout
from tests.unit.parquet_rows import SCHEMA, stamped


def encode(*tables: pa.Table, sort_by: str | None = None, **options: Any) -> tuple[bytes, PartSummary]:
    encoder = PartEncoder(SCHEMA, sort_by=sort_by, **options)
    sent = b"".join(encoder.append(table) for table in tables)
    rest, summary = encoder.finish()
    return sent + rest, summary


def read(part: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(part))


def by_id(table: pa.Table) -> list[Any]:
    return sorted(table.to_pylist(), key=lambda row: str(row["id"]))


def test_rows_come_back_with_the_schema_and_its_metadata() -> None:
    """What was appended is read back, typed, and the file says what it is."""
    part, _ = encode(stamped(40, seed=1), stamped(60, seed=2), sort_by="receivedDateTime")

    table = read(part)

    assert table.schema == SCHEMA
    assert table.schema.metadata == SCHEMA.metadata
    assert by_id(table) == by_id(pa.concat_tables([stamped(40, seed=1), stamped(60, seed=2)]))


@pytest.mark.parametrize("path", ["receivedDateTime", "start.dateTime"])
@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_each_row_group_is_sorted_by_time_and_says_so(path: str, layout: Layout) -> None:
    """Rows of a group are ordered, those without a time last, and the file declares it where it can."""
    part, _ = encode(stamped(250), sort_by=path, layout=layout, row_group_rows=100)
    reference, _ = encode(stamped(250), sort_by=path, row_group_rows=100)
    nested, file = pq.ParquetFile(io.BytesIO(reference)), pq.ParquetFile(io.BytesIO(part))

    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [100, 100, 50]
    for n in range(file.num_row_groups):
        group = nested.read_row_group(n)
        values = group.column(path.partition(".")[0]).to_pylist()
        times = [value["dateTime"] if isinstance(value, dict) else value for value in values]
        known = [time for time in times if time is not None]
        assert len(known) < len(times)  # or the test does not try rows without a time
        assert times == sorted(known) + [None] * (len(times) - len(known))
        assert file.read_row_group(n).column("id").to_pylist() == group.column("id").to_pylist()
        declared = file.metadata.row_group(n).sorting_columns
        if layout == "flat" and "." in path:
            assert declared == ()
        else:
            leaf = file.metadata.row_group(n).column(declared[0].column_index).path_in_schema
            assert (leaf, declared[0].descending, declared[0].nulls_first) == (path, False, False)


def test_summary_describes_the_bytes() -> None:
    """Rows, length, digest and time range are those of the file."""
    table = stamped(500)
    part, summary = encode(table, sort_by="receivedDateTime", row_group_rows=64)

    times = [time for time in table.column("receivedDateTime").to_pylist() if time is not None]
    assert summary == PartSummary(
        rows=500,
        bytes=len(part),
        sha256=hashlib.sha256(part).hexdigest(),
        min_time=min(times).astimezone(UTC),
        max_time=max(times).astimezone(UTC),
        days=Counter(each.astimezone(UTC).date().isoformat() for each in times),
    )
    assert isinstance(summary.min_time, datetime)
    assert summary.min_time.tzinfo is UTC


def test_unsorted_part_keeps_its_order_and_has_no_times() -> None:
    """A snapshot without a time column is written as it came."""
    table = stamped(30)
    part, summary = encode(table, row_group_rows=7)

    assert read(part).column("id").to_pylist() == table.column("id").to_pylist()
    assert (summary.min_time, summary.max_time) == (None, None)
    assert pq.ParquetFile(io.BytesIO(part)).metadata.row_group(0).sorting_columns == ()


def test_columns_are_compressed_with_statistics() -> None:
    """Every column chunk is zstd, and engines can skip groups by time."""
    part, summary = encode(stamped(300), sort_by="receivedDateTime")
    group = pq.ParquetFile(io.BytesIO(part)).metadata.row_group(0)
    chunks = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}

    assert {chunk.compression for chunk in chunks.values()} == {"ZSTD"}
    statistics = chunks["receivedDateTime"].statistics
    assert (statistics.min, statistics.max) == (summary.min_time, summary.max_time)


@given(cuts=st.lists(st.integers(0, 200), max_size=6), group_rows=st.integers(9, 90))
def test_equal_rows_give_equal_bytes_however_they_are_cut(cuts: list[int], group_rows: int) -> None:
    """The bytes depend on the rows, not on the units they came in."""
    table = stamped(200)
    bounds = [0, *sorted(cuts), 200]
    pieces = [table.slice(low, high - low) for low, high in pairwise(bounds)]

    options: dict[str, Any] = {"sort_by": "start.dateTime", "row_group_rows": group_rows}
    assert encode(*pieces, **options) == encode(table, **options)


def test_bytes_leave_while_the_part_grows() -> None:
    """A full group is handed out and no longer held."""
    encoder = PartEncoder(SCHEMA, sort_by="receivedDateTime", row_group_rows=100)
    assert encoder.append(stamped(99, seed=1)) == b"PAR1"
    assert (encoder.rows, encoder.buffered_bytes > 0, encoder.written_bytes) == (99, True, 4)

    ready = encoder.append(stamped(1, seed=2))

    assert len(ready) > 1000
    assert (encoder.rows, encoder.buffered_bytes, encoder.written_bytes) == (100, 0, 4 + len(ready))


def test_wide_rows_close_a_group_early() -> None:
    """Memory is bounded by bytes where rows are large."""
    encoder = PartEncoder(SCHEMA, sort_by=None, row_group_bytes=stamped(50).nbytes)

    assert len(encoder.append(stamped(50))) > 1000
    assert encoder.buffered_bytes == 0


def test_size_estimates_the_finished_part() -> None:
    """The estimate that decides when a part is full is near the truth once a group is written."""
    encoder = PartEncoder(SCHEMA, sort_by=None, row_group_rows=4000)
    for seed in range(5):
        encoder.append(stamped(1000, seed=seed))
    estimate = encoder.size

    _, summary = encoder.finish()

    assert estimate == pytest.approx(summary.bytes, rel=0.25)


@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_empty_part_is_a_valid_part(layout: Layout) -> None:
    """The part that takes another's place reads as a table of the same columns without rows."""
    part, summary = empty_part(SCHEMA, sort_by="start.dateTime", layout=layout)
    filled, _ = encode(stamped(1), sort_by="start.dateTime", layout=layout)

    assert read(part).num_rows == 0
    assert read(part).schema.equals(read(filled).schema, check_metadata=True)
    assert summary == PartSummary(0, len(part), hashlib.sha256(part).hexdigest(), None, None)


@pytest.mark.parametrize("path", ["nowhere", "start.nowhere", "id.dateTime", "id", "attendees.at"])
def test_sort_path_must_be_an_instant(path: str) -> None:
    """A misspelt sort column is found when the encoder is made, not in the night."""
    with pytest.raises(ValueError, match=path.partition(".")[0]):
        PartEncoder(SCHEMA, sort_by=path)


@pytest.mark.parametrize("layout", ["nested", "flat"])
def test_every_engine_reads_the_same(layout: Layout, tmp_path: Path) -> None:
    """pyarrow, duckdb, polars and pandas agree on rows, instants and nested values."""
    part, _ = encode(stamped(200), sort_by="receivedDateTime", layout=layout, row_group_rows=64)
    path = tmp_path / "part.parquet"
    path.write_bytes(part)
    connection = duckdb.connect()

    expected = pq.read_table(path).to_pylist()

    columns = connection.sql(f"SELECT * FROM read_parquet('{path}')").to_arrow_table()
    assert _plain(columns.to_pylist()) == _plain(expected)
    assert _plain(pl.read_parquet(path).to_dicts()) == _plain(expected)
    frame = pd.read_parquet(path, dtype_backend="pyarrow")
    assert _plain(pa.Table.from_pandas(frame, preserve_index=False).to_pylist()) == _plain(expected)


def _plain(value: Any) -> Any:
    """Instants in one zone object, so that equal means equal."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def test_many_tables_of_one_row_take_hardly_more_than_their_rows() -> None:
    """A hundred thousand mailboxes add a row of settings each, and a table around a row is larger than the row."""
    before = pa.total_allocated_bytes()
    encoder = PartEncoder(SCHEMA, sort_by=None)

    for seed in range(1024):
        encoder.append(stamped(1, seed=seed))

    assert pa.total_allocated_bytes() - before < 2 * encoder.buffered_bytes
