"""The columns and the metadata that every part carries."""

import pyarrow as pa
import pytest

from sinks.parquet.schema import part_schema, stamp
from tests.unit.parquet_rows import COLUMNS, EXPORTED_AT, RUN_ID, SCHEMA, rows


def test_metadata_columns_and_file_metadata_are_the_published_ones() -> None:
    """Names, types and keys are a contract with readers."""
    assert SCHEMA.names == [*COLUMNS.names, "_owner", "_run_id", "_exported_at", "_removed"]
    assert [str(SCHEMA.field(name).type) for name in SCHEMA.names[-4:]] == [
        "string", "string", "timestamp[us, tz=UTC]", "string",
    ]  # fmt: skip
    assert SCHEMA.metadata == {
        b"m365_export.dataset": b"calendar_events",
        b"m365_export.schema_version": b"3",
        b"m365_export.rules_fingerprint": b"5eed",
        b"m365_export.profile": b"strict",
    }


def test_a_column_cannot_take_a_metadata_name() -> None:
    """A dataset that defines `_run_id` itself would shadow the run's."""
    with pytest.raises(ValueError, match="_run_id"):
        part_schema(
            pa.schema([("_run_id", pa.string())]),
            dataset="d", schema_version=1, rules_fingerprint="f", profile="p",
        )  # fmt: skip


def test_rows_are_stamped_with_owner_and_run() -> None:
    """Every row says whose it is and which run wrote it; living objects have no reason of removal."""
    table = stamp(rows(3), owner="t~me", run_id=RUN_ID, exported_at=EXPORTED_AT, schema=SCHEMA)

    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert table.select(["_owner", "_run_id", "_exported_at", "_removed"]).to_pylist() == 3 * [
        {"_owner": "t~me", "_run_id": RUN_ID, "_exported_at": EXPORTED_AT, "_removed": None}
    ]


def test_rows_without_owner_have_none() -> None:
    """Datasets that belong to nobody have a null owner, not an empty one."""
    table = stamp(rows(2), owner=None, run_id=RUN_ID, exported_at=EXPORTED_AT, schema=SCHEMA)

    assert table.column("_owner").to_pylist() == [None, None]


def test_tombstones_keep_their_reason() -> None:
    """A row that says why its object is gone is not made a living one."""
    tombstones = rows(2).append_column("_removed", pa.array(["deleted", None]))

    table = stamp(tombstones, owner=None, run_id=RUN_ID, exported_at=EXPORTED_AT, schema=SCHEMA)

    assert table.column("_removed").to_pylist() == ["deleted", None]


def test_missing_column_is_an_error() -> None:
    """Rows of another schema never become a part."""
    with pytest.raises(KeyError):
        stamp(rows(1).drop_columns(["id"]), owner=None, run_id=RUN_ID, exported_at=EXPORTED_AT, schema=SCHEMA)
