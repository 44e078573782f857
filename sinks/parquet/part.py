"""How one run writes one dataset: everything its parts have in common, and the encoder that applies it."""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from pipeline.ports import PartSummary
from sinks.parquet.encoder import ROW_GROUP_BYTES, PartEncoder, empty_part
from sinks.parquet.flat import Layout
from sinks.parquet.schema import stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFormat:
    """`schema` is a `part_schema`; `sort_by` is the dotted path of the dataset's time, if it has one.

    `row_group_bytes` bounds the rows kept for a row group, and so what one encoder holds.
    """

    schema: pa.Schema
    run_id: str
    exported_at: datetime
    sort_by: str | None
    layout: Layout = "nested"
    row_group_bytes: int = ROW_GROUP_BYTES

    def encoder(self) -> "StampedEncoder":
        """An encoder for the next part."""
        return StampedEncoder(self)

    def empty(self) -> tuple[bytes, PartSummary]:
        """A valid part without rows, which takes the place of one that must not appear any more."""
        return empty_part(self.schema, sort_by=self.sort_by, layout=self.layout)


class StampedEncoder:
    """Sanitized rows to the bytes of one part, metadata columns added. One caller at a time."""

    def __init__(self, part_format: PartFormat) -> None:
        self._format = part_format
        self._encoder = PartEncoder(
            part_format.schema,
            sort_by=part_format.sort_by,
            layout=part_format.layout,
            row_group_bytes=part_format.row_group_bytes,
        )

    @property
    def size(self) -> int:
        """Bytes the part would have if it were finished now, roughly."""
        return self._encoder.size

    @property
    def held_bytes(self) -> int:
        """Bytes of rows that are kept until they fill a row group."""
        return self._encoder.buffered_bytes

    def append(self, rows: pa.Table, *, owner: str | None) -> bytes:
        """Add one unit's rows; the bytes that became ready, often none."""
        stamped = stamp(
            rows,
            owner=owner,
            run_id=self._format.run_id,
            exported_at=self._format.exported_at,
            schema=self._format.schema,
        )
        return self._encoder.append(stamped)

    def finish(self) -> tuple[bytes, PartSummary]:
        """The rest of the part and what the manifest says of it."""
        return self._encoder.finish()
