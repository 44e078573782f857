"""The egress guard: the last look at a unit's rows before they join a part. It counts them for the field ledger, too.

It does not trust the treatments. A text column with a closed shape is matched in full; an open one is searched for
mail addresses, phone numbers, bearer tokens, and the tenant's own directory. All other columns have a type that holds
no text. A find fails the unit; it names dataset, column and rule, never the value.

Where a shape can be proved by counting characters, no pattern is matched; where a text holds no hint of what is
searched for, no recogniser looks at it. They are the same that the `free-text` treatment uses. Texts they have found
clean are remembered.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.sanitize.columns import TEXT_TYPES, leaves, output_schema, property_tree
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.hints import can_be_anywhere, suspects
from pipeline.sanitize.pseudonym import is_token
from pipeline.sanitize.recognizers import holds_address, holds_phone
from pipeline.sanitize.rules import DROP, DatasetRules, FieldRule, Profile, Search
from pipeline.sanitize.shape_proofs import have_shape, is_provable, is_proved
from pipeline.sanitize.shapes import Shape, TokenForms, declared_shape

REMEMBERED_TEXTS = 20_000  # found clean; of one column at a time, some MB at most
OWNER = "_owner"
TOMBSTONE = "_removed"
USUAL_FORMS = TokenForms()

_FEW = 512  # texts that Python has looked at before Arrow has begun, or RE2 has compiled its pattern
_LOT = 8_192  # texts that are proved together: copies of a whole unit's would fill memory and the processor's caches
_BEARER = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.|\bbearer\s+[A-Za-z0-9._~+/-]{20,}", re.IGNORECASE)


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
        kept = {leaf.rule.path: leaf.filled for leaf in found}
        texts = [(leaf.rule.path, leaf.chunks) for leaf in found if leaf.rule.path in self._columns]
        if rows.schema.get_field_index(TOMBSTONE) >= 0 and rows[TOMBSTONE].null_count < len(rows):
            texts.append((TOMBSTONE, rows[TOMBSTONE].chunks))
        return Verdict(self._breach(texts, owner), kept)

    def _is_laid_out(self, schema: pa.Schema) -> bool:
        """Whether every column is one that was decided about, and stands in its place: leaves are told by theirs.

        In the flat layout points in time are text, so types may differ.
        """
        return schema in self._schemas or _names(schema) in map(_names, self._schemas)

    def _breach(self, texts: Sequence[tuple[str, list[pa.Array]]], owner: str | None) -> Breach | None:
        if owner is not None and (self._owner is None or not have_shape([owner], self._owner)):
            return Breach(self._dataset, OWNER, "owner" if self._owner is None else self._owner.name)
        closed: dict[tuple[str, str], tuple[Shape, list[tuple[str, list[pa.Array]]]]] = {}  # a shape is slow to hash
        for path, chunks in texts:
            column = self._columns.get(path, _TOMBSTONES)
            if (shape := column.shape) is not None:
                closed.setdefault((shape.name, shape.pattern), (shape, []))[1].append((path, chunks))
            elif (found := self._search(column, chunks)) is not None:
                return Breach(self._dataset, path, found)
        for shape, columns in closed.values():
            broken = _first_without(shape, columns)
            if broken is not None:
                return Breach(self._dataset, broken, shape.name)
        return None

    def _search(self, column: _Column, chunks: list[pa.Array]) -> str | None:
        """Which search finds something in an open column."""
        generation = self._directory.generation
        if column.generation != generation or len(column.clean) > REMEMBERED_TEXTS:
            column.clean, column.generation = set(), generation
        clean = column.clean
        for text in self._texts(chunks, column.searches):
            if not text or text in clean or is_token(text):
                continue
            for search in column.searches:
                if self._finds(search, text):
                    return search
            clean.add(text)
        return None

    def _texts(self, chunks: list[pa.Array], searches: AbstractSet[Search]) -> Iterator[str | None]:
        """What the recognisers have to look at."""
        if can_be_anywhere(searches):
            yield from pa.chunked_array(chunks).unique().to_pylist()
            return
        domains = self._directory.domains if "directory" in searches else ()
        for chunk in chunks:
            yield from suspects(chunk, searches, domains=domains)

    def _finds(self, search: Search, text: str) -> bool:
        match search:
            case "address":
                return holds_address(text)
            case "phone":
                return holds_phone(text)
            case "bearer":
                return _holds_bearer(text)
            case "directory":
                return self._directory.holds_entry(text)
            case "name":
                return self._directory.holds_name(text)


def _holds_bearer(text: str) -> bool:
    lowered = text.lower()  # which is looked through sooner
    return ("eyj" in lowered or "bearer" in lowered) and _BEARER.search(text) is not None


def _column(rule: FieldRule, profile: Profile, forms: TokenForms) -> _Column:
    dropped = rule.treatment(profile) == DROP
    shape = Shape("dropped", "") if dropped else declared_shape(rule, profile, forms)
    every: Sequence[Search] = ("address", "phone", "bearer", "directory", "name")
    return _Column(rule.path, shape, frozenset(search for search in every if search not in rule.exempt))


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
    if _have_shape([chunk for _, chunks in columns for chunk in chunks], shape):
        return None
    broken = (path for path, chunks in columns if not _have_shape(chunks, shape))
    return next(broken, columns[0][0])  # matched by another engine, since they are few, each alone may have it


def _have_shape(chunks: Sequence[pa.Array], shape: Shape) -> bool:
    """Whether every value is null, empty, or matches in full."""
    if sum(map(len, chunks)) <= _FEW:
        return have_shape([text for chunk in chunks for text in chunk.to_pylist() if text], shape)
    chunks = _different(chunks)
    if is_provable(shape) and all(is_proved(lot, shape) for lot in _lots(chunks)):
        return True
    texts = pa.chunked_array(chunks).unique()
    if len(texts) <= _FEW:
        return have_shape(list(filter(None, texts.to_pylist())), shape)
    matched = pc.match_substring_regex(texts, rf"\A(?:{shape.pattern})?\z")  # compiled anew for every array
    return pc.all(matched).as_py() is not False


def _different(chunks: Sequence[pa.Array]) -> list[pa.Array]:
    """Each once: who sends a mail is nearly always whom it is from."""
    different: list[pa.Array] = []
    for chunk in chunks:
        if not any(chunk.equals(other) for other in different):
            different.append(chunk)
    return different


def _lots(chunks: Sequence[pa.Array]) -> Iterator[pa.Array]:
    """The values in arrays of some size, since every array has its price."""
    lot: list[pa.Array] = []
    size = 0
    for chunk in chunks:
        if lot and size + len(chunk) > _LOT:
            yield pa.concat_arrays(lot)
            lot, size = [], 0
        lot.append(chunk)
        size += len(chunk)
    yield pa.concat_arrays(lot)
