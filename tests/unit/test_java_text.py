"""Numbers, blanks, lengths and JSON come out as Java writes them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sanitize.java_text import is_blank, json_text, number_text, trim, utf8, utf16_length


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10042, "10042"),
        (-1, "-1"),
        (2**70, "1180591620717411303424"),
        (3.5, "3.5"),
        (5.0, "5.0"),
        (-0.0, "-0.0"),
        (0.001, "0.001"),
        (0.00099, "9.9E-4"),
        (9_999_999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (1e8, "1.0E8"),
        (12_345_678.9, "1.23456789E7"),
        (1e16, "1.0E16"),
        (5e-324, "4.9E-324"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        (float("nan"), "NaN"),
        (Decimal("1.10"), "1.1"),
        (Decimal("1e5"), "100000.0"),
    ],
)
def test_numbers_have_java_form(value: float | Decimal, text: str) -> None:
    """Exponents start at 1e7 and below 1e-3, and a fraction digit is always there."""
    assert number_text(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_text_of_a_double_reads_back_as_itself(value: float) -> None:
    """No digit is lost or made up."""
    assert float(number_text(value)) == value


def test_blank_is_what_java_calls_white_space() -> None:
    """Separators and a few controls are blank; no-break spaces, U+0085 and the zero-width space are not."""
    blank = {chr(code) for code in range(0x10000) if is_blank(chr(code))}
    expected = "\t\n\v\f\r\x1c\x1d\x1e\x1f \u1680\u2028\u2029\u205f\u3000"
    assert blank == set(expected) | {chr(code) for code in range(0x2000, 0x200B)} - {"\u2007"}
    assert is_blank("")
    assert not is_blank(" a ")


def test_trim_takes_everything_up_to_the_blank() -> None:
    """Control characters go too, other spaces stay."""
    assert trim("\x00\x1f a\u00a0 \n") == "a\u00a0"


def test_length_counts_utf16_units() -> None:
    """A character beyond U+FFFF counts twice."""
    assert [utf16_length(text) for text in ("", "abc", "é", "😀", "a😀b")] == [0, 3, 1, 2, 4]


def test_half_a_surrogate_pair_is_hashed_as_a_question_mark() -> None:
    """Broken text has bytes all the same, those Java would take."""
    assert utf8("a\ud83d") == b"a?"
    assert utf8("é") == b"\xc3\xa9"


def test_json_has_jackson_form() -> None:
    """Compact, upper-case escapes for controls only, Java's numbers."""
    value = {"a": [1, 2.0, 1e8, None, True, False, Decimal("1.10")], "é": 'x\x1f\x7f"\\\n😀'}
    assert json_text(value) == '{"a":[1,2.0,1.0E8,null,true,false,1.1],"é":"x\\u001F\x7f\\"\\\\\\n😀"}'
    with pytest.raises(TypeError):
        json_text({1, 2})
