"""The part of OData's `$filter` and `$orderby` that the emulated endpoints take.

https://learn.microsoft.com/graph/query-parameters (checked 2026-11): comparisons joined by and/or/not,
`startswith`, and `collection/any(x:x eq 'value')`. Which of it an endpoint accepts is the endpoint's own affair.
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from connectors.emulator import ticks

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<instant>\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d)?|\d{4}-\d\d-\d\d)"
    r"|(?P<number>-?\d+)|(?P<word>[A-Za-z_$][\w./$-]*)|(?P<sign>[(),:]))"
)
_ORDER = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
_COMPARISONS = ("eq", "ne", *_ORDER)


class FilterError(ValueError):
    """The text is no filter."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`path operator value`; an instant's value is `Instant`."""

    path: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True)
class Instant:
    """An unquoted instant."""

    ticks: int


@dataclass(frozen=True, slots=True)
class StartsWith:
    """`startswith(path,'value')`, or `endswith`."""

    path: str
    value: str
    function: str = "startswith"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`path/any(x:x eq value)`."""

    path: str
    value: Any


@dataclass(frozen=True, slots=True)
class Negation:
    """`not …`."""

    term: "Filter"


@dataclass(frozen=True, slots=True)
class Junction:
    """Terms joined by `and` or `or`."""

    word: str
    terms: tuple["Filter", ...]


Filter = Comparison | StartsWith | AnyOf | Negation | Junction


def parse_filter(text: str) -> Filter:
    """The filter that `text` writes. Raises FilterError."""
    parser = _Parser(list(_tokens(text)))
    found = parser.either()
    if parser.peek() is not None:
        raise FilterError("text after the end of the filter")
    return found


def leaves(node: Filter) -> Iterator[Comparison | StartsWith | AnyOf]:
    """All conditions in a filter, in the order in which they are written."""
    if isinstance(node, Junction):
        for term in node.terms:
            yield from leaves(term)
    elif isinstance(node, Negation):
        yield from leaves(node.term)
    else:
        yield node


def conjunction(node: Filter) -> tuple[Filter, ...]:
    """The terms that must all hold."""
    if isinstance(node, Junction) and node.word == "and":
        return tuple(part for term in node.terms for part in conjunction(term))
    return (node,)


def holds(node: Filter, value_of: Callable[[str], Any]) -> bool:
    """Whether a record satisfies the filter; `value_of` looks up a property path."""
    if isinstance(node, Junction):
        parts = (holds(term, value_of) for term in node.terms)
        return all(parts) if node.word == "and" else any(parts)
    if isinstance(node, Negation):
        return not holds(node.term, value_of)
    value = value_of(node.path)
    if isinstance(node, AnyOf):
        return node.value in (value or ())
    if isinstance(node, StartsWith):
        text = str(value or "").lower()
        return (
            text.startswith(node.value.lower()) if node.function == "startswith" else text.endswith(node.value.lower())
        )
    return _compares(node, value)


def _compares(node: Comparison, value: Any) -> bool:
    wanted = node.value
    if isinstance(wanted, Instant):
        wanted, value = wanted.ticks, None if value is None else ticks.parse(value)
    if isinstance(wanted, str) and isinstance(value, str):
        wanted, value = wanted.lower(), value.lower()
    if node.operator in ("eq", "ne"):
        return (value == wanted) is (node.operator == "eq")
    if value is None or wanted is None:
        return False
    return bool(_ORDER[node.operator](value, wanted))


def parse_orderby(text: str) -> list[tuple[str, bool]]:
    """Property paths, each with whether it is descending. Raises FilterError."""
    order = []
    for part in text.split(","):
        path, _, direction = part.strip().partition(" ")
        if not path or direction.strip().lower() not in ("", "asc", "desc"):
            raise FilterError("not an order")
        order.append((path, direction.strip().lower() == "desc"))
    return order


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise FilterError("a character that no filter has")
        yield match.lastgroup, match[match.lastgroup]
        position = match.end()


class _Parser:
    """Recursive descent: or, and, not, condition."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._next = 0

    def peek(self) -> str | None:
        return self._tokens[self._next][1] if self._next < len(self._tokens) else None

    def either(self) -> Filter:
        return self._joined("or", self._both)

    def _both(self) -> Filter:
        return self._joined("and", self._term)

    def _joined(self, word: str, part: Callable[[], Filter]) -> Filter:
        terms = [part()]
        while (self.peek() or "").lower() == word:
            self._take()
            terms.append(part())
        return terms[0] if len(terms) == 1 else Junction(word, tuple(terms))

    def _term(self) -> Filter:
        kind, text = self._take()
        if text.lower() == "not":
            return Negation(self._term())
        if text == "(":
            inner = self.either()
            self._expect(")")
            return inner
        if kind != "word":
            raise FilterError("a condition begins with a property")
        if text.lower() in ("startswith", "endswith"):
            return self._starts_with(text.lower())
        if text.lower().endswith("/any"):
            return self._any_of(text[:-4])
        _, sign = self._take()
        if sign.lower() not in _COMPARISONS:
            raise FilterError("not an operator")
        return Comparison(text, sign.lower(), self._value())

    def _starts_with(self, function: str) -> Filter:
        self._expect("(")
        _, path = self._take()
        self._expect(",")
        value = self._value()
        self._expect(")")
        return StartsWith(path, str(value), function)

    def _any_of(self, path: str) -> Filter:
        self._expect("(")
        self._take()
        self._expect(":")
        self._take()
        self._expect("eq")
        value = self._value()
        self._expect(")")
        return AnyOf(path, value)

    def _value(self) -> Any:
        kind, text = self._take()
        if kind == "text":
            return text[1:-1].replace("''", "'")
        if kind == "number":
            return int(text)
        if kind == "instant":
            try:
                return Instant(ticks.parse(text))
            except ValueError as error:
                raise FilterError("not an instant") from error
        words = {"true": True, "false": False, "null": None}
        if text.lower() not in words:
            raise FilterError("not a value")
        return words[text.lower()]

    def _expect(self, text: str) -> None:
        if self._take()[1].lower() != text:
            raise FilterError(f"expected {text}")

    def _take(self) -> tuple[str, str]:
        if self._next >= len(self._tokens):
            raise FilterError("the filter ends too early")
        self._next += 1
        return self._tokens[self._next - 1]
