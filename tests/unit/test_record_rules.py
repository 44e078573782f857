"""The row engine of the built-in rules: how a page is taken apart, and what an instant is."""

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sanitize.instant_columns import parse_dates, parse_instants
from pipeline.sanitize.instant_text import parse_date, parse_instant
from pipeline.sanitize.record_rules import decode_record, depth, split_array, value_of_type
from tests.unit.wild_records import INSTANTS, LOCAL_INSTANTS, ODD_INSTANTS, SEVEN_DIGITS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 1]))
def test_an_array_is_taken_apart_into_what_was_joined(items: list[object], indent: int | None) -> None:
    """Whatever brackets, commas and quotes its items hold."""
    parts = split_array(f" {json.dumps(items, indent=indent)}\n".encode())

    assert [json.loads(part) for part in parts] == items


@pytest.mark.parametrize("text", ["", "null", "{}", "[", "[1", "[1]]", "1]", '["a]', "[1],[2]", "[{]", '"[]"'])
def test_what_is_no_array_is_refused_or_has_an_item_that_is_no_json(text: str) -> None:
    """Nothing is guessed about a page that was cut off."""
    with pytest.raises(ValueError, match=r"no JSON array|not_json"):
        [decode_record(part) for part in split_array(text.encode())]


def test_depth_counts_arrays_and_objects_but_not_what_stands_in_text() -> None:
    """A bracket in a text is a character."""
    assert depth(rb'{"a":[{"b":"[[[\"{{"}]}') == 3


def test_half_a_surrogate_and_bytes_that_are_no_text_cost_nothing() -> None:
    """They are replaced; the record stays."""
    assert decode_record(b'{"a":"\xff"}') == {"a": "\ufffd"}
    assert value_of_type("string", "a\ud800") == "a?"


def _alone(text: str, *, zoned: bool) -> object:
    try:
        return parse_instant(text, zoned=zoned)
    except ValueError:
        return "refused"


def _in_column(text: str, *, zoned: bool) -> object:
    try:
        return parse_instants(pa.array([text, None]), zoned=zoned)[0].as_py()
    except pa.ArrowInvalid:
        return "refused"


FORMS = (*INSTANTS, *LOCAL_INSTANTS, *ODD_INSTANTS, SEVEN_DIGITS, f"{SEVEN_DIGITS}Z")


@given(
    st.sampled_from(FORMS)
    | st.from_regex(
        r"[0-9]{4}-[0-1][0-9]-[0-3][0-9]T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{0,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"
    )
    | st.datetimes().map(lambda instant: instant.isoformat() + "Z"),
    st.booleans(),
)
def test_an_instant_means_the_same_alone_and_in_a_column(text: str, zoned: bool) -> None:
    """Or it is refused in both."""
    assert _alone(text, zoned=zoned) == _in_column(text, zoned=zoned)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-02T09:00:00.1234567Z", datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-02T10:00:00+01:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+01:00", "refused"),
        ("2026-03-02T09:00:00", "refused"),
        ("2026-W10-1T09:00:00Z", "refused"),
    ],
)
def test_instants_with_a_zone(text: str, expected: object) -> None:
    """Cut to the microsecond, in UTC; "never" is null; a time without zone is no instant."""
    assert _alone(text, zoned=True) == expected


@pytest.mark.parametrize(
    "text", ["2026-03-02", "0001-01-01", "0000-01-01", "2026-02-30", "20260302", "", "2026-03-02T09"]
)
def test_a_date_means_the_same_alone_and_in_a_column(text: str) -> None:
    """Or it is refused in both."""
    found: list[object] = []
    for parse in (parse_date, lambda each: parse_dates(pa.array([each]))[0].as_py()):
        try:
            found.append(parse(text))
        except ValueError:
            found.append("refused")

    assert found[0] == found[1]
    assert found[0] in (date(2026, 3, 2), None, "refused")
