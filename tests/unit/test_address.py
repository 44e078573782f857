"""What counts as a mail address, compared with the grammar written down naively."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline.sanitize.address as module
from pipeline.sanitize.address import Address, parse_address, parse_address_list

DANA = Address("dana", "example.org")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("dana@example.org", DANA),
        (" \tdana@example.org\t ", DANA),
        ("dana @ example.org", DANA),
        ("Dana Fox <dana@example.org>", DANA),
        ('"Fox, Dana" <dana@example.org>', DANA),
        ('"Dána Fox"<dana@example.org>', DANA),
        ('"Dana F. Fox" <dana@example.org>', DANA),
        ("<dana@example.org>", DANA),
        ("< dana@example.org > ", DANA),
        ("dana@example.org (home)", DANA),
        ("(a)dana(b)@(c)example.org(d\\) e)", DANA),
        ("Dana\r\n Fox <dana@example.org>", DANA),
        ('"dana"@example.org', DANA),
        ('"d.x"@example.org', Address("d.x", "example.org")),
        ('" dana"@example.org', Address(" dana", "example.org")),
        ('"da na"@example.org', Address('"da na"', "example.org")),
        ('"da\\"na"@example.org', Address('"da\\"na"', "example.org")),
        ("o'hara@example.org", Address("o'hara", "example.org")),
        ("a_b.net#EXT#@t.onmicrosoft.com", Address("a_b.net#EXT#", "t.onmicrosoft.com")),
        ("a=b/c+d@Example.ORG", Address("a=b/c+d", "Example.ORG")),
        ("dana@xn--bcher-kva.example", Address("dana", "xn--bcher-kva.example")),
        (f"dana@{'a' * 63}.org", Address("dana", f"{'a' * 63}.org")),
    ],
)
def test_addresses_are_recognised(text: str, address: Address) -> None:
    """Blanks, comments, display names and needless quotes do not matter; the parts stay as written."""
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "dana",
        "dana@example.org\n",
        "\ndana@example.org",
        "dana\u00a0@example.org",
        "dana@example.org\u200b",
        "First M. Last <dana@example.org>",
        "Dána <dana@example.org>",
        "dána@example.org",
        "dana@exämple.org",
        "dana@example.xn--p1ai",
        f"dana@example.{'a' * 27}",
        "dana@example.o",
        "dana@example.o1",
        "dana@localhost",
        "dana@10.0.0.1",
        "dana@[10.0.0.1]",
        "dana@ex_ample.org",
        "dana@example..org",
        "dana@-example.org",
        "dana@example-.org",
        "dana@example.org.",
        f"dana@{'a' * 64}.org",
        "da..na@example.org",
        ".dana@example.org",
        "dana.@example.org",
        "da na@example.org",
        "smtp:dana@example.org",
        "SIP:dana@example.org",
        "mailto:dana@example.org",
        "/o=Org/cn=dana",
        "DOMAIN\\dana",
        "CN=Dana,DC=example,DC=org",
        "3f2b1c00-aaaa-4bbb-8ccc-0123456789ab",
        "dana@example.org, lee@example.org",
        "dana@example.org;lee@example.org",
        "dana@example.org lee@example.org",
        "Dana(x)Fox <dana@example.org>",
        "dana@example.org (a (b))",
        "dana@example.org (a \\) b)",
        "<dana@example.org",
        "dana@example.org>",
    ],
)
def test_everything_else_is_no_address(text: str) -> None:
    """These are hashed as they stand, without a domain behind the token."""
    assert parse_address(text) is None


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("dana@example.org", [DANA]),
        ("dana@example.org,Dana <dana@example.org> , dana@example.org (x)", [DANA] * 3),
        ("team: dana@example.org, dana@example.org;, dana@example.org", [DANA] * 3),
        ("undisclosed recipients:;", []),
        ("a:(none);,dana@example.org", [DANA]),
        ("", None),
        ("Dana", None),
        ("dana@example.org,", None),
        (",dana@example.org", None),
        ("dana@example.org,,dana@example.org", None),
        ("dana@example.org; dana@example.org", None),
        ("team: dana@example.org", None),
        ("team: dana@example.org,;", None),
        ("team: a: dana@example.org;;", None),
    ],
)
def test_lists_are_taken_whole_or_not_at_all(text: str, addresses: list[Address] | None) -> None:
    """Groups add their members; an empty slot or anything unknown spoils the list."""
    assert parse_address_list(text) == addresses


def test_an_address_is_not_shown() -> None:
    """Neither part appears where an address is printed."""
    shown = repr(parse_address("dana@example.org"))
    assert "dana" not in shown
    assert "example" not in shown


# The grammar as it is written down, word for word and without care for speed.
ACHAR = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]"
CONTROL = r"\x01-\x08\x0b\x0c\x0e-\x1f\x7f"
FOLD = r"(?:(?:[ \t]*\r\n)?[ \t]+)"
PAIR = r"(?:\\[\x01-\x09\x0b\x0c\x0e-\x7f])"
COMMENT = rf"(?:\((?:{FOLD}?[\x21-\x27\x2a-\x5b\x5d-\x7e{CONTROL}]|{PAIR})*{FOLD}?\))"
GAP = rf"(?:(?:{FOLD}?{COMMENT})*(?:{FOLD}?{COMMENT}|{FOLD}))"
DOT_ATOM = rf"(?:{ACHAR}+(?:\.{ACHAR}+)*)"
QUOTED = rf'(?:"(?:{FOLD}?(?:[\x21\x23-\x5b\x5d-\x7e{CONTROL}]|{PAIR}))*{FOLD}?")'
QUOTED_NAME = rf'(?:"(?:{FOLD}?(?:[^\x00-\x1f\x7f\\"]|{PAIR}))*{FOLD}?")'
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
BARE = rf"{GAP}?(?:{DOT_ATOM}|{QUOTED}){GAP}?@{GAP}?{LABEL}(?:\.{LABEL})*\.[A-Za-z]{{2,26}}{GAP}?"
WORD = rf"(?:{GAP}?(?:{ACHAR}+|{QUOTED_NAME}){GAP}?)"
NAMED = rf"(?:{WORD}(?:{FOLD}{WORD})*)?{GAP}?<{BARE}>{GAP}?"
NAIVE = re.compile(rf"(?:{BARE}|{NAMED})")

PIECES = [
    "a",
    "a",
    "b.c",
    ".",
    '"',
    '"x y"',
    "\\",
    "(",
    ")",
    "(z)",
    " ",
    " ",
    "\t",
    "\r\n",
    "\r\n ",
    "é",
    "\x01",
    "<",
    ">",
]
HOSTS = ["@d.org", "@d.org", " @ d-e.org", "@d", "@", "@d.org>"]


@given(
    st.lists(st.sampled_from(PIECES), max_size=7),
    st.sampled_from(HOSTS),
    st.lists(st.sampled_from(PIECES), max_size=4),
    st.booleans(),
)
def test_the_parser_agrees_with_the_naive_grammar(before: list[str], host: str, after: list[str], named: bool) -> None:
    """On short text, where trying every way is affordable, both recognise the same addresses."""
    text = "".join(before) + ("<a@d.org>" if named else host) + "".join(after)
    assert (parse_address(text) is not None) == (NAIVE.fullmatch(text) is not None)


@given(st.text() | st.text(alphabet='a@.<>()[]{}:;,\\" \t\r\n-é'))
def test_parsing_is_total(text: str) -> None:
    """No text makes the parser raise; what it finds are parts of the text."""
    address = parse_address(text)
    if address is not None:
        assert address.local in text
        assert address.domain in text
    parse_address_list(text)


LENGTH = 200_000
HOSTILE = {
    "open comments": "(" * LENGTH,
    "one open comment": "(" + "a" * LENGTH,
    "folds in a comment": "(" + "\r\n " * LENGTH,
    "open quote": '"' * (LENGTH + 1),
    "pairs": '"' + "\\a" * LENGTH,
    "blanks": " " * LENGTH + "@",
    "folds": " \r\n" * LENGTH + "@",
    "words": "a " * LENGTH + "@",
    "quoted words": '"a" ' * LENGTH + "@",
    "dots": "a." * LENGTH + "@",
    "blanks in a name": '"\r\n' + " " * LENGTH + "x@",
    "blanks and tabs in a name": '"' + "\r\n \t" * LENGTH + "@",
    "long label": "a@" + "a" * LENGTH,
    "many labels": "a@" + "a." * LENGTH,
    "hyphens": "a@" + "a-" * LENGTH + ".org",
    "comments": "(a) " * LENGTH + "@",
    "open angles": "<" * LENGTH + "@",
    "addresses": "a@b.org," * LENGTH,
    "groups": "g:" * LENGTH,
}


class CountingPattern:
    """Stands in for a compiled pattern and counts the characters it has matched."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern
        self.characters = 0

    def match(self, text: str, position: int = 0) -> re.Match[str] | None:
        found = self.pattern.match(text, position)
        self.characters += 1 + (found.end() - found.start() if found else 0)
        return found

    def fullmatch(self, *arguments: object) -> re.Match[str] | None:
        found = self.pattern.fullmatch(*arguments)  # type: ignore[call-overload]  # passes on what it was given
        self.characters += 1 + (found.end() - found.start() if found else 0)
        return found if isinstance(found, re.Match) else None


@pytest.mark.parametrize("name", HOSTILE)
def test_work_is_linear_in_the_length_of_the_text(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hostile text is scanned a fixed number of times; a matcher that went back would not end in time."""
    counters = []
    for attribute, value in vars(module).copy().items():
        if isinstance(value, re.Pattern):
            counters.append(CountingPattern(value))
            monkeypatch.setattr(module, attribute, counters[-1])
    text = HOSTILE[name]
    parse_address(text)
    parse_address_list(text)
    assert sum(counter.characters for counter in counters) <= 16 * len(text) + 100
