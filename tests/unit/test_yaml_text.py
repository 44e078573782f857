"""YAML is read strictly and complained about without quoting values."""

import pytest

from config.yaml_text import YamlFaultError, parse_yaml


def test_what_looks_like_a_date_stays_text() -> None:
    """Only numbers, booleans and null are more than text."""
    assert parse_yaml("{a: 2026-11-19, b: 1, c: true, d: , e: v1.0}") == {
        "a": "2026-11-19",
        "b": 1,
        "c": True,
        "d": None,
        "e": "v1.0",
    }


def test_nothing_is_none() -> None:
    """An empty document has no value."""
    assert parse_yaml(b"# only a comment\n") is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: [1\n", "line 3, column 1: expected ',' or ']', but got '<stream end>'"),
        ("a: 1\n\tb: 2\n", r"line 2, column 1: found character '\t' that cannot start any token"),
        ("a: *hunter2\n", "line 1, column 4: found undefined alias '…'"),
        ("a: !hunter2 x\n", "line 1, column 4: could not determine a constructor for the tag '…'"),
        ("a:\n  b: 1\n  b: hunter2\n", "line 3, column 3: the key b is given twice"),
        ("1: hunter2\n", "line 1, column 1: a key is plain text; quote it if it looks like another type"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: but found another document"),
        ("a: !!int hunter2\n", "a value cannot be read"),
    ],
)
def test_faults_have_a_place_and_no_value(text: str, complaint: str) -> None:
    """Line and column are named; text of the file, which may be a secret, is not."""
    with pytest.raises(YamlFaultError) as fault:
        parse_yaml(text)
    assert fault.value.complaints == [complaint]


def test_bytes_that_are_no_text_are_refused() -> None:
    """A binary file is one complaint."""
    with pytest.raises(YamlFaultError, match="UTF-8"):
        parse_yaml(b"a: \xff\xfe")


def test_all_double_keys_are_named_at_once_and_merging_is_no_doubling() -> None:
    """Every key given twice is listed; a merged mapping may be overridden."""
    with pytest.raises(YamlFaultError) as fault:
        parse_yaml("a: 1\na: 2\nb: {c: 1, c: 2}\n")
    assert len(fault.value.complaints) == 2
    assert parse_yaml("x: &x {a: 1}\ny:\n  <<: *x\n  a: 2\n") == {"x": {"a": 1}, "y": {"a": 2}}
