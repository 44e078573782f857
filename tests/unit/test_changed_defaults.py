"""A newer version with another default does not change a history that relied on the old one."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from config.changed_defaults import CHANGES, DECIDING, DefaultChange, is_later, relied_upon
from config.echo import echo
from config.load import load_settings
from config.model import Settings
from pipeline.errors import ConfigurationError
from pipeline.model import RunKind
from pipeline.run import Request, export
from pipeline.versions import tool_version
from tests.harness import NOW, Harness, SmallTenant

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "defaults.txt"
SETTINGS = """\
tenant: {id: 11111111-2222-3333-4444-555555555555}
auth: {client_id: app, assertion: {kind: file, path: /token}}
connectors: {entra-id: {}, outlook-mail: {}, outlook-calendar: {}, msft-teams: {}}
privacy: {salt: 'env:SALT'}
destination: s3://bucket/export
state: s3://private/state
"""
GUESTS = DefaultChange(since="0.2.0", key="scope.include_guests", was="false", now="true")


def settings(folder: Path, *, more: str = "", environ: dict[str, str] | None = None) -> Settings:
    path = folder / "m365-export.yaml"
    path.write_text(SETTINGS + more)
    return load_settings(path, environ=environ or {})


def defaults(folder: Path) -> str:
    """Each deciding key with its default, one a line."""
    values = echo(settings(folder))
    return "".join(f"{key}: {values[key]}\n" for key in DECIDING)


def test_a_changed_default_is_announced(tmp_path: Path) -> None:
    """The defaults that decide about data are those on record, or the difference is in the list and the changelog."""
    golden = dict(line.split(": ", 1) for line in GOLDEN.read_text().splitlines())
    now = dict(line.split(": ", 1) for line in defaults(tmp_path).splitlines())
    assert now.keys() == golden.keys()
    announced = {change.key: change.now for change in CHANGES}
    assert {key: value for key, value in now.items() if value != golden[key]} == announced
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert all(f"`{change.key}`" in changelog for change in CHANGES)


@pytest.mark.parametrize(
    ("more", "environ"),
    [
        ("scope: {include_guests: false}\n", {}),
        ("", {"M365_EXPORT__SCOPE__INCLUDE_GUESTS": "false"}),
    ],
)
def test_a_key_that_is_written_down_keeps_its_value(tmp_path: Path, more: str, environ: dict[str, str]) -> None:
    """A change concerns only settings that leave the key out, in the file and in the environment."""
    assert relied_upon(settings(tmp_path, more=more, environ=environ), [GUESTS]) == ()
    assert relied_upon(settings(tmp_path), [GUESTS]) == (GUESTS,)


def test_every_deciding_key_can_be_relied_upon(tmp_path: Path) -> None:
    """Each key of the list exists, is left out by the shortest settings, and is noticed there."""
    changes = [DefaultChange(since="9", key=key, was="a", now="b") for key in DECIDING]
    assert relied_upon(settings(tmp_path), changes) == tuple(changes)


def test_a_source_that_does_not_run_has_no_defaults(tmp_path: Path) -> None:
    """Whoever does not read mail is not asked about folders."""
    path = tmp_path / "m365-export.yaml"
    path.write_text(SETTINGS.replace("outlook-mail: {}, ", ""))
    change = DefaultChange(since="9", key="connectors.outlook-mail.folders", was="a", now="b")
    assert relied_upon(load_settings(path, environ={}), [change]) == ()


@pytest.mark.parametrize(
    ("version", "than", "later"), [("0.10.0", "0.9.1", True), ("1.0", "1.0", False), ("0", "1", False)]
)
def test_versions_are_compared_by_number(version: str, than: str, *, later: bool) -> None:
    """0.10 comes after 0.9."""
    assert is_later(version, than) is later
    assert is_later(f"{tool_version()}.1", tool_version())


@pytest.mark.parametrize(("since", "refused"), [("1", True), ("0", False)])
async def test_a_run_is_refused_until_the_change_is_accepted(since: str, *, refused: bool) -> None:
    """Only a default that changed after the last committed run stops the next one; the message says how to keep it."""
    harness = Harness(SmallTenant.with_mail(users=1, messages=2))
    await export(harness.equip(), Request(kind=RunKind.RUN))
    harness.now = NOW + timedelta(days=1)
    change: dict[str, Any] = {"key": "scope.include_guests", "was": "false", "now": "true"}
    harness.changed_defaults = (DefaultChange(since=since, **change),)
    if refused:
        with pytest.raises(ConfigurationError, match=r"scope\.include_guests: its default is true since version 1"):
            await export(harness.equip(), Request(kind=RunKind.RUN))
    (outcome,) = await export(harness.equip(), Request(kind=RunKind.RUN, accept_new_pseudonyms=refused))
    assert outcome.manifest is not None


if __name__ == "__main__":
    import tempfile

    GOLDEN.write_text(defaults(Path(tempfile.mkdtemp())))
