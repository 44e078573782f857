"""The Arrow shape of a dataset, derived from its rules.

A dataset has one output schema for all profiles: every leaf that any profile keeps is a column, null where the
profile at work drops it. What is *read* from Graph is narrower: the leaves this profile keeps, and nothing else, so
that a dropped or undecided field never becomes a value.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from pipeline.sanitize.rules import DatasetRules, FieldRule, FieldType, Step

INSTANT = pa.timestamp("us", tz="UTC")
TEXT_TYPES: frozenset[FieldType] = frozenset({"string", "enum", "guid", "time-of-day", "duration"})
INSTANT_TYPES: frozenset[FieldType] = frozenset({"instant", "local-instant"})

# What a leaf of each type is in the output; every type that is not here is text.
_OUTPUT: dict[FieldType, pa.DataType] = {
    "boolean": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "date": pa.date32(),
    "instant": INSTANT,
    "local-instant": INSTANT,
}
# What the JSON reader makes of it first: instants and dates arrive as text, because Graph sends up to seven
# fraction digits and the reader's own parser takes six.
_READ: dict[FieldType, pa.DataType] = {
    "boolean": pa.bool_(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
}


@dataclass(slots=True)
class Node:
    """A property of a record: a leaf with a rule, or a structure with children. `many` where it is a list."""

    name: str
    many: bool = False
    rule: FieldRule | None = None
    children: dict[str, "Node"] = field(default_factory=dict)


def output_schema(rules: DatasetRules) -> pa.Schema:
    """The columns of a dataset, the same in every profile."""
    tree = property_tree(rules.fields)
    return pa.schema([_field(node, _OUTPUT) for node in tree.children.values()])


def read_schema(fields: Iterable[FieldRule]) -> pa.StructType:
    """The type of one raw record that holds only `fields`."""
    tree = property_tree(fields)
    return pa.struct([_field(node, _READ) for node in tree.children.values()])


def property_tree(fields: Iterable[FieldRule]) -> Node:
    """The leaves joined into one tree, in the order of their first appearance."""
    root = Node(name="")
    for rule in fields:
        _insert(root, rule.steps, rule)
    return root


class Leaf(NamedTuple):
    """The values of a leaf, chunk by chunk, and how many of them are not null."""

    rule: FieldRule
    chunks: list[pa.Array]
    filled: int


def leaves(rows: pa.Table, tree: Node) -> list[Leaf]:
    """Every leaf that has values, out of lists and structs; null where what holds them is.

    `tree` is of all fields, so that its leaves lie as those of the rows do.
    """
    found: list[Leaf] = []
    _collect([batch.to_struct_array() for batch in rows.to_batches()], tree, found)
    return found


def _collect(structs: Sequence[pa.StructArray], node: Node, found: list[Leaf]) -> None:
    members = [_members(struct, len(node.children)) for struct in structs]
    for child, *found_chunks in zip(node.children.values(), *members, strict=False):
        chunks = [chunk.flatten() for chunk in found_chunks if len(chunk.values)] if child.many else found_chunks
        filled = 0
        for chunk in chunks:
            filled += len(chunk) - chunk.null_count
        if not filled:
            continue  # nothing but nulls, as in every column that the profile drops
        if child.rule is not None:
            found.append(Leaf(child.rule, chunks, filled))
        else:
            _collect(chunks, child, found)


def _members(struct: pa.StructArray, count: int) -> list[pa.Array]:
    """The first `count` at least, null where the struct is."""
    if struct.null_count:
        return list(struct.flatten())  # lays the struct's own nulls over its members
    return list(map(struct.field, range(count)))


def _insert(parent: Node, steps: Sequence[Step], rule: FieldRule) -> None:
    step = steps[0]
    node = parent.children.setdefault(step.name, Node(step.name, step.many))
    if node.many != step.many or node.rule is not None:
        raise ValueError(f"{rule.path}: contradicts the shape of another path")
    if len(steps) > 1:
        _insert(node, steps[1:], rule)
    elif node.children:
        raise ValueError(f"{rule.path}: is a leaf here and a structure elsewhere")
    else:
        node.rule = rule


def _field(node: Node, types: dict[FieldType, pa.DataType]) -> pa.Field:
    if node.rule is not None:
        item = types.get(node.rule.type, pa.string())
    else:
        item = pa.struct([_field(child, types) for child in node.children.values()])
    return pa.field(node.name, pa.list_(item) if node.many else item)


def output_types(rules: DatasetRules) -> dict[str, str]:
    """The Arrow type of each leaf's values by path, as text."""
    return {rule.path: str(_OUTPUT.get(rule.type, pa.string())) for rule in rules.fields}
