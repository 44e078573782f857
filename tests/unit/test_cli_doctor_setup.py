"""`doctor` and `setup` on the command line: what is printed, and the exit code."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from config.load import load_settings
from pipeline.cli import doctor as doctor_command
from pipeline.cli.doctor import exit_of
from pipeline.cli.main import app
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit
from pipeline.findings import Finding, error, note, ok, warning

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "m365-export.yaml"
SALT = "a salt of enough characters"
LONG_LINK = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/adminconsent?client_id=" + "x" * 36


def run(*arguments: str, salt: str = SALT) -> Result:
    environ = {"M365_EXPORT_SALT": salt}
    return CliRunner().invoke(app, ["--config", str(EXAMPLE), *arguments], env=environ)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("clock", "fine"), note("cloud", "unknown")], Exit.COMPLETE),
        ([warning("outlook-mail", "excess", "remove it")], Exit.COMPLETE),
        ([error("destination", "read-only", "mount it")], Exit.REFUSED),
        ([error("salt", "another one", "correct it")], Exit.USAGE),
        ([error("destination", "read-only", "mount it"), error("rules", "wrong", "correct it")], Exit.USAGE),
    ],
)
def test_the_exit_code_says_whose_fault_it_is(findings: list[Finding], code: Exit) -> None:
    """0 with nothing but warnings, 2 where the settings are to blame, 3 where something outside is."""
    assert exit_of(findings) is code


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> None:
    """An examination that found one thing of each kind."""

    async def examine(*_: object, **__: object) -> list[Finding]:
        return [
            ok("all connectors", "token obtained"),
            note("cloud", "cannot be told"),
            warning("outlook-mail", "Mail.Read is excess", "Remove Mail.Read"),
            error("entra-id", "User.Read.All is missing", f"Grant it: {LONG_LINK}"),
        ]

    monkeypatch.setattr(doctor_command, "examine", examine)


@pytest.mark.usefixtures("examined")
def test_findings_come_with_remedies_and_the_settings_in_effect() -> None:
    """Piped: one line a finding, links in full; then the settings, then the count; exit 3."""
    result = run("doctor")
    assert result.exit_code == Exit.REFUSED
    lines = result.stdout.splitlines()
    assert "warning  outlook-mail: Mail.Read is excess → Remove Mail.Read" in lines
    assert f"error    entra-id: User.Read.All is missing → Grant it: {LONG_LINK}" in lines
    assert "  privacy.salt: Secret(…) from env:M365_EXPORT_SALT" in lines
    assert lines[-1] == "1 errors, 1 warnings"
    assert SALT not in result.output


def test_on_a_terminal_findings_are_a_table_that_cuts_nothing() -> None:
    """However narrow the terminal, every word of a finding and its remedy is there."""
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    findings = [error("entra-id", "User.Read.All is missing", f"Grant it: {LONG_LINK}")]
    doctor_command._print(console, load_settings(EXAMPLE, environ={}), findings)
    assert isinstance(console.file, io.StringIO)
    shown = "".join(console.file.getvalue().split())
    assert "errorentra-idUser.Read.Allismissing→Grantit:" in shown
    assert LONG_LINK in shown


@pytest.mark.usefixtures("examined")
def test_json_holds_the_same_for_programs() -> None:
    """Findings, exit code and settings as one document on stdout."""
    document = json.loads(run("doctor", "--format", "json").stdout)
    assert document["exit_code"] == 3
    assert document["findings"][2] == {
        "level": "warning",
        "area": "outlook-mail",
        "what": "Mail.Read is excess",
        "remedy": "Remove Mail.Read",
    }
    assert document["settings"]["tenant.cloud"] == "global"


def test_an_unknown_form_is_a_usage_error() -> None:
    """Both commands name the forms they know."""
    for command in ("doctor", "setup"):
        result = run(command, "--format", "yaml")
        assert isinstance(result.exception, ConfigurationError)
        assert "--format" in str(result.exception)


def test_setup_needs_no_secret() -> None:
    """The instructions come before the secrets: neither salt nor token is looked for."""
    result = run("setup", salt="")
    assert result.exit_code == Exit.COMPLETE
    assert result.stdout.startswith("# Microsoft 365 set-up for m365-export")
