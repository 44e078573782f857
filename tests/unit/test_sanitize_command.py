"""`sanitize` on the command line: one answer in, what would leave of it out."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from config.faults import SettingsError
from pipeline.cli.main import app
from pipeline.errors import ConfigurationError
from pipeline.sanitize.grammar import load_rest_rules
from pipeline.sanitize.graph_paths import SHAPES, dataset_at, endpoint_for
from pipeline.sanitize.java_text import json_text
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.row_engine import RowEngine
from pipeline.sanitize.rules import built_in_rules
from tests.unit import psoxy_tables as tables
from tests.unit.pair_records import pair_records

SALT = "sanitize-command-salt-0123"
KEY = "sanitize-command-key"
PSEUDONYMS = Pseudonymizer(salt=SALT, encryption_key=KEY)
USER = {"surname": "Fox", "mail": "Dana@Example.org", "id": "3f2b1c00-aaaa-4bbb-8ccc-0123456789ab"}


def run(
    *arguments: str, answer: object = None, text: bytes | None = None, settings: dict[str, str] | None = None
) -> Result:
    environ = {
        "SALT": SALT,
        "KEY": KEY,
        "M365_EXPORT__PRIVACY__SALT": "env:SALT",
        "M365_EXPORT__PRIVACY__ENCRYPTION_KEY": "env:KEY",
        **(settings or {}),
    }
    given = json.dumps(answer).encode() if text is None else text
    return CliRunner().invoke(app, ["sanitize", *arguments], env=environ, input=given)


def faults(result: Result) -> str:
    assert isinstance(result.exception, ConfigurationError)
    return str(result.exception)


def test_a_page_comes_out_in_its_old_order_without_what_stays_behind() -> None:
    """Names go, identifiers become tokens, of the envelope only the records stay."""
    result = run("--path", "/v1.0/users?$top=2", answer={"@odata.context": "x", "value": [USER]})

    assert result.exit_code == 0
    token = PSEUDONYMS.token
    assert result.stdout == json_text({"value": [{"mail": token(USER["mail"]), "id": token(USER["id"])}]}) + "\n"


def test_one_object_comes_out_as_one() -> None:
    """The profile of the command line wins; instants are in UTC."""
    message = {"receivedDateTime": "2026-03-02T10:00:00.5+01:00", "subject": "x", "id": "AAMk", "isRead": None}

    result = run("--path", "/v1.0/users/dana/messages/AAMk", "--profile", "psoxy", answer=message)

    assert json.loads(result.stdout) == {
        "receivedDateTime": "2026-03-02T09:00:00.500000Z",
        "id": "AAMk",
        "isRead": None,
    }


def test_records_that_cannot_be_sanitized_are_left_out_and_told() -> None:
    """Exit 4; the reason is said, the value is not."""
    result = run("--path", "/v1.0/users", answer={"value": [USER, {"id": 5, "mail": "planted@example.org"}, "text"]})

    assert result.exit_code == 4
    assert len(json.loads(result.stdout)["value"]) == 1
    assert "1 of the records left out: wrong_type" in result.stderr
    assert "planted" not in result.output


@pytest.mark.parametrize("dataset", sorted(built_in_rules()))
def test_every_dataset_has_its_paths(dataset: str) -> None:
    """Each path of the table leads back to its dataset, and its records can be sanitized, once."""
    (record, *_) = pair_records(built_in_rules()[dataset])
    for shape in SHAPES[dataset]:
        path = f"https://graph.microsoft.com/v1.0{shape}".replace("{}", "3f2b")
        assert dataset_at(path) == dataset
    first = run("--path", f"/v1.0{SHAPES[dataset][0]}", answer=record)
    assert first.exit_code == 0
    again = run("--path", f"/v1.0{SHAPES[dataset][0]}", text=first.stdout.encode())
    if "t~" in first.stdout:
        assert faults(again) == "stdin: cannot be sanitized: already_pseudonymized"
    else:
        assert again.exit_code == 0


@pytest.mark.parametrize("path", ["/v1.0/drives/x/root", "/users", "/v1.0/userss", "", "/v1.0/users/x/y/z"])
def test_an_unknown_path_is_told_with_what_is_known(path: str) -> None:
    """The operator sees where each dataset is read."""
    message = faults(run("--path", path, answer=USER))

    assert "--path: no dataset is read from it" in message
    assert "calendar_events: /v1.0/users/{}/calendar/calendarView" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "stdin: not_json"),
        (b'{"id": "planted"', "stdin: not_json"),
        (b"[]", "stdin: a Graph answer or one object is expected"),
        (b'{"error": {"code": "planted"}}', "stdin: this is an error of Graph, not an answer"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "stdin: too_deep"),
        (b'{"id": 7}', "stdin: cannot be sanitized: wrong_type"),
    ],
)
def test_what_is_no_answer_is_refused_without_quoting_it(text: bytes, message: str) -> None:
    """Exit 2; nothing of the input is printed."""
    result = run("--path", "/v1.0/users", text=text)

    assert faults(result) == message
    assert result.output == ""


def test_without_salt_nothing_is_sanitized() -> None:
    """The settings are told, not the answer."""
    result = run("--path", "/v1.0/users", answer=USER, settings={"SALT": "short"})

    assert isinstance(result.exception, SettingsError)
    assert "privacy.salt" in str(result.exception)


def test_group_data_stays_where_groups_are_off() -> None:
    """What a run would not read is not shown as if it left."""
    off = {"M365_EXPORT__PRIVACY__GROUPS": "false"}

    assert "privacy.groups is false" in faults(run("--path", "/v1.0/groups", answer=USER, settings=off))


def test_an_unknown_profile_is_told() -> None:
    """With the ones there are."""
    assert "psoxy-no-app-ids" in faults(run("--path", "/v1.0/users", "--profile", "lax", answer=USER))


FILES: dict[str, tuple[Any, Any]] = {
    "entra_users": (tables.ENTRA_ID_NO_APP_IDS, None),
    "entra_groups": (tables.ENTRA_ID, None),
    "mail_messages": (tables.OUTLOOK_MAIL, None),
    "calendar_events": (tables.OUTLOOK_CAL_NO_APP_IDS, None),
    "teams_chats": (tables.TEAMS_NO_USER_IDS, None),
    "teams_chat_messages": (tables.TEAMS, None),
}


@pytest.mark.parametrize("dataset", FILES)
def test_with_a_file_it_gives_what_the_proxy_would_give(dataset: str, tmp_path: Path) -> None:
    """The whole answer, envelope included, by the file alone: no column, no profile has a say."""
    file = tmp_path / "rules.yaml"
    file.write_text(tables.render(*FILES[dataset]))
    rules = load_rest_rules(file.read_bytes())
    endpoint = endpoint_for(rules, dataset)
    assert endpoint is not None
    record = {key: value for key, value in pair_records(built_in_rules()[dataset])[-1].items() if key != "from"}
    answer = {"@odata.context": "x", "value": [{"unknown": 1.10, **record}]}
    expected = json_text(RowEngine(rules, PSEUDONYMS).sanitize(endpoint, json.loads(json.dumps(answer))))
    shape = next(shape for shape in SHAPES[dataset] if rules.match_shape(f"/v1.0{shape}") is endpoint)

    result = run("--path", f"/v1.0{shape}", "--rules", str(file), answer=answer)

    assert result.stdout == expected + "\n"


def test_with_a_file_a_path_it_does_not_know_is_told(tmp_path: Path) -> None:
    """With the nearest one."""
    file = tmp_path / "rules.yaml"
    file.write_text(tables.render(tables.TEAMS))

    message = faults(run("--path", "/v1.0/chats", "--rules", str(file), answer=USER))

    assert "has no endpoint for it; nearest is /v1.0/" in message


def test_with_a_file_an_answer_is_not_sanitized_twice(tmp_path: Path) -> None:
    """A hash of a hash joins with nothing."""
    file = tmp_path / "rules.yaml"
    file.write_text(tables.render(tables.ENTRA_ID))
    first = run("--path", "/v1.0/users", "--rules", str(file), answer=USER)

    again = run("--path", "/v1.0/users", "--rules", str(file), text=first.stdout.encode())

    assert "already_pseudonymized" in faults(again)


def test_a_file_that_is_not_there_is_told() -> None:
    """With its name."""
    assert "/nowhere.yaml: cannot be read" in faults(
        run("--path", "/v1.0/users", "--rules", "/nowhere.yaml", answer=USER)
    )
