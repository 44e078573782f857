"""The shipped privacy rules are well-formed and keep their promises; read here without the product's loader."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

RULES = Path(__file__).parents[2] / "config" / "rules"

DATASETS = {
    "entra-id": ["entra_users", "entra_groups", "entra_group_members", "mailbox_settings"],
    "outlook-mail": ["mail_messages", "mail_contacts"],
    "outlook-calendar": ["calendar_events"],
    "msft-teams": [
        "teams_teams", "teams_channels", "teams_channel_messages", "teams_chats", "teams_chat_messages",
        "teams_call_records", "teams_pstn_calls", "teams_direct_routing_calls", "teams_online_meetings",
        "teams_attendance_reports",
    ],
}  # fmt: skip
PROFILES = ("psoxy", "psoxy-no-app-ids", "strict")
TEXT_TREATMENTS = {
    "pseudonymize", "pseudonymize-reversible", "tokenize", "pseudonymize-smtp", "group-address",
    "title-phrases", "zoom-links", "free-text", "keep-guid",
    "chat-id", "join-url", "message-id-host",
}  # fmt: skip
TEXT_TYPES = {"string", "enum", "guid", "time-of-day", "duration"}
OTHER_TYPES = {"boolean", "int32", "int64", "double", "instant", "date", "local-instant"}


class _StrictLoader(yaml.SafeLoader):
    """YAML as its specification wants it: a key stands once in a mapping."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise ValueError(f"twice in one mapping: {sorted(twice)}")
    return dict(zip(keys, (loader.construct_object(value, deep=True) for _, value in node.value), strict=True))


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping_without_duplicates)


def _load(text: str) -> Any:
    return yaml.load(text, Loader=_StrictLoader)


DOCUMENTS = {name: _load((RULES / f"{name}.yaml").read_text(encoding="utf-8")) for name in DATASETS}
RULE_SETS: dict[str, dict[str, Any]] = {
    dataset: body for document in DOCUMENTS.values() for dataset, body in document["datasets"].items()
}
every_dataset = pytest.mark.parametrize("dataset", RULE_SETS)


def _fields(dataset: str) -> Iterator[tuple[str, dict[str, str]]]:
    yield from RULE_SETS[dataset]["fields"].items()


def _treatments(rule: Mapping[str, str]) -> tuple[str, str, str]:
    psoxy = rule["psoxy"]
    no_app_ids = rule.get("psoxy-no-app-ids", psoxy)
    return psoxy, no_app_ids, rule.get("strict", no_app_ids)


def _names(path: str) -> list[str]:
    return re.findall(r"@odata\.\w+|[^.]+", path)


@pytest.mark.parametrize("connector", DATASETS)
def test_each_connector_has_exactly_its_datasets(connector: str) -> None:
    """A rules file names its connector and decides about all datasets of it, and no others."""
    document = DOCUMENTS[connector]
    assert set(document) == {"connector", "datasets", "departures"}
    assert document["connector"] == connector
    assert list(document["datasets"]) == DATASETS[connector]


def test_there_are_no_further_rules_files() -> None:
    """Nothing else in the folder would be read as rules."""
    assert {file.stem for file in RULES.glob("*.yaml")} == set(DATASETS)


def test_a_path_that_stands_twice_is_found() -> None:
    """The loader of these tests refuses the mistake that plain YAML readers hide."""
    with pytest.raises(ValueError, match="twice"):
        _load("id: {psoxy: keep}\nid: {psoxy: drop}\n")


@every_dataset
def test_dataset_head(dataset: str) -> None:
    """What a row is, version, source page, key, time and owner are there and fit the fields."""
    body = RULE_SETS[dataset]
    assert set(body) == {"row", "version", "source", "key", "time", "owner", "fields", "dropped"}
    assert len(body["row"]) > 10
    assert body["version"] >= 1
    assert body["source"].startswith("https://learn.microsoft.com/graph/api/resources/")
    assert body["owner"] in {None, "mailbox", "team", "group"}
    assert ("_owner" in body["key"]) == (body["owner"] is not None)
    for path in body["key"]:
        assert path == "_owner" or "drop" not in _treatments(body["fields"][path])
    if body["time"] is not None:
        rule = body["fields"][body["time"]]
        assert rule["type"] in {"instant", "local-instant"}
        assert _treatments(rule) == ("keep",) * 3


@every_dataset
def test_field_form(dataset: str) -> None:
    """Type and treatments come from the known sets; a treatment of text stands only at text."""
    for path, rule in _fields(dataset):
        assert set(rule) <= {"type", "why", "source", "shape", "exempt", *PROFILES}, path
        assert rule["type"] in TEXT_TYPES | OTHER_TYPES, path
        allowed = {"keep", "drop"} | (TEXT_TREATMENTS if rule["type"] in TEXT_TYPES else set())
        assert set(_treatments(rule)) <= allowed, path
        assert set(_treatments(rule)) != {"drop"}, f"{path} belongs under `dropped`"


@every_dataset
def test_field_says_nothing_twice(dataset: str) -> None:
    """A profile is named only where it differs from the one before it."""
    for path, rule in _fields(dataset):
        psoxy, no_app_ids, _ = _treatments(rule)
        assert rule.get("psoxy-no-app-ids") != psoxy, path
        assert rule.get("strict") != no_app_ids, path


@every_dataset
def test_each_decision_has_a_short_reason(dataset: str) -> None:
    """A reason is one line of words that fits beside its field."""
    body = RULE_SETS[dataset]
    reasons = {path: rule["why"] for path, rule in body["fields"].items()} | body["dropped"]
    bad = {path for path, why in reasons.items() if not isinstance(why, str) or not 3 <= len(why) <= 90}
    assert not bad


@every_dataset
def test_no_path_is_decided_twice(dataset: str) -> None:
    """A dropped property covers what is below it, so nothing below it may be listed again."""
    body = RULE_SETS[dataset]
    assert not [path for path in body["dropped"] if path.endswith("[]")]
    paths = [*body["fields"], *body["dropped"]]
    shape = [tuple(name.removesuffix("[]") for name in _names(path)) for path in paths]
    assert len(shape) == len(set(shape))
    below = [names for names in shape if any(names[:end] in set(shape) for end in range(1, len(names)))]
    assert not below


# What a leaf of this name holds identifies a person; it may leave as a pseudonym only.
ADDRESSES = {
    "address", "email", "emailAddress", "employeeId", "imAddresses[]", "issuerAssignedId",
    "locationEmailAddress", "mail", "onPremisesSamAccountName", "onPremisesUserPrincipalName",
    "otherMails[]", "proxyAddresses[]", "skypeId", "userPrincipalName",
}  # fmt: skip
# What a leaf of this name holds leaves in no profile and in no form.
NEVER = {
    "aboutMe", "birthday", "body", "businessPhones[]", "calleeNumber", "callerNumber", "description",
    "dnsSuffix", "externalReplyMessage", "faxNumber", "givenName", "headerValue", "internalReplyMessage",
    "ipAddress", "jobTitle", "macAddress", "mobilePhone", "passcode", "personalNotes", "phoneNumber",
    "reflexiveIPAddress", "relayIPAddress", "street", "streetAddress", "subnet",  "surname",
    "topic", "upn", "userDisplayName",
}  # fmt: skip
# Treatments after which somebody can read something of the value.
READABLE = {
    "keep", "zoom-links", "free-text", "keep-guid", "title-phrases", "group-address",
}  # fmt: skip
# Ids that stay readable in `strict`: a time in milliseconds, a number within a text, programs.
READABLE_IDS = ("id", "replyToId", "mentions[].id")


@every_dataset
def test_addresses_leave_as_pseudonyms_only(dataset: str) -> None:
    """No profile lets an address, a sign-in name or an employee number leave readable."""
    for path, rule in _fields(dataset):
        if _names(path)[-1] in ADDRESSES:
            allowed = {"pseudonymize", "pseudonymize-smtp", "drop"}
            if (dataset, path) == ("entra_groups", "mail"):
                allowed.add("group-address")
            assert set(_treatments(rule)) <= allowed, path


@every_dataset
def test_names_content_and_numbers_are_no_fields(dataset: str) -> None:
    """Content, names and phone numbers are not even columns; names of groups and rooms are scrubbed."""
    for path, rule in _fields(dataset):
        names = _names(path)
        if set(names) & NEVER:
            assert (dataset, path) == ("calendar_events", "body.content")
            assert _treatments(rule) == ("zoom-links", "zoom-links", "drop")
        if names[-1] == "displayName":
            assert _treatments(rule) == ("free-text", "free-text", "drop"), path


@every_dataset
def test_strict_keeps_no_readable_id(dataset: str) -> None:
    """In `strict` ids of people, groups, mailboxes, tenants and threads are pseudonyms or dropped."""
    for path, rule in _fields(dataset):
        leaf = _names(path)[-1]
        is_id = re.search(r"(?:^i|I)d$|^iCalUId$|^joinWebUrl$|^joinUrl$|^archiveFolder$", leaf)
        is_catalogue = path.endswith(("application.id", "teamsAppId", "skuId", "servicePlanId"))
        is_message = re.match(r"teams_\w+_messages$", dataset) and path in READABLE_IDS
        if is_id and not is_catalogue and not is_message:
            assert _treatments(rule)[2] not in {"keep", "keep-guid"}, path


@every_dataset
def test_strict_keeps_no_links_and_no_typed_text(dataset: str) -> None:
    """Links, categories and places, which only the psoxy profiles let pass, are closed in `strict`."""
    for path, rule in _fields(dataset):
        if re.search(r"(?:webUrl|webLink|Uri|conversationIndex|categories\[\]|uniqueId)$", path):
            assert _treatments(rule)[2] == "drop", path
        if _treatments(rule)[0] == "free-text":
            assert _treatments(rule)[2] in {"drop", "pseudonymize"}, path


@every_dataset
def test_profiles_only_tighten(dataset: str) -> None:
    """What one profile treats, the next never keeps; what one drops, the next drops, but for one id."""
    for path, rule in _fields(dataset):
        openness = [2 if name in READABLE else 0 if name == "drop" else 1 for name in _treatments(rule)]
        if (dataset, path) == ("teams_chats", "members[].userId"):
            # Psoxy's variant without user ids drops it; `strict` joins chat members by its pseudonym.
            assert openness == [2, 0, 1]
        else:
            assert openness == sorted(openness, reverse=True), path


@pytest.mark.parametrize("connector", DATASETS)
def test_departures_agree_with_the_rules(connector: str) -> None:
    """Each departure from Psoxy names existing paths, and says what the rules say about them."""
    for departure in DOCUMENTS[connector]["departures"]:
        assert set(departure) == {"path", "psoxy_does", "we_do", "why"}
        treatments = _departing(connector, departure["path"])
        assert treatments, departure["path"]
        expected = {
            "dropped": {("drop",) * 3},
            "dropped from psoxy-no-app-ids on": {("keep", "drop", "drop")},
            "pseudonymized": {("pseudonymize",) * 3},
            "pseudonymized, then dropped": {("pseudonymize", "pseudonymize", "drop")},
            "keep-guid, then pseudonymized": {("keep-guid", "pseudonymize", "pseudonymize")},
        }.get(departure["we_do"])
        if expected is None:
            assert {first for first, _, _ in treatments} == {departure["we_do"]}
        else:
            assert treatments == expected


@every_dataset
def test_a_join_link_leaves_in_no_profile_as_it_is(dataset: str) -> None:
    """Who has it can open the meeting; datasets still join by what is left of it."""
    for path, rule in _fields(dataset):
        if path.rpartition(".")[2] in {"joinUrl", "joinWebUrl", "onlineMeetingUrl"}:
            assert set(_treatments(rule)) == {"join-url"}, path


@every_dataset
def test_scrubbed_fields_are_listed_as_departures(dataset: str) -> None:
    """Where a psoxy profile does more than Psoxy, the list of departures says so."""
    for path, rule in _fields(dataset):
        if rule["psoxy"] in {"free-text", "keep-guid", "join-url"}:
            connector = next(name for name, datasets in DATASETS.items() if dataset in datasets)
            patterns = [departure["path"] for departure in DOCUMENTS[connector]["departures"]]
            assert any(_matches(pattern, f"{dataset}.{path}") for pattern in patterns), path


def _departing(connector: str, pattern: str) -> set[tuple[str, str, str]]:
    found: set[tuple[str, str, str]] = set()
    for dataset, body in DOCUMENTS[connector]["datasets"].items():
        found |= {_treatments(rule) for path, rule in body["fields"].items() if _matches(pattern, f"{dataset}.{path}")}
        if any(_matches(pattern, f"{dataset}.{path}") for path in body["dropped"]):
            found.add(("drop", "drop", "drop"))
    return found


def _matches(pattern: str, path: str) -> bool:
    return re.fullmatch("[^.]*".join(map(re.escape, pattern.split("*"))), path) is not None
