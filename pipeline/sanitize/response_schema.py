"""Response schemas: an allow-list in the form of a JSON schema. What is not declared is removed.

    object      keeps declared members; another value becomes null
    array       filters each element; elements that become null are dropped; another value becomes null
    string, number, integer, boolean    keep a value of that type; another becomes null (null as a boolean: false)
    no type     keeps any scalar; objects and arrays become null
    $ref        `#` for the schema as a whole, `#/definitions/Name` for an entry of the rules file
    anyOf       the first alternative the value satisfies; if / then / else: the members of a branch are added

Members that begin with `+` are additions of our own (augments) and always pass.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import yaml

from pipeline.sanitize.yaml_nodes import Checker

_TYPES = ("object", "array", "string", "number", "integer", "boolean")
_IGNORED = ("format", "title", "required", "additionalProperties", "$schema")
_KEYWORDS = (
    *("type", "properties", "items", "$ref", "anyOf", "if", "then", "else", "const"),
    *_IGNORED,
)
_DEFINITIONS = "#/definitions/"
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**63 - 1
_NO_CONST = object()


@dataclass(frozen=True, slots=True)
class Schema:
    """One schema; an empty `type` keeps any scalar."""

    type: str = ""
    properties: Mapping[str, "Schema"] = field(default_factory=dict)
    items: "Schema | None" = None
    ref: str | None = None
    any_of: tuple["Schema", ...] = ()
    condition: "Schema | None" = None
    then: "Schema | None" = None
    otherwise: "Schema | None" = None
    const: object = _NO_CONST


class ResponseSchema:
    """A schema together with the definitions it refers to."""

    def __init__(self, root: Schema, definitions: Mapping[str, Schema]) -> None:
        self._root = root
        self._definitions = definitions

    def apply(self, value: object) -> object:
        """A new document that holds what the schema declares, in the order of the old one."""
        return self._filter(self._root, value)

    def apply_to_record(self, record: object) -> object:
        """What is left of a record, be the schema for lists of records or for one alone; None where nothing is."""
        if not self._declares(self._root, "value"):
            return self.apply(record)
        page = self.apply({"value": [record]})
        records = page.get("value") if isinstance(page, dict) else None
        return records[0] if isinstance(records, list) and records else None

    def _declares(self, schema: Schema, name: str) -> bool:
        schema = self._resolve(schema)
        return name in schema.properties or any(self._declares(each, name) for each in schema.any_of)

    def _filter(self, schema: Schema, value: object) -> object:
        schema = self._resolve(schema)
        if schema.any_of:
            chosen = next((each for each in schema.any_of if self._fits(each, value)), None)
            return None if chosen is None else self._filter(chosen, value)
        if schema.type == "object":
            return self._filter_object(schema, value)
        if schema.type == "array":
            return self._filter_array(schema, value)
        if schema.const is not _NO_CONST and value != schema.const:
            return None
        return _scalar(schema.type, value)

    def _filter_object(self, schema: Schema, value: object) -> object:
        if not isinstance(value, dict):
            return None
        declared = dict(schema.properties)
        if schema.condition is not None:
            branch = schema.then if self._fits(schema.condition, value) else schema.otherwise
            declared |= self._resolve(branch).properties if branch is not None else {}
        return {
            name: member if name.startswith("+") else self._filter(declared[name], member)
            for name, member in value.items()
            if name.startswith("+") or name in declared
        }

    def _filter_array(self, schema: Schema, value: object) -> object:
        if not isinstance(value, list):
            return None
        if schema.items is None:
            return []
        filtered = [self._filter(schema.items, item) for item in value]
        return [item for item in filtered if item is not None]

    def _fits(self, schema: Schema, value: object) -> bool:
        """Whether a value satisfies a schema, in the usual meaning of JSON schema."""
        schema = self._resolve(schema)
        if schema.any_of and not any(self._fits(each, value) for each in schema.any_of):
            return False
        if schema.const is not _NO_CONST and value != schema.const:
            return False
        if schema.type == "object":
            return isinstance(value, dict) and all(
                self._fits(each, value[name]) for name, each in schema.properties.items() if name in value
            )
        if schema.type == "array":
            return isinstance(value, list)
        return not schema.type or (value is not None and _scalar(schema.type, value) is not None)

    def _resolve(self, schema: Schema) -> Schema:
        while schema.ref is not None:
            schema = self._root if schema.ref == "#" else self._definitions[schema.ref.removeprefix(_DEFINITIONS)]
        return schema


class SchemaReader:
    """Reads the schemas of one rules file; `check_references` comes after all of them."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._references: list[tuple[str, yaml.Node, str]] = []
        self._roots: list[tuple[Schema, yaml.Node, str]] = []

    def definitions(self, node: yaml.Node | None, path: str) -> dict[str, Schema]:
        if node is None:
            return {}
        members = self._checker.members(node, path)
        return {name: self.schema(each, f"{path}.{name}") for name, each in members.items()}

    def root(self, node: yaml.Node, path: str) -> Schema:
        """The schema of a response, which `#` refers to."""
        schema = self.schema(node, path)
        self._roots.append((schema, node, path))
        return schema

    def schema(self, node: yaml.Node, path: str) -> Schema:
        members = self._checker.members(node, path, _KEYWORDS)
        properties = self.definitions(members.get("properties"), f"{path}.properties")
        items = self._optional(members, "items", path)
        implied = "object" if "properties" in members else "array" if items else ""
        ref = self._checker.text(members.get("$ref"), f"{path}.$ref")
        if ref is not None:
            self._references.append((ref, members["$ref"], f"{path}.$ref"))
        return Schema(
            type=self._checker.choice(members.get("type"), f"{path}.type", _TYPES, implied),
            properties=properties,
            items=items,
            ref=ref,
            any_of=tuple(
                self.schema(each, where) for each, where in self._checker.items(members.get("anyOf"), f"{path}.anyOf")
            ),
            condition=self._optional(members, "if", path),
            then=self._optional(members, "then", path),
            otherwise=self._optional(members, "else", path),
            const=_constant(members["const"]) if "const" in members else _NO_CONST,
        )

    def check_references(self, definitions: Mapping[str, Schema]) -> None:
        """Faults for references that lead nowhere or in a circle."""
        for ref, node, path in self._references:
            if ref != "#" and ref.removeprefix(_DEFINITIONS) not in definitions:
                known = ", ".join(["#", *(f"{_DEFINITIONS}{name}" for name in definitions)])
                self._checker.fault(node, path, f"no such schema; there are {known}")
            elif _end_of(ref, definitions) is None:
                self._checker.fault(node, path, "refers to itself")
        for schema, node, path in self._roots:
            if schema.ref is not None and _end_of(schema.ref, definitions) == "#":
                self._checker.fault(node, path, "refers to itself")

    def _optional(self, members: Mapping[str, yaml.Node], name: str, path: str) -> Schema | None:
        return self.schema(members[name], f"{path}.{name}") if name in members else None


def _scalar(kind: str, value: object) -> object:
    """The value if it is of this kind, else null."""
    is_flag = isinstance(value, bool)
    is_number = isinstance(value, (int, float)) and not is_flag
    if kind == "boolean":
        return False if value is None else value if is_flag else None
    if kind == "integer":
        return _integer(value) if is_number else None
    fits = {"": not isinstance(value, (dict, list)), "string": isinstance(value, str), "number": is_number}
    return value if fits[kind] else None


def _integer(value: object) -> int | None:
    """A number without its decimals, if it fits 64 bits."""
    if isinstance(value, (int, float)) and math.isfinite(value) and _INTEGER_MIN <= value <= _INTEGER_MAX:
        return int(value)
    return None


def _constant(node: yaml.Node) -> object:
    """A constant of a schema, with the type YAML gives it."""
    value: object = yaml.SafeLoader("").construct_object(node, deep=True)
    return value


def _end_of(ref: str, definitions: Mapping[str, Schema]) -> str | None:
    """The last of a chain of references, None where the chain has no end."""
    seen: list[str] = []
    current: str | None = ref
    while current is not None:
        if current in seen:
            return None
        seen.append(current)
        target = definitions.get(current.removeprefix(_DEFINITIONS))
        current = target.ref if target is not None else None
    return seen[-1]
