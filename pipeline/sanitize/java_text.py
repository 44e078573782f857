"""Text as Java sees it, because pseudonyms and digests have to equal those of a Java proxy.

Psoxy runs on Java 21 and hashes what Java's types print: the text form of numbers, Java's notion of white
space, string lengths in UTF-16 code units, JSON as the Jackson library writes it. Python differs in each of
them.
https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/lang/Double.html#toString(double)
https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/lang/Character.html#isWhitespace(int)
(checked 2026-11)
"""

import math
import re
from decimal import Decimal

# Character.isWhitespace: separators except the three no-break ones, and nine control characters; not U+0085.
_WHITESPACE = (
    "".join(map(chr, [*range(9, 14), *range(28, 33), 0x1680, *range(0x2000, 0x2007), *range(0x2008, 0x200B)]))
    + "\u2028\u2029\u205f\u3000"
)

# String.trim removes everything up to and including the blank.
_TRIMMED = "".join(map(chr, range(0x21)))

_ASTRAL = re.compile(r"[\U00010000-\U0010ffff]")
_ESCAPED = re.compile(r'["\\\x00-\x1f]')
_SHORT_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}


def number_text(value: float | Decimal) -> str:
    """A JSON number as Java prints it: `10042`, `3.5`, `1.0E8`.

    A decimal counts as the double Java would have read. Raises ValueError for an integer of thousands of
    digits.
    """
    if isinstance(value, int):
        return str(value)
    return _double_text(float(value))


def is_blank(text: str) -> bool:
    """Empty, or nothing but Java white space; a no-break space is not blank."""
    return not text.strip(_WHITESPACE)


def trim(text: str) -> str:
    """Without the characters up to U+0020 at both ends (`String.trim`)."""
    return text.strip(_TRIMMED)


def utf16_length(text: str) -> int:
    """Number of UTF-16 code units: characters beyond U+FFFF count twice."""
    return len(text) + (0 if text.isascii() else len(_ASTRAL.findall(text)))


def utf8(text: str) -> bytes:
    """The bytes Java hashes; half a surrogate pair becomes a question mark, as in Java."""
    return text.encode("utf-8", "replace")


def json_text(value: object) -> str:
    """Compact JSON with the numbers and escapes of Jackson; non-ASCII characters stay as they are.

    Raises TypeError for anything that is not JSON, RecursionError beyond Python's nesting depth.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{_ESCAPED.sub(_escape, value)}"'
    if isinstance(value, (int, float, Decimal)):
        return number_text(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json_text(str(key))}:{json_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    raise TypeError(f"not JSON: {type(value).__name__}")


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return _SHORT_ESCAPES.get(character) or f"\\u{ord(character):04X}"


def _double_text(value: float) -> str:
    """`Double.toString`: the shortest digits, plain from 1e-3 up to 1e7, otherwise with an exponent."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return f"{sign}0.0"
    # Python's repr has the same shortest digits, except that Java prefers two digits where both round to the
    # value.
    two_digits = f"{abs(value):.1e}"
    shortest = two_digits if float(two_digits) == abs(value) else repr(abs(value))
    _, digit_tuple, exponent = Decimal(shortest).as_tuple()
    digits = "".join(map(str, digit_tuple)).rstrip("0")  # never empty: zero is dealt with above
    point = len(digit_tuple) + int(exponent)  # where the point stands, counted from the first digit
    if -3 < point <= 7:
        padded = "0" * max(0, 1 - point) + digits + "0" * max(0, point - len(digits))
        whole = max(point, 1)
        return f"{sign}{padded[:whole]}.{padded[whole:] or '0'}"
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{point - 1}"
