"""The part of JSONPath that rules files use, with the behaviour of the Java library Psoxy runs (Jayway JsonPath).

    $  .name  ..name  ['name']  ['a', 'b']  ..['a', 'b']  [*]  .*  [0]  [?(@.x == 'v' && @.y)]

What is missing, or stands on a value of another type, is no match and no error. A deep scan (`..`) looks at
the root and at every object and array below it, also inside what it has found. A filter tests each element of
an array, or an object itself. A path that goes on below a scanned index takes every element of an array, and
below a scanned filter those of an array that itself passes (`!=`), because the library does.
https://github.com/json-path/JsonPath (checked 2026-11)
"""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from pipeline.sanitize.java_text import number_text

Container = dict[str, object] | list[object]

_NAME = re.compile(r"[^.\[\]()\s'\"*?@,][^.\[\]()\s'\"*,]*|@[^.\[\]()\s'\"*,]+")
_INDEX = re.compile(r"\[\s*(-?\d{1,9})\s*\]")
_WILDCARD = re.compile(r"\*|\[\s*\*\s*\]")
# Of the escapes only those of the character itself: who writes `\n` means another name than `n`.
_QUOTED = re.compile(r"""'((?:[^'\\]|\\[^bfnrtu])*+)'|"((?:[^"\\]|\\[^bfnrtu])*+)\"""")
_OPERATOR = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*")
_LITERAL = re.compile(r"true|false|null|-?\d+(?:\.\d+)?")
_WORDS: dict[str, object] = {"true": True, "false": False, "null": None}
_DECIMAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII)
_ORDERINGS: dict[str, Callable[[Decimal | bytes, Decimal | bytes], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MISSING = object()


class JsonPathError(ValueError):
    """A path that is malformed or uses a feature no rules file of ours may use; says what and where."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: a member of an object or an element of an array."""

    container: Container
    key: str | int

    @property
    def value(self) -> object:
        return self.container[self.key]  # type: ignore[index]  # a key fits its container

    def put(self, value: object) -> None:
        self.container[self.key] = value  # type: ignore[index]  # a key fits its container


class Document:
    """A JSON document whose members can be found by name without walking through it for every path.

    Whoever adds a member, or removes or replaces an object or array, says so with `changed`.
    """

    def __init__(self, root: object, *, wraps: bool = False) -> None:
        """`wraps` says that the document was made up around one record, in a list `value`."""
        self._root = Place([root], 0)
        self._wraps = wraps
        self._by_name: dict[str, list[dict[str, object]]] | None = None

    @property
    def root(self) -> Place:
        """The place of the document as a whole."""
        return self._root

    @property
    def wraps(self) -> bool:
        """Whether the document was made up around a record."""
        return self._wraps

    @property
    def starts(self) -> Iterator[Place]:
        """Where paths from the root begin: the root, and the record it was made up around.

        Graph gives a record in a list and alone, and a rules file may speak of either.
        """
        yield self._root
        page = self._root.value
        records = page.get("value") if self._wraps and isinstance(page, dict) else None
        if isinstance(records, list) and records:
            yield Place(records, 0)

    def changed(self) -> None:
        """Forget where members were; the next search looks again."""
        self._by_name = None

    def names(self) -> set[str]:
        """Every member name at any depth."""
        return {name for name in self._index() if self.objects_with(name)}

    def objects_with(self, name: str) -> list[dict[str, object]]:
        """The objects that have a member of this name, outer ones first."""
        return [each for each in self._index().get(name, ()) if name in each]  # it may have been removed since

    def _index(self) -> dict[str, list[dict[str, object]]]:
        if self._by_name is None:
            index: dict[str, list[dict[str, object]]] = {}
            pending = [self._root.value]
            while pending:
                current = pending.pop()
                if isinstance(current, dict):
                    for name in current:
                        index.setdefault(name, []).append(current)
                    pending.extend(reversed(current.values()))
                elif isinstance(current, list):
                    pending.extend(reversed(current))
            self._by_name = index
        return self._by_name


class JsonPath:
    """A compiled path."""

    def __init__(self, text: str, steps: "tuple[_Step, ...]") -> None:
        self.text = text
        self._steps = steps

    def __repr__(self) -> str:
        return f"JsonPath({self.text!r})"

    @property
    def is_definite(self) -> bool:
        """Whether the path can only ever name one value."""
        return all(step.is_definite for step in self._steps)

    @property
    def names(self) -> tuple[str, ...]:
        """Every member name it selects by, in order."""
        return tuple(name for step in self._steps if isinstance(step, _Names) for name in step.names)

    @property
    def is_selective(self) -> bool:
        """Whether what it selects depends on values or positions."""
        return any(isinstance(step, (_Filter, _Index)) for step in self._steps)

    def find(self, document: Document) -> list[Place]:
        """Every place the path selects, outer before inner; one that is reached in two ways comes twice."""
        first, *rest = self._steps
        if isinstance(first, _Names) and first.deep:
            places = [Place(container, name) for name in first.names for container in document.objects_with(name)]
        elif first.deep:
            places = list(first.select(document.root))
        else:
            places = [found for start in document.starts for found in first.select(start)]
        for step in rest:
            places = [found for place in places for found in step.select(place)]
        return places

    def has_a_gap(self, document: Document) -> bool:
        """Whether a member named before the first scan, wildcard or filter is missing."""
        return all(self._has_a_gap(start) for start in document.starts)

    def _has_a_gap(self, start: Place) -> bool:
        place: Place | None = start
        for step in self._steps:
            if place is None or not step.is_definite:
                break
            place = next(step.select(place), None)
        return place is None


@lru_cache(maxsize=4096)
def compile_path(text: str) -> JsonPath:
    """Raises JsonPathError."""
    return _Parser(text).path()


@dataclass(frozen=True, slots=True)
class _Names:
    names: tuple[str, ...]
    deep: bool

    @property
    def is_definite(self) -> bool:
        return len(self.names) == 1 and not self.deep

    def select(self, place: Place) -> Iterator[Place]:
        for candidate in _candidates(place, deep=self.deep):
            if isinstance(candidate, dict):
                for name in self.names:
                    if name in candidate:
                        yield Place(candidate, name)


@dataclass(frozen=True, slots=True)
class _Index:
    index: int
    deep: bool
    last: bool  # of the path

    @property
    def is_definite(self) -> bool:
        return not self.deep

    def select(self, place: Place) -> Iterator[Place]:
        for candidate in _candidates(place, deep=self.deep):
            if not isinstance(candidate, list):
                continue
            if self.deep and not self.last:
                yield from (Place(candidate, index) for index in range(len(candidate)))
            elif -len(candidate) <= self.index < len(candidate):
                yield Place(candidate, self.index % len(candidate))


@dataclass(frozen=True, slots=True)
class _Wildcard:
    deep: bool
    is_definite = False

    def select(self, place: Place) -> Iterator[Place]:
        for candidate in _candidates(place, deep=self.deep):
            if isinstance(candidate, dict):
                yield from (Place(candidate, name) for name in candidate)
            elif isinstance(candidate, list):
                yield from (Place(candidate, index) for index in range(len(candidate)))


@dataclass(frozen=True, slots=True)
class _Comparison:
    names: tuple[str, ...]
    operator: str | None
    literal: object

    def holds(self, value: object) -> bool:
        for name in self.names:
            value = value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
        if self.operator is None:
            return value is not _MISSING
        if self.operator in {"==", "!="}:
            return _are_equal(value, self.literal) == (self.operator == "==")
        return _in_order(value, self.operator, self.literal)


@dataclass(frozen=True, slots=True)
class _Filter:
    alternatives: tuple[tuple[_Comparison, ...], ...]
    deep: bool
    last: bool  # of the path
    is_definite = False

    def select(self, place: Place) -> Iterator[Place]:
        for candidate in _containers(place) if self.deep else (place,):
            value = candidate.value
            if isinstance(value, dict) and self._passes(value):
                yield candidate
            elif isinstance(value, list) and (not self.deep or self._passes(value)):
                every = self.deep and not self.last
                yield from (Place(value, index) for index, item in enumerate(value) if every or self._passes(item))

    def _passes(self, value: object) -> bool:
        return any(all(comparison.holds(value) for comparison in each) for each in self.alternatives)


_Step = _Names | _Index | _Wildcard | _Filter


def _are_equal(value: object, literal: object) -> bool:
    """As the library has it: a number equals a text that spells it, a text a number that is printed like it."""
    number, wanted = _number(value), _number(literal)
    if isinstance(value, str) and wanted is not None:
        return value == str(wanted)
    if number is not None:
        return number == (_spelt(literal) if isinstance(literal, str) else wanted)
    return type(value) is type(literal) and value == literal


def _in_order(value: object, comparison: str, literal: object) -> bool:
    """Numbers by value, texts by their UTF-16 code units; nothing else has an order."""
    holds = _ORDERINGS[comparison]
    if isinstance(value, str) and isinstance(literal, str):
        return holds(_units(value), _units(literal))
    number, limit = _number(value), _number(literal)
    return number is not None and limit is not None and holds(number, limit)


def _number(value: object) -> Decimal | None:
    """A JSON number as the decimal that Java reads; None for anything else."""
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    return _spelt(number_text(value)) if isinstance(value, float) else None


def _spelt(text: str) -> Decimal | None:
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def _units(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")


def _candidates(place: Place, *, deep: bool) -> Iterator[object]:
    """The value at a place or, for a scan, everything from there downwards that has members."""
    if not deep:
        yield place.value
        return
    for found in _containers(place):
        yield found.value


def _containers(place: Place) -> Iterator[Place]:
    """Every object and array from a place downwards, outer before inner, in document order."""
    pending = [place]
    while pending:
        current = pending.pop()
        value = current.value
        if isinstance(value, dict):
            yield current
            pending.extend(Place(value, name) for name in reversed(value))
        elif isinstance(value, list):
            yield current
            pending.extend(Place(value, index) for index in reversed(range(len(value))))


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def path(self) -> JsonPath:
        if self._text.startswith("$"):
            self._position = 1
        elif not self._text.strip():
            raise self._error("nothing")
        first_name_is_bare = self._position == 0
        steps: list[_Step] = []
        while self._position < len(self._text):
            steps.append(self._step(bare=first_name_is_bare and not steps))
        if not steps:
            raise self._error("the root alone")
        return JsonPath(self._text, tuple(steps))

    def _error(self, construct: str) -> JsonPathError:
        return JsonPathError(f"path {self._text!r}: {construct} at position {self._position} cannot be used")

    def _step(self, *, bare: bool) -> _Step:
        deep = self._take("..")
        dotted = deep or self._take(".") or bare
        if self._matches(_WILDCARD):
            return _Wildcard(deep)
        if index := self._matches(_INDEX):
            return _Index(int(index[1]), deep, last=self._position == len(self._text))
        if self._take("["):
            self._skip_blanks()
            return self._filter(deep=deep) if self._take("?") else _Names(self._quoted_names(), deep)
        if dotted and (name := self._matches(_NAME)):
            if self._text.startswith("(", self._position):
                raise self._error("a function")
            return _Names((name[0],), deep)
        raise self._error(f"{self._text[self._position : self._position + 8]!r}")

    def _quoted_names(self) -> tuple[str, ...]:
        names = [self._quoted()]
        while self._comma():
            names.append(self._quoted())
        self._expect("]")
        return tuple(names)

    def _comma(self) -> bool:
        self._skip_blanks()
        return self._take(",")

    def _quoted(self) -> str:
        self._skip_blanks()
        match = self._matches(_QUOTED)
        if match is None:
            raise self._error("a bracket that holds neither quoted names, nor an index, nor a filter")
        return re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2])

    def _filter(self, *, deep: bool) -> _Filter:
        self._expect("(")
        alternatives = [self._conjunction()]
        while self._joined_by("||"):
            alternatives.append(self._conjunction())
        self._expect(")")
        self._expect("]")
        return _Filter(tuple(alternatives), deep, last=self._position == len(self._text))

    def _conjunction(self) -> tuple[_Comparison, ...]:
        comparisons = [self._comparison()]
        while self._joined_by("&&"):
            comparisons.append(self._comparison())
        return tuple(comparisons)

    def _joined_by(self, word: str) -> bool:
        self._skip_blanks()
        return self._take(word)

    def _comparison(self) -> _Comparison:
        self._expect("@")
        names: list[str] = []
        while True:
            if self._take("."):
                name = self._matches(re.compile(r"[\w@\-]+"))
                if name is None:
                    raise self._error("a filter")
                names.append(name[0])
            elif self._take("["):
                names.append(self._quoted())
                self._expect("]")
            else:
                break
        comparison = self._matches(_OPERATOR)
        if comparison is None:
            return _Comparison(tuple(names), None, None)
        if self._text.startswith(("'", '"'), self._position):
            return _Comparison(tuple(names), comparison[1], self._quoted())
        literal = self._matches(_LITERAL)
        if literal is None:
            raise self._error("a filter value")
        word = literal[0]
        return _Comparison(tuple(names), comparison[1], _WORDS[word] if word in _WORDS else Decimal(word))

    def _matches(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._position)
        if match is not None:
            self._position = match.end()
        return match

    def _take(self, word: str) -> bool:
        taken = self._text.startswith(word, self._position)
        self._position += len(word) if taken else 0
        return taken

    def _expect(self, word: str) -> None:
        self._skip_blanks()
        if not self._take(word):
            raise self._error(f"something other than {word!r}")

    def _skip_blanks(self) -> None:
        while self._text[self._position : self._position + 1].isspace():
            self._position += 1
