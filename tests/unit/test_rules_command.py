"""`rules show` and `rules check` on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipeline.cli.main import app
from pipeline.errors import ConfigurationError
from pipeline.sanitize.rules import built_in_rules
from tests.unit import psoxy_tables as tables


def run(*arguments: str, settings: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["rules", *arguments], env=settings or {})


def shown(**settings: str) -> dict[str, Any]:
    environ = {f"M365_EXPORT__PRIVACY__{name}": value for name, value in settings.items()}
    result = run("show", "--format", "json", settings=environ)
    assert result.exit_code == 0
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def lines(document: dict[str, Any], dataset: str) -> dict[str, dict[str, str]]:
    return {line["path"]: line for line in document["fields"] if line["dataset"] == dataset}


def test_every_field_of_every_dataset_is_listed_with_reason_and_source() -> None:
    """No secret is needed; what no profile lets pass is listed too; every treatment is explained."""
    document = shown()

    for dataset, rules in built_in_rules().items():
        assert lines(document, dataset).keys() == {rule.path for rule in rules.fields} | rules.dropped.keys()
    assert all(line["why"] and line["source"].startswith("https://") for line in document["fields"])
    assert {line["treatment"] for line in document["fields"]} == document["treatments"].keys()
    assert lines(document, "mail_messages")["subject"]["fate"] == "dropped"


@pytest.mark.parametrize("profile", ["psoxy", "psoxy-no-app-ids", "strict"])
def test_the_configured_profile_is_shown(profile: str) -> None:
    """The effective treatment, not a list of all."""
    document = shown(PROFILE=profile)

    assert document["profile"] == profile
    found = lines(document, "entra_users")["id"]["treatment"]
    assert found == {"psoxy": "keep", "psoxy-no-app-ids": "pseudonymize-reversible", "strict": "pseudonymize"}[profile]


def test_options_change_what_is_shown() -> None:
    """Groups that are off are dropped with that reason; a group's address is described as it leaves."""
    off = shown(GROUPS="false")
    hidden = shown(PROFILE="psoxy", GROUP_ORIGINAL="false")
    open_ = shown(PROFILE="psoxy")

    assert {line["treatment"] for line in lines(off, "entra_groups").values()} == {"drop"}
    assert lines(off, "entra_groups")["id"]["why"] == "privacy.groups is false"
    assert "the address itself" not in hidden["treatments"]["group-address"]
    assert "the address itself" in open_["treatments"]["group-address"]


def test_an_operators_file_is_shown_as_it_works(tmp_path: Path) -> None:
    """Each column with what the file's transforms do to it; a dataset it does not know would stop a run."""
    file = tmp_path / "mail.yaml"
    file.write_text(tables.render(tables.OUTLOOK_MAIL))
    environ = {"M365_EXPORT__PRIVACY__RULES": json.dumps({"outlook-mail": str(file)})}

    result = run("show", "--format", "json", settings=environ)

    messages = lines(json.loads(result.stdout), "mail_messages")
    assert messages["id"]["treatment"] == "keep"
    assert messages["from.emailAddress.address"]["treatment"] == "pseudonymize"
    assert messages["from.emailAddress.address"]["source"] == str(file)
    assert f"{file} has no endpoint for mail_contacts: a run would refuse" in result.stderr


def test_the_table_has_a_line_for_each_field() -> None:
    """For reading."""
    result = run("show")

    assert "profile strict" in result.stdout
    assert "internetMessageId" in result.stdout


def test_an_unknown_format_is_told() -> None:
    """With the ones there are."""
    assert "table or json" in str(run("show", "--format", "xml").exception)


FAULTY = """\
endpoints:
  - pathTemplate: "/v1.0/users"
    transforms:
      - !<redact>
        jsonPath: ["$..displayName"]
      - !<pseudonimize>
        jsonPaths: ["$..mail"]
  - pathTemplate: "/v1.0/groups"
    transform: []
"""


def test_every_fault_is_told_with_its_line_and_the_nearest_key(tmp_path: Path) -> None:
    """All at once, exit 2."""
    file = tmp_path / "rules.yaml"
    file.write_text(FAULTY)

    error = run("check", str(file)).exception

    assert isinstance(error, ConfigurationError)
    text = "\n".join(error.faults)
    assert f"{file}: line 5: endpoints[0].transforms[0].jsonPath: unknown key; did you mean jsonPaths?" in text
    assert "line 6" in text
    assert "did you mean pseudonymize?" in text
    assert f"{file}: line 9: endpoints[1].transform: unknown key; did you mean transforms?" in text


@pytest.mark.parametrize(
    ("name", "endpoints", "definitions", "dataset"),
    [
        ("entra-id", tables.ENTRA_ID, None, "entra_group_members"),
        ("no-app-ids", tables.ENTRA_ID_NO_APP_IDS, None, "entra_users"),
        ("mail", tables.OUTLOOK_MAIL, None, "mail_messages"),
        ("calendar", tables.OUTLOOK_CAL_NO_APP_IDS, None, "calendar_events"),
        ("teams", tables.TEAMS, None, "teams_attendance_reports"),
        ("teams-no-user-ids", tables.TEAMS_NO_USER_IDS, None, "teams_chats"),
        ("onedrive", tables.ONEDRIVE, tables.DRIVE_DEFINITIONS, "entra_users"),
        ("onedrive-no-app-ids", tables.ONEDRIVE_NO_APP_IDS, tables.DRIVE_DEFINITIONS, "entra_users"),
        ("copilot", tables.COPILOT, None, "entra_users"),
        ("copilot-no-user-ids", tables.COPILOT_NO_USER_IDS, None, "entra_users"),
    ],
)
def test_psoxys_own_files_are_accepted(
    name: str, endpoints: list[dict[str, object]], definitions: dict[str, object] | None, dataset: str, tmp_path: Path
) -> None:
    """Also for sources this product does not read; no property of theirs is taken for a mistake."""
    file = tmp_path / f"{name}.yaml"
    file.write_text(tables.render(endpoints, definitions))

    result = run("check", str(file))

    assert result.exit_code == 0
    assert "no faults" in result.stdout
    assert dataset in result.stdout.splitlines()[-1]
    assert "no property" not in result.stdout


def test_what_does_nothing_here_is_a_warning_with_its_line(tmp_path: Path) -> None:
    """A misspelt property, an endpoint nobody reads, a key that is removed, a token that needs a key; exit 0."""
    file = tmp_path / "rules.yaml"
    file.write_text(
        FAULTY.replace("jsonPath:", "jsonPaths:")
        .replace("pseudonimize", "pseudonymize")
        .replace("$..mail", "$..mial")
        .replace("/v1.0/groups", "/v1.0/planets")
        .replace("transform: []", 'transforms: [!<tokenize> {jsonPaths: ["$..id"]}]')
        + '  - pathTemplate: "/v1.0/teams"\n    transforms: [!<redact> {jsonPaths: ["$..id"]}]\n'
    )

    result = run("check", str(file))

    assert result.exit_code == 0
    assert f"{file}: line 7: $..mial: no property mial is known; nearest is mail" in result.stdout
    assert f"{file}: line 8: /v1.0/planets: no dataset of this export is read from there" in result.stdout
    assert f"{file}: line 8: /v1.0/planets: makes reversible tokens" in result.stdout
    assert f"{file}: line 10: /v1.0/teams: removes id, the key of teams_teams; a run would refuse" in result.stdout
    assert "4 warnings" in result.stdout


def test_a_condition_is_a_warning_because_pages_differ(tmp_path: Path) -> None:
    """A proxy asks it of a page as a whole: one record that meets it has all others of the page treated."""
    file = tmp_path / "rules.yaml"
    condition = "$..[?(@.userType == 'Guest')]"
    transform: tables.Entry = ("redact", {"jsonPaths": ["$..mail"], "applyOnlyWhen": condition})
    file.write_text(tables.render([tables.endpoint(transform, template="/v1.0/users")]))

    result = run("check", str(file))

    assert result.exit_code == 0
    assert f"applyOnlyWhen {condition}: asked of each record alone" in result.stdout
    assert "1 warning" in result.stdout


def test_a_file_that_is_not_there_is_a_fault() -> None:
    """With its name."""
    assert "/nowhere.yaml: cannot be read" in str(run("check", "/nowhere.yaml").exception)
