"""Schemas are a contract: a change is seen here before a reader sees it.

After a deliberate change raise the dataset's `version` in its rules and write the files anew, which is refused where
readers of the version before would break (docs/upgrading.md has the rules):
    python -m tests.unit.test_golden_schemas
"""

import sys
from pathlib import Path

import pytest

from pipeline.sanitize.columns import output_schema
from pipeline.sanitize.rules import built_in_rules
from sinks.parquet.schema import part_schema

GOLDEN = Path(__file__).parent.parent / "golden" / "schemas"


def described(dataset: str) -> str:
    """The schema of a dataset's files as text, one column a line."""
    rules = built_in_rules()[dataset]
    schema = part_schema(
        output_schema(rules), dataset=dataset, schema_version=rules.version, rules_fingerprint="", profile=""
    )
    lines = [f"{dataset} version {rules.version}, key {', '.join(rules.key)}, time {rules.time}"]
    return "\n".join([*lines, *(f"{column.name}: {column.type}" for column in schema)]) + "\n"


@pytest.mark.parametrize("dataset", sorted(built_in_rules()))
def test_the_schema_is_the_golden_one(dataset: str) -> None:
    """Names, types and order of all columns, nested ones included."""
    assert described(dataset) == (GOLDEN / f"{dataset}.txt").read_text()


def test_there_is_no_golden_schema_of_a_dataset_that_is_gone() -> None:
    """A dataset does not disappear unnoticed."""
    assert sorted(built_in_rules()) == sorted(path.stem for path in GOLDEN.glob("*.txt"))


def breaks(before: str, after: str) -> list[str]:
    """What a reader of a dataset's version before would stumble over."""
    (old_head, *old), (new_head, *new) = before.splitlines(), after.splitlines()
    if before == after:
        return []
    found = [f"{line} is gone, or is another" for line in old if line not in new]
    if [line for line in new if line in old] != old:
        found.append("the order of the columns changed")
    if old_head.split("key")[1] != new_head.split("key")[1]:
        found.append("key or time changed")
    old_version, new_version = (int(head.split()[2].rstrip(",")) for head in (old_head, new_head))
    if new_version != old_version + 1:
        found.append(f"the version is {new_version}, expected {old_version + 1}")
    return found


BEFORE = "mail version 1, key id, time at\nid: string\nat: timestamp\n"


@pytest.mark.parametrize(
    ("after", "complaint"),
    [
        (BEFORE, None),
        ("mail version 2, key id, time at\nid: string\nat: timestamp\nsize: int64\n", None),
        ("mail version 1, key id, time at\nid: string\nat: timestamp\nsize: int64\n", "the version is 1"),
        ("mail version 2, key id, time at\nid: string\n", "is gone"),
        ("mail version 2, key id, time at\nid: int64\nat: timestamp\n", "is another"),
        ("mail version 2, key at, time at\nid: string\nat: timestamp\n", "key or time"),
        ("mail version 2, key id, time at\nat: timestamp\nid: string\n", "order"),
    ],
)
def test_readers_of_the_version_before_go_on_reading(after: str, complaint: str | None) -> None:
    """A version may add columns; it may not take one away, change its type, its place or the key."""
    found = breaks(BEFORE, after)
    assert found == [] if complaint is None else any(complaint in each for each in found)


if __name__ == "__main__":
    for name in built_in_rules():
        path = GOLDEN / f"{name}.txt"
        if path.exists() and (faults := breaks(path.read_text(), described(name))):
            sys.exit(f"{name}: {'; '.join(faults)}")
        path.write_text(described(name))
