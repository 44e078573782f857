"""`output.layout: flat` from the settings to the files: the same rows, for readers that know only plain columns."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigurationError
from pipeline.exits import exit_of_error
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site
from tests.integration.truth import COLUMNS

OWN = ("_run_id", "_exported_at")  # of each run
PLAIN = {"string", "bool", "int32", "int64", "double"}


async def both_layouts(open_site: OpenSite) -> tuple[Site, Site]:
    """One tenant, exported nested and flat."""
    nested = await open_site(users=8)
    flat = replace(nested, folder=nested.folder / "flat", keys={"output.layout": "flat"})
    for site in (nested, flat):
        assert (await site.run()).status == "complete"
    return nested, flat


def parts(site: Site, dataset: str) -> list[Path]:
    return sorted((site.folder / "data" / dataset).glob("*/*.parquet"))


def rows(site: Site, dataset: str) -> list[dict[str, Any]]:
    """As Arrow reads them, without what differs from run to run."""
    tables = [pq.read_table(part, partitioning=None) for part in parts(site, dataset)]
    found: list[dict[str, Any]] = pa.concat_tables(tables).drop_columns(list(OWN)).to_pylist()
    return found


def as_text(value: Any) -> Any:
    """What the flat layout makes of instants."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, Mapping):
        return {name: as_text(each) for name, each in value.items()}
    return [as_text(each) for each in value] if isinstance(value, list) else value


def unfolded(row: Mapping[str, Any], nested: pa.Schema) -> dict[str, Any]:
    """A flat row with its JSON read, where the nested layout has a structure."""
    return {
        name: json.loads(value) if value is not None and pa.types.is_nested(nested.field(name).type) else value
        for name, value in row.items()
    }


def told(schema: pa.Schema) -> dict[bytes, bytes]:
    """The product's own metadata of a file, but for the fingerprint, which covers the layout."""
    metadata: Mapping[bytes, bytes] = schema.metadata
    return {key: value for key, value in metadata.items() if key.startswith(b"m365_export.") and b"finger" not in key}


def canonical(many: Iterator[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in many)


async def test_flat_rows_say_the_same_as_nested_ones(open_site: OpenSite) -> None:
    """Every dataset: plain columns of the same names, the same values, times in the manifest, the file's metadata."""
    nested, flat = await both_layouts(open_site)
    for dataset in COLUMNS:
        schema = pq.read_schema(parts(flat, dataset)[0])
        deep = pq.read_schema(parts(nested, dataset)[0])
        assert {str(field.type) for field in schema} <= PLAIN
        assert schema.names == deep.names
        assert told(schema) == told(deep)
        assert len(told(schema)) == 3

        expected = canonical(as_text(row) for row in rows(nested, dataset))
        assert canonical(unfolded(row, deep) for row in rows(flat, dataset)) == expected, dataset


async def test_every_engine_reads_flat_parts_alike(open_site: OpenSite) -> None:
    """DuckDB, pandas and polars: texts that sort like time, and JSON that opens."""
    _, flat = await both_layouts(open_site)
    connection = duckdb.connect()
    for dataset in COLUMNS:
        files = [str(part) for part in parts(flat, dataset)]
        by_polars = pl.concat([pl.read_parquet(file) for file in files]).to_dicts()
        by_pandas = pd.concat([pd.read_parquet(file, dtype_backend="pyarrow") for file in files])
        by_duckdb = connection.sql(f"SELECT * FROM read_parquet({files!r})").to_arrow_table().to_pylist()
        in_pandas = pa.Table.from_pandas(by_pandas, preserve_index=False).to_pylist()
        assert canonical(iter(by_polars)) == canonical(iter(by_duckdb)) == canonical(iter(in_pandas)), dataset

    begins = flat.query("calendar_events", "start ->> 'dateTime', json_array_length(attendees), _exported_at")
    assert begins
    assert all(datetime.fromisoformat(begin) < NOW for begin, _, _ in begins)
    assert {at for _, _, at in begins} == {"2026-03-02T03:00:00.000000Z"}
    received = [row[0] for row in flat.query("mail_messages", "receivedDateTime")]
    assert sorted(received) == sorted(received, key=datetime.fromisoformat)


async def test_another_layout_has_to_be_accepted(open_site: OpenSite) -> None:
    """Rows of two layouts in one destination cannot be read together: refused until asked for."""
    site = await open_site(users=3, keys={"connectors": {"outlook-mail": {}}})
    await site.run()
    site.keys["output.layout"] = "flat"
    site.tenant.clock.advance(NOW - NOW.replace(hour=0))
    with pytest.raises(BaseException) as caught:
        await site.run()
    _, refusal = exit_of_error(caught.value)
    assert isinstance(refusal, ConfigurationError)
    assert "--accept-new-pseudonyms" in str(refusal)
    manifest = await site.run(accept_new_pseudonyms=True)
    assert manifest.status == "complete"
