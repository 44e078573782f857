"""The egress guard: the last look at a unit's rows before they join a part. It counts them for the field ledger, too.

It does not trust the treatments. A text column with a closed shape is matched in full; an open one is searched for
mail addresses, phone numbers, bearer tokens, and the tenant's own directory. All other columns have a type that holds
no text. A find fails the unit; it names dataset, column and rule, never the value.

Distinct values are looked at once: RE2 in Arrow finds those that could hold anything, and only these are looked at by
the recognisers, which are the same that the `free-text` treatment uses. Their verdicts are remembered.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sanitize.columns import TEXT_TYPES, leaves, output_schema, property_tree
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.pseudonym import is_token
from pipeline.sanitize.recognizers import holds_address, holds_phone
from pipeline.sanitize.rules import DROP, DatasetRules, FieldRule, Profile, Search
from pipeline.sanitize.shape_proofs import is_proved
from pipeline.sanitize.shapes import Shape, TokenForms, declared_shape

REMEMBERED_TEXTS = 20_000  # found clean; of one column at a time, some MB at most
OWNER = "_owner"
TOMBSTONE = "_removed"
USUAL_FORMS = TokenForms()

_FEW = 512  # values that Python has matched before RE2 has compiled its pattern
_SAMPLE_ROWS = 128  # enough to see whether the values of a column repeat
_BEARER = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.|\bbearer\s+[A-Za-z0-9._~+/-]{20,}", re.IGNORECASE)

# What a text has to contain, for RE2, before a recogniser looks at it. Wider than the recognisers, never narrower.
_HINTS: Mapping[Search, str] = {
    "address": "@|%40",
    "phone": r"[+(0-9][0-9 ()./\-\x{a0}\x{2010}-\x{2013}]{5}",
    "bearer": r"eyJ|(?i:bearer)\s",
    "name": r"[\pL\pN][^\pL\pN]+[\pL\pN]",
}


@dataclass(frozen=True, slots=True)
class Breach:
    """Something that must not leave was found. `rule` is the shape that was broken, or what was found."""

    dataset: str
    column: str
    rule: str

    def __str__(self) -> str:
        return f"{self.dataset}.{self.column}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`breach`: the first thing that must not leave; None: the rows may. `kept`: how many values each path has."""

    breach: Breach | None
    kept: Mapping[str, int]


@dataclass(slots=True)
class _Column:
    """How one text column is looked at."""

    path: str
    shape: Shape | None
    searches: frozenset[Search]
    clean: set[str] = field(default_factory=set)
    generation: int = -1


_TOMBSTONES = _Column(TOMBSTONE, Shape("tombstone", "[a-z_]+"), frozenset())


class EgressGuard:
    """Guards one dataset under one profile. Safe to use from several threads."""

    def __init__(
        self,
        rules: DatasetRules,
        *,
        profile: Profile,
        directory: DirectoryIndex,
        forms: TokenForms = USUAL_FORMS,
        owner: FieldRule | None = None,
    ) -> None:
        """`owner` is the rule of the id that `_owner` repeats; None where the dataset has no owner."""
        self._dataset = rules.dataset
        self._directory = directory
        self._owner = None if owner is None else declared_shape(owner, profile, forms)
        self._columns = {rule.path: _column(rule, profile, forms) for rule in rules.fields if rule.type in TEXT_TYPES}
        self._tree = property_tree(rules.fields)
        schema = output_schema(rules)
        self._schemas = (schema, schema.append(pa.field(TOMBSTONE, pa.string())))

    def check(self, rows: pa.Table, *, owner: str | None = None) -> Verdict:
        """Look at a unit's rows, in the dataset's output schema, and at the owner they will be stamped with."""
        if not self._is_laid_out(rows.schema):
            return Verdict(Breach(self._dataset, "*", "columns"), {})
        found = leaves(rows, self._tree)
        kept = {rule.path: sum(len(chunk) - chunk.null_count for chunk in chunks) for rule, chunks in found}
        texts = [(rule.path, chunks) for rule, chunks in found if rule.path in self._columns]
        if rows.schema.get_field_index(TOMBSTONE) >= 0 and rows[TOMBSTONE].null_count < len(rows):
            texts.append((TOMBSTONE, rows[TOMBSTONE].chunks))
        return Verdict(self._breach(texts, owner), kept)

    def _is_laid_out(self, schema: pa.Schema) -> bool:
        """Whether every column is one that was decided about, and stands in its place: leaves are told by theirs.

        In the flat layout points in time are text, so types may differ.
        """
        return schema in self._schemas or _names(schema) in map(_names, self._schemas)

    def _breach(self, texts: Sequence[tuple[str, list[pa.Array]]], owner: str | None) -> Breach | None:
        if owner is not None and (self._owner is None or not _compiled(self._owner.pattern).fullmatch(owner)):
            return Breach(self._dataset, OWNER, "owner" if self._owner is None else self._owner.name)
        closed: dict[Shape, list[tuple[str, list[pa.Array]]]] = {}
        for path, chunks in texts:
            column = self._columns.get(path, _TOMBSTONES)
            if column.shape is not None:
                closed.setdefault(column.shape, []).append((path, chunks))
            elif (found := self._search(column, _gathered([chunks]))) is not None:
                return Breach(self._dataset, path, found)
        for shape, columns in closed.items():
            broken = _first_without(shape, columns)
            if broken is not None:
                return Breach(self._dataset, broken, shape.name)
        return None

    def _search(self, column: _Column, texts: pa.Array) -> str | None:
        """Which search finds something in an open column."""
        generation = self._directory.generation
        if column.generation != generation or len(column.clean) > REMEMBERED_TEXTS:
            column.clean, column.generation = set(), generation
        clean = column.clean
        if len(texts) > _FEW:
            texts = texts.filter(pc.match_substring_regex(texts, self._hints(column.searches)))
        for text in texts.to_pylist():
            if not text or text in clean or is_token(text):
                continue
            for search in column.searches:
                if self._finds(search, text):
                    return search
            clean.add(text)
        return None

    def _finds(self, search: Search, text: str) -> bool:
        match search:
            case "address":
                return holds_address(text)
            case "phone":
                return holds_phone(text)
            case "bearer":
                return _BEARER.search(text) is not None
            case "directory":
                return self._directory.holds_entry(text)
            case "name":
                return self._directory.holds_name(text)

    def _hints(self, searches: frozenset[Search]) -> str:
        hints = [_HINTS[search] for search in searches if search in _HINTS]
        if "directory" in searches:
            hints += [_HINTS["phone"], *_own_addresses(self._directory.domains)]
        return "|".join(hints)


def _column(rule: FieldRule, profile: Profile, forms: TokenForms) -> _Column:
    dropped = rule.treatment(profile) == DROP
    shape = Shape("dropped", "") if dropped else declared_shape(rule, profile, forms)
    every: Sequence[Search] = ("address", "phone", "bearer", "directory", "name")
    return _Column(rule.path, shape, frozenset(search for search in every if search not in rule.exempt))


def _own_addresses(domains: Sequence[str] | None) -> list[str]:
    """What an address of the tenant has to contain."""
    if domains is None:
        return [_HINTS["address"]]
    return [f"(?i:(?:@|%40)(?:{'|'.join(map(re.escape, domains))}))"] if domains else []


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _names(fields: Iterable[pa.Field]) -> list[tuple[str, object]]:
    """The names of columns with those of what lies in them, in their order."""
    return [(field.name, _names(_members(field.type))) for field in fields]


def _members(of: pa.DataType) -> Iterable[pa.Field]:
    """Of the struct that a column holds, be it one a row or several."""
    while pa.types.is_list(of):
        of = of.value_type
    return of if pa.types.is_struct(of) else ()


def _first_without(shape: Shape, columns: Sequence[tuple[str, list[pa.Array]]]) -> str | None:
    """The path of the first column with a value that has not the shape. Columns of one shape are matched in one go."""
    if _has_shape(_gathered([chunks for _, chunks in columns]), shape):
        return None
    return next(path for path, chunks in columns if not _has_shape(pa.concat_arrays(chunks), shape))


def _gathered(columns: Sequence[list[pa.Array]]) -> pa.Array:
    """All values of these columns, each once where it pays to look for repetitions."""
    if sum(len(chunk) for chunks in columns for chunk in chunks) <= _FEW:
        return pa.concat_arrays([chunk for chunks in columns for chunk in chunks])
    mostly_new: list[pa.Array] = []
    repeated: list[pa.Array] = []
    for chunks in columns:
        sample = chunks[0].slice(0, _SAMPLE_ROWS)
        nearly_all_differ = 40 * len(sample.unique()) > 39 * len(sample)
        (mostly_new if nearly_all_differ else repeated).extend(chunks)
    if repeated:
        mostly_new.append(pa.chunked_array(repeated).unique())
    return pa.concat_arrays(mostly_new)


def _has_shape(values: pa.Array, shape: Shape) -> bool:
    """Whether every value is null, empty, or matches in full. One array, since Arrow compiles a pattern per chunk."""
    if len(values) <= _FEW:
        matches = _compiled(shape.pattern).fullmatch
        return all(not text or matches(text) for text in set(values.to_pylist()))
    if is_proved(values, shape):
        return True
    matched = pc.match_substring_regex(values, rf"\A(?:{shape.pattern})?\z")
    return pc.all(matched).as_py() is not False
