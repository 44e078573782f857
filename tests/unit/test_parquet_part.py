"""One dataset's parts in one run."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.parts import PartEncoder as PipelineEncoder
from sinks.parquet.part import PartFormat
from tests.unit.parquet_rows import EXPORTED_AT, RUN_ID, SCHEMA, rows

FORMAT = PartFormat(schema=SCHEMA, run_id=RUN_ID, exported_at=EXPORTED_AT, sort_by="start.dateTime")


def test_rows_of_each_unit_carry_their_owner() -> None:
    """Units of several owners share a part and stay apart in it."""
    encoder: PipelineEncoder = FORMAT.encoder()
    sent = encoder.append(rows(3, seed=1), owner="t~1") + encoder.append(rows(2, seed=2), owner=None)
    assert encoder.size > 0
    rest, summary = encoder.finish()

    table = pq.read_table(io.BytesIO(sent + rest))

    owners = {row["id"]: row["_owner"] for row in table.to_pylist()}
    assert summary.rows == 5
    assert owners == {"1-0": "t~1", "1-1": "t~1", "1-2": "t~1", "2-0": None, "2-1": None}


def test_part_without_rows_fits_among_the_others() -> None:
    """An empty part and a filled one are read as one table."""
    part, summary = FORMAT.empty()
    encoder = FORMAT.encoder()
    filled = encoder.append(rows(1), owner=None) + encoder.finish()[0]

    both = pa.concat_tables([pq.read_table(io.BytesIO(data)) for data in (part, filled)])

    assert (summary.rows, both.num_rows) == (0, 1)
