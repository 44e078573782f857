"""The emulator's part of OData's $filter and $orderby."""

from typing import Any

import pytest

from connectors.emulator.filters import FilterError, conjunction, holds, parse_filter, parse_orderby

RECORD: dict[str, Any] = {
    "name": "O'Hara",
    "count": 3,
    "on": True,
    "when": "2026-03-02T09:00:00.1234567Z",
    "types": ["Unified"],
    "nothing": None,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name eq 'o''hara'", True),
        ("name ne 'x' and count gt 2", True),
        ("count lt 3 or on eq true", True),
        ("not (count ge 3)", False),
        ("count ge 3 and (on eq false or name eq 'x')", False),
        ("startswith(name,'O''')", True),
        ("endswith(name,'x')", False),
        ("types/any(t:t eq 'Unified')", True),
        ("types/Any(x:x eq 'Team')", False),
        ("nothing eq null", True),
        ("nothing gt 3", False),
        ("when gt 2026-03-02T09:00:00.123456Z", True),
        ("when lt 2026-03-02T09:00:00.1234567Z", False),
        ("when le 2026-03-02T10:00:00.1234567+01:00", True),
        ("when ge 2026-03-02", True),
    ],
)
def test_filter(text: str, expected: bool) -> None:
    """A filter holds for a record or not, instants to a tenth of a microsecond."""
    assert holds(parse_filter(text), RECORD.get) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name eq",
        "name is 'x'",
        "name eq 'x' and",
        "(name eq 'x'",
        "name eq 'x')",
        "eq eq eq",
        "a eq ~",
        "1 eq 1",
    ],
)
def test_what_is_no_filter(text: str) -> None:
    """Anything else is refused, not guessed."""
    with pytest.raises(FilterError):
        parse_filter(text)


def test_conjunction_lists_the_terms_that_must_hold() -> None:
    """Nested `and` is flattened, `or` is one term."""
    terms = conjunction(parse_filter("a eq 1 and (b eq 2 and (c eq 3 or d eq 4))"))

    assert len(terms) == 3


def test_orderby() -> None:
    """Several properties, each with its direction; anything else is refused."""
    assert parse_orderby("a/b desc, c") == [("a/b", True), ("c", False)]
    for text in ("a sideways", ""):
        with pytest.raises(FilterError):
            parse_orderby(text)
