"""The rules of a dataset applied to one record: what the compiled engine means, spelled out value by value.

It decides about every record that Arrow's reader refuses, and it is what the compiled engine is compared with. Only the
properties the rules name are looked at, so what else a record holds, however odd, cannot cost it.

A record is left out for one of these reasons, the first that applies: it is no JSON, too large or too deep; no object;
a property that is read has another type than the rules say; it has no key. What fits neither window nor filter is
somebody else's, and not counted.
"""

import json
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from pipeline.model import Window
from pipeline.ports import RowFilter
from pipeline.sanitize.columns import INSTANT_TYPES, Node, property_tree
from pipeline.sanitize.instant_text import parse_date, parse_instant
from pipeline.sanitize.java_text import is_blank, utf8
from pipeline.sanitize.rules import KEEP, DatasetRules, FieldRule, FieldType, Profile
from pipeline.sanitize.treatments import Treatments

WRONG_TYPE = "wrong_type"
NOT_AN_OBJECT = "not_an_object"
MISSING_KEY = "missing_key"
NOT_JSON = "not_json"
TOO_DEEP = "too_deep"
TOO_LARGE = "too_large"

MAX_RECORD_BYTES = 64 << 20  # Graph bodies end at 4 MB or so; what is larger is no record
MAX_DEPTH = 128  # Graph nests below 20 levels

Row = dict[str, Any]

_INT_RANGE: dict[FieldType, int] = {"int32": 1 << 31, "int64": 1 << 63}
_MAX_DIGITS = 1000
_BLANKS = b" \t\r\n"
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},]', re.DOTALL)


class Rejected(ValueError):
    """The record cannot become a row; `reason` says why, and nothing here says what it holds."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RecordRules:
    """Applies one profile's rules for one dataset to single records. Safe to use from several threads."""

    def __init__(
        self, rules: DatasetRules, *, profile: Profile, treatments: Treatments, instants: Sequence[str] = ()
    ) -> None:
        """`instants` are the paths that place a record in a window."""
        self._profile = profile
        self._treatments = treatments
        self._instants = tuple(instants)
        self._key = key_path(rules)
        self._all = property_tree(rules.fields)
        self._read = rules.read_fields(profile)
        self._kept = frozenset(rule.path for rule in self._read)
        self._fields = rules.fields
        self._read_trees: dict[str | None, Node] = {}

    def row(self, text: bytes, *, window: Window | None = None, row_filter: RowFilter | None = None) -> Row | None:
        """The row of one raw record; None where it is outside the window or does not pass the filter.

        Raises:
            Rejected: the record cannot become a row.
        """
        return self.row_of(decode_record(text), window=window, row_filter=row_filter)

    def row_of(
        self, record: object, *, window: Window | None = None, row_filter: RowFilter | None = None
    ) -> Row | None:
        """The same of a decoded record.

        Raises:
            Rejected: the record cannot become a row.
        """
        if not isinstance(record, dict):
            raise Rejected(NOT_AN_OBJECT)
        filter_path = row_filter.path if row_filter is not None else None
        for node in self._read_tree(filter_path).children.values():
            _check(node, record.get(node.name))
        require_key(record, self._key)
        if not belongs(record, instants=self._instants, window=window, row_filter=row_filter):
            return None
        return {node.name: self._treat(node, record.get(node.name)) for node in self._all.children.values()}

    def _read_tree(self, filter_path: str | None) -> Node:
        """All that is looked at: what the profile keeps, and what only decides whether a record belongs to the unit."""
        tree = self._read_trees.get(filter_path)
        if tree is None:
            helpers = helper_fields(self._fields, self._kept, self._instants, filter_path)
            tree = self._read_trees[filter_path] = property_tree((*self._read, *helpers))
        return tree

    def _treat(self, node: Node, value: Any) -> Any:
        """What of a value leaves; of a kind that was checked before."""
        if value is None or not self._keeps(node):
            return None
        if node.many:
            item = Node(node.name, rule=node.rule, children=node.children)
            return [self._treat(item, each) for each in value]
        if node.rule is not None:
            return self._treat_leaf(node.rule, value)
        return {child.name: self._treat(child, value.get(child.name)) for child in node.children.values()}

    def _treat_leaf(self, rule: FieldRule, value: Any) -> Any:
        column_value = value_of_type(rule.type, value)
        treatment = rule.treatment(self._profile)
        if treatment == KEEP or not isinstance(column_value, str):
            return column_value
        return self._treatments[treatment]([column_value])[0]

    def _keeps(self, node: Node) -> bool:
        if node.rule is not None:
            return node.rule.path in self._kept
        return any(self._keeps(child) for child in node.children.values())


def require_key(record: Row, key: str | None) -> None:
    """Raises Rejected for a record that cannot be told from others."""
    if key is not None and is_blank(_leaf_text(record, key) or ""):
        raise Rejected(MISSING_KEY)


def belongs(record: Row, *, instants: Sequence[str], window: Window | None, row_filter: RowFilter | None) -> bool:
    """Whether the earliest of its `instants` in the window's whole span lies in the window, and the filter keeps it.

    Raises:
        Rejected: what has to be looked at is of the wrong type.
    """
    if window is not None and instants:
        found = [_instant(_leaf_text(record, path), zoned=False) for path in instants]
        inside = [instant for instant in found if instant is not None and instant in window.whole]
        if not inside or min(inside) not in window:
            return False
    if row_filter is None:
        return True
    text = _leaf_text(record, row_filter.path)
    return text is not None and row_filter.keeps(text)


def key_path(rules: DatasetRules) -> str | None:
    """The property without which a record cannot be told from others."""
    return "id" if "id" in rules.key else None


def helper_fields(
    fields: Sequence[FieldRule], kept: frozenset[str], instants: Sequence[str], filter_path: str | None
) -> list[FieldRule]:
    """Leaves read only to decide whether a record belongs to the unit; they are in no output."""
    wanted = [*instants, *([filter_path] if filter_path else [])]
    unread = {rule.path: rule for rule in fields}
    return [
        unread.get(path) or FieldRule(path, "string", {}, "", "") for path in dict.fromkeys(wanted) if path not in kept
    ]


def decode_record(text: bytes) -> object:
    """One record as Python values; a property given twice counts as its last.

    Raises:
        Rejected: the text is no JSON, or larger or deeper than a record can be.
    """
    if len(text) > MAX_RECORD_BYTES:
        raise Rejected(TOO_LARGE)
    if depth(text) > MAX_DEPTH:
        raise Rejected(TOO_DEEP)
    try:
        return json.loads(text.decode("utf-8", "replace"), parse_int=_integer)
    except ValueError:
        raise Rejected(NOT_JSON) from None


def split_array(text: bytes) -> list[bytes]:
    """The items of a JSON array as they are written; whether each is JSON is for whoever reads it.

    Raises:
        ValueError: the text is no array; the message holds nothing of it.
    """
    text = text.strip(_BLANKS)
    items: list[bytes] = []
    level = start = end = 0
    for token in _TOKENS.finditer(text):
        if token[0] in (b"[", b"{"):
            level += 1
            start = start or token.end()
        elif token[0] in (b"]", b"}"):
            level -= 1
        elif token[0] == b"," and level == 1:
            items.append(text[start : token.start()])
            start = token.end()
        if level == 0:
            end = token.end()
            break
    if not (text.startswith(b"[") and text.endswith(b"]") and end == len(text)):
        raise ValueError("no JSON array")
    last = text[start:-1]
    return [*items, last] if items or last.strip(_BLANKS) else []


def depth(text: bytes) -> int:
    """How deep arrays and objects are nested."""
    deepest = level = 0
    for match in _TOKENS.finditer(text):
        if match[0] in (b"[", b"{"):
            level += 1
            deepest = max(deepest, level)
        elif match[0] in (b"]", b"}"):
            level -= 1
    return deepest


def _check(node: Node, value: object) -> None:
    """Raises Rejected where something that is read is not of the kind the rules say."""
    if value is None:
        return
    if node.many:
        if not isinstance(value, list):
            raise Rejected(WRONG_TYPE)
        item = Node(node.name, rule=node.rule, children=node.children)
        for each in value:
            _check(item, each)
    elif node.rule is not None:
        if not _is_of_type(node.rule.type, value):
            raise Rejected(WRONG_TYPE)
    elif not isinstance(value, dict):
        raise Rejected(WRONG_TYPE)
    else:
        for child in node.children.values():
            _check(child, value.get(child.name))


def value_of_type(type_: FieldType, value: Any) -> Any:
    """What a JSON value is in a column of this type.

    Raises:
        Rejected: it does not fit.
    """
    if not _is_of_type(type_, value):
        raise Rejected(WRONG_TYPE)
    if type_ in INSTANT_TYPES:
        return _instant(value, zoned=type_ == "instant")
    if type_ == "date":
        return _parsed(parse_date, value)
    if type_ == "double":
        return _finite(value)
    return whole_text(value) if isinstance(value, str) else value


def _is_of_type(type_: FieldType, value: object) -> bool:
    """Whether a JSON value is what a leaf of this type is read from."""
    if type_ == "boolean":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if type_ in _INT_RANGE:
        return isinstance(value, int) and -_INT_RANGE[type_] <= value < _INT_RANGE[type_]
    return isinstance(value, (int, float) if type_ == "double" else str)


def _leaf_text(record: Row, path: str) -> str | None:
    value: object = record
    for name in path.split("."):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise Rejected(WRONG_TYPE)
        value = value.get(name)
    if not isinstance(value, str | None):
        raise Rejected(WRONG_TYPE)
    return None if value is None else whole_text(value)


def whole_text(text: str) -> str:
    """Text as it can be written; half a surrogate pair becomes a question mark, as in the pseudonym function."""
    return utf8(text).decode()


def _instant(value: str | None, *, zoned: bool) -> datetime | None:
    return None if value is None else _parsed(lambda text: parse_instant(text, zoned=zoned), value)


def _parsed(parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except ValueError:
        raise Rejected(WRONG_TYPE) from None


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise Rejected(WRONG_TYPE) from None
    if not math.isfinite(number):
        raise Rejected(WRONG_TYPE)
    return number


def _integer(digits: str) -> int | float:
    """Python refuses to read the longest integers; no column holds them, and no identifier is that long."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)
