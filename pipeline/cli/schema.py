"""`schema`: the columns of a dataset as the rules make them."""

import os

from rich.console import Console
from rich.table import Table

from config.load import load_rule_options
from config.model import Profile
from pipeline.cli.console import Globals, out
from pipeline.cli.settings import settings_file
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit
from pipeline.sanitize.columns import output_types
from pipeline.sanitize.rules import DatasetRules, built_in_rules
from sinks.parquet.schema import METADATA_FIELDS, METADATA_MEANINGS


def schema(options: Globals, *, dataset: str | None) -> Exit:
    rules = built_in_rules()
    if dataset is None:
        _print_datasets(out(), list(rules.values()))
        return Exit.COMPLETE
    if dataset not in rules:
        raise ConfigurationError(f"schema: there is no dataset {dataset}; there are: {', '.join(rules)}")
    profile = load_rule_options(settings_file(options), environ=os.environ).profile
    _print_columns(out(), rules[dataset], profile)
    return Exit.COMPLETE


def _print_datasets(console: Console, rules: list[DatasetRules]) -> None:
    table = Table("dataset", "connector", "version", "key", "time", box=None)
    for each in rules:
        table.add_row(each.dataset, each.connector, str(each.version), ", ".join(each.key), each.time or "")
    console.print(table)


def _print_columns(console: Console, rules: DatasetRules, profile: Profile) -> None:
    console.print(f"{rules.dataset}, schema version {rules.version}, profile {profile}: {rules.source}")
    table = Table("column", "type", "treatment", "why", box=None)
    types = output_types(rules)
    for rule in rules.fields:
        table.add_row(rule.path, types[rule.path], rule.treatment(profile), rule.why)
    for field in METADATA_FIELDS:
        table.add_row(field.name, str(field.type), "", METADATA_MEANINGS[field.name])
    console.print(table)
