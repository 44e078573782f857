"""Texts without a hint are not looked at by the recognisers, so a hint must be in all that these would find."""

from functools import cache

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.guard import EgressGuard
from pipeline.sanitize.hints import suspects
from pipeline.sanitize.rules import Search, built_in_rules
from pipeline.sanitize.text_bytes import JoinedTexts

SEARCHES: tuple[Search, ...] = ("address", "phone", "bearer", "directory")
PIECES = (
    "anna", "@", "%40", "contoso.com", "CONTOSO.COM", "contoso%2Ecom", "@x.example", "+46 8 123", " 456 78",
    "12345678", "٠١٢٣٤٥٦٧", "–", "\u00a0", "(0)", "eyJhbGciOiJSUzI1NiIs",
    ".eyJhdWQiOiJodHRwczov", ".", "EYJ", "Bearer ", "bearer\n", "a" * 22,
    "https://x.example/", " ", "é", "\n", "",
)  # fmt: skip


@cache
def keeper() -> EgressGuard:
    people = DirectoryIndex()
    people.learn(msgspec.json.encode([{"mail": "anna@contoso.com", "mobilePhone": "+46 8 123 456 78"}]))
    return EgressGuard(built_in_rules()["calendar_events"], profile="psoxy", directory=people)


texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)


@given(values=st.lists(st.none() | texts, max_size=6), domains=st.sampled_from([None, ["contoso.com"]]))
@example(values=["see https://x.example/ 1", "12 https://x.example/ 34567"], domains=["contoso.com"])
@example(values=["anna%40contoso%2Ecom"], domains=["contoso.com"])
@example(values=["", None, "anna@contoso.com"], domains=["a.example", "contoso.com"])
@settings(deadline=None)
def test_whatever_a_recogniser_finds_is_a_suspect(values: list[str | None], domains: list[str] | None) -> None:
    """In each place of a column, with nulls, empty texts and neighbours that end and begin like a find."""
    column = pa.array(["zz", *values, "zz"], pa.string()).slice(1, len(values))
    for search in SEARCHES:
        found = suspects(column, {search}, domains=domains)
        missed = [text for text in values if text and text not in found and keeper()._finds(search, text)]
        assert missed == []


def test_a_text_without_a_hint_is_no_suspect() -> None:
    """Otherwise every text would be looked at."""
    column = pa.array(["1:1", "<A1B2@mail.fabrikam.example>", "room 12.04", None, ""])
    assert suspects(column, {"directory", "phone", "bearer"}, domains=["contoso.com"]) == []
    assert suspects(column, {"directory"}, domains=[f"{n}.example" for n in range(20)]) == [column[1].as_py()]
    numbers = pa.array(["<A1234567B@fabrikam.example>", "<A12345678B@fabrikam.example>"])
    assert suspects(numbers, {"directory"}, domains=["contoso.com"]) == [numbers[1].as_py()]  # has none so short


def test_what_a_null_hides_is_no_suspect() -> None:
    """Where a structure is null, what was read for its members may still be in memory."""
    shown = pa.array(["anna@contoso.com", "bob@contoso.com"])
    column = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x02"), *shown.buffers()[1:]])
    assert column.to_pylist() == [None, "bob@contoso.com"]
    assert suspects(column, {"address"}, domains=None) == ["bob@contoso.com"]


@pytest.mark.parametrize("start", [0, 1, 3])
def test_texts_are_told_apart_in_their_joined_bytes(start: int) -> None:
    """By index within a slice of a column; what begins in one and ends in the next is the first one's."""
    every = ["xab", "ab", "", "a", "bab", "ba"]
    joined = JoinedTexts(pa.array(every).slice(start))
    assert joined.data == "".join(every[start:]).encode()
    holding = list(joined.holding(b"ab", within=joined.data))
    assert holding == [index - start for index in (0, 1, 3, 4) if index >= start]
