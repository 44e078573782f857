"""What every part adds to its dataset's columns: whose a row is, which run wrote it, under which rules.

The names are a public contract: readers join and deduplicate on them.
"""

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

INSTANT = pa.timestamp("us", tz="UTC")

OWNER = "_owner"
RUN_ID = "_run_id"
EXPORTED_AT = "_exported_at"
REMOVED = "_removed"
METADATA_FIELDS: tuple[pa.Field, ...] = (
    pa.field(OWNER, pa.string()),
    pa.field(RUN_ID, pa.string()),
    pa.field(EXPORTED_AT, INSTANT),
    pa.field(REMOVED, pa.string()),
)
METADATA_MEANINGS: Mapping[str, str] = {
    OWNER: "the mailbox, team or group a row was read from; treated like a user or group id; null where there is none",
    RUN_ID: "the run that wrote the row; sorts by time",
    EXPORTED_AT: "start of that run",
    REMOVED: "why the record is gone; null for a living one",
}


def part_schema(
    columns: pa.Schema, *, dataset: str, schema_version: int, rules_fingerprint: str, profile: str
) -> pa.Schema:
    """The schema of every part of a dataset: its columns, the metadata columns, and the file's own metadata.

    Raises:
        ValueError: a column has the name of a metadata column.
    """
    taken = {field.name for field in METADATA_FIELDS}.intersection(columns.names)
    if taken:
        raise ValueError(f"{dataset}: column names reserved for metadata: {', '.join(sorted(taken))}")
    metadata = {
        "m365_export.dataset": dataset,
        "m365_export.schema_version": str(schema_version),
        "m365_export.rules_fingerprint": rules_fingerprint,
        "m365_export.profile": profile,
    }
    return pa.schema([*columns, *METADATA_FIELDS], metadata=metadata)


def stamp(table: pa.Table, *, owner: str | None, run_id: str, exported_at: datetime, schema: pa.Schema) -> pa.Table:
    """One unit's sanitized rows with their metadata columns, in the order of `schema`.

    Rows that already say `_removed` (tombstones) keep it.

    Raises:
        KeyError: the rows lack a column of `schema`.
    """
    count = table.num_rows
    constants = {OWNER: owner, RUN_ID: run_id, EXPORTED_AT: exported_at, REMOVED: None}
    columns = [
        _repeat(constants[field.name], field.type, count)
        if field.name in constants and field.name not in table.column_names
        else table.column(field.name)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _repeat(value: object, of: pa.DataType, count: int) -> pa.Array:
    return pa.nulls(count, of) if value is None else pa.repeat(pa.scalar(value, of), count)
