"""Documents before and after: every table of the Microsoft rules, every kind of value, every way to fail."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.sanitize.grammar import load_rest_rules
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rest_rules import RestRules
from pipeline.sanitize.row_engine import MAX_DEPTH, Reason, RowEngine, RuleFailed
from tests.unit import psoxy_tables as tables

PSEUDONYMS = Pseudonymizer(salt="acme-exporter-vector-salt", encryption_key="acme-exporter-vector-key")
USER_ID = "3f2b1c00-aaaa-4bbb-8ccc-0123456789ab"
Json = dict[str, Any]


def token(value: object) -> str:
    made = PSEUDONYMS.token(value)
    assert made is not None
    return made


def rules_of(endpoints: list[dict[str, object]]) -> RestRules:
    return load_rest_rules(tables.render(endpoints, tables.DRIVE_DEFINITIONS))


def sanitized(endpoints: list[dict[str, object]], shape: str, document: object, **options: bool) -> Any:
    rules = rules_of(endpoints)
    endpoint = rules.match_shape(shape)
    assert endpoint is not None
    return RowEngine(rules, PSEUDONYMS, **options).sanitize(endpoint, copy.deepcopy(document))


def transformed(*transforms: tables.Entry, document: object, **options: bool) -> Any:
    return sanitized([tables.endpoint(*transforms, template="/a")], "/a", document, **options)


USER: Json = {
    "@odata.type": "#microsoft.graph.user",
    "id": USER_ID,
    "displayName": "Dana Fox",
    "givenName": "Dana",
    "jobTitle": "Zookeeper",
    "department": "Zoo",
    "mail": "Dana@Example.org",
    "otherMails": ["dana.fox@example.net", None],
    "userPrincipalName": "dana@example.org",
    "employeeId": 10042,
    "businessPhones": ["+1 555 0100"],
    "proxyAddresses": ["SMTP:dana@example.org", "smtp:d@example.org", "SIP:dana@example.org"],
    "identities": [{"signInType": "userName", "issuerAssignedId": "dana"}],
    "onPremisesImmutableId": None,
    "imAddresses": [],
    "mailboxSettings": {"timeZone": "UTC", "language": {"locale": "en-GB", "displayName": "English"}},
}
CLEAN_USER: Json = {
    "@odata.type": "#microsoft.graph.user",
    "id": USER_ID,
    "department": "Zoo",
    "mail": token("dana@example.org").replace("@example.org", "@Example.org"),
    "otherMails": [token("dana.fox@example.net"), None],
    "userPrincipalName": token("dana@example.org"),
    "employeeId": token("10042"),
    "businessPhones": [],
    "proxyAddresses": [f"SMTP:{token('dana@example.org')}", f"smtp:{token('d@example.org')}", None],
    "identities": [{"signInType": "userName", "issuerAssignedId": token("dana")}],
    "onPremisesImmutableId": None,
    "imAddresses": [],
    "mailboxSettings": {"timeZone": "UTC", "language": {"locale": "en-GB"}},
}


def test_users() -> None:
    """Names go, identifiers become tokens, the rest stays in its order; a page and a single user alike."""
    page = {"@odata.context": "ctx", "value": [USER]}
    clean = sanitized(tables.ENTRA_ID, "/v1.0/users", page)
    assert clean == {"@odata.context": "ctx", "value": [CLEAN_USER]}
    assert list(clean["value"][0]) == list(CLEAN_USER)
    assert sanitized(tables.ENTRA_ID, "/v1.0/users/{}", USER) == CLEAN_USER
    assert sanitized(tables.TEAMS, "/v1.0/users", USER) == CLEAN_USER
    assert sanitized(tables.COPILOT, "/v1.0/users", USER) == CLEAN_USER


def test_users_without_app_ids() -> None:
    """The object id becomes reversible for users, irreversible for members; both join on the hash."""
    user = sanitized(tables.ENTRA_ID_NO_APP_IDS, "/v1.0/users", USER)
    member = sanitized(tables.ENTRA_ID_NO_APP_IDS, "/v1.0/groups/{}/members", USER)
    assert user == CLEAN_USER | {"id": PSEUDONYMS.reversible(USER_ID)}
    assert member == CLEAN_USER | {"id": token(USER_ID)}
    assert user["id"][2:44] == member["id"][2:44]


def test_users_as_json_without_originals() -> None:
    """Identifiers become JSON texts; null and blank become the text `null`."""
    user = sanitized(tables.ENTRA_ID_NO_ORIGINAL, "/beta/users", USER | {"mail": " "})
    assert user["userPrincipalName"] == PSEUDONYMS.as_json("dana@example.org")
    assert (user["mail"], user["onPremisesImmutableId"], user["otherMails"][1]) == ("null", "null", "null")
    assert user["proxyAddresses"] == CLEAN_USER["proxyAddresses"]


GROUP: Json = {
    "id": "g1",
    "displayName": "Keepers",
    "description": "Dana's team",
    "mail": "Keepers@example.org",
    "mailNickname": "keepers",
    "members": [USER],
    "proxyAddresses": ["SMTP:Keepers@example.org", "SPO:SPO_1@SPO_2"],
}


def test_groups() -> None:
    """The address becomes JSON that holds the original, members go, the name stays."""
    assert sanitized(tables.ENTRA_ID, "/v1.0/groups", GROUP) == {
        "id": "g1",
        "displayName": "Keepers",
        "mail": PSEUDONYMS.as_json("Keepers@example.org", include_original=True),
        "proxyAddresses": [f"SMTP:{token('Keepers@example.org')}", None],
    }


def test_groups_whose_rules_hash_proxy_addresses_twice() -> None:
    """A file that hashes its own tokens again is followed to the letter; it is not taken for dirty input."""
    group = sanitized(tables.ENTRA_ID_NO_ORIGINAL, "/v1.0/groups", GROUP)
    assert group["proxyAddresses"] == [f"SMTP:{token(token('Keepers@example.org'))}", None]
    assert group["mail"] == PSEUDONYMS.as_json("Keepers@example.org")


def person(address: str) -> Json:
    return {"emailAddress": {"name": "Dana Fox", "address": address}}


def test_messages() -> None:
    """Of a message only what is neither content nor a name is left; recipients keep their tokens."""
    message: Json = {
        "@odata.context": f"https://graph.microsoft.com/v1.0/$metadata#users('{USER_ID}')/messages",
        "@odata.nextLink": f"https://graph.microsoft.com/v1.0/users/{USER_ID}/messages?$skip=10",
        "id": "m1",
        "subject": "Lunch",
        "body": {"contentType": "text", "content": "Hello"},
        "bodyPreview": "Hello",
        "sender": person("dana@example.org"),
        "toRecipients": [person("Lee@Example.net"), {"emailAddress": {"address": None}}],
        "internetMessageHeaders": [{"name": "X-A", "value": "b"}],
        "categories": ["Red"],
    }
    clean = {
        "id": "m1",
        "sender": {"emailAddress": {"address": token("dana@example.org")}},
        "toRecipients": [
            {"emailAddress": {"address": token("Lee@Example.net")}},
            {"emailAddress": {"address": None}},
        ],
        "categories": ["Red"],
    }
    odata = {name: message[name] for name in ("@odata.context", "@odata.nextLink")}
    assert sanitized(tables.OUTLOOK_MAIL, "/v1.0/users/{}/messages/{}", message) == odata | clean
    assert sanitized(tables.OUTLOOK_MAIL_NO_APP_IDS, "/v1.0/users/{}/mailFolders/SentItems/messages", message) == {
        "@odata.nextLink": odata["@odata.nextLink"].replace(USER_ID, PSEUDONYMS.tokenize(USER_ID) or ""),
        **clean,
    }


def test_mailbox_settings() -> None:
    """Automatic replies lose their texts and keep their times."""
    settings = {
        "@odata.context": "ctx",
        "automaticRepliesSetting": {"status": "disabled", "internalReplyMessage": "x", "externalReplyMessage": None},
        "timeZone": "UTC",
    }
    clean = {"automaticRepliesSetting": {"status": "disabled"}, "timeZone": "UTC"}
    shape = "/v1.0/users/{}/mailboxSettings"
    assert sanitized(tables.OUTLOOK_MAIL, shape, settings) == {"@odata.context": "ctx"} | clean
    for file in (tables.OUTLOOK_MAIL_NO_APP_IDS, tables.OUTLOOK_CAL, tables.OUTLOOK_CAL_NO_APP_IDS):
        assert sanitized(file, shape, settings) == clean


ZOOM = "https://acme.zoom.us/j/1"
EVENT: Json = {
    "@odata.context": "ctx",
    "calendar@odata.navigationLink": "https://x/users/dana/calendar",
    "id": "e1",
    "subject": "Weekly Focus Time: planning",
    "body": {"contentType": "html", "content": f"Join\n{ZOOM}?a=1 or https://zoom.us/j/2 pwd=geheim\n{ZOOM}2"},
    "bodyPreview": "See you",
    "location": {
        "displayName": "Den pwd=abc&x",
        "coordinates": {"latitude": 1},
        "address": {"city": "X"},
        "uniqueId": " ",
        "locationUri": None,
    },
    "locations": [{"displayName": "Den"}],
    "organizer": person("dana@example.org"),
    "attendees": [person("lee@example.net") | {"type": "required"}],
    "onlineMeeting": {"joinUrl": "https://teams.microsoft.com/l/j?PWD=x&y=1"},
    "onlineMeetingUrl": None,
    "transactionId": "t",
    "isReminderOn": True,
}


def test_events() -> None:
    """Titles keep listed phrases, bodies keep links to Zoom, passcodes are cut, places lose their addresses."""
    clean = {
        "@odata.context": "ctx",
        "calendar@odata.navigationLink": "https://x/users/dana/calendar",
        "id": "e1",
        "subject": "Focus Time,Focus,Weekly",
        "body": {"contentType": "html", "content": f"{ZOOM}?a=1"},
        "bodyPreview": None,
        "location": {"displayName": "Den &x", "uniqueId": " ", "locationUri": None},
        "locations": [{"displayName": "Den"}],
        "organizer": {"emailAddress": {"address": token("dana@example.org")}},
        "attendees": [{"emailAddress": {"address": token("lee@example.net")}, "type": "required"}],
        "onlineMeeting": {"joinUrl": "https://teams.microsoft.com/l/j?&y=1"},
        "onlineMeetingUrl": None,
    }
    assert sanitized(tables.OUTLOOK_CAL, "/v1.0/users/{}/events/{}", EVENT) == clean
    del clean["@odata.context"], clean["calendar@odata.navigationLink"]
    assert sanitized(tables.OUTLOOK_CAL_NO_APP_IDS, "/v1.0/users/{}/calendar/calendarView", EVENT) == clean


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("Weekly Focus Time: planning", "Focus Time,Focus,Weekly"),
        ("NO MEETINGS friday", "NO MEETINGS"),
        ("1:1 Ann / Bo", "1:1"),
        ("standup-daily", "standup,daily"),
        ("Team-building lunch", "lunch"),
        ("prepare", ""),
        ("Project X", ""),
        ("", ""),
        ("  ", "  "),
        (None, None),
        (7, None),
        ({"x": "lunch"}, None),
    ],
)
def test_event_titles(title: object, kept: str | None) -> None:
    """Blank titles stay, what is no text becomes null."""
    assert sanitized(tables.OUTLOOK_CAL, "/v1.0/users/{}/events", {"subject": title}) == {"subject": kept}


CHAT: Json = {
    "@odata.context": "ctx",
    "value": [
        {
            "id": "19:abc@thread.v2",
            "topic": "Zoo",
            "lastMessagePreview@odata.context": "ctx",
            "lastMessagePreview": {
                "id": "m1",
                "body": {"content": "Hello", "contentType": "text"},
                "from": {"user": {"id": USER_ID, "displayName": "Dana"}},
                "eventDetail": {"chatDisplayName": "Zoo", "kind": "x"},
            },
            "members": [{"userId": USER_ID, "displayName": "Dana"}],
        }
    ],
}


def test_chats() -> None:
    """Names and content go; without user ids every id is tokenized raw, user ids go."""
    assert sanitized(tables.TEAMS, "/v1.0/users/{}/chats", CHAT)["value"] == [
        {
            "id": "19:abc@thread.v2",
            "lastMessagePreview": {
                "id": "m1",
                "body": {"contentType": "text"},
                "from": {"user": {"id": USER_ID}},
                "eventDetail": {"kind": "x"},
            },
            "members": [{"userId": USER_ID}],
        }
    ]
    assert sanitized(tables.TEAMS_NO_USER_IDS, "/v1.0/users/{}/chats", CHAT) == {
        "value": [
            {
                "id": PSEUDONYMS.tokenize("19:abc@thread.v2"),
                "lastMessagePreview": {
                    "id": PSEUDONYMS.tokenize("m1"),
                    "body": {"contentType": "text"},
                    "from": {"user": {}},
                    "eventDetail": {"kind": "x"},
                },
                "members": [{"displayName": "Dana"}],
            }
        ]
    }


def test_chat_messages() -> None:
    """The chat of a message is tokenized like the chat itself, so both still join."""
    page = {
        "@odata.nextLink": "https://graph.microsoft.com/v1.0/chats/19:abc@thread.v2/messages?$skip=1",
        "value": [
            {
                "id": "m1",
                "chatId": "19:abc@thread.v2",
                "from": {"user": {"id": USER_ID, "displayName": "Dana"}},
                "body": {"content": "Hello"},
                "attachments": [{"name": "x"}],
                "mentions": [{"id": 0, "mentionText": "Lee", "mentioned": {"user": {"id": "u2"}}}],
            }
        ],
    }
    clean = sanitized(tables.TEAMS_NO_USER_IDS, "/v1.0/chats/{}/messages", page)
    chat = PSEUDONYMS.tokenize("19:abc@thread.v2")
    assert clean["@odata.nextLink"] == f"https://graph.microsoft.com/v1.0/chats/{chat}/messages?$skip=1"
    assert clean["value"] == [
        {
            "id": "m1",
            "chatId": chat,
            "from": {"user": {"id": token(USER_ID)}},
            "body": {},
            "mentions": [{"id": 0, "mentioned": {"user": {"id": token("u2")}}}],
        }
    ]


def test_teams_and_channels() -> None:
    """Names go, a channel's address becomes a token, a missing one stays null."""
    page = {"value": [{"id": "t", "displayName": "Zoo", "description": None}, {"email": "x", "emailAddress": None}]}
    assert sanitized(tables.TEAMS, "/v1.0/teams", page) == {
        "value": [{"id": "t"}, {"email": "x", "emailAddress": None}]
    }


def test_call_records() -> None:
    """Network addresses, device names and participants go; who called stays as an id."""
    record = {
        "id": "c1",
        "organizer_v2": {"id": "x", "identity": {"user": {"id": USER_ID, "displayName": "Dana"}}},
        "participants_v2": [{"id": "y"}],
        "sessions": [{"segments": [{"caller": {"name": "x", "ipAddress": "192.0.2.1"}, "subnet": "192.0.2.0"}]}],
    }
    clean = {
        "id": "c1",
        "organizer_v2": {"identity": {"user": {"id": USER_ID}}},
        "participants_v2": [{}],
        "sessions": [{"segments": [{"caller": {}}]}],
    }
    shape = f"/v1.0/communications/callRecords/{USER_ID}"
    assert sanitized(tables.TEAMS, shape, record) == clean
    without_ids = copy.deepcopy(clean)
    without_ids["organizer_v2"] = {"identity": {"user": {"id": token(USER_ID)}}}
    assert sanitized(tables.TEAMS_NO_USER_IDS, shape, record) == without_ids


def test_phone_calls() -> None:
    """Numbers and names of a call row go, its call id becomes reversible, and rows are cleaned one by one too."""
    row = {
        "callId": "c",
        "userPrincipalName": "dana@example.org",
        "calleeNumber": "+1",
        "userId": USER_ID,
        "charge": 1.5,
    }
    clean = {"callId": PSEUDONYMS.tokenize("c"), "userId": USER_ID, "charge": 1.5}
    rules = rules_of(tables.TEAMS)
    endpoint = rules.match(
        "/v1.0/communications/callRecords/getPstnCalls(fromDateTime=2026-01-01,toDateTime=2026-01-02)"
    )
    assert endpoint is not None
    engine = RowEngine(rules, PSEUDONYMS)
    assert engine.sanitize(endpoint, {"value": [dict(row)]}) == {"value": [clean]}
    assert engine.sanitize_records(endpoint, [dict(row), dict(row)]).rows == [clean, clean]


def test_online_meetings() -> None:
    """Subjects, passcodes and UPNs go."""
    meeting = {
        "@odata.context": "ctx",
        "id": "m",
        "subject": "Zoo",
        "joinInformation": {"content": "x"},
        "joinMeetingIdSettings": {"passcode": "p", "isPasscodeRequired": True, "joinMeetingId": "5"},
        "participants": {"organizer": {"upn": "dana@example.org", "identity": {"user": {"id": USER_ID}}}},
    }
    clean = {
        "id": "m",
        "joinMeetingIdSettings": {"joinMeetingId": "5"},
        "participants": {"organizer": {"identity": {"user": {"id": USER_ID}}}},
    }
    assert sanitized(tables.TEAMS, "/v1.0/users/{}/onlineMeetings", meeting) == clean


def test_drives() -> None:
    """The schema keeps what is declared, at any depth; identities keep ids and the token of the address."""
    item = {
        "id": "i",
        "name": "Salaries.xlsx",
        "webUrl": "https://x/Salaries.xlsx",
        "size": 5.9,
        "file": {"mimeType": "text/plain", "hashes": {}},
        "folder": None,
        "createdBy": {
            "user": {"id": USER_ID, "email": "dana@example.org", "displayName": "Dana"},
            "device": {"id": "d"},
        },
        "remoteItem": {"id": 7, "name": "x", "parentReference": {"path": "/x", "driveId": "b!"}},
        "parentReference": "x",
    }
    page = {"@odata.context": "ctx", "@odata.nextLink": "n", "@microsoft.graph.hasMoreData": None, "value": [item, "x"]}
    assert sanitized(tables.ONEDRIVE, "/v1.0/drives/{}/root/delta", page) == {
        "@odata.nextLink": "n",
        "@microsoft.graph.hasMoreData": False,
        "value": [
            {
                "id": "i",
                "size": 5,
                "file": {"mimeType": "text/plain"},
                "folder": None,
                "createdBy": {"user": {"id": USER_ID, "email": token("dana@example.org")}},
                "remoteItem": {"id": None, "parentReference": {"driveId": "b!"}},
                "parentReference": None,
            }
        ],
    }


def test_drive_owners() -> None:
    """Users of the drive rules keep a few members; without app ids the owner of a drive is a token."""
    users = sanitized(tables.ONEDRIVE_NO_APP_IDS, "/v1.0/users", {"value": [USER]})
    assert users == {
        "value": [
            {
                "id": PSEUDONYMS.reversible(USER_ID),
                "mail": CLEAN_USER["mail"],
                "otherMails": [token("dana.fox@example.net")],
                "employeeId": token("10042"),
                "proxyAddresses": CLEAN_USER["proxyAddresses"],
                "mailboxSettings": {"timeZone": "UTC"},
            }
        ]
    }
    drive = {"id": "b!", "name": "OneDrive", "system": {"x": 1}, "createdBy": {"user": {"id": USER_ID, "email": None}}}
    drives = sanitized(tables.ONEDRIVE_NO_APP_IDS, "/v1.0/users/{}/drives", {"value": [drive]})
    assert drives == {
        "value": [{"id": "b!", "system": {}, "createdBy": {"user": {"id": token(USER_ID), "email": None}}}]
    }


INTERACTION: Json = {
    "@odata.count": 1,
    "value": [
        {
            "id": "1",
            "sessionId": "19:s@thread.v2",
            "body": {"contentType": "text", "content": "two words"},
            "attachments": [
                {
                    "attachmentId": "a1",
                    "content": '{"type":"Card","n":1.10,"body":[{"text":"hi 😀"},{"text":5}]}',
                    "name": "x",
                },
                {"attachmentId": "a2", "content": "no json"},
                {"attachmentId": "a3", "content": None},
            ],
            "links": [{"linkType": "File", "linkUrl": "https://f"}, {"linkType": "Event", "linkUrl": "https://e"}],
            "contexts": [{"contextReference": "r", "displayName": "d"}],
            "mentions": [{"id": 0, "mentionText": "Lee", "mentioned": {"user": {"id": "u2"}}}],
            "from": {
                "user": {"id": USER_ID, "displayName": "Dana"},
                "application": {"id": "app", "applicationIdentityType": "bot"},
            },
        }
    ],
}


def test_copilot_interactions() -> None:
    """Texts leave a digest beside them before they go; only links to files are cut."""
    (row,) = sanitized(tables.COPILOT, tables.COPILOT_PATH.replace("{id}", "{}"), INTERACTION)["value"]
    digest = '{\\"length\\":5,\\"word_count\\":2}'
    assert row == {
        "id": "1",
        "sessionId": "19:s@thread.v2",
        "body": {"contentType": "text", "+content:textDigest": {"length": 9, "word_count": 2}},
        "attachments": [
            {
                "attachmentId": "a1",
                "+content:textDigest": f'{{"type":"Card","n":1.1,"body":[{{"text":"{digest}"}},{{"text":null}}]}}',
            },
            {"attachmentId": "a2"},
            {"attachmentId": "a3"},
        ],
        "links": [{"linkType": "File"}, {"linkType": "Event", "linkUrl": "https://e"}],
        "contexts": [{}],
        "mentions": [{"id": 0, "mentioned": {"user": {"id": "u2"}}}],
        "from": {"user": {"id": USER_ID}, "application": {"id": "app", "applicationIdentityType": "bot"}},
    }


def test_copilot_interactions_without_user_ids() -> None:
    """People become tokens, the bot does not; of a mention only its own number is found, as in the rules."""
    (row,) = sanitized(tables.COPILOT_NO_USER_IDS, tables.COPILOT_PATH.replace("{id}", "{}"), INTERACTION)["value"]
    assert row["sessionId"] == PSEUDONYMS.tokenize("19:s@thread.v2")
    assert row["from"] == {
        "user": {"id": token(USER_ID)},
        "application": INTERACTION["value"][0]["from"]["application"],
    }
    assert row["mentions"] == [{"id": token(0), "mentioned": {"user": {"id": "u2"}}}]


def test_augments_are_skipped_when_the_answer_has_some() -> None:
    """A member that begins with `+` in the input could be forged, so nothing is added."""
    document = {"value": [{"body": {"content": "two words", "+x": 1}}]}
    clean = sanitized(tables.COPILOT, tables.COPILOT_PATH.replace("{id}", "{}"), document)
    assert clean == {"value": [{"body": {"+x": 1}}]}


def test_additions_pass_the_response_schema() -> None:
    """What an augment added is kept although no schema declares it."""
    endpoint = tables.endpoint(
        template="/a",
        augments=[tables.digests("note")],
        responseSchema=tables.struct(note={"type": "string"}),
    )
    assert sanitized([endpoint], "/a", {"note": "a b", "other": 1}) == {
        "note": "a b",
        "+note:textDigest": {"length": 3, "word_count": 2},
    }


SCHEMA_CASES: list[tuple[Json, object, object]] = [
    ({"type": "string"}, 5, None),
    ({"type": "number"}, 5.5, 5.5),
    ({"type": "number"}, True, None),
    ({"type": "integer"}, -5.9, -5),
    ({"type": "integer"}, 2**63, None),
    ({"type": "integer"}, "5", None),
    ({"type": "boolean"}, None, False),
    ({"type": "boolean"}, 0, None),
    ({}, "x", "x"),
    ({}, {"x": 1}, None),
    ({}, [1], None),
    ({"type": "array"}, [1], []),
    ({"items": {"type": "string"}}, ["a", 1, None, "b"], ["a", "b"]),
    ({"items": {"type": "string"}}, "a", None),
    ({"properties": {"a": {}}}, {"b": 1, "a": 2, "+c": {"d": 3}}, {"a": 2, "+c": {"d": 3}}),
    ({"properties": {"a": {}}}, [1], None),
    ({"const": "x"}, "x", "x"),
    ({"const": "x"}, "y", None),
    ({"const": 5}, 5, 5),
    ({"anyOf": [{"type": "string"}, {"properties": {"a": {}}}]}, {"a": 1, "b": 2}, {"a": 1}),
    ({"anyOf": [{"type": "string"}, {"type": "boolean"}]}, 5, None),
    (
        {"anyOf": [{"properties": {"k": {"const": "a"}, "x": {}}}, {"properties": {"k": {"const": "b"}, "y": {}}}]},
        {"k": "b", "x": 1, "y": 2},
        {"k": "b", "y": 2},
    ),
    (
        {"properties": {"k": {}}, "if": {"properties": {"k": {"const": "a"}}}, "then": {"properties": {"x": {}}}},
        {"k": "a", "x": 1, "y": 2},
        {"k": "a", "x": 1},
    ),
    (
        {"properties": {"k": {}}, "if": {"properties": {"k": {"const": "a"}}}, "else": {"properties": {"y": {}}}},
        {"k": "b", "x": 1, "y": 2},
        {"k": "b", "y": 2},
    ),
    ({"title": "t", "format": "date", "required": ["a"], "additionalProperties": True}, "x", "x"),
]


@pytest.mark.parametrize(("schema", "value", "kept"), SCHEMA_CASES)
def test_response_schemas_keep_what_they_declare(schema: Json, value: object, kept: object) -> None:
    """A value of another type becomes null, an element that does is dropped, what is not declared goes."""
    endpoint = tables.endpoint(template="/a", responseSchema=tables.struct(root=schema))
    clean = sanitized([endpoint], "/a", {"root": value})
    assert json.dumps(clean) == json.dumps({"root": kept})  # tells true from 1


def test_a_schema_may_refer_to_itself_further_down() -> None:
    """`#` is the schema as a whole, for members that hold more of their kind."""
    schema = tables.struct(reply={"$ref": "#"}, id={"type": "string"})
    endpoint = tables.endpoint(template="/a", responseSchema=schema)
    document = {"id": "1", "text": "x", "reply": {"text": "y", "reply": {"id": "2", "text": "z"}}}
    assert sanitized([endpoint], "/a", document) == {"id": "1", "reply": {"reply": {"id": "2"}}}


KINDS: dict[str, object] = {
    "null": None,
    "blank": " ",
    "text": "dana",
    "number": 5,
    "boolean": True,
    "object": {"x": "dana"},
    "array": ["dana"],
}
FAILS = object()
MATRIX: list[tuple[str, Json, list[object]]] = [
    ("pseudonymize", {}, [None, None, token("dana"), token("5"), FAILS, FAILS, FAILS]),
    (
        "pseudonymize",
        {"encoding": "JSON"},
        ["null", "null", PSEUDONYMS.as_json("dana"), PSEUDONYMS.as_json(5), FAILS, FAILS, FAILS],
    ),
    (
        "pseudonymize",
        {"encoding": "URL_SAFE_HASH_ONLY"},
        [None, None, PSEUDONYMS.hash_only("dana"), PSEUDONYMS.hash_only(5), FAILS, FAILS, FAILS],
    ),
    (
        "pseudonymize",
        {"includeReversible": True, "onlyIfRegex": "x"},
        [None, None, PSEUDONYMS.reversible("dana"), PSEUDONYMS.reversible(5), FAILS, FAILS, FAILS],
    ),
    ("pseudonymizeRegexMatches", {"regex": "d.*"}, [None, None, token("dana"), FAILS, FAILS, FAILS, FAILS]),
    ("pseudonymizeEmailHeader", {}, [None, "", None, FAILS, FAILS, FAILS, FAILS]),
    ("tokenize", {}, [None, " ", PSEUDONYMS.tokenize("dana"), None, None, None, None]),
    ("tokenize", {"regex": "(x)"}, [None, " ", "dana", None, None, None, None]),
    ("redactRegexMatches", {"redactions": ["a"]}, [None, " ", "dn", None, None, None, None]),
    ("redactExceptPhrases", {"allowedPhrases": ["dana"]}, [None, " ", "dana", None, None, None, None]),
    ("redactExceptSubstringsMatchingRegexes", {"exceptions": ["an"]}, [None, " ", "an", None, None, None, None]),
    ("filterTokenByRegex", {"filters": ["dana"]}, [None, " ", "dana", None, None, None, None]),
    ("filterTokenByRegex", {"filters": ["x"], "delimiter": None}, [None, " ", None, None, None, None, None]),
    (
        "textDigest",
        {},
        [None, '{"length":1,"word_count":1}', '{"length":4,"word_count":1}', None, None, None, None],
    ),
    ("hashIp", {}, [None, " ", None, None, None, None, None]),
    ("encryptIp", {}, [None, " ", None, None, None, None, None]),
]


@pytest.mark.parametrize(("method", "options", "results"), MATRIX)
def test_every_transform_on_every_kind_of_value(method: str, options: Json, results: list[object]) -> None:
    """No kind of value passes a transform untouched but blank text; what has no meaning fails the document."""
    entry: tables.Entry = (method, {"jsonPaths": ["$..v"], **options})
    for (name, value), expected in zip(KINDS.items(), results, strict=True):
        if expected is FAILS:
            with pytest.raises(RuleFailed) as caught:
                transformed(entry, document={"v": value})
            failure = caught.value
            assert (failure.reason, failure.method, failure.path) == (Reason.WRONG_TYPE, method, "$..v")
            assert str(failure) == f"wrong_type: unexpected {name} ({method} of $..v)"
        else:
            assert transformed(entry, document={"v": value}) == {"v": expected}, name


def test_redaction_removes_members_and_elements() -> None:
    """A member goes with its name, elements of an array go and the array stays, also when a path finds it twice."""
    document = {"a": None, "b": [1, {"c": 1}, {"c": 2, "d": 3}], "e": {"a": {"a": 1}}, "f": "x"}
    clean = transformed(tables.redact("a", "b[?(@.c == 1)]", "b[0]", "missing", "f.g"), document=document)
    assert clean == {"b": [{"c": 2, "d": 3}], "e": {}, "f": "x"}
    assert transformed(tables.redact("b..c[*]", "b[*]"), document={"b": [[1], {"c": [1, 2]}]}) == {"b": []}


def test_transforms_see_what_the_ones_before_made() -> None:
    """Two transforms of one value work one after the other, and a removed value is not looked at again."""
    first: tables.Entry = ("redactRegexMatches", {"jsonPaths": ["$..v"], "redactions": ["x"]})
    assert transformed(first, tables.token("v"), document={"v": "danax"}) == {"v": token("dana")}
    assert transformed(tables.redact("u"), tables.token("v"), document={"u": {"v": True}, "v": 5}) == {"v": token("5")}
    assert transformed(tables.token("v"), tables.token("v"), document={"v": "dana"}) == {"v": token(token("dana"))}


def test_a_condition_decides_whether_a_transform_runs() -> None:
    """It runs when the condition finds something; a member missing on the way there fails the document."""

    def entry(condition: str) -> tables.Entry:
        return "redact", {"jsonPaths": ["$..v"], "applyOnlyWhen": condition}

    document = {"kind": [{"k": "a"}], "v": 1}
    assert transformed(entry("$..[?(@.k == 'a')]"), document=document) == {"kind": [{"k": "a"}]}
    assert transformed(entry("$.kind[?(@.k == 'b')]"), document=document) == document
    assert transformed(entry(" "), document=document) == {"kind": [{"k": "a"}]}
    with pytest.raises(RuleFailed) as caught:
        transformed(entry("$.other[?(@.k == 'b')]"), document=document)
    assert caught.value.reason is Reason.MISSING_CONDITION


def test_digests_inside_json_text() -> None:
    """The transform looks into text that is JSON; text that is not fails the document."""
    entry: tables.Entry = (
        "textDigest",
        {"jsonPaths": ["$..v"], "isJsonEscaped": True, "jsonPathToProcessWhenEscaped": "$..text", "keywords": ["card"]},
    )
    clean = transformed(entry, document={"v": '{"text": "a card"}'})
    assert json.loads(json.loads(clean["v"])["text"]) == {"keywords": {"card": 1}, "length": 6, "word_count": 2}
    for text in ("{", "NaN", "[" * 100_000):
        with pytest.raises(RuleFailed) as caught:
            transformed(entry, document={"v": text})
        assert caught.value.reason in {Reason.NOT_JSON, Reason.TOO_DEEP}


def test_input_that_is_pseudonymized_already_is_refused() -> None:
    """A token where an identifier belongs fails the document, unless hashing it again is asked for."""
    done, sealed = token("dana@example.org"), PSEUDONYMS.reversible(USER_ID)
    regex: tables.Entry = ("pseudonymizeRegexMatches", {"jsonPaths": ["$..v"], "regex": "smtp:(.*)"})
    for entry, value in (
        (tables.token("v"), done),
        (tables.as_json("v"), sealed),
        (tables.tokenize("v"), sealed),
        (regex, f"smtp:{done}"),
    ):
        with pytest.raises(RuleFailed) as caught:
            transformed(entry, document={"v": value})
        assert caught.value.reason is Reason.ALREADY_PSEUDONYMIZED
        assert "t~" not in str(caught.value)
    assert transformed(tables.token("v"), document={"v": done}, refuse_pseudonyms=False) == {"v": token(done)}
    assert transformed(tables.redact("w"), document={"v": done}) == {"v": done}


def test_a_record_that_fails_is_left_out_and_counted() -> None:
    """The others are sanitized; nothing of the failing one is seen."""
    rules = rules_of([tables.endpoint(tables.token("mail"), template="/a")])
    records = [{"mail": "dana@example.org"}, {"mail": True}, {"mail": [1]}, {"mail": None}, 5]
    result = RowEngine(rules, PSEUDONYMS).sanitize_records(rules.endpoints[0], records)
    assert result.rows == [{"mail": token("dana@example.org")}, {"mail": None}, 5]
    assert result.rejected == {Reason.WRONG_TYPE: 2}


def test_a_record_removed_by_the_schema_is_counted() -> None:
    """An element the schema has no use for is not silently lost."""
    rules = rules_of([tables.endpoint(template="/a", responseSchema=tables.listing("Drive"))])
    result = RowEngine(rules, PSEUDONYMS).sanitize_records(rules.endpoints[0], [{"id": "b!"}, "x"])
    assert result.rows == [{"id": "b!"}]
    assert result.rejected == {Reason.REMOVED_BY_SCHEMA: 1}


@pytest.mark.parametrize(
    ("transform", "left"),
    [
        (("redact", {"jsonPaths": ["$.mail"]}), {"kind": "x"}),
        (("redact", {"jsonPaths": ["$['mail', 'kind']"]}), {}),
        (("redact", {"jsonPaths": ["$.value[*].mail"]}), {"kind": "x"}),
        (("redact", {"jsonPaths": ["$..mail"], "applyOnlyWhen": "$[?(@.kind == 'x')]"}), {"kind": "x"}),
        (("pseudonymize", {"jsonPaths": ["$.mail"]}), {"mail": token("dana"), "kind": "x"}),
        (("pseudonymize", {"jsonPaths": ["$..mail"]}), {"mail": token("dana"), "kind": "x"}),
    ],
)
def test_a_path_from_the_root_may_speak_of_a_record(transform: tables.Entry, left: Json) -> None:
    """An endpoint for a single object names its members from the root; a record is treated once all the same."""
    rules = rules_of([tables.endpoint(transform, template="/v1.0/users/{id}/mailboxSettings")])
    result = RowEngine(rules, PSEUDONYMS).sanitize_records(rules.endpoints[0], [{"mail": "dana", "kind": "x"}])
    assert result.rows == [left]


def test_a_schema_may_be_of_a_record_alone() -> None:
    """As an endpoint for a single object has it; a record it has no use for is counted."""
    schema = {"type": "object", "properties": {"id": {"type": "string"}}}
    rules = rules_of([tables.endpoint(template="/a/{id}", responseSchema=schema)])
    result = RowEngine(rules, PSEUDONYMS).sanitize_records(rules.endpoints[0], [{"id": "b", "name": "c"}, 5])
    assert result.rows == [{"id": "b"}]
    assert result.rejected == {Reason.REMOVED_BY_SCHEMA: 1}


@pytest.mark.parametrize("path", ["$..[?(@.kind != 'y')]", "$.*", "$.value", "$.value[*]"])
def test_rules_that_leave_nothing_of_a_record_are_counted(path: str) -> None:
    """Also those that would remove the answer itself, which no proxy can do either."""
    rules = rules_of([tables.endpoint(("redact", {"jsonPaths": [path]}), template="/a")])
    result = RowEngine(rules, PSEUDONYMS).sanitize_records(rules.endpoints[0], [{"kind": "x"}])
    assert result.rows == []
    assert result.rejected == {Reason.REMOVED_BY_RULE: 1}


def test_an_answer_cannot_be_removed_as_a_whole() -> None:
    """A rule that selects the root fails the document."""
    with pytest.raises(RuleFailed) as caught:
        transformed(("redact", {"jsonPaths": ["$..[?(@.kind != 'y')]"]}), document={"kind": "x"})
    assert caught.value.reason is Reason.REMOVED_BY_RULE


def test_rules_that_need_a_key_are_refused_without_one() -> None:
    """Every endpoint that makes reversible tokens is named before anything is read."""
    rules = rules_of(tables.TEAMS_NO_USER_IDS)
    with pytest.raises(ConfigurationError, match=r"tokenize needs privacy\.encryption_key"):
        RowEngine(rules, Pseudonymizer(salt="acme-exporter-vector-salt"))


def test_documents_are_bounded_in_depth_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nesting and the number of values have limits, which no record of Graph comes near."""
    deep: object = "x"
    for _ in range(MAX_DEPTH - 2):
        deep = [deep]
    assert transformed(tables.redact("v"), document={"w": deep}) == {"w": deep}
    with pytest.raises(RuleFailed) as caught:
        transformed(tables.redact("v"), document={"w": [deep]})
    assert caught.value.reason is Reason.TOO_DEEP
    monkeypatch.setattr("pipeline.sanitize.row_engine.MAX_VALUES", 10)
    with pytest.raises(RuleFailed) as caught:
        transformed(tables.redact("v"), document=[0] * 10)
    assert caught.value.reason is Reason.TOO_LARGE


NAMES = [
    "value",
    "mail",
    "id",
    "user",
    "displayName",
    "proxyAddresses",
    "emailAddress",
    "subject",
    "body",
    "content",
    "+x",
]
SECRET = "quetzalcoatl"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)
FILES = {
    name: rules_of(getattr(tables, name))
    for name in (
        "ENTRA_ID_NO_ORIGINAL",
        "OUTLOOK_CAL_NO_APP_IDS",
        "TEAMS_NO_USER_IDS",
        "ONEDRIVE",
        "COPILOT_NO_USER_IDS",
    )
}


@given(JSON, st.sampled_from(sorted(FILES)))
def test_any_document_is_sanitized_or_refused(document: object, name: str) -> None:
    """Every endpoint of every file gives a JSON document, or a failure that shows no value."""
    rules = FILES[name]
    engine = RowEngine(rules, PSEUDONYMS)
    for endpoint in rules.endpoints:
        try:
            clean = engine.sanitize(endpoint, copy.deepcopy(document))
        except RuleFailed as failure:
            shown = str(failure)
        else:
            shown = ""
            json.dumps(clean)
        assert SECRET not in shown


@given(JSON)
def test_identifiers_never_survive_where_a_rule_names_them(document: object) -> None:
    """After the users' rules no `mail` holds anything but null, a token, or the text that stands for one."""
    rules = FILES["ENTRA_ID_NO_ORIGINAL"]
    try:
        clean = RowEngine(rules, PSEUDONYMS).sanitize(rules.endpoints[0], copy.deepcopy(document))
    except RuleFailed:
        return
    pending = [clean]
    while pending:
        current = pending.pop()
        if isinstance(current, dict):
            assert "displayName" not in current
            mail = current.get("mail", "null")
            assert mail == "null" or set(json.loads(str(mail))) <= {"domain", "hash"}
        if isinstance(current, (dict, list)):
            pending.extend(current.values() if isinstance(current, dict) else current)
