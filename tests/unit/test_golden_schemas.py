"""Schemas are a contract: a change is seen here before a reader sees it.

After a deliberate change raise the dataset's `version` in its rules and write the file anew:
    python -m tests.unit.test_golden_schemas
"""

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


if __name__ == "__main__":
    for name in built_in_rules():
        (GOLDEN / f"{name}.txt").write_text(described(name))
