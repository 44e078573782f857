"""Paths of rules files select what the Java library selects."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sanitize.jsonpath import Document, JsonPathError, compile_path

PAGE: dict[str, Any] = {
    "@odata.context": "ctx",
    "value": [
        {"id": 1, "user": {"id": "u1", "user": {"id": "u2"}}, "tags": ["x", "y"], "kind": "bot"},
        {"id": 2, "user": [{"id": "u3"}], "tags": [], "kind": None},
        {"id": 3, "user": None, "tags": {"a": "z"}, "n": 5},
    ],
}


def values(path: str, document: object = PAGE) -> list[object]:
    return [place.value for place in compile_path(path).find(Document(document))]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$['@odata.context']", ["ctx"]),
        ("$.['@odata.context', 'missing']", ["ctx"]),
        ('$["@odata.context"]', ["ctx"]),
        ("$..['kind', 'n']", ["bot", None, 5]),
        ("$.value[*].id", [1, 2, 3]),
        ("value[*].id", [1, 2, 3]),
        ("$.value[0].id", [1]),
        ("$.value[-1].id", [3]),
        ("$.value[7].id", []),
        ("$..tags[*]", ["x", "y", "z"]),
        ("$..id", [1, "u1", "u2", 2, "u3", 3]),
        ("$..user.id", ["u1", "u2"]),
        ("$..user.user.id", ["u2"]),
        ("$..user..id", ["u1", "u2", "u2", "u3"]),
        ("$.value[*].kind", ["bot", None]),
        ("$.value.id", []),
        ("$.missing.id", []),
        ("$..ID", []),
        ("$.value[*].tags.a", ["z"]),
        ("$..tags.*", ["x", "y", "z"]),
        ("$.value[?(@.kind == 'bot')].id", [1]),
        ('$.value[?(@.kind != "bot")].id', [2, 3]),
        ("$.value[?(@.kind == null)].id", [2]),
        ("$.value[?(@.n)].id", [3]),
        ("$.value[?(@.kind)].id", [1, 2]),
        ("$.value[?(@.n >= 5 && @.id != 1)].id", [3]),
        ("$.value[?(@.n < 5)].id", []),
        ("$.value[?(@.id == 1 || @.id == 2)].id", [1, 2]),
        ("$.value[?(@.id == '1')].id", [1]),
        ("$.value[?(@.id == '1.0')].id", [1]),
        ("$.value[?(@.id == 'one')].id", []),
        ("$.value[?(@.id != '1')].id", [2, 3]),
        ("$.value[?(@.user.id == 1)].id", []),
        ("$.value[?(@.kind >= 'bot')].id", [1]),
        ("$.value[?(@.kind < 'c')].id", [1]),
        ("$.value[?(@.kind < 1)].id", []),
        ("$.value[?(@.user.id == 'u1')].id", [1]),
        ("$.value[?(@['kind']=='bot')].id", [1]),
        ("$..[?(@.id == 'u2')].id", ["u2"]),
        ("$.value[*].user[?(@.id != 'u9')].id", ["u1", "u3"]),
    ],
)
def test_paths_select(path: str, found: list[object]) -> None:
    """Scans look everywhere, filters test elements or the object itself, what is missing is no match."""
    assert values(path) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$..[1]", [{"k": "x", "id": 2}]),
        ("$..[1].id", [1, 2]),
        ("$..[?(@.k != 'bot')].id", [1, 2, 2]),
        ("$..[?(@.k == 'bot')].id", [1]),
        ("$..list[?(@.k != 'bot')].id", [2]),
    ],
)
def test_a_scan_that_goes_on_takes_whole_arrays(path: str, found: list[object]) -> None:
    """As the library does: below an index, and below a filter that the array itself passes."""
    assert values(path, {"list": [{"k": "bot", "id": 1}, {"k": "x", "id": 2}]}) == found


def test_a_filter_at_the_end_names_the_place_in_the_document() -> None:
    """What a filter finds can be replaced, be it an element or a member."""
    document = Document(copy.deepcopy(PAGE))
    for path in ("$.value[*].user[?(@.id)]", "$..[?(@.kind == 'bot')]"):
        for place in compile_path(path).find(document):
            place.put("gone")
        document.changed()
    assert values("$.value[*].user", document.root.value) == [["gone"], None]
    assert values("$.value[0]", document.root.value) == ["gone"]


def test_an_index_follows_changes_of_the_document() -> None:
    """After `changed` the next search sees new members and no removed ones."""
    document = Document({"a": {"id": 1}})
    path = compile_path("$..id")
    assert len(path.find(document)) == 1
    document.root.put({"b": [{"id": 2}, {"id": 3}]})
    document.changed()
    assert [place.value for place in path.find(document)] == [2, 3]
    assert document.names() == {"b", "id"}


@pytest.mark.parametrize(
    ("path", "definite", "gap"),
    [
        ("$.value", True, False),
        ("$.nothing.id", True, True),
        ("$.value[*].id", False, False),
        ("$.nothing[*].id", False, True),
        ("$..nothing", False, False),
        ("$.value[?(@.nothing)]", False, False),
        ("$.value[9].id", True, True),
    ],
)
def test_definite_paths_and_gaps_are_told(path: str, definite: bool, gap: bool) -> None:
    """A path without scan, wildcard and filter is definite; a gap is a missing member before those."""
    compiled = compile_path(path)
    assert compiled.is_definite is definite
    assert compiled.has_a_gap(Document(PAGE)) is gap


@pytest.mark.parametrize(
    "path",
    [
        "",
        " ",
        "$",
        "$.",
        "$..",
        "$.a[",
        "$.a[]",
        "$.a['b]",
        "$.a['b'",
        "$.a['b',]",
        "$.a['b\\n']",
        "$.a[?(@.x == '\\u0041')]",
        "$.a[1:2]",
        "$.a[1,2]",
        "$.a[?(@.x =~ /v/)]",
        "$.a[?(@.x in ['v'])]",
        "$.a[?(@.x == )]",
        "$.a[?(@.x == v)]",
        "$.a[?(@.x",
        "$.a[?(x == 'v')]",
        "$.a[?(!@.x)]",
        "$.a.length()",
        "$.a b",
        "$a",
        "$.a[*",
    ],
)
def test_what_is_not_understood_is_refused(path: str) -> None:
    """A path that would select something else than its author meant is an error which shows it."""
    with pytest.raises(JsonPathError) as caught:
        compile_path(path)
    assert repr(path) in str(caught.value) or not path.strip()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
PATHS = [
    "$..a",
    "$.a",
    "$..a.b",
    "$..a[*]",
    "$..*",
    "$[*]",
    "$..a..b",
    "$..[?(@.a != 'x')].b",
    "$..['a','b']",
    "$..a[0]",
]


@given(JSON, st.sampled_from(PATHS))
def test_every_place_can_be_read_and_replaced(document: object, path: str) -> None:
    """On any document the search ends, and what it names is there."""
    held = Document(document)
    places = compile_path(path).find(held)
    for place in reversed(places):
        place.put(place.value)
    assert len(compile_path(path).find(held)) == len(places)
