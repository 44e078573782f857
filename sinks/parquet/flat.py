"""The flat layout: for readers that know neither nested columns nor timestamps.

Lists and structs become JSON text (property names and their order as in the nested layout, nulls written
out); instants and dates become ISO 8601 text, always with six digits of a second, so that text sorts like
time. Works column by column: the JSON text of a nested column is joined from the texts of its leaves.
"""

from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

Layout = Literal["nested", "flat"]

_NULL = pa.scalar("null")
_CONTROL_CHARACTER = r"[\x00-\x1f]"


def flat_schema(schema: pa.Schema) -> pa.Schema:
    """The same columns, nested ones and points in time as text. Metadata is kept."""
    fields = [pa.field(field.name, pa.string() if _is_text_in_flat(field.type) else field.type) for field in schema]
    return pa.schema(fields, metadata=schema.metadata)


def flat_table(table: pa.Table) -> pa.Table:
    """The same rows in `flat_schema(table.schema)`. A null stays null at the top of a column."""
    columns = [_flat_column(column) for column in table.columns]
    return pa.Table.from_arrays(columns, schema=flat_schema(table.schema))


def nested_table(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of the flat layout with the nested columns of `schema` again; points in time remain text.

    Raises:
        pa.ArrowInvalid: a text does not hold what its column is to have.
    """
    columns = [
        _parsed(table[field.name], field.type) if pa.types.is_nested(field.type) else table[field.name]
        for field in schema
    ]
    return pa.table(columns, names=schema.names)


def _parsed(texts: pa.ChunkedArray, of: pa.DataType) -> pa.Array:
    try:
        values = [None if text is None else msgspec.json.decode(text) for text in texts.to_pylist()]
        return pa.array(values, _with_text_times(of))
    except (msgspec.DecodeError, pa.ArrowTypeError) as error:
        raise pa.ArrowInvalid(f"no JSON of the column's shape ({type(error).__name__})") from None


def _with_text_times(of: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(of):
        return pa.struct([pa.field(field.name, _with_text_times(field.type)) for field in of])
    if pa.types.is_list(of):
        return pa.list_(_with_text_times(of.value_type))
    return pa.string() if pa.types.is_temporal(of) else of


def _is_text_in_flat(of: pa.DataType) -> bool:
    return bool(pa.types.is_nested(of) or pa.types.is_temporal(of))


def _flat_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not _is_text_in_flat(column.type):
        return column
    text = _json if pa.types.is_nested(column.type) else _time_text
    return pa.chunked_array([text(chunk) for chunk in column.chunks], pa.string())


def _time_text(values: pa.Array) -> pa.Array:
    if not pa.types.is_timestamp(values.type):
        return values.cast(pa.string())
    # Without its zone a timestamp is cast ten times faster than strftime formats it; what is stored is UTC.
    naive = values.cast(pa.timestamp("us")).cast(pa.string())
    joined = pc.binary_join_element_wise(naive, "Z", "")
    return pc.replace_substring(joined, " ", "T")


def _json(values: pa.Array) -> pa.Array:
    """JSON text of each value; null where the value is null."""
    if pa.types.is_struct(values.type):
        return _json_of_structs(values)
    if pa.types.is_list(values.type):
        return _json_of_lists(values)
    if pa.types.is_string(values.type):
        return _quoted(values)
    if pa.types.is_temporal(values.type):
        return pc.binary_join_element_wise('"', _time_text(values), '"', "")
    if pa.types.is_floating(values.type):  # JSON has no word for infinity or not-a-number
        values = pc.if_else(pc.is_finite(values), values, pa.scalar(None, values.type))
    return values.cast(pa.string())


def _json_of_structs(values: pa.StructArray) -> pa.Array:
    pieces: list[object] = []
    # `flatten` lays the struct's own nulls over its children; `field` would show what is under them.
    for field, child in zip(values.type, values.flatten(), strict=True):
        name = msgspec.json.encode(field.name).decode()
        pieces += [f"{',' if pieces else '{'}{name}:", pc.fill_null(_json(child), _NULL)]
    text = pc.binary_join_element_wise(*pieces, "}", "")
    return pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string()))


def _json_of_lists(values: pa.ListArray) -> pa.Array:
    items = pc.fill_null(_json(values.flatten()), _NULL)
    lengths = pc.fill_null(pc.list_value_length(values), 0)
    ends = pc.cumulative_sum(lengths)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends.cast(pa.int32())])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, items), ",")
    text = pc.binary_join_element_wise("[", joined, "]", "")
    return pc.if_else(values.is_valid(), text, pa.scalar(None, pa.string()))


def _quoted(values: pa.Array) -> pa.Array:
    """Strings as JSON strings. Only a column with control characters pays for a value-by-value encoder."""
    if pc.any(pc.match_substring_regex(values, _CONTROL_CHARACTER)).as_py():
        encode = msgspec.json.encode
        texts = [None if text is None else encode(text).decode() for text in values.to_pylist()]
        return pa.array(texts, pa.string())
    escaped = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"')
    return pc.binary_join_element_wise('"', escaped, '"', "")
