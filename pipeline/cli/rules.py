"""`rules show`: what becomes of every field. `rules check`: what is wrong with an operator's file."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from config.load import load_rule_options
from config.model import RuleOptions
from pipeline.cli.console import Globals, out, say
from pipeline.cli.settings import settings_file
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit
from pipeline.operator_files import read_rules_file
from pipeline.rules_check import check_rules_file
from pipeline.rules_report import RulesReport, report_rules


def show(options: Globals, *, form: str) -> Exit:
    if form not in ("table", "json"):
        raise ConfigurationError("--format: table or json is expected")
    rule_options = load_rule_options(settings_file(options), environ=os.environ)
    report = report_rules(rule_options)
    if form == "json":
        out().print(_json(report, rule_options), markup=False, highlight=False, soft_wrap=True)
    else:
        _print(report, rule_options)
    for note in report.notes:
        say(note)
    return Exit.COMPLETE


def check(file: Path) -> Exit:
    found = check_rules_file(read_rules_file(file), name=str(file))
    console = out()
    for warning in found.warnings:
        console.print(f"{file}: {warning}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{file}: no faults, {len(found.warnings)} warnings;"
        f" {found.endpoints} endpoints, {found.transforms} transforms",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    datasets = ", ".join(found.datasets) or "no dataset of this export"
    console.print(f"{file}: speaks of {datasets}", markup=False, highlight=False, soft_wrap=True)
    return Exit.COMPLETE


def _json(report: RulesReport, options: RuleOptions) -> str:
    document = {
        "profile": options.profile,
        "options": _options(options),
        "treatments": dict(report.treatments),
        "fields": [asdict(line) for line in report.fields],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def _print(report: RulesReport, options: RuleOptions) -> None:
    console = out()
    chosen = ", ".join(f"{name} {value}" for name, value in _options(options).items())
    console.print(f"profile {options.profile}; {chosen}", markup=False, highlight=False)
    meanings = Table("treatment", "meaning", box=None)
    for name, meaning in report.treatments.items():
        meanings.add_row(name, meaning)
    console.print(meanings)
    fields = Table("dataset", "field", "treatment", "fate", "why", "source", box=None)
    for line in report.fields:
        fields.add_row(line.dataset, line.path, line.treatment, line.fate, line.why, line.source)
    console.print(fields, markup=False)


def _options(options: RuleOptions) -> dict[str, object]:
    return {
        "groups": options.groups,
        "group_original": options.group_original,
        "email_canonicalization": options.email_canonicalization,
        "email_domains": options.email_domains,
        "rules": {connector: str(path) for connector, path in options.rules.paths.items()},
    }
