"""Of free text only what a rule lists is kept."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sanitize.java_regex import compile_java
from pipeline.sanitize.text_filters import (
    digest_text,
    exception_pattern,
    keep_longest_match,
    keep_phrases,
    keep_tokens,
    phrase_pattern,
    redact_matches,
    split,
    text_digest,
)

PHRASES = [
    phrase_pattern(phrase)
    for phrase in (
        "Focus Time",
        "Focus",
        "No Meetings",
        "No Meeting",
        "Prep",
        "Out of Office",
        "call",
        "check-in",
        "lunch",
        "standup",
        "team building",
        "daily",
        "weekly",
        "1:1",
    )
]
BLANKS = compile_java(r"\s+")
ZOOM = compile_java(r"https://[^.]+\.zoom\.us/.*")


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("Weekly Focus Time: planning", "Focus Time,Focus,Weekly"),
        ("NO MEETINGS friday", "NO MEETINGS"),
        ("no meeting", "no meeting"),
        ("1:1 Ann / Bo", "1:1"),
        ("Ann 1:1: Bo", "1:1"),
        ("standup-daily", "standup,daily"),
        ("Team-building lunch", "lunch"),
        ("lunch, LUNCH, Lunch", "lunch"),
        ("Prep for call with Ann", "Prep,call"),
        ("out  of office", ""),
        ("prepare", ""),
        ("callback", ""),
        ("Project X", ""),
        ("check-ins", ""),
        ("écall", "call"),
    ],
)
def test_titles_keep_listed_phrases_alone(title: str, kept: str) -> None:
    """Whole words, as the title spells them, in the order of the list, within ASCII word boundaries."""
    assert keep_phrases(title, PHRASES) == kept


def test_matches_are_cut_out_one_regex_after_the_other() -> None:
    """A passcode is cut up to the next ampersand, or up to the end of the text."""
    passcode = compile_java("(?i)pwd=[^&]*")
    assert redact_matches("https://h/j?PWD=abc&x=1&pwd=d", [passcode]) == "https://h/j?&x=1&"
    assert redact_matches("pwd=a b\nc", [passcode]) == ""
    assert redact_matches("xaabbx", [compile_java("ab"), compile_java("ab")]) == "xx"


def test_the_longest_exception_is_kept() -> None:
    """Of all hits the longest, of equals the first; none leaves empty text; lines are not crossed."""
    patterns = [exception_pattern("[0-9]+"), exception_pattern("[a-z]{3}"), exception_pattern("(?i)X{3}")]
    assert keep_longest_match("12 abc", patterns) == "abc"
    assert keep_longest_match("abc xXx", patterns) == "abc"
    assert keep_longest_match("--", patterns) == ""
    assert keep_longest_match("12\nabc", patterns) == ""


def test_words_that_match_a_filter_are_kept() -> None:
    """Only words which a filter matches from end to end stay, joined by one blank; none leaves nothing."""
    body = "Join https://acme.zoom.us/j/1?x=<b> \thttps://zoom.us/2 <https://a.zoom.us/3> https://b.zoom.us/ "
    assert keep_tokens(body, [ZOOM], BLANKS) == "https://acme.zoom.us/j/1?x=<b> https://b.zoom.us/"
    assert keep_tokens("HTTPS://acme.zoom.us/j/1", [ZOOM], BLANKS) is None
    assert keep_tokens("a b", [compile_java(".*")], None) == "a b"
    assert keep_tokens("a b", [compile_java("a")], None) is None
    assert keep_tokens("a,b;c", [compile_java("[ac]")], compile_java("([,;])")) == "a c"


@pytest.mark.parametrize(
    ("text", "delimiter", "pieces"),
    [
        ("a,b,,", ",", ["a", "b"]),
        (",a", ",", ["", "a"]),
        ("abc", "", ["a", "b", "c"]),
        ("", ",", [""]),
        (",,", ",", [""]),
        ("a", ",", ["a"]),
        ("a1b", "(1)", ["a", "b"]),
    ],
)
def test_split_drops_empty_pieces_at_the_end_only(text: str, delimiter: str, pieces: list[str]) -> None:
    """As Java splits; groups of the delimiter are no pieces."""
    assert split(text, compile_java(delimiter)) == pieces


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("", '{"length":0,"word_count":0}'),
        ("  ", '{"length":2,"word_count":1}'),
        (" two  words\n", '{"length":12,"word_count":2}'),
        ("😀 ok", '{"length":5,"word_count":2}'),
        ("a\u00a0b", '{"length":3,"word_count":1}'),
    ],
)
def test_a_digest_tells_size_alone(text: str, digest: str) -> None:
    """Length in UTF-16 units and the number of words; a blank text counts one word, an empty one none."""
    assert digest_text(text) == digest


def test_a_digest_counts_listed_keywords() -> None:
    """Keywords come first, in alphabetical order, and only those that occur."""
    digest = digest_text("Plan b: plan A, planning", ["plan", "a", "none"])
    assert digest == '{"keywords":{"a":1,"plan":2},"length":24,"word_count":5}'


@given(st.text())
def test_filters_keep_nothing_but_parts_of_the_text(text: str) -> None:
    """Whatever the text, what is kept was there, and a digest is numbers."""
    for kept in keep_phrases(text, PHRASES).split(","):
        assert kept in text
    assert keep_longest_match(text, [exception_pattern("[a-z]+")]) in text
    for word in (keep_tokens(text, [compile_java("[a-z]+")], BLANKS) or "").split(" "):
        assert word in text
    assert json.loads(digest_text(text)) == text_digest(text)
