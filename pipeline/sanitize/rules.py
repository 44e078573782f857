"""The privacy rules as data: which field of which dataset leaves, in which form, and why.

`config/rules/<connector>.yaml` lists every leaf of a record once, with its treatment in each profile. From that one
list follow the columns of a dataset, the fields asked of Graph, the treatment of each value, and the documentation.
A field that is not listed is undecided: it is never read into a column, and its name is counted.

A profile inherits from the one before it: `psoxy` <- `psoxy-no-app-ids` <- `strict`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Literal, NamedTuple, get_args

import msgspec
import yaml

Profile = Literal["psoxy", "psoxy-no-app-ids", "strict"]
PROFILES: tuple[Profile, ...] = get_args(Profile)

Owner = Literal["mailbox", "team", "group"]
FieldType = Literal[
    "string", "enum", "guid", "time-of-day", "duration", "date",
    "boolean", "int32", "int64", "double", "instant", "local-instant",
]  # fmt: skip
ShapeName = Literal["guid", "number", "item-id", "thread-id", "word", "language-tag"]
Search = Literal["address", "phone", "bearer", "directory", "name"]
DROP = "drop"
KEEP = "keep"
RULES_FILE = "rules-file"  # an operator's file decides, in a way no built-in treatment does
# With the C library, where PyYAML was built with it: eight times faster, and every command begins with the rules.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Step(NamedTuple):
    """One name on the way to a leaf; `many` where its value is a list."""

    name: str
    many: bool


@dataclass(frozen=True, slots=True)
class FieldRule:
    """What happens to one leaf of a record.

    `shape` says what kept texts look like; `exempt` what the egress guard does not search for in them, and why.
    """

    path: str
    type: FieldType
    treatments: Mapping[Profile, str]
    why: str
    source: str
    shape: ShapeName | None = None
    exempt: Mapping[Search, str] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[Step, ...]:
        return parse_path(self.path)

    def treatment(self, profile: Profile) -> str:
        return self.treatments[profile]


@dataclass(frozen=True, slots=True)
class DatasetRules:
    """The rules of one dataset; `row` says what one row is, `fields` are its columns' leaves, in column order."""

    connector: str
    dataset: str
    row: str
    version: int
    source: str
    key: tuple[str, ...]
    time: str | None
    owner: Owner | None
    fields: tuple[FieldRule, ...]
    dropped: Mapping[str, str]

    def read_fields(self, profile: Profile) -> tuple[FieldRule, ...]:
        """The leaves whose values are read at all in this profile."""
        return tuple(rule for rule in self.fields if rule.treatment(profile) != DROP)

    def select(self, profile: Profile) -> tuple[str, ...]:
        """The top-level property names to ask Graph for, in column order."""
        names = (rule.steps[0].name for rule in self.read_fields(profile))
        return tuple(dict.fromkeys(name for name in names if not name.startswith("@")))


class RulesError(ValueError):
    """A rules file does not follow the grammar; the message names file, dataset and path."""


def parse_path(path: str) -> tuple[Step, ...]:
    """`a.b[].c` as steps; `@odata.type` is one name although it has a dot."""
    names = re.findall(r"[^.@]*@odata\.\w+(?:\[\])?|[^.]+", path)
    return tuple(Step(name.removesuffix("[]"), name.endswith("[]")) for name in names)


@cache
def built_in_rules() -> Mapping[str, DatasetRules]:
    """The rules this product ships, by dataset.

    Raises:
        RulesError: a rules file is malformed.
    """
    rules: dict[str, DatasetRules] = {}
    folder = resources.files("config") / "rules"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".yaml"):
            document = yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - a safe one
            for dataset in _parse_file(document, file.name):
                rules[dataset.dataset] = dataset
    return rules


def rules_fingerprint(rules: Sequence[DatasetRules], profile: Profile, options: Mapping[str, object]) -> str:
    """Names what leaves and in which form: equal fingerprints give comparable output. 16 hex digits."""
    decided = {
        rule_set.dataset: [
            rule_set.version,
            [(field.path, field.type, field.treatment(profile)) for field in rule_set.fields],
        ]
        for rule_set in rules
    }
    text = msgspec.json.encode([profile, dict(options), decided], order="deterministic")
    return hashlib.sha256(text).hexdigest()[:16]


def _parse_file(document: object, file: str) -> list[DatasetRules]:
    if not isinstance(document, dict):
        raise RulesError(f"{file}: expected a mapping with `connector` and `datasets`")
    try:
        parsed = msgspec.convert(document, _File)
        return [_dataset(parsed.connector, name, body) for name, body in parsed.datasets.items()]
    except (msgspec.ValidationError, RulesError) as error:
        raise RulesError(f"{file}: {error}") from None


class _Field(msgspec.Struct, forbid_unknown_fields=True):
    type: FieldType
    psoxy: str
    why: str
    no_app_ids: str | None = msgspec.field(name="psoxy-no-app-ids", default=None)
    strict: str | None = None
    source: str | None = None
    shape: ShapeName | None = None
    exempt: dict[Search, str] = {}


class _Departure(msgspec.Struct, forbid_unknown_fields=True):
    path: str
    psoxy_does: str
    we_do: str
    why: str


class _Dataset(msgspec.Struct, forbid_unknown_fields=True):
    row: str
    version: int
    source: str
    key: tuple[str, ...]
    fields: dict[str, _Field]
    dropped: dict[str, str]
    time: str | None = None
    owner: Owner | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    connector: str
    datasets: dict[str, _Dataset]
    departures: list[_Departure] = []


def _dataset(connector: str, name: str, body: _Dataset) -> DatasetRules:
    fields = tuple(_field(path, rule, body.source) for path, rule in body.fields.items())
    known = {rule.path for rule in fields} | {"_owner"}
    for path in (*body.key, *([body.time] if body.time else [])):
        if path not in known:
            raise RulesError(f"{name}: `{path}` is a key or time path but no field")
    return DatasetRules(
        connector=connector,
        dataset=name,
        row=body.row,
        version=body.version,
        source=body.source,
        key=body.key,
        time=body.time,
        owner=body.owner,
        fields=fields,
        dropped=body.dropped,
    )


def _field(path: str, rule: _Field, source: str) -> FieldRule:
    no_app_ids = rule.no_app_ids or rule.psoxy
    treatments: dict[Profile, str] = {
        "psoxy": rule.psoxy,
        "psoxy-no-app-ids": no_app_ids,
        "strict": rule.strict or no_app_ids,
    }
    if rule.shape is not None and KEEP not in treatments.values():
        raise RulesError(f"{path}: `shape` is about kept texts, and no profile keeps them")
    if not all(reason.strip() for reason in rule.exempt.values()):
        raise RulesError(f"{path}: every exemption needs a reason")
    return FieldRule(path, rule.type, treatments, rule.why, rule.source or source, rule.shape, rule.exempt)
