"""What an operator should know of a rules file without faults: what of it does nothing here, and what it covers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import yaml

from config.faults import nearest
from pipeline.errors import ConfigurationError
from pipeline.sanitize.grammar import load_rest_rules, unpack_rules
from pipeline.sanitize.graph_paths import endpoint_for
from pipeline.sanitize.jsonpath import compile_path
from pipeline.sanitize.operator_rules import effective_rules, lost_keys
from pipeline.sanitize.rest_rules import Endpoint
from pipeline.sanitize.rules import DatasetRules, built_in_rules, parse_path
from pipeline.sanitize.yaml_nodes import is_null, read_yaml

# Properties that the built-in rules do not name one by one, because they drop what holds them, or that are of old
# versions of Graph. https://learn.microsoft.com/graph/api/resources/callrecords-api-overview (checked 2026-11)
_INSIDE_DROPPED = frozenset(
    {
        *("value", "content", "address", "coordinates", "joinInformation", "isPasscodeRequired"),
        *("captureDeviceName", "renderDeviceName", "reflexiveIPAddress", "relayIPAddress", "subnet", "macAddress"),
    }
)


@dataclass(frozen=True, slots=True)
class RulesCheck:
    """What a rules file without faults is good for. `warnings` have a line each, in the order of the file."""

    endpoints: int
    transforms: int
    datasets: tuple[str, ...]
    warnings: tuple[str, ...]


def check_rules_file(data: bytes, *, name: str) -> RulesCheck:
    """Look at a rules file as a run would.

    Raises:
        ConfigurationError: it cannot be used; one fault for each thing that is wrong, with its line.
    """
    rules = load_rest_rules(data, name=name)
    speaks_of: dict[int, list[DatasetRules]] = {}
    for rule_set in built_in_rules().values():
        endpoint = endpoint_for(rules, rule_set.dataset)
        if endpoint is not None:
            speaks_of.setdefault(id(endpoint), []).append(rule_set)
    warnings = []
    for endpoint, node in zip(rules.endpoints, _endpoint_nodes(data), strict=True):
        datasets = speaks_of.get(id(endpoint), [])
        warnings += [f"line {line}: {text}" for line, text in sorted(_warnings(endpoint, node, datasets))]
    return RulesCheck(
        endpoints=len(rules.endpoints),
        transforms=sum(len(endpoint.transforms) for endpoint in rules.endpoints),
        datasets=tuple(rule_set.dataset for each in speaks_of.values() for rule_set in each),
        warnings=tuple(warnings),
    )


def _warnings(endpoint: Endpoint, node: yaml.Node, datasets: Sequence[DatasetRules]) -> Iterator[tuple[int, str]]:
    line = node.start_mark.line + 1
    if any(transform.needs_key for transform in endpoint.transforms):
        yield line, f"{endpoint.name}: makes reversible tokens, which needs privacy.encryption_key"
    if not datasets:
        yield line, f"{endpoint.name}: no dataset of this export is read from there; used by `sanitize --rules` only"
        return
    for rule_set in datasets:
        if lost := lost_keys(effective_rules(rule_set, endpoint, source="")):
            yield line, f"{endpoint.name}: removes {', '.join(lost)}, the key of {rule_set.dataset}; a run would refuse"
    for where, text in _conditions(node):
        yield where, f"applyOnlyWhen {text}: asked of each record alone, not of a page with its other records"
    known = _known_names()
    for where, text in _json_paths(node):
        for name in compile_path(text).names:
            if name not in known and "@odata." not in name:
                yield (
                    where,
                    f"{text}: no property {name} is known; nearest is {nearest(name, known)}",
                )


@cache
def _known_names() -> frozenset[str]:
    """Property names of Graph, of whatever dataset: a file may share its lists between endpoints."""
    paths = [path for rules in built_in_rules().values() for path in (*_columns(rules), *rules.dropped)]
    return frozenset(step.name for path in paths for step in parse_path(path)) | _INSIDE_DROPPED


def _columns(rules: DatasetRules) -> list[str]:
    return [rule.path for rule in rules.fields]


def _endpoint_nodes(data: bytes) -> list[yaml.Node]:
    root = read_yaml(unpack_rules(data))
    if not isinstance(root, yaml.MappingNode):
        raise ConfigurationError("a rules file is a mapping")
    return next((list(value.value) for key, value in root.value if key.value == "endpoints"), [])


def _json_paths(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Every path of the endpoint's transforms, with its line."""
    for paths in _members_of_transforms(node, "jsonPaths"):
        yield from ((item.start_mark.line + 1, str(item.value)) for item in paths.value)


def _conditions(node: yaml.Node) -> Iterator[tuple[int, str]]:
    """Every condition of the endpoint's transforms, with its line."""
    for condition in _members_of_transforms(node, "applyOnlyWhen"):
        if str(condition.value).strip():
            yield condition.start_mark.line + 1, str(condition.value)


def _members_of_transforms(node: yaml.Node, name: str) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name and not is_null(value):
                yield value
            elif key.value == "transforms":
                yield from _members_of_transforms(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _members_of_transforms(item, name)
