"""Java's regular expressions keep their meaning in Python, or are refused by name."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sanitize.java_regex import UntranslatableRegex, compile_java


@pytest.mark.parametrize(
    ("regex", "matching", "others"),
    [
        (r"(?i)^smtp:(.*)$", ["SMTP:x", "smtp:"], ["sip:x", "smtp:a\nb"]),
        (r"a(?i)b", ["ab", "aB"], ["Ab"]),
        (r"a(?i)b|c", ["ab", "aB", "c", "C"], ["AB"]),
        (r"(a(?i)b)c", ["abc", "aBc"], ["abC"]),
        (r"(?i:a)b", ["ab", "Ab"], ["aB"]),
        (r"(?i:a(?-i)b)", ["ab", "Ab"], ["aB"]),
        (r"(?i)a(?-i)b", ["ab", "Ab"], ["aB"]),
        ("(?i)\u017f|K", ["\u017f", "k"], ["s", "\u212a"]),
        (r"(?)a", ["a"], ["?a"]),
        (r"(?<name>a)\k<name>", ["aa"], ["a"]),
        (r"(a)(b)\11", ["aba1"], ["aba"]),
        (r"\Qa.b(\E+", ["a.b(", "a.b(("], ["axb("]),
        (r"\Qa|b", ["a|b"], ["a", "b"]),
        (r"a++b", ["aab"], ["b"]),
        (r"a*+a", [], ["a", "aa"]),
        (r"(?>a|ab)c", ["ac"], ["abc"]),
        (r"[a-z&]+", ["a&b"], ["A"]),
        (r"[]a]", ["]", "a"], ["b"]),
        (r"[^]a]", ["b"], ["]", "a"]),
        (r"[a\-z]", ["-", "a"], ["b"]),
        (r"[-a]", ["-"], ["b"]),
        (r"[a-]", ["-"], ["b"]),
        (r"[\w-]+", ["a-b"], ["é"]),
        (r"[\x41-\u0043\t]", ["A", "B", "C", "\t"], ["D"]),
        (r"[~~||&-]", ["~", "|", "-", "&"], ["a"]),
        (r"\w+", ["aZ_9"], ["é"]),
        (r"\d", ["7"], ["\u0667"]),
        (r"\s", [" ", "\x0b", "\r"], ["\u00a0", "\x1c"]),
        (r"\h", [" ", "\u00a0", "\u2007"], ["\n"]),
        (r"\H\v", ["a\n", "a\u2028"], [" \n"]),
        (r"\R", ["\r\n", "\n", "\u2029"], ["\t"]),
        (r"\p{Alpha}\P{Digit}", ["ab"], ["1b", "a1"]),
        (r"[\p{XDigit}x]+", ["f0x"], ["g"]),
        (r"\x{1F600}", ["😀"], ["x"]),
        (r"\0052", ["*"], ["a"]),
        (r"\cA\e\a", ["\x01\x1b\x07"], ["A"]),
        (r".", ["a", "\x0b", "😀"], ["\n", "\r", "\x85", "\u2028", "\u2029"]),
        (r"(?s).", ["\n", "\u2028"], ["ab"]),
        (r"a{2}b{1,}c{0,1}", ["aab", "aabbc"], ["ab"]),
        (r"a}]", ["a}]"], ["a"]),
        (r"\$\=\/\-", ["$=/-"], ["a"]),
        (r"(?=a)a(?!b)(?<=a)(?<!b)", ["a"], ["b"]),
        (
            r"^/v1.0/users(/p~[a-zA-Z0-9_-]+?)?[^/]*",
            ["/v1.0/users/p~a-b", "/v1.0/users?x=1"],
            ["/v1.0/users/a/b"],
        ),
    ],
)
def test_meaning_is_kept(regex: str, matching: list[str], others: list[str]) -> None:
    """Each construct of Java that rules files may use matches what it matches there, and nothing else."""
    pattern = compile_java(regex)
    assert [text for text in matching if not pattern.fullmatch(text)] == []
    assert [text for text in others if pattern.fullmatch(text)] == []


@pytest.mark.parametrize("text", ["a", "a\n", "a\r", "a\r\n", "a\x85", "a\u2028"])
def test_a_dollar_stands_before_a_final_line_end(text: str) -> None:
    """Every line end of Java counts, once, and a carriage return with its line feed is one."""
    matches = list(compile_java(r"$").finditer(text))
    assert [match.start() for match in matches] == ([1, len(text)] if len(text) > 1 else [1])
    assert [match.start() for match in compile_java(r"\Z").finditer(text)] == [m.start() for m in matches]
    assert [match.start() for match in compile_java(r"\z").finditer(text)] == [len(text)]


def test_a_dollar_stands_nowhere_else() -> None:
    """Without the flag for several lines an inner line end means nothing."""
    assert compile_java(r"a$").search("a\nb") is None
    assert compile_java(r"a$").search("a\n\n") is None
    assert compile_java(r"^b").search("a\nb") is None


def test_several_lines() -> None:
    """With the flag, both ends stand at every line of Java, but not after the last line end."""
    starts = [match.start() for match in compile_java(r"(?m)^").finditer("a\r\nb\rc\u2028d\n")]
    ends = [match.start() for match in compile_java(r"(?m)$").finditer("a\r\nb\rc")]
    assert starts == [0, 3, 5, 7]
    assert ends == [1, 4, 6]


@pytest.mark.parametrize(
    ("regex", "construct"),
    [
        ("[a-z&&[^b]]", "intersection"),
        ("[a[b]]", "union"),
        (r"\p{L}", "property"),
        (r"\pL", "property"),
        (r"[\H]", "escape"),
        (r"[\Qa\E]", "quotation"),
        ("(?x)a b", "'x'"),
        ("(?U)a", "'U'"),
        (r"\G", "escape"),
        (r"\X", "escape"),
        (r"\E", "escape"),
        (r"\b{g}", "boundary"),
        ("a{,3}", "repetition"),
        ("a{x}", "repetition"),
        ("*a", "of nothing"),
        ("a**", "of nothing"),
        ("(?<=a+)b", "look-behind"),
        ("(?P<x>a)", "group"),
        ("(?#c)", "group"),
        ("(", "without an end"),
        (")", "without a group"),
        ("[a", "without an end"),
        ("[z-a]", "range"),
        (r"[a-\d]", "range"),
        (r"\1", "missing group"),
        (r"\k<x>", "unknown group"),
        (r"\k", "reference"),
        (r"\x{110000}", "code point"),
        ("a\\", "at the end"),
        ("(?<a>x)(?<a>y)", "redefinition"),
        ("a{1,99999999999999999999}", "too large"),
    ],
)
def test_what_cannot_be_translated_is_refused_by_name(regex: str, construct: str) -> None:
    """The error shows the regular expression and the construct that is the matter."""
    with pytest.raises(UntranslatableRegex) as caught:
        compile_java(regex)
    assert construct in str(caught.value)
    assert repr(regex) in str(caught.value)


@given(st.text(alphabet=r"ab.\()[]{}?*+|^$&-QEpi<>:=!sdwkx01,", max_size=12))
def test_translation_compiles_or_refuses(regex: str) -> None:
    """No pattern brings the translator down, and none warns about an ambiguous set."""
    with suppress(UntranslatableRegex):
        compile_java(regex).search("ab")


@given(st.text())
def test_a_quotation_matches_itself(text: str) -> None:
    r"""`\Q…\E` takes any text literally."""
    literal = text.replace("\\E", "")
    assert compile_java(f"\\Q{literal}\\E").fullmatch(literal)
