"""An operator's own rules file in a run: which of its endpoints speaks of a dataset, and what that does to each column.

The file decides what becomes of values; the columns of the dataset stay what they are, so that nothing leaves which has
no column. From the file's paths follows what happens to each column: for the report, for what is asked of Graph, and
for the egress guard, which looks at these rows as at all others.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.sanitize.columns import INSTANT_TYPES, TEXT_TYPES, Node, property_tree
from pipeline.sanitize.graph_paths import endpoint_for
from pipeline.sanitize.java_regex import compile_java
from pipeline.sanitize.jsonpath import Document, Place
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rest_rules import Endpoint, RestRules, Transform
from pipeline.sanitize.row_engine import RowEngine
from pipeline.sanitize.rules import DROP, KEEP, PROFILES, RULES_FILE, DatasetRules, FieldRule, parse_path

_SAMPLE_OF: Mapping[str, object] = {"boolean": True, "int32": 1, "int64": 1, "double": 1.5}
_DEPARTS = "decided by the operator's rules file"
_ALIAS = compile_java("(?i)^smtp:(.*)$")


@dataclass(frozen=True, slots=True)
class OperatorDataset:
    """What a rules file makes of one dataset. `rules` are the dataset's own, with the file's treatments."""

    rules: DatasetRules
    engine: RowEngine
    endpoint: Endpoint

    def treated_id(self, id_: str) -> str | None:
        """What the file makes of the id of a record."""
        rows = self.engine.sanitize_records(self.endpoint, [{"id": id_}]).rows
        treated = rows[0].get("id") if rows and isinstance(rows[0], dict) else None
        return treated if isinstance(treated, str) else None


def operator_dataset(
    rules: DatasetRules, file: RestRules, pseudonymizer: Pseudonymizer, *, source: str
) -> OperatorDataset | None:
    """None where the file has no endpoint for the dataset. `source` names the file.

    Raises:
        ConfigurationError: the file makes reversible tokens and there is no encryption key.
    """
    endpoint = endpoint_for(file, rules.dataset)
    if endpoint is None:
        return None
    effective = effective_rules(rules, endpoint, source=source)
    return OperatorDataset(effective, RowEngine(RestRules((endpoint,)), pseudonymizer), endpoint)


def lost_keys(rules: DatasetRules) -> list[str]:
    """Key columns that a file drops, without which rows cannot be told apart."""
    dropped = {rule.path for rule in rules.fields if rule.treatment(PROFILES[0]) == DROP}
    return [path for path in rules.key if path in dropped]


def effective_rules(rules: DatasetRules, endpoint: Endpoint, *, source: str) -> DatasetRules:
    """The dataset's rules with what the endpoint does to each column, the same in every profile."""
    touched = _touched(rules, endpoint)
    fields = []
    for rule in rules.fields:
        treatment = _treatment(rule, touched.get(rule.path, ()))
        methods = ", ".join(dict.fromkeys(each.method for each in touched.get(rule.path, ()) if each is not None))
        fields.append(
            replace(
                rule,
                treatments=dict.fromkeys(PROFILES, treatment),
                why=f"{methods or 'no transform'} of {endpoint.name}; {_DEPARTS}",
                source=source,
                shape=rule.shape if treatment == KEEP else None,
            )
        )
    return replace(rules, fields=tuple(fields))


_Touch = Sequence[Transform | None]  # None: removed by the response schema


def _treatment(rule: FieldRule, touched: _Touch) -> str:
    """The built-in treatment that does the same, or `RULES_FILE` where none does."""
    if not touched:
        return KEEP
    if any(each is None or (each.method == "redact" and _is_certain(each)) for each in touched):
        return DROP
    if rule.type not in TEXT_TYPES:
        return RULES_FILE if rule.type in INSTANT_TYPES or rule.type == "date" else DROP
    only = touched[0]
    if len(touched) > 1 or only is None or not _is_certain(only):
        return RULES_FILE
    return _built_in(rule, only)


def _built_in(rule: FieldRule, transform: Transform) -> str:
    match transform.method:
        case "tokenize" if transform.pattern is None:
            return "tokenize"
        case "pseudonymize" if transform.encoding == "URL_SAFE_TOKEN":
            return "pseudonymize-reversible" if transform.include_reversible else "pseudonymize"
        case "pseudonymize" if transform.encoding == "JSON" and not transform.include_reversible:
            # The original stays readable of a group's own address alone, which `privacy.group_original` allows.
            is_own = rule.treatment("psoxy") == "group-address"
            return "group-address" if is_own or not transform.include_original else RULES_FILE
        case "pseudonymizeRegexMatches" if transform.pattern == _ALIAS and not transform.include_reversible:
            return "pseudonymize-smtp"
    return RULES_FILE


def _is_certain(transform: Transform) -> bool:
    """Whether it does its work whatever the values are."""
    return transform.only_when is None and not any(path.is_selective for path in transform.paths)


def _touched(rules: DatasetRules, endpoint: Endpoint) -> dict[str, list[Transform | None]]:
    """Which transforms reach each column, found on a record that has a value in every one."""
    tree = property_tree(rules.fields)
    record = _sample(tree)
    document = Document({"value": [record]}, wraps=True)
    touched: dict[str, list[Transform | None]] = {}
    if endpoint.schema is not None:
        left = endpoint.schema.apply_to_record(_sample(tree))
        survivors = {path for path, _ in _leaves(tree, left)}
        for path, _ in _leaves(tree, record):
            if path not in survivors:
                touched.setdefault(path, []).append(None)
    ways = _ways(tree, record)
    for transform in endpoint.transforms:
        reached: Counter[str] = Counter()
        for json_path in transform.paths:
            for place in json_path.find(document):
                reached.update(ways.get((id(place.container), place.key), ()))
            if json_path.is_selective:  # which may hold for other values and positions than the sample's
                reached.update(each for each in ways[()] if parse_path(each)[-1].name in json_path.names)
        for column in reached:
            touched.setdefault(column, []).append(transform)
    return touched


def _sample(node: Node) -> dict[str, Any]:
    """A record with one value, or one item, for each column."""

    def value(child: Node) -> Any:
        item = _sample(child) if child.rule is None else _SAMPLE_OF.get(child.rule.type, "sample")
        return [item] if child.many else item

    return {name: value(child) for name, child in node.children.items()}


def _leaves(node: Node, value: Any) -> Iterator[tuple[str, Place]]:
    """The columns that have a value in a sample, and where."""
    for name, child in node.children.items():
        if not isinstance(value, dict) or value.get(name) is None:
            continue
        place = Place(value, name)
        if child.many:
            items = value[name]
            if not isinstance(items, list) or not items:
                continue
            place = Place(items, 0)
        if child.rule is not None:
            yield child.rule.path, place
        else:
            yield from _leaves(child, place.value)


def _ways(tree: Node, record: dict[str, Any]) -> dict[Any, list[str]]:
    """The columns at or below each place of a sample; under `()` all of them."""
    ways: dict[Any, list[str]] = {(): []}

    def walk(node: Node, value: dict[str, Any]) -> list[str]:
        below: list[str] = []
        for name, child in node.children.items():
            item = value[name][0] if child.many else value[name]
            columns = [child.rule.path] if child.rule is not None else walk(child, item)
            ways[id(value), name] = columns
            if child.many:
                ways[id(value[name]), 0] = columns
            below += columns
        return below

    ways[()] = walk(tree, record)
    return ways
