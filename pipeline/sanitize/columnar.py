"""The compiled engine: raw pages to sanitized columns, without a Python object per record.

A page is read as one row, `{"value": list<struct<…>>}`, by the Arrow JSON reader against the type that the rules
keep: what they drop or do not know never becomes a value. The leaves are then taken out of their lists and structs,
all leaves of one treatment are rewritten together, once per distinct value, and put back under the same offsets.
pyarrow releases the interpreter lock while it reads and rebuilds, so pages can be cleaned on worker threads.

A page the reader refuses is halved until the records it refuses stand alone. Those are interpreted one by one by
`record_rules`, which says what each means: a row after all (a property given twice, half a surrogate pair), or a
rejection with its reason.

Where a page is scanned for the field ledger, the reader takes in what it would leave out too, for one look at its
names.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from pipeline.model import Window
from pipeline.ports import RowFilter
from pipeline.sanitize.columns import INSTANT, INSTANT_TYPES, Node, output_schema, property_tree, read_schema
from pipeline.sanitize.instant_columns import parse_dates, parse_instants
from pipeline.sanitize.ledger import FieldLedger, Seen
from pipeline.sanitize.record_rules import (
    MISSING_KEY,
    NOT_AN_OBJECT,
    RecordRules,
    Rejected,
    helper_fields,
    key_path,
    split_array,
)
from pipeline.sanitize.rules import KEEP, DatasetRules, FieldRule, FieldType, Profile
from pipeline.sanitize.treatments import Treatments
from pipeline.sanitize.unit_rows import once_per_key

UNIQUE_TEXTS = frozenset({"internetMessageId"})  # beside the ids: leaves whose texts hardly ever repeat in a page
_DEEP_RUN = 256  # closing brackets in a row; inferring a type of 500 levels overflows a stack of 1 MiB
_DEEP = (b"]" * _DEEP_RUN, b"}" * _DEEP_RUN, b"}]" * (_DEEP_RUN // 2))
_STRIDE = 64  # even, so that it meets the same bracket all along a run of pairs
_DEEP_STRIDES = tuple(bracket * (_DEEP_RUN // _STRIDE) for bracket in (b"]", b"}"))


class UnreadablePage(ValueError):
    """The page is no JSON array; the message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Sanitized rows in the dataset's output schema, how many records were rejected, by reason, and what a scan saw.

    `elsewhere` counts the records that belong to another unit: outside the window, or not passing the filter.
    """

    rows: pa.Table
    rejected: Counter[str] = field(default_factory=Counter)
    seen: Seen = field(default_factory=Seen)
    elsewhere: int = 0


@dataclass(slots=True)
class _Structure:
    """What is left of an array when its leaves are taken out: lengths, offsets and nulls."""

    length: int
    nulls: pa.BooleanArray | None = None
    offsets: pa.Int32Array | None = None
    children: list["_Structure | int | None"] = field(default_factory=list)  # an int is the index of a leaf


@dataclass(frozen=True, slots=True)
class _Taken:
    """A member of a struct that is read and kept: where it stands in what is read, and what lies in it."""

    index: int
    many: bool = False
    type: FieldType | None = None  # None of a struct
    group: tuple[str, bool] = ("", False)  # leaves of one group are rewritten together
    children: tuple["_Taken | None", ...] = ()  # in the order of the output; None where nothing is kept


@dataclass(frozen=True, slots=True)
class _Reading:
    """How pages are read, and what is taken of their records, column by column of the output."""

    options: pj.ParseOptions
    columns: tuple[_Taken | None, ...]


class ColumnarSanitizer:
    """Applies one profile's rules for one dataset to pages of raw records. Safe to use from several threads."""

    def __init__(
        self,
        rules: DatasetRules,
        *,
        profile: Profile,
        treatments: Treatments,
        instants: Sequence[str] = (),
    ) -> None:
        """`instants` are the paths that place a record in a window."""
        self.schema = output_schema(rules)
        self._rules = rules
        self._profile = profile
        self._treatments = treatments
        self._instants = tuple(instants)
        self._kept = frozenset(rule.path for rule in rules.read_fields(profile))
        self._ledger = FieldLedger(rules, profile=profile)
        self._readings: dict[tuple[str | None, bool], _Reading] = {}
        self._unique = {rules.key[-1]} | UNIQUE_TEXTS  # what stands before it in a key repeats: a chat, a channel
        self._key = key_path(rules)
        self._record_rules = RecordRules(rules, profile=profile, treatments=treatments, instants=instants)

    def clean(
        self,
        pages: Sequence[bytes],
        *,
        window: Window | None = None,
        row_filter: RowFilter | None = None,
        scan: bool = False,
    ) -> Cleaned:
        """Rows of the records that lie in `window` and pass `row_filter`, in the order of the pages.

        `scan` looks for fields that stay behind, too.

        Raises:
            UnreadablePage: a page is no JSON array of records.
        """
        if scan:
            return self._clean_and_scan(pages, window, row_filter)
        try:
            return self._clean_pages(pages, window, row_filter)
        except pa.ArrowInvalid:
            return self._clean_isolating(_split(pages), window, row_filter)

    def whole(self, batches: Sequence[pa.Table]) -> pa.Table:
        """The rows of a unit, each key once: the one read last."""
        return once_per_key(batches, schema=self.schema, key=self._rules.key)

    def _clean_and_scan(self, pages: Sequence[bytes], window: Window | None, row_filter: RowFilter | None) -> Cleaned:
        """Both in one reading, unless a field that is not read changes its type or is too deep for Arrow to infer."""
        if not any(map(may_be_deep, pages)):
            try:
                return self._clean_pages(pages, window, row_filter, scan=True)
            except pa.ArrowInvalid:
                pass
        cleaned = self.clean(pages, window=window, row_filter=row_filter)
        return replace(cleaned, seen=self._ledger.scan_pages(pages))

    def _clean_isolating(
        self, records: Sequence[bytes], window: Window | None, row_filter: RowFilter | None
    ) -> Cleaned:
        """Halve until what cannot be read stands alone."""
        try:
            return self._clean_pages([b"[" + b",".join(records) + b"]"], window, row_filter)
        except pa.ArrowInvalid:
            if len(records) == 1:
                return self._clean_record(records[0], window, row_filter)
        middle = len(records) // 2
        left = self._clean_isolating(records[:middle], window, row_filter)
        right = self._clean_isolating(records[middle:], window, row_filter)
        return Cleaned(
            pa.concat_tables([left.rows, right.rows]),
            left.rejected + right.rejected,
            elsewhere=left.elsewhere + right.elsewhere,
        )

    def _clean_record(self, record: bytes, window: Window | None, row_filter: RowFilter | None) -> Cleaned:
        try:
            row = self._record_rules.row(record, window=window, row_filter=row_filter)
        except Rejected as rejection:
            return Cleaned(self.schema.empty_table(), Counter({rejection.reason: 1}))
        if row is None:
            return Cleaned(self.schema.empty_table(), elsewhere=1)
        return Cleaned(pa.Table.from_pylist([row], schema=self.schema))

    def _clean_pages(
        self, pages: Sequence[bytes], window: Window | None, row_filter: RowFilter | None, *, scan: bool = False
    ) -> Cleaned:
        reading = self._reading(row_filter.path if row_filter is not None else None, scan=scan)
        records = _read(pages, reading.options)
        seen = self._ledger.scan(records) if scan else Seen()
        rejected: Counter[str] = Counter()
        records = _reject_nulls(records, records, NOT_AN_OBJECT, rejected)
        if self._key is not None:
            keys = records.field(self._key)
            records = _reject_nulls(records, keys, MISSING_KEY, rejected)
            if pc.any(pc.or_(pc.equal(pc.binary_length(keys), 0), pc.utf8_is_space(keys))).as_py():
                raise pa.ArrowInvalid("a blank key")
        accepted = len(records)
        if window is not None and self._instants:
            records = _keep(records, _in_window(records, self._instants, window))
        if row_filter is not None:
            records = _keep(records, _passes(_leaf(records, row_filter.path), row_filter))
        return Cleaned(self._sanitize(records, reading.columns), rejected, seen, elsewhere=accepted - len(records))

    def _reading(self, filter_path: str | None, *, scan: bool) -> _Reading:
        """Reads what the profile keeps, what only decides whether a record belongs to the unit, and for a scan all."""
        reading = self._readings.get((filter_path, scan))
        if reading is None:
            fields = [
                *self._rules.read_fields(self._profile),
                *helper_fields(self._rules.fields, self._kept, self._instants, filter_path),
            ]
            schema = pa.schema([("value", pa.list_(read_schema(fields)))])
            others = "infer" if scan else "ignore"  # what is inferred stands behind what is declared
            options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior=others)
            reading = _Reading(options, self._taken(property_tree(self._rules.fields), property_tree(fields)))
            self._readings[filter_path, scan] = reading
        return reading

    def _taken(self, output: Node, read: Node) -> tuple[_Taken | None, ...]:
        """What becomes of each member of an output struct, of which `read` is what is read."""
        places = {name: index for index, name in enumerate(read.children)}
        taken: list[_Taken | None] = []
        for name, node in output.children.items():
            if name not in places:
                taken.append(None)
            elif node.rule is not None:
                kept = _Taken(places[name], node.many, node.rule.type, self._group(node.rule))
                taken.append(kept if node.rule.path in self._kept else None)
            else:
                children = self._taken(node, read.children[name])
                taken.append(_Taken(places[name], node.many, children=children) if any(children) else None)
        return tuple(taken)

    def _group(self, rule: FieldRule) -> tuple[str, bool]:
        """The rewriting a leaf shares with others: its treatment, or the parsing its type needs."""
        is_parsed = rule.type in INSTANT_TYPES or rule.type == "date"
        return rule.type if is_parsed else rule.treatment(self._profile), rule.path in self._unique

    def _sanitize(self, records: pa.StructArray, columns: Sequence[_Taken | None]) -> pa.Table:
        leaves: list[tuple[_Taken, pa.Array]] = []
        structures = _dissect(records, columns, leaves)
        rewritten = self._rewrite(leaves)
        assembled = [
            _assemble(structure, column.type, rewritten, len(records))
            for structure, column in zip(structures, self.schema, strict=True)
        ]
        return pa.Table.from_arrays(assembled, schema=self.schema)

    def _rewrite(self, leaves: Sequence[tuple[_Taken, pa.Array]]) -> list[pa.Array]:
        """Every leaf in its output form; leaves that share a treatment are rewritten in one go."""
        groups: dict[tuple[str, bool], list[int]] = {}
        for index, (leaf, _) in enumerate(leaves):
            groups.setdefault(leaf.group, []).append(index)
        rewritten: list[pa.Array] = [array for _, array in leaves]
        for (treatment, unique), members in groups.items():
            if treatment == KEEP:
                _refuse_infinite([leaves[index][1] for index in members if leaves[index][0].type == "double"])
                continue
            joined = pa.concat_arrays([leaves[index][1] for index in members])
            result = self._apply(treatment, joined, unique=unique)
            start = 0
            for index in members:
                length = len(leaves[index][1])
                rewritten[index] = result.slice(start, length)
                start += length
        return rewritten

    def _apply(self, treatment: str, values: pa.Array, *, unique: bool) -> pa.Array:
        if treatment in INSTANT_TYPES:
            return parse_instants(values, zoned=treatment == "instant")
        if treatment == "date":
            return parse_dates(values)
        if unique:
            return self._treatments.once(treatment, values)
        encoded = values.dictionary_encode()
        rewrite = self._treatments[treatment]
        substitutes = pa.array(rewrite(encoded.dictionary.to_pylist()), pa.string())
        return substitutes.take(encoded.indices)


def may_be_deep(page: bytes) -> bool:
    """Whether a page has a long run of closing brackets; few pages have one in what a stride over them leaves."""
    strides = page[::_STRIDE]
    return any(run in strides for run in _DEEP_STRIDES) and any(run in page for run in _DEEP)


def _read(pages: Sequence[bytes], options: pj.ParseOptions) -> pa.StructArray:
    text = _lines(pages)
    table = pj.read_json(
        pa.BufferReader(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=text.size),
        parse_options=options,
    )
    if table["value"].null_count:
        raise pa.ArrowInvalid("null is no array of records")
    if not all(page.isascii() for page in pages):
        table.validate(full=True)  # Arrow takes any bytes for UTF-8
    chunks = table["value"].chunks  # one, since the block holds all; joining it would copy it
    return (chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)).flatten()


def _lines(pages: Sequence[bytes]) -> pa.Buffer:
    """Each page as the line the reader takes for one row; it would copy a last line that is not ended.

    In memory of Arrow's, which keeps some for the next page. What the system has to find anew for every page takes
    longer to be found than to be filled.
    """
    before, after = b'{"value":', b"}\n"
    lines = pa.allocate_buffer(sum(map(len, pages)) + len(pages) * len(before + after))
    text = memoryview(lines).cast("B")
    start = 0
    for page in pages:
        for piece in (before, page, after):
            text[start : start + len(piece)] = piece
            start += len(piece)
    return lines


def _refuse_infinite(columns: Sequence[pa.Array]) -> None:
    """Arrow reads an integer that no number can hold as infinity."""
    if any(pc.all(pc.is_finite(values)).as_py() is False for values in columns):
        raise pa.ArrowInvalid("no finite number")


def _split(pages: Sequence[bytes]) -> list[bytes]:
    try:
        return [record for page in pages for record in split_array(page)]
    except ValueError:
        raise UnreadablePage("a page is no JSON array") from None


def _dissect(
    array: pa.StructArray, members: Sequence[_Taken | None], leaves: list[tuple[_Taken, pa.Array]]
) -> list["_Structure | int | None"]:
    """Take the leaves out of a struct; an empty place where nothing is kept."""
    # The reader leaves rubbish where a parent is null.
    found = array.flatten() if array.null_count else None
    return [
        None
        if member is None
        else _taken_from(array.field(member.index) if found is None else found[member.index], member, leaves)
        for member in members
    ]


def _taken_from(array: pa.Array, member: _Taken, leaves: list[tuple[_Taken, pa.Array]]) -> "_Structure | int":
    if member.many:
        return _Structure(len(array), _nulls(array), array.offsets, [_taken_item(array.values, member, leaves)])
    return _taken_item(array, member, leaves)


def _taken_item(array: pa.Array, member: _Taken, leaves: list[tuple[_Taken, pa.Array]]) -> "_Structure | int":
    if member.type is None:
        return _Structure(len(array), _nulls(array), None, _dissect(array, member.children, leaves))
    leaves.append((member, array))
    return len(leaves) - 1


def _leaf(records: pa.StructArray, path: str) -> pa.Array:
    array: pa.Array = records
    for name in path.split("."):
        array = array.flatten()[array.type.get_field_index(name)] if array.null_count else array.field(name)
    return array


def _nulls(array: pa.Array) -> pa.BooleanArray | None:
    return array.is_null() if array.null_count else None


def _assemble(
    structure: "_Structure | int | None", type_: pa.DataType, leaves: Sequence[pa.Array], length: int
) -> pa.Array:
    if structure is None:
        return pa.nulls(length, type_)
    if isinstance(structure, int):
        return leaves[structure]
    if structure.offsets is not None:
        values = _assemble(structure.children[0], type_.value_type, leaves, 0)
        return pa.ListArray.from_arrays(structure.offsets, values, type=type_, mask=structure.nulls)
    children = [
        _assemble(child, member.type, leaves, structure.length)
        for child, member in zip(structure.children, type_, strict=True)
    ]
    return pa.StructArray.from_arrays(children, fields=list(type_), mask=structure.nulls)


def _reject_nulls(records: pa.StructArray, of: pa.Array, reason: str, rejected: Counter[str]) -> pa.StructArray:
    """The records that have a value in `of`."""
    if not of.null_count:
        return records
    rejected[reason] += of.null_count
    return records.filter(of.is_valid())


def _keep(records: pa.StructArray, mask: pa.BooleanArray) -> pa.StructArray:
    return records if pc.all(mask).as_py() is not False else records.filter(mask)


def _in_window(records: pa.StructArray, paths: Sequence[str], window: Window) -> pa.BooleanArray:
    """Whether the earliest of a record's instants that lie in the window's whole span lies in the window itself."""
    instants = [parse_instants(_leaf(records, path), zoned=False) for path in paths]
    if len(instants) == 1:
        return _between(instants[0], window)
    never = pa.scalar(None, INSTANT)
    inside = [pc.if_else(_between(each, window.whole), each, never).cast(pa.int64()) for each in instants]
    return _between(pc.min_element_wise(*inside).cast(INSTANT), window)


def _between(instants: pa.Array, window: Window) -> pa.BooleanArray:
    start, end = pa.scalar(window.start, INSTANT), pa.scalar(window.end, INSTANT)
    return pc.and_(pc.greater_equal(instants, start), pc.less(instants, end)).fill_null(False)


def _passes(values: pa.Array, row_filter: RowFilter) -> pa.BooleanArray:
    encoded = values.dictionary_encode()
    verdicts = [text is not None and row_filter.keeps(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(verdicts, pa.bool_()).take(encoded.indices).fill_null(False)
