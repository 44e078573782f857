"""The shipped privacy rules decide about every property Microsoft declares.

The type tables in `tests/golden/graph-metadata/rules-types.json` are reduced from Microsoft's own metadata of
Graph v1.0. What is not in it is listed here: the rows of the two phone call logs
(https://learn.microsoft.com/graph/api/resources/callrecords-pstncalllogrow and
.../callrecords-directroutinglogrow, with what beta adds) and the preview of a chat (.../chatmessageinfo),
checked 2026-11.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULE_SETS: dict[str, dict[str, Any]] = {
    dataset: body
    for file in (ROOT / "config" / "rules").glob("*.yaml")
    for dataset, body in yaml.safe_load(file.read_text(encoding="utf-8"))["datasets"].items()
}
METADATA = json.loads((ROOT / "tests" / "golden" / "graph-metadata" / "rules-types.json").read_text(encoding="utf-8"))
GRAPH = "microsoft.graph."
DURATION_SOURCE = GRAPH + "callRecords.pstnCallDurationSource"
ENUMS = {*METADATA["enums"], DURATION_SOURCE}
ADMINISTRATIVE_UNITS = f"Collection({GRAPH}callRecords.administrativeUnitInfo)"
TYPES: dict[str, dict[str, Any]] = METADATA["types"] | {
    # What v1.0 and beta have in common; beta alone has the last two.
    GRAPH + "callRecords.callLogRow": {
        "properties": {
            **dict.fromkeys(("id", "userDisplayName", "userId", "userPrincipalName"), "Edm.String"),
            "administrativeUnitInfos": ADMINISTRATIVE_UNITS,
            "otherPartyCountryCode": "Edm.String",
        }
    },
    GRAPH + "callRecords.pstnCallLogRow": {
        "base": GRAPH + "callRecords.callLogRow",
        "properties": {
            **dict.fromkeys(
                (
                    "calleeNumber",
                    "callerNumber",
                    "callId",
                    "callType",
                    "conferenceId",
                    "currency",
                    "destinationContext",
                    "destinationName",
                    "inventoryType",
                    "licenseCapability",
                    "operator",
                    "tenantCountryCode",
                    "usageCountryCode",
                    "clientLocalIpV4Address",
                    "clientLocalIpV6Address",
                    "clientPublicIpV4Address",
                    "clientPublicIpV6Address",
                ),
                "Edm.String",
            ),
            "callDurationSource": DURATION_SOURCE,
            "charge": "Edm.Double",
            "connectionCharge": "Edm.Double",
            "duration": "Edm.Int32",
            "endDateTime": "Edm.DateTimeOffset",
            "startDateTime": "Edm.DateTimeOffset",
        },
    },
    GRAPH + "callRecords.directRoutingLogRow": {
        "base": GRAPH + "callRecords.callLogRow",
        "properties": {
            **dict.fromkeys(
                (
                    "callType",
                    "calleeNumber",
                    "callerNumber",
                    "correlationId",
                    "finalSipCodePhrase",
                    "mediaPathLocation",
                    "signalingLocation",
                    "transferorCorrelationId",
                    "trunkFullyQualifiedDomainName",
                    "userCountryCode",
                ),
                "Edm.String",
            ),
            **dict.fromkeys(("callEndSubReason", "duration", "finalSipCode"), "Edm.Int32"),
            **dict.fromkeys(
                ("endDateTime", "failureDateTime", "inviteDateTime", "startDateTime"), "Edm.DateTimeOffset"
            ),
            "mediaBypassEnabled": "Edm.Boolean",
            "successfulCall": "Edm.Boolean",
        },
    },
    GRAPH + "chatMessageInfo": {
        "properties": {
            "body": GRAPH + "itemBody",
            "createdDateTime": "Edm.DateTimeOffset",
            "eventDetail": GRAPH + "eventMessageDetail",
            "from": GRAPH + "chatMessageFromIdentitySet",
            "id": "Edm.String",
            "isDeleted": "Edm.Boolean",
            "messageType": GRAPH + "chatMessageType",
        }
    },
}
ROOTS = {
    "entra_users": "user",
    "entra_groups": "group",
    "mailbox_settings": "mailboxSettings",
    "mail_messages": "message",
    "mail_contacts": "contact",
    "calendar_events": "event",
    "teams_teams": "team",
    "teams_channels": "channel",
    "teams_channel_messages": "chatMessage",
    "teams_chats": "chat",
    "teams_chat_messages": "chatMessage",
    "teams_call_records": "callRecords.callRecord",
    "teams_pstn_calls": "callRecords.pstnCallLogRow",
    "teams_direct_routing_calls": "callRecords.directRoutingLogRow",
    "teams_online_meetings": "onlineMeeting",
    "teams_attendance_reports": "meetingAttendanceReport",
}
# Datasets whose records are of no one type.
MIXED_RECORDS = {"entra_group_members": "test_members_of_groups_are_references_only"}
# Relations an export asks Graph to expand; of the directory's others only `manager` would be worth its price.
EXPANDED = {
    "members", "lastMessagePreview", "organizer_v2", "participants_v2", "sessions", "segments",
    "attendanceRecords",
}  # fmt: skip
DIRECTORY = {"entra_users", "entra_groups"}
# Declared types whose derived kinds occur in one list together.
MIXED = {
    "message", "timeZoneBase", "conversationMember", "eventMessageDetail", "callRecords.endpoint",
    "callRecords.userAgent", "serviceProvisioningError",
}  # fmt: skip
# Which kinds of identity occur under a name; the metadata declares only the common base.
CALLER = ["userIdentity", "callRecords.userIdentity", "communicationsUserIdentity"]
CALL_IDENTITIES = {
    "user": CALLER,
    "associatedIdentity": CALLER,
    "guest": ["communicationsGuestIdentity"],
    "application": ["communicationsApplicationIdentity"],
    "applicationInstance": ["communicationsApplicationInstanceIdentity"],
    "identity": [
        *CALLER, "teamworkUserIdentity", "communicationsGuestIdentity",
        "azureCommunicationServicesUserIdentity",
    ],
}  # fmt: skip
CHAT_IDENTITIES = {"user": ["teamworkUserIdentity"], "application": ["teamworkApplicationIdentity"]}

SCALARS = {
    "Edm.String": {"string", "guid"},
    "Edm.Binary": {"string"},
    "Edm.Guid": {"guid"},
    "Edm.Boolean": {"boolean"},
    "Edm.Int32": {"int32"},
    "Edm.Int64": {"int64"},
    "Edm.Double": {"double"},
    "Edm.DateTimeOffset": {"instant"},
    "Edm.Date": {"date"},
    "Edm.TimeOfDay": {"time-of-day"},
    "Edm.Duration": {"duration"},
}
# Properties seen in real responses, or asked for, that the metadata does not declare.
UNDECLARED_FIELDS = {
    ("entra_group_members", "userType"),
    ("teams_channel_messages", "from.user.tenantId"),
    ("teams_chat_messages", "from.user.tenantId"),
    ("teams_attendance_reports", "meetingId"),
}


class Leaf(NamedTuple):
    """A property Microsoft declares: where it is, what it holds, and whether a relation leads there."""

    path: str
    type: str
    relation: bool


def test_every_dataset_is_compared_with_its_type() -> None:
    """A dataset that is new in the rules has to be named here, or nothing below would look at it."""
    assert {*ROOTS, *MIXED_RECORDS} == set(RULE_SETS)
    assert all(callable(globals()[name]) for name in MIXED_RECORDS.values())


@pytest.mark.parametrize("dataset", ROOTS)
def test_every_declared_property_is_decided(dataset: str) -> None:
    """Each property, down to the leaf, is a field or lies under a dropped path."""
    body = RULE_SETS[dataset]
    undecided = {
        leaf.path
        for leaf in _leaves(dataset)
        if leaf.path not in body["fields"]
        and not _is_dropped(leaf.path, body["dropped"])
        and not (leaf.relation and dataset in DIRECTORY)
    }
    assert undecided == set()


@pytest.mark.parametrize("dataset", ROOTS)
def test_fields_have_the_declared_type(dataset: str) -> None:
    """A column's type is the one Microsoft declares, so that no value is rejected for its form."""
    fields = RULE_SETS[dataset]["fields"]
    wrong = {
        leaf.path: fields[leaf.path]["type"]
        for leaf in _leaves(dataset)
        if leaf.path in fields and fields[leaf.path]["type"] not in _allowed_types(leaf)
    }
    assert wrong == {}


@pytest.mark.parametrize("dataset", ROOTS)
def test_no_field_is_misspelt(dataset: str) -> None:
    """Each field exists in the metadata, or is known to be real although undeclared."""
    declared = {leaf.path for leaf in _leaves(dataset)}
    unknown = {
        path
        for path in RULE_SETS[dataset]["fields"]
        if path not in declared and (dataset, path) not in UNDECLARED_FIELDS and "@odata.type" not in path
    }
    assert unknown == set()


def test_members_of_groups_are_references_only() -> None:
    """Whatever kind a member is, only its id and kind leave; all else is decided as dropped."""
    body = RULE_SETS["entra_group_members"]
    assert list(body["fields"]) == ["@odata.type", "id", "userType"]
    names = {name for kind in ("user", "group", "directoryObject") for name in _properties(GRAPH + kind)}
    assert names - set(body["fields"]) - set(body["dropped"]) == set()


def test_manager_is_decided() -> None:
    """The one relation of users that was weighed is decided with its reason."""
    assert "page size" in RULE_SETS["entra_users"]["dropped"]["manager"]


def _leaves(dataset: str) -> Iterator[Leaf]:
    return _below(dataset, GRAPH + ROOTS[dataset], "", "")


def _below(dataset: str, type_name: str, prefix: str, name: str) -> Iterator[Leaf]:
    """The declared leaves under one property, not looking into what is dropped as a whole."""
    dropped = RULE_SETS[dataset]["dropped"]
    for kind in _kinds(dataset, type_name, name):
        relations = TYPES[kind].get("navigation", {})
        for child, declared in {**TYPES[kind]["properties"], **relations}.items():
            inner = declared.removeprefix("Collection(").removesuffix(")")
            path = f"{prefix}{child}" + ("[]" if inner != declared else "")
            is_relation = child in relations and child not in EXPANDED
            if inner not in TYPES or is_relation or _is_dropped(path, dropped):
                yield Leaf(path, declared if inner == declared else inner, is_relation)
            elif inner == GRAPH + "dateTimeTimeZone":
                yield from (
                    Leaf(f"{path}.dateTime", "local", False),
                    Leaf(f"{path}.timeZone", "Edm.String", False),
                )
            else:
                yield from _below(dataset, inner, f"{path}.", child)


def _kinds(dataset: str, type_name: str, name: str) -> list[str]:
    """The type with its bases, and the derived types whose properties can turn up in its place."""
    short = type_name.removeprefix(GRAPH)
    kinds = [type_name]
    if short in MIXED:
        kinds += _derived(type_name)
    elif short == "identitySet" and "messages" not in dataset:
        kinds.append(GRAPH + "communicationsIdentitySet")
    elif short == "identity":
        table = CHAT_IDENTITIES if "chat" in dataset or "messages" in dataset else CALL_IDENTITIES
        kinds += [GRAPH + kind for kind in table.get(name, [])]
    return list(dict.fromkeys(kind for start in kinds for kind in _with_bases(start)))


def _with_bases(type_name: str | None) -> Iterator[str]:
    while type_name:
        yield type_name
        type_name = TYPES[type_name].get("base")


def _derived(type_name: str) -> list[str]:
    children = [name for name, body in TYPES.items() if body.get("base") == type_name]
    return [*children, *(name for child in children for name in _derived(child))]


def _properties(type_name: str) -> set[str]:
    return {name for kind in _with_bases(type_name) for name in TYPES[kind]["properties"]}


def _names(path: str) -> list[str]:
    return re.findall(r"@odata\.\w+|[^.]+", path)


def _is_dropped(path: str, dropped: Mapping[str, str]) -> bool:
    names = _names(path)
    return any(".".join(names[:end]).removesuffix("[]") in dropped for end in range(1, len(names) + 1))


def _allowed_types(leaf: Leaf) -> set[str]:
    if leaf.type == "local":
        return {"local-instant"}
    return {"enum"} if leaf.type in ENUMS else SCALARS[leaf.type]
