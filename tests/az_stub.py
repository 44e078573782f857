"""Runs a generated shell script with a stand-in for Azure CLI that notes how it was called."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

NEW_APPLICATION = "99999999-0000-0000-0000-000000000001"
GRAPH_PRINCIPAL = "99999999-0000-0000-0000-000000000002"

_STUB = """\
#!{python}
import json, os, sys
call = sys.argv[1:]
with open(os.environ["AZ_CALLS"], "a") as calls:
    calls.write(json.dumps(call) + "\\n")
exists = os.environ["AZ_EXISTS"] == "yes"
answers = {{
    ("account", "show"): os.environ["AZ_TENANT"],
    ("ad", "app", "create"): "{new}",
    ("ad", "app", "federated-credential", "list"): "1" if exists else "0",
    ("ad", "app", "credential", "reset"): "a-secret" if "password" in call else None,
    ("ad", "sp", "show"): "{graph}" if "id" in call else None,
}}
for command, answer in answers.items():
    if tuple(call[: len(command)]) == command and answer is not None:
        print(answer)
if call[2:3] == ["show"] and "none" in call and not exists:
    sys.exit(3)
"""


def run_script(
    script: str, folder: Path, *, tenant: str, exists: bool, environ: Mapping[str, str]
) -> tuple[list[list[str]], str]:
    """Every call of `az` the script made, and what it printed; `exists`: what it looks for is there already."""
    folder.mkdir(parents=True)
    stub = folder / "az"
    stub.write_text(_STUB.format(python=sys.executable, new=NEW_APPLICATION, graph=GRAPH_PRINCIPAL))
    stub.chmod(0o755)
    file, calls = folder / "setup.sh", folder / "calls"
    file.write_text(script, encoding="utf-8")
    calls.touch()
    ran = subprocess.run(
        ["bash", str(file)],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": f"{folder}:{os.environ['PATH']}",
            "AZ_CALLS": str(calls),
            "AZ_TENANT": tenant,
            "AZ_EXISTS": "yes" if exists else "no",
            **environ,
        },
    )
    return [json.loads(line) for line in calls.read_text().splitlines()], ran.stdout


def option(call: list[str], name: str) -> str:
    """The value of an option of one call."""
    return call[call.index(name) + 1]
