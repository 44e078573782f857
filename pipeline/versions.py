"""Which versions decide about the rows: of the tool, the schemas, and the rules of each profile."""

from importlib import metadata
from typing import get_args

from pipeline.sanitize.rules import (
    Profile,
    built_in_rules,
    rules_fingerprint,
)


def tool_version() -> str:
    return metadata.version("m365-export")


def versions() -> list[str]:
    """What decides about the rows, a line each: the tool, the schemas, and the rules of each profile as they come."""
    rules = built_in_rules()
    schemas = ", ".join(f"{dataset} {rule_set.version}" for dataset, rule_set in sorted(rules.items()))
    fingerprints = ", ".join(
        f"{profile} {rules_fingerprint(list(rules.values()), profile, {})}" for profile in get_args(Profile)
    )
    return [f"m365-export {tool_version()}", f"schemas: {schemas}", f"rules: {fingerprints}"]
