"""The flat layout says the same as the nested one, in text."""

import json
import math
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.parquet.flat import flat_schema, flat_table
from sinks.parquet.schema import INSTANT
from tests.unit.parquet_rows import SCHEMA, stamped

AT = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def flat_values(values: list[Any], of: pa.DataType) -> list[Any]:
    column: list[Any] = flat_table(pa.table({"c": pa.array(values, of)})).column("c").to_pylist()
    return column


def test_schema_has_only_plain_columns() -> None:
    """Nested columns and points in time become text, the rest and the metadata stay."""
    schema = flat_schema(SCHEMA)

    assert schema.names == SCHEMA.names
    assert {str(field.type) for field in schema} == {"string", "int64", "double", "bool"}
    assert schema.metadata == SCHEMA.metadata


def test_instants_are_iso_text_of_one_width() -> None:
    """Text sorts like time because every instant has six digits of a second and a Z."""
    assert flat_values([AT, AT.replace(microsecond=7), None], INSTANT) == [
        "2026-03-01T09:00:00.000000Z", "2026-03-01T09:00:00.000007Z", None,
    ]  # fmt: skip
    assert flat_values([date(2026, 3, 1)], pa.date32()) == ["2026-03-01"]


def test_nested_values_are_json_in_schema_order() -> None:
    """A struct is an object with every property, a list an array; nulls below the top are written out."""
    address = pa.struct([("address", pa.string()), ("at", INSTANT)])
    values = [[{"address": "t~1", "at": AT}, {"address": None, "at": None}, None], [], None]

    assert flat_values(values, pa.list_(address)) == [
        '[{"address":"t~1","at":"2026-03-01T09:00:00.000000Z"},{"address":null,"at":null},null]', "[]", None,
    ]  # fmt: skip


def test_what_lies_under_a_null_struct_stays_hidden() -> None:
    """Values below a null parent are not data."""
    struct = pa.StructArray.from_arrays([pa.array(["hidden", "seen"])], names=["a"], mask=pa.array([True, False]))

    assert flat_table(pa.table({"c": struct})).column("c").to_pylist() == [None, '{"a":"seen"}']


def test_slices_are_flattened_as_seen() -> None:
    """Offsets of a slice do not leak its neighbours."""
    table = stamped(60)

    assert flat_table(table.slice(20, 15)).equals(flat_table(table).slice(20, 15))


@given(
    st.lists(
        st.none()
        | st.lists(
            st.none()
            | st.fixed_dictionaries(
                {
                    "s": st.none() | st.text(),
                    "n": st.none() | st.integers(-(2**63), 2**63 - 1),
                    "f": st.none() | st.floats(),
                    "b": st.none() | st.booleans(),
                    "l": st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3),
                }
            ),
            max_size=3,
        ),
        max_size=5,
    )
)
def test_json_text_says_what_the_columns_say(values: list[Any]) -> None:
    """Whatever text, number or shape is in a column, a JSON reader gets it back."""
    of = pa.list_(
        pa.struct(
            [
                ("s", pa.string()), ("n", pa.int64()), ("f", pa.float64()), ("b", pa.bool_()),
                ("l", pa.list_(pa.string())),
            ]
        )
    )  # fmt: skip

    texts = flat_values(values, of)

    assert [None if text is None else json.loads(text) for text in texts] == [_finite(value) for value in values]


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


@pytest.mark.parametrize("count", [0, 1])
def test_tables_without_rows_and_columns_without_chunks(count: int) -> None:
    """An empty table has the flat schema too."""
    assert flat_table(SCHEMA.empty_table()).schema.equals(flat_schema(SCHEMA), check_metadata=True)
    assert flat_table(stamped(3).slice(0, count)).num_rows == count
