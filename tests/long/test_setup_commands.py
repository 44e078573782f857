"""The commands that `setup` generates are read by the parsers of the tools they are meant for.

Azure CLI is large and pins its dependencies, so it has an environment of its own: AZURE_CLI_PYTHON names one that
is there, otherwise it is made for the test.
"""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from config.setup import FORMATS
from tests.az_stub import run_script
from tests.unit.test_setup import CASES, ENVIRON, TENANT, plan_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

AZURE_CLI = "azure-cli>=2.60"
# Parses each command line it reads, without running it, and says what it refuses.
_PARSE = """\
import json, sys
from azure.cli.core import get_default_cli

cli = get_default_cli()
refused = []
for call in json.load(sys.stdin):
    invocation = cli.invocation = cli.invocation_cls(
        cli_ctx=cli, parser_cls=cli.parser_cls, commands_loader_cls=cli.commands_loader_cls, help_cls=cli.help_cls
    )
    invocation.data["command_string"] = " ".join(call)
    loader = invocation.commands_loader
    loader.load_command_table(call)
    command = invocation._rudimentary_get_command(call)
    if command not in loader.command_table:
        refused.append(call)
        continue
    loader.command_table = {command: loader.command_table[command]}
    loader.command_name = command
    loader.load_arguments(command)
    invocation.parser.load_command_table(loader)
    try:
        invocation.parser.parse_args(call)
    except SystemExit:
        refused.append(call)
json.dump(refused, sys.stdout)
"""


@pytest.fixture(scope="session")
def azure_cli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has Azure CLI."""
    given = os.environ.get("AZURE_CLI_PYTHON")
    if given:
        return Path(given)
    folder = tmp_path_factory.mktemp("azure-cli")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", AZURE_CLI], check=True, timeout=1000)
    return python


def parsed_by_azure_cli(python: Path, calls: list[list[str]], folder: Path) -> list[list[str]]:
    """The calls that Azure CLI does not accept."""
    ran = subprocess.run(
        [python, "-c", _PARSE],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env={**os.environ, "AZURE_CONFIG_DIR": str(folder), "AZURE_CORE_COLLECT_TELEMETRY": "no"},
    )
    refused: list[list[str]] = json.loads(ran.stdout)
    return refused


def test_azure_cli_accepts_every_command(azure_cli: Path, tmp_path: Path) -> None:
    """Each call that the scripts make, whether things exist or not, is a command line `az` can parse."""
    calls: dict[str, list[str]] = {}
    for case, values in CASES.items():
        script = FORMATS["azure-cli"](plan_of(values, tmp_path))
        for exists in (False, True):
            environ = {**ENVIRON, "GRANT_CONSENT": "yes"}
            made, _ = run_script(script, tmp_path / f"{case}-{exists}", tenant=TENANT, exists=exists, environ=environ)
            calls |= {json.dumps(call): call for call in made}
    assert len(calls) > 20
    wrong = ["ad", "app", "update", "--id", "x", "--required-resource-acces", "[]", "--no-such-option"]
    assert parsed_by_azure_cli(azure_cli, [*calls.values(), wrong], tmp_path / "azure") == [wrong]


@pytest.mark.parametrize("case", CASES)
def test_powershell_parses(case: str, tmp_path: Path) -> None:
    """The script, and the snippets in the Markdown page, are PowerShell without a syntax error."""
    tree_sitter = import_module("tree_sitter")
    grammar = import_module("tree_sitter_powershell")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    plan = plan_of(CASES[case], tmp_path)
    snippets = [part.partition("```")[0] for part in FORMATS["markdown"](plan).split("```powershell\n")[1:]]
    for text in (FORMATS["powershell"](plan), *snippets):
        assert not parser.parse(text.encode()).root_node.has_error, text
    assert parser.parse(b"if ($x -eq 1 { 'not closed'").root_node.has_error


@pytest.mark.parametrize("case", CASES)
def test_terraform_parses(case: str, tmp_path: Path) -> None:
    """The configuration is HCL, with the resources the plan asks for."""
    hcl2 = import_module("hcl2")
    plan = plan_of(CASES[case], tmp_path)
    parsed = hcl2.loads(FORMATS["terraform"](plan))
    kinds = [kind.strip('"') for resource in parsed["resource"] for kind in resource]
    assert kinds.count("azuread_application") == len(plan.registered)
    assert kinds.count("azuread_app_role_assignment") == len(plan.applications)
