"""`doctor`: whether a run would work, and what to do where it would not."""

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from config.echo import echo
from config.model import Settings
from pipeline.cli.console import Globals, out
from pipeline.cli.settings import load
from pipeline.doctor import Examination, examine, has_fault, has_settings_fault
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit
from pipeline.findings import Finding, Level
from pipeline.versions import tool_version

_STYLES: Mapping[Level, str] = {
    Level.OK: "green",
    Level.NOTE: "dim",
    Level.WARNING: "yellow",
    Level.ERROR: "bold red",
}


def doctor(options: Globals, *, form: str, examination: Examination) -> Exit:
    if form not in ("table", "json"):
        raise ConfigurationError("--format: table or json is expected")
    settings, reader = load(options)
    findings = asyncio.run(examine(settings, reader=reader, environ=os.environ, examination=examination))
    code = exit_of(findings)
    if form == "json":
        out().print(_json(settings, findings, code), markup=False, highlight=False, soft_wrap=True)
    else:
        _print(out(), settings, findings)
    return code


def exit_of(findings: Sequence[Finding]) -> Exit:
    """2 where the settings are to blame, 3 where something outside is, 0 where nothing is wrong."""
    if has_settings_fault(findings):
        return Exit.USAGE
    return Exit.REFUSED if has_fault(findings) else Exit.COMPLETE


def _json(settings: Settings, findings: Sequence[Finding], code: Exit) -> str:
    document = {
        "tool_version": tool_version(),
        "exit_code": int(code),
        "findings": [asdict(finding) for finding in findings],
        "settings": echo(settings),
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def _print(console: Console, settings: Settings, findings: Sequence[Finding]) -> None:
    if console.is_terminal:
        console.print(_table(findings))
    else:  # one line a finding, for a log or grep
        for finding in findings:
            console.print(Text(f"{finding.level:<8} {finding.area}: {_told(finding, ' → ')}"), soft_wrap=True)
    console.print("\nsettings in effect:")
    for key, value in echo(settings).items():
        console.print(Text(f"  {key}: {value}"), soft_wrap=True)
    console.print(f"\n{_verdict(findings)}", highlight=False)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for column in ("level", "area", "finding"):
        table.add_column(column, overflow="fold")
    for finding in findings:
        level = Text(finding.level, style=_STYLES[finding.level])
        table.add_row(level, Text(finding.area), Text(_told(finding, "\n→ ")))
    return table


def _told(finding: Finding, before_remedy: str) -> str:
    return finding.what + (before_remedy + finding.remedy if finding.remedy else "")


def _verdict(findings: Sequence[Finding]) -> str:
    errors = sum(finding.level is Level.ERROR for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    return f"{errors} errors, {warnings} warnings" if errors or warnings else "nothing to mend"
