"""Operators' own rules files in a run: what they do to each column, and that nothing else leaves."""

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigurationError
from pipeline.model import Window
from pipeline.operator_files import OperatorFiles, load_operator_files
from pipeline.ports import RowFilter
from pipeline.sanitize.columnar import UnreadablePage
from pipeline.sanitize.columns import output_schema
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.grammar import load_rest_rules
from pipeline.sanitize.guard import EgressGuard
from pipeline.sanitize.operator_rules import OperatorDataset, operator_dataset
from pipeline.sanitize.operator_sanitizer import OperatorSanitizer
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import PROFILES, built_in_rules
from tests.unit import psoxy_tables as tables

PSEUDONYMS = Pseudonymizer(salt="operator-rules-salt-0123456789", encryption_key="operator-key")
Endpoints = list[dict[str, object]]


def decided(dataset: str, endpoints: Endpoints, definitions: dict[str, object] | None = None) -> OperatorDataset:
    file = load_rest_rules(tables.render(endpoints, definitions))
    found = operator_dataset(built_in_rules()[dataset], file, PSEUDONYMS, source="rules.yaml")
    assert found is not None
    return found


def treatments(found: OperatorDataset) -> dict[str, str]:
    return {rule.path: rule.treatment("strict") for rule in found.rules.fields}


def page(*records: Any) -> bytes:
    return json.dumps(records).encode()


def test_what_a_file_does_to_each_column_follows_from_its_paths() -> None:
    """Scans, wildcards, several transforms, and none at all."""
    users = treatments(decided("entra_users", tables.ENTRA_ID_NO_APP_IDS))

    assert users["id"] == "pseudonymize-reversible"
    assert users["mail"] == users["otherMails[]"] == users["identities[].issuerAssignedId"] == "pseudonymize"
    assert users["proxyAddresses[]"] == "pseudonymize-smtp"
    assert users["department"] == users["accountEnabled"] == "keep"


def test_a_structure_that_is_removed_takes_its_columns_along() -> None:
    """Redacting `emailAddress` redacts the address; a response schema removes what it does not declare."""
    endpoint = tables.endpoint(tables.redact("sender", "emailAddress"), template="/v1.0/users/{id}/messages")
    mail = treatments(decided("mail_messages", [endpoint]))
    users = treatments(decided("entra_users", tables.ONEDRIVE, tables.DRIVE_DEFINITIONS))

    assert mail["sender.emailAddress.address"] == mail["toRecipients[].emailAddress.address"] == "drop"
    assert mail["receivedDateTime"] == "keep"
    assert users["department"] == "drop"
    assert users["mail"] == "pseudonymize"
    assert users["userType"] == "keep"


def test_an_endpoint_for_a_single_object_may_name_columns_from_the_root() -> None:
    """Mailbox settings are never a list: their paths are read as the proxy reads them."""
    endpoint = tables.endpoint(
        ("redact", {"jsonPaths": ["$.timeZone", "$['workingHours'].daysOfWeek", "$.archiveFolder"]}),
        template="/v1.0/users/{id}/mailboxSettings",
    )
    found = decided("mailbox_settings", [endpoint])
    settings = treatments(found)
    record = {"timeZone": "UTC", "workingHours": {"startTime": "08:00:00", "daysOfWeek": ["monday"]}}
    (row,) = found.engine.sanitize_records(found.endpoint, [record]).rows

    assert settings["timeZone"] == settings["workingHours.daysOfWeek[]"] == settings["archiveFolder"] == "drop"
    assert settings["workingHours.startTime"] == "keep"
    assert row == {"workingHours": {"startTime": "08:00:00"}}


def test_what_depends_on_values_is_left_open() -> None:
    """A filter may hold for some values only, so the guard must not expect tokens."""
    endpoint = tables.endpoint(
        tables.token("members[?(@.visible == 'yes')].email", "nothing[?(@.a == 1)].userId"), template="/v1.0/chats"
    )
    chats = treatments(decided("teams_chats", [endpoint]))

    assert chats["members[].email"] == chats["members[].userId"] == "rules-file"


def test_what_depends_on_positions_is_left_open() -> None:
    """The first of a list may go and the others stay; the guard must not expect an empty column."""
    endpoint = tables.endpoint(
        tables.redact("otherMails[0]"), tables.token("proxyAddresses[3]"), template="/v1.0/users"
    )
    users = treatments(decided("entra_users", [endpoint]))

    assert users["otherMails[]"] == users["proxyAddresses[]"] == "rules-file"


def test_an_original_is_expected_only_where_it_may_stay() -> None:
    """A group's own address; anywhere else the guard looks for it."""
    endpoint = tables.endpoint(tables.as_json("mail", includeOriginal=True), template="/v1.0/users")

    assert treatments(decided("entra_groups", tables.ENTRA_ID))["mail"] == "group-address"
    assert treatments(decided("entra_users", [endpoint]))["mail"] == "rules-file"


def test_no_endpoint_no_dataset() -> None:
    """The caller decides that a run refuses then."""
    file = load_rest_rules(tables.render(tables.ENTRA_ID))

    assert operator_dataset(built_in_rules()["teams_chats"], file, PSEUDONYMS, source="") is None


def test_rows_come_in_the_columns_of_the_dataset_and_nothing_else() -> None:
    """What a file lets pass but no column holds stays behind: default-deny holds."""
    found = decided("mail_messages", tables.OUTLOOK_MAIL)
    message = {
        "id": "AAMk",
        "subject": "planted",
        "uniqueBody": {"content": "planted"},
        "receivedDateTime": "2026-03-02T09:00:00.1234567Z",
        "from": {"emailAddress": {"name": "planted", "address": "Dana@Example.org"}},
        "toRecipients": [{"emailAddress": {"address": "lee@example.org"}}, None],
        "newProperty": "planted",
    }
    cleaned = OperatorSanitizer(found, profile="strict").clean([page(message)])

    assert cleaned.rows.schema == output_schema(built_in_rules()["mail_messages"])
    (row,) = cleaned.rows.to_pylist()
    assert row["id"] == "AAMk"
    assert row["receivedDateTime"] == datetime(2026, 3, 2, 9, 0, 0, 123456, tzinfo=UTC)
    assert row["from"] == {"emailAddress": {"address": PSEUDONYMS.token("Dana@Example.org")}}
    assert row["toRecipients"] == [{"emailAddress": {"address": PSEUDONYMS.token("lee@example.org")}}, None]
    assert "planted" not in str(row)
    assert cleaned.rejected == {}


def test_a_value_that_does_not_fit_its_column_is_dropped_and_counted() -> None:
    """A number pseudonymized, a structure where text belongs: null, and its path is counted."""
    endpoint = tables.endpoint(tables.token("accountEnabledAt", "isRead2"), template="/v1.0/users/{id}/messages")
    found = decided("mail_messages", [endpoint])
    records = [
        {"id": "1", "isRead": "yes", "receivedDateTime": "soon", "flag": [], "categories": "a"},
        {"id": "2", "isRead": True, "categories": ["a", 1, "b"]},
    ]
    cleaned = OperatorSanitizer(found, profile="strict").clean([page(*records)])

    first, second = cleaned.rows.to_pylist()
    assert first["isRead"] is first["receivedDateTime"] is first["flag"] is first["categories"] is None
    assert second["isRead"] is True
    assert second["categories"] == ["a", None, "b"]
    assert cleaned.seen.counts == {
        "isRead": 1, "receivedDateTime": 1, "flag": 1, "categories": 1, "categories[]": 1
    }  # fmt: skip


def test_records_that_cannot_be_sanitized_are_rejected_alone() -> None:
    """By reason; the others pass, those outside window and filter are left out silently."""
    endpoint = tables.endpoint(tables.token("chatId", "replyToId"), template="/v1.0/chats/{id}/messages")
    sanitizer = OperatorSanitizer(
        decided("teams_chat_messages", [endpoint]), profile="psoxy", instants=("lastModifiedDateTime",)
    )
    inside = {"chatId": "mine", "lastModifiedDateTime": "2026-03-02T09:00:00Z"}
    records: list[Any] = [
        {"id": "1", **inside},
        {"id": "2", **inside, "chatId": "theirs"},
        {"id": "3", **inside, "lastModifiedDateTime": "2026-03-03T09:00:00Z"},
        {"id": "4", **inside, "replyToId": {"a": 1}},
        {"id": "5", **inside, "replyToId": "t~" + "A" * 43},
        {**inside},
        {"id": "6", **inside, "lastModifiedDateTime": 7},
        "text",
    ]
    window = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
    cleaned = sanitizer.clean(
        [page(*records)], window=window, row_filter=RowFilter("chatId", lambda text: text == "mine"), scan=True
    )

    assert [row["id"] for row in cleaned.rows.to_pylist()] == ["1"]
    assert cleaned.rejected == {
        "wrong_type": 2, "already_pseudonymized": 1, "missing_key": 1, "not_an_object": 1
    }  # fmt: skip
    assert cleaned.seen.records == len(records)


def test_a_page_that_is_no_array_is_refused() -> None:
    """Like everywhere else."""
    with pytest.raises(UnreadablePage):
        OperatorSanitizer(decided("entra_users", tables.ENTRA_ID), profile="strict").clean([b'{"id": "planted"}'])


def test_a_unit_holds_each_key_once() -> None:
    """The one read last, as with the built-in rules."""
    sanitizer = OperatorSanitizer(decided("entra_users", tables.ENTRA_ID), profile="strict")
    batches = [sanitizer.clean([page({"id": "a", "userType": each})]).rows for each in ("Guest", "Member")]

    rows = sanitizer.whole(batches)

    assert rows["userType"].to_pylist() == ["Member"]


def test_the_egress_guard_still_looks() -> None:
    """A file that lets addresses pass is stopped; what it pseudonymizes passes."""
    good = decided("entra_users", tables.ENTRA_ID)
    leaky = decided("entra_users", [tables.endpoint(tables.redact("displayName"), template="/v1.0/users")])
    user = {"id": "3f2b1c00-aaaa-4bbb-8ccc-0123456789ab", "mail": "dana@example.org", "department": "Zoo"}
    verdicts = []
    for found in (good, leaky):
        rows = OperatorSanitizer(found, profile="strict").clean([page(user)]).rows
        guard = EgressGuard(found.rules, profile="strict", directory=DirectoryIndex())
        verdicts.append(guard.check(rows).breach)

    assert verdicts[0] is None
    assert str(verdicts[1]).startswith("entra_users.mail: ")


def test_a_conference_number_that_a_file_keeps_is_no_false_alarm() -> None:
    """It looks like a phone number, and the proxy's own file passes it."""
    found = decided("teams_pstn_calls", tables.TEAMS)
    call = {"id": "3f2b1c00-aaaa-4bbb-8ccc-0123456789ab", "callId": "c", "conferenceId": "493012345"}
    rows = OperatorSanitizer(found, profile="psoxy").clean([page(call)]).rows

    assert rows["conferenceId"].to_pylist() == ["493012345"]
    assert EgressGuard(found.rules, profile="psoxy", directory=DirectoryIndex()).check(rows).breach is None


def test_an_owner_is_what_the_file_makes_of_an_id() -> None:
    """So that rows join with the users they belong to."""
    assert decided("entra_users", tables.ENTRA_ID).treated_id("abc") == "abc"
    assert decided("entra_users", tables.ENTRA_ID_NO_APP_IDS).treated_id("abc") == PSEUDONYMS.reversible("abc")


def loaded(path: Path, endpoints: Endpoints, pseudonyms: Pseudonymizer = PSEUDONYMS) -> OperatorFiles:
    path.write_text(tables.render(endpoints))
    return load_operator_files({"entra-id": path}, built_in_rules(), pseudonyms)


def test_a_run_refuses_when_a_file_does_not_know_a_dataset_it_reads(tmp_path: Path) -> None:
    """Nothing falls back to other rules silently; what is not read does not matter."""
    files = loaded(tmp_path / "rules.yaml", tables.ENTRA_ID)

    files.require(["entra_users", "mail_messages"])
    with pytest.raises(ConfigurationError, match=r"no endpoint for mailbox_settings; add one for /v1\.0/users"):
        files.require(["entra_users", "mailbox_settings"])


def test_a_run_refuses_when_a_file_removes_a_key(tmp_path: Path) -> None:
    """Rows without it cannot be told apart."""
    files = loaded(tmp_path / "rules.yaml", [tables.endpoint(tables.redact("id"), template="/v1.0/users")])

    with pytest.raises(ConfigurationError, match="removes id, the key of entra_users"):
        files.require(["entra_users"])


def test_a_file_that_needs_a_key_is_refused_without_one(tmp_path: Path) -> None:
    """Before anything is read."""
    with pytest.raises(ConfigurationError, match=r"needs privacy\.encryption_key"):
        loaded(tmp_path / "rules.yaml", tables.ENTRA_ID_NO_APP_IDS, Pseudonymizer(salt="a" * 16))


def test_a_files_content_is_named_by_its_digest(tmp_path: Path) -> None:
    """So that a change of the file changes the fingerprint of the rules."""
    first = loaded(tmp_path / "a.yaml", tables.ENTRA_ID)
    second = loaded(tmp_path / "a.yaml", tables.ENTRA_ID[:1])

    assert first.digests.keys() == {"entra-id"}
    assert first.digests != second.digests


def test_a_decided_dataset_has_the_same_treatment_in_every_profile() -> None:
    """The file decides, whatever profile is configured."""
    found = decided("entra_users", tables.ENTRA_ID)

    assert all(len({rule.treatment(profile) for profile in PROFILES}) == 1 for rule in found.rules.fields)
    assert dataclasses.replace(found.rules, fields=()) == dataclasses.replace(
        built_in_rules()["entra_users"], fields=()
    )
