"""`schema`: the columns of a dataset under the settings at hand."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.sanitize.rules import built_in_rules


def shown(*arguments: str, layout: str | None = None, folder: Path) -> str:
    """What the command prints, with a settings file that says no more than it has to."""
    file = folder / "settings.yaml"
    file.write_text(f"output: {{layout: {layout}}}\n" if layout else "privacy: {profile: psoxy}\n")
    result = CliRunner().invoke(app, ["--config", str(file), "schema", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def row(output: str, column: str) -> list[str]:
    (line,) = [line for line in output.splitlines() if line.split()[:1] == [column]]
    return line.split()


def test_all_datasets_are_listed(tmp_path: Path) -> None:
    """With their connector and key."""
    output = shown(folder=tmp_path)
    assert all(row(output, dataset)[1] == rules.connector for dataset, rules in built_in_rules().items())


@pytest.mark.parametrize(
    ("layout", "received", "address", "exported"),
    [
        (None, "timestamp[us,", "string", "timestamp[us,"),
        ("nested", "timestamp[us,", "string", "timestamp[us,"),
        ("flat", "string", "in", "string"),
    ],
)
def test_types_are_those_of_the_layout(
    layout: str | None, received: str, address: str, exported: str, tmp_path: Path
) -> None:
    """Flat: instants are text, and what is inside a structure is part of its JSON text."""
    output = shown("mail_messages", layout=layout, folder=tmp_path)
    assert row(output, "receivedDateTime")[1] == received
    assert row(output, "from.emailAddress.address")[1] == address
    assert row(output, "isRead")[1] == "bool"
    assert row(output, "_exported_at")[1] == exported
    assert f"layout {layout or 'nested'}" in output
