"""`schema`: the columns of a dataset as the rules make them."""

import os

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from config.load import load_output, load_rule_options
from config.model import Profile
from pipeline.cli.console import Globals, out
from pipeline.cli.settings import settings_file
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit
from pipeline.sanitize.columns import INSTANT_TYPES, output_types
from pipeline.sanitize.rules import DatasetRules, FieldRule, built_in_rules
from sinks.parquet.flat import Layout
from sinks.parquet.schema import METADATA_FIELDS, METADATA_MEANINGS


def schema(options: Globals, *, dataset: str | None) -> Exit:
    rules = built_in_rules()
    if dataset is None:
        _print_datasets(out(), list(rules.values()))
        return Exit.COMPLETE
    if dataset not in rules:
        raise ConfigurationError(f"schema: there is no dataset {dataset}; there are: {', '.join(rules)}")
    path = settings_file(options)
    profile = load_rule_options(path, environ=os.environ).profile
    layout = load_output(path, environ=os.environ).layout
    _print_columns(out(), rules[dataset], profile, layout)
    return Exit.COMPLETE


def _print_datasets(console: Console, rules: list[DatasetRules]) -> None:
    table = Table("dataset", "connector", "version", "key", "time", box=None)
    for each in rules:
        table.add_row(each.dataset, each.connector, str(each.version), ", ".join(each.key), each.time or "")
    console.print(table)


def _print_columns(console: Console, rules: DatasetRules, profile: Profile, layout: Layout) -> None:
    console.print(
        f"{rules.dataset}, schema version {rules.version}, profile {profile}, layout {layout}: {rules.source}",
        soft_wrap=True,
    )
    table = Table("column", "type", "treatment", "why", box=None)
    types = output_types(rules)
    for rule in rules.fields:
        cells = (rule.path, _type(rule, types[rule.path], layout), rule.treatment(profile), rule.why)
        table.add_row(*map(escape, cells))  # brackets are part of names and types
    for field in METADATA_FIELDS:
        type_ = "string" if layout == "flat" else str(field.type)
        table.add_row(field.name, escape(type_), "", METADATA_MEANINGS[field.name])
    console.print(table)


def _type(rule: FieldRule, arrow: str, layout: Layout) -> str:
    """What the value is in this layout: beneath a column of the flat one it is a part of its JSON text."""
    if layout == "nested":
        return arrow
    is_column = len(rule.steps) == 1 and not rule.steps[0].many
    if not is_column:
        return "in JSON text"
    return "string" if rule.type in INSTANT_TYPES else arrow
