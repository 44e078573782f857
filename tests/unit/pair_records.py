"""Invented records for the before/after pairs: one of each dataset with a value in every property the rules name, and
hand-made ones for what the rules treat in special ways."""

from typing import Any

from pipeline.sanitize.rules import DatasetRules, parse_path

PERSON = "3f2b1c00-aaaa-4bbb-8ccc-0123456789ab"
OTHER = "0d9e8f7a-1111-4222-9333-ba9876543210"
TENANT = "7c1d9f10-2222-4333-8444-aabbccddeeff"
MEETING = "19:meeting_MzQ1NjdhYmM@thread.v2"
JOIN_URL = (
    "https://teams.microsoft.com/l/meetup-join/19%3ameeting_MzQ1NjdhYmM%40thread.v2/0"
    f"?context=%7b%22Tid%22%3a%22{TENANT}%22%2c%22Oid%22%3a%22{PERSON}%22%7d"
)

# What a property of this name holds; names not listed here get a word that shows where it came from.
_BY_NAME: dict[str, object] = {
    "address": "Dana.Fox@Zoo.example.org",
    "mail": "dana.fox@zoo.example.org",
    "email": "dana.fox@zoo.example.org",
    "emailAddress": "dana.fox@zoo.example.org",
    "userPrincipalName": "dana.fox@zoo.example.org",
    "onPremisesUserPrincipalName": "dfox@zoo.internal.example.org",
    "issuerAssignedId": "dana.fox@partner.example.net",
    "otherMails": "dana+private@example.net",
    "proxyAddresses": "SMTP:Dana.Fox@zoo.example.org",
    "imAddresses": "dana.fox@zoo.example.org",
    "employeeId": "10042",
    "displayName": "Dana Fox",
    "internetMessageId": "<c0ffee.42@mail.zoo.example.org>",
    "chatId": f"19:{PERSON}_{OTHER}@unq.gbl.spaces",
    "channelId": "19:a1b2c3@thread.tacv2",
    "threadId": MEETING,
    "joinUrl": JOIN_URL,
    "joinWebUrl": JOIN_URL,
    "onlineMeetingUrl": JOIN_URL,
    "subject": "Weekly Focus Time: planning the aviary",
    "webLink": "https://outlook.office365.com/owa/?ItemID=AAMkAGI2TG93AAA%3D",
    "webUrl": f"https://teams.microsoft.com/l/team/19%3aa1b2c3%40thread.tacv2/conversations?groupId={OTHER}",
    "callerNumber": "+12065550***",
    "calleeNumber": "+12065551***",
    "ipAddress": "192.0.2.7",
    "categories": "Aviary",
    "department": "Aviary",
    "content": "See https://zoo.zoom.us/j/123?x=1 and call +1 206 555 0100",
    "locationUri": "aviary@zoo.example.org",
    "uniqueId": "aviary@zoo.example.org",
    "locationEmailAddress": "aviary@zoo.example.org",
    "iCalUId": "040000008200E00074C5B7101A82E0",
}
_IDS = {"mailbox": "AAMkAGI2TG93AAAAAAEMAAA=", "guid": PERSON}

EXTRA: dict[str, list[dict[str, Any]]] = {
    "entra_users": [
        {
            "id": PERSON,
            "userPrincipalName": "dana_x.net#EXT#@zoo.onmicrosoft.com",
            "mail": "Dana Fox <dana@example.org>",
            "otherMails": ["d.ana@example.org", None, ""],
            "proxyAddresses": ["SMTP:Dana@Example.org", "smtp:d@example.org", "SIP:dana@example.org", "X500:/o=Org"],
            "employeeId": "dana@example.org",
            "department": "ask dana@example.org",
            "city": "+1 206 555 0100",
            "businessPhones": ["+1 206 555 0100"],
            "newProperty": {"mail": "dana@example.org"},
        },
        {"id": OTHER},
    ],
    "entra_groups": [{"id": OTHER, "mail": "zoo-keepers@zoo.example.org", "displayName": "Keepers of Dana"}],
    "calendar_events": [
        {"id": "e1", "subject": "1:1 Ann / Bo", "start": {"dateTime": "2026-03-02T09:00:00.1234567"}},
        {"id": "e2", "subject": "Project X", "onlineMeetingUrl": "https://zoo.zoom.us/j/1?pwd=secret&x=1"},
        {"id": "e3", "subject": None, "location": {"displayName": "Room 7", "uniqueId": "room7@zoo.example.org"}},
        {
            "id": "e4",
            "subject": "standup-daily",
            "body": {"contentType": "text", "content": "join https://zoo.zoom.us/j/1?pwd=secret now"},
            "bodyPreview": "join",
        },
    ],
    "teams_chats": [
        {"id": MEETING, "chatType": "meeting", "topic": "Dana's plan"},
        {"id": "48:notes", "chatType": "unknownFutureValue"},
    ],
    "teams_chat_messages": [
        {"id": "1", "chatId": MEETING, "from": {"user": {"id": "+12065550100", "userIdentityType": "phoneUser"}}},
        {"id": "2", "chatId": MEETING, "from": {"user": {"id": "dana@example.org", "displayName": "Dana Fox"}}},
    ],
}  # fmt: skip


def pair_records(rules: DatasetRules) -> list[dict[str, Any]]:
    """The records of a dataset whose sanitized forms are compared."""
    return [_full(rules), *EXTRA.get(rules.dataset, [])]


def _full(rules: DatasetRules) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for rule in rules.fields:
        _put(record, rule.path, _value(rule.path, rule.type))
    if rules.dataset == "entra_groups":
        record["mail"] = "keepers@zoo.example.org"  # a group's own address, not a person's
    for path in rules.dropped:
        name = parse_path(path)[-1].name
        _put(record, path, _BY_NAME.get(name, f"dropped {name}"))
    return record


def _value(path: str, type_: str) -> object:
    name = parse_path(path)[-1].name
    fixed: dict[str, object] = {
        "boolean": True, "int32": 7, "int64": 7_000_000_000, "double": 1.5, "guid": PERSON, "date": "2026-03-02",
        "instant": "2026-03-02T09:00:00.1234567Z", "local-instant": "2026-03-02T09:00:00.0000000",
        "duration": "PT30M", "time-of-day": "09:00:00.0000000", "enum": "normal",
    }  # fmt: skip
    if type_ in fixed:
        return fixed[type_]
    if name in _BY_NAME:
        return _BY_NAME[name]
    return _IDS["mailbox"] if name.lower().endswith("id") else f"some {name}"


def _put(record: dict[str, Any], path: str, value: object) -> None:
    *steps, last = parse_path(path)
    for step in steps:
        inner = record.setdefault(step.name, [{}] if step.many else {})
        record = inner[0] if step.many else inner
    record.setdefault(last.name, [value] if last.many else value)
