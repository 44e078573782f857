"""The field ledger: what became of every JSON path of a dataset, by which rule, and how often it had a value.

The side file `_manifests/<run_id>.fields.json`, version 1:

    {"fields_version": 1, "run_id": "…", "profile": "strict", "rules_fingerprint": "…",
     "forms": {"email_domains": "preserve", "group_original": true},
     "datasets": {"mail_messages": {
        "pages": 310, "scanned_pages": 12, "scanned_records": 9800,
        "fields": [
          {"path": "id", "fate": "pseudonymized", "rule": "pseudonymize", "non_null": 120000, "sampled": false},
          {"path": "from.emailAddress.name", "fate": "dropped", "rule": "dropped", "non_null": 9633, "sampled": true},
          {"path": "newProperty", "fate": "dropped", "rule": "unlisted", "non_null": 7, "sampled": true}]}}}

`fate` is kept, pseudonymized, filtered (parts of the text survive) or dropped. `rule` is the treatment, or `dropped`
for a path the rules drop in every profile, `unlisted` for one they do not know, or `unfit` for values, all counted,
that an operator's rules file left in a form their column cannot hold. What is not `sampled` is counted
exactly, in the published rows: values, for a list its items. What is `sampled` is counted in `scanned_records` raw
records. A path of which the rules decide as a whole (`body`) stands for all below it. The name of an unlisted property
that does not look like one (a dictionary keyed by an address) is written as `*`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
import pyarrow as pa

from pipeline.field_counts import OTHER_PATHS, FieldCounts
from pipeline.sanitize.rules import DROP, KEEP, RULES_FILE, DatasetRules, FieldRule, Profile, parse_path
from pipeline.sanitize.shapes import TokenForms

FIELDS_VERSION = 1
REMEMBERED_TYPES = 16  # of pages of one dataset

Fate = Literal["kept", "pseudonymized", "filtered", "dropped"]

_PROPERTY = re.compile(r"(?=.{1,80}$)(?:[A-Za-z_][A-Za-z0-9_]*)?(?:@(?:odata|microsoft\.graph)\.[A-Za-z.]+)?")
_NUMBER = re.compile(r"[0-9]{7}")
_FATES: Mapping[str, Fate] = {
    KEEP: "kept",
    "keep-guid": "kept",  # an account's id leaves as it is
    DROP: "dropped",
    "title-phrases": "filtered",
    "zoom-links": "filtered",
    "free-text": "filtered",
    RULES_FILE: "filtered",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """Paths met in raw records that stayed behind, with how often they had a value, and in how many records."""

    counts: Counter[str] = field(default_factory=Counter)
    records: int = 0


@dataclass(slots=True)
class _Name:
    """A property the rules know: read, or left behind as a whole, or a structure with both below it."""

    path: str
    is_read: bool = False
    is_declared: bool = False  # to the reader, since some of it is read
    below: dict[str, "_Name"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Step:
    """Where in a struct something stays behind: the member to count, or to look into (`below`)."""

    index: int
    path: str
    is_items: bool = False
    always: bool = True  # counted even where there is nothing, so that the name is known
    is_nested: bool = False  # with a type that was inferred
    below: tuple["_Step", ...] = ()


class FieldLedger:
    """Finds what stays behind of one dataset under one profile. Safe to use from several threads."""

    def __init__(self, rules: DatasetRules, *, profile: Profile) -> None:
        self._known: dict[str, _Name] = {}
        for rule in rules.fields:
            _insert(self._known, rule.path, is_read=rule.treatment(profile) != DROP)
        for path in rules.dropped:
            _insert(self._known, path, is_read=False)
        self._steps: tuple[tuple[pa.StructType, tuple[_Step, ...]], ...] = ()

    def scan(self, records: pa.StructArray) -> Seen:
        """What stays behind of records that were read with all their fields.

        Raises:
            pa.ArrowInvalid: Arrow has misread what it inferred, and would count wrongly.
        """
        seen = Seen(Counter(), len(records))
        _count(records, self._steps_for(records.type), seen.counts)
        return seen

    def _steps_for(self, type_: pa.StructType) -> tuple[_Step, ...]:
        """Pages of a dataset have few types, so what to look at is found once for each."""
        for known, steps in self._steps:
            if known.equals(type_):
                return steps
        steps = tuple(_steps(type_, self._known, ""))
        self._steps = ((type_, steps), *self._steps[: REMEMBERED_TYPES - 1])
        return steps

    def scan_pages(self, pages: Sequence[bytes]) -> Seen:
        """The same of raw pages, record by record: for pages whose fields change their type from record to record."""
        counts: Counter[str] = Counter()
        records = 0
        for page in pages:
            try:
                values = msgspec.json.decode(page)
            except (msgspec.DecodeError, RecursionError):
                continue  # no page; the sanitizer says so
            records += len(values) if isinstance(values, list) else 0
            _scan_value(values, self._known, "", counts)
        return Seen(counts, records)


def fields_file(
    rules: Mapping[str, DatasetRules],
    counts: Mapping[str, FieldCounts],
    *,
    run_id: str,
    profile: Profile,
    rules_fingerprint: str,
    forms: TokenForms,
) -> bytes:
    """The side file of a run; `counts` by dataset, a dataset without counts was not read.

    `forms` are the privacy settings of that name, which say how pseudonyms are spelt.
    """
    return msgspec.json.format(
        msgspec.json.encode(
            {
                "fields_version": FIELDS_VERSION,
                "run_id": run_id,
                "profile": profile,
                "rules_fingerprint": rules_fingerprint,
                "forms": {"email_domains": forms.domains, "group_original": forms.group_original},
                "datasets": {
                    dataset: _dataset(rule_set, counts.get(dataset, FieldCounts()), profile)
                    for dataset, rule_set in rules.items()
                },
            }
        ),
        indent=1,
    )


def fate_of(rule: FieldRule, profile: Profile) -> Fate:
    """What becomes of a listed field in a profile."""
    return _FATES.get(rule.treatment(profile), "pseudonymized")


def _dataset(rules: DatasetRules, counts: FieldCounts, profile: Profile) -> dict[str, object]:
    lines = []
    for rule in rules.fields:
        fate = fate_of(rule, profile)
        found = counts.left_behind if fate == "dropped" else counts.kept
        lines.append(_line(rule.path, fate, rule.treatment(profile), found))
    lines += [_line(path, "dropped", "dropped", counts.left_behind) for path in rules.dropped]
    listed = {line["path"] for line in lines}
    left = [line["path"] for line in lines if line["fate"] != "dropped" and line["path"] in counts.left_behind]
    unfit = [_line(str(path), "dropped", "unfit", counts.left_behind) | {"sampled": False} for path in left]
    unlisted = sorted(counts.left_behind.keys() - listed)
    lines += [*unfit, *(_line(path, "dropped", "unlisted", counts.left_behind) for path in unlisted)]
    return {
        "pages": counts.pages,
        "scanned_pages": counts.scanned_pages,
        "scanned_records": counts.scanned_records,
        "fields": lines,
    }


def _line(path: str, fate: Fate, rule: str, counts: Mapping[str, int]) -> dict[str, object]:
    return {
        "path": path,
        "fate": fate,
        "rule": rule,
        "non_null": counts.get(path, 0),
        "sampled": fate == "dropped",
    }


def _insert(names: dict[str, _Name], path: str, *, is_read: bool) -> None:
    spelled = ""
    for step in parse_path(path):
        spelled += ("." if spelled else "") + step.name + ("[]" if step.many else "")
        name = names.setdefault(step.name, _Name(spelled))
        name.is_declared |= is_read
        names = name.below
    name.is_read = is_read


def _steps(type_: pa.StructType, known: Mapping[str, _Name], prefix: str) -> Iterator[_Step]:
    for index, member in enumerate(type_.fields):
        name = known.get(member.name)
        is_nested = pa.types.is_nested(member.type) and not (name is not None and name.is_declared)
        if name is None:
            yield _Step(index, prefix + _shown(member.name), is_nested=is_nested)
            continue
        is_items = name.path.endswith("[]") and pa.types.is_list(member.type)
        inner = member.type.value_type if is_items else member.type
        if not name.is_read and name.below and pa.types.is_struct(inner):
            if below := tuple(_steps(inner, name.below, f"{name.path}.")):
                yield _Step(index, name.path, is_items, is_nested=is_nested, below=below)
        elif not name.is_read:
            yield _Step(index, name.path, is_items, is_nested=is_nested, always=not name.below)


def _count(records: pa.StructArray, steps: Iterable[_Step], counts: Counter[str]) -> None:
    members = records.flatten() if records.null_count else None  # lays the struct's own nulls over its members
    for step in steps:
        found = records.field(step.index) if members is None else members[step.index]
        if step.is_nested:
            found.validate()  # Arrow loses nulls that lead a list whose type it infers
        if step.is_items:
            if not len(found.values):
                continue
            found = found.flatten()
        if step.below:
            _count(found, step.below, counts)
        elif step.always or found.null_count < len(found):
            counts[step.path] += len(found) - found.null_count


def _scan_value(value: Any, known: Mapping[str, _Name], prefix: str, counts: Counter[str]) -> None:
    if isinstance(value, list):
        for item in value:
            _scan_value(item, known, prefix, counts)
        return
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        name = known.get(key)
        if name is None:
            counts[prefix + _shown(key)] += inner is not None
        elif name.is_read or (name.below and inner is None):
            continue
        elif name.below and isinstance(inner, (dict, list)):
            _scan_value(inner, name.below, f"{name.path}.", counts)
        elif name.path.endswith("[]") and isinstance(inner, list):
            counts[name.path] += sum(item is not None for item in inner)
        else:
            counts[name.path] += inner is not None


def _shown(name: str) -> str:
    """The name of an unlisted property, unless it could be a value that serves as a key."""
    return name if _PROPERTY.fullmatch(name) and not _NUMBER.search(name) else OTHER_PATHS
