"""The settings in effect can be shown: complete, and without secrets and people."""

from pathlib import Path

from config.echo import echo
from config.load import load_settings

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "m365-export.yaml"
PERSON = "44444444-5555-6666-7777-888888888888"
GROUP = "99999999-5555-6666-7777-888888888888"


def test_every_value_is_shown_as_it_takes_effect() -> None:
    """Defaults included, durations as they are written, and a connector's own application."""
    shown = echo(load_settings(EXAMPLE, environ={}, overrides={"windows.settle.teams": "36h"}))
    assert shown["tenant.cloud"] == "global"
    assert shown["windows.settle.teams"] == "36h"
    assert shown["windows.overlap.calls"] == "5d"
    assert shown["connectors.outlook-mail.auth.client_id"] == "33333333-4444-5555-6666-777777777777"
    assert shown["connectors.entra-id.members"] == "direct"
    assert shown["connectors.msft-teams"] == "{}"
    assert shown["privacy.groups"] == "true"
    assert shown["destination"] == "s3://example-export/m365"


def test_secrets_are_masked_and_people_only_counted() -> None:
    """A secret shows where it comes from; excluded persons show how many they are, groups by their id."""
    overrides = {"scope.exclude_users": [PERSON], "scope.include_groups": [GROUP]}
    shown = echo(load_settings(EXAMPLE, environ={}, overrides=overrides))
    assert shown["privacy.salt"] == "Secret(…) from env:M365_EXPORT_SALT"
    assert shown["scope.exclude_users"] == "1 not shown"
    assert shown["scope.include_groups"] == f"[{GROUP}]"
    assert PERSON not in str(shown)


def test_keys_without_a_value_are_left_out() -> None:
    """What was not given and has no default says nothing."""
    assert "tenant.authority" not in echo(load_settings(EXAMPLE, environ={}))
