"""The JSON of call records, their participants, sessions and segments.

https://learn.microsoft.com/graph/api/resources/callrecords-callrecord (checked 2026-11). `organizer` and
`participants` have been empty since June 2026; `organizer_v2` always comes, `participants_v2` when asked for.
Identities are sent with kinds that v1.0 does not know, and with nulls for those that do not apply.
"""

from dataclasses import dataclass
from typing import Any

from connectors.emulator.calls import Call, digits_of
from connectors.emulator.events import join_url
from connectors.emulator.people import OUTSIDERS, People, Person
from connectors.emulator.ticks import MINUTE, SECOND, to_text
from connectors.emulator.words import Vocabulary

OUTSIDE_PHONES = tuple(f"+1555{7_000_000 + number}" for number in range(40))
_OTHER_TENANT = "0f0f0f0f-1111-4222-a333-444444444444"
_NOBODY: dict[str, Any] = dict.fromkeys(
    (
        "acsApplicationInstance",
        "acsUser",
        "application",
        "applicationInstance",
        "assertedIdentity",
        "azureCommunicationServicesUser",
        "device",
        "encrypted",
        "guest",
        "onPremises",
        "phone",
        "spoolApplicationInstance",
        "spoolUser",
        "user",
    )
)
_ENDPOINT = "#microsoft.graph.callRecords.{}Endpoint"
_AGENT = "#microsoft.graph.callRecords.{}UserAgent"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """What the JSON depends on besides the call."""

    people: People
    words: Vocabulary
    tenant_id: str
    now: int


@dataclass(frozen=True, slots=True)
class Participant:
    """Somebody in a call: the id that Graph gives, and the identity set."""

    id: str
    identity: dict[str, Any]


def render_call(call: Call, context: CallContext) -> dict[str, Any]:
    """The record without relations, as a list shows it."""
    versions = call.versions
    version = call.version_at(context.now)
    digits = digits_of(call)
    return {
        "id": call.id,
        "version": version,
        "type": "peerToPeer" if call.thread is None else "groupCall",
        "modalities": _modalities(call),
        "lastModifiedDateTime": to_text(versions[max(version, 1) - 1], 7),
        "startDateTime": to_text(call.start, digits),
        "endDateTime": to_text(call.end, digits),
        "joinWebUrl": None if call.thread is None else join_url(call.thread, context.tenant_id),
        "organizer": None,
        "participants": [],
        "organizer_v2": _render(participants(call, context, whole=True)[0]),
    }


def participants(call: Call, context: CallContext, *, whole: bool = False) -> list[Participant]:
    """Who took part, the organizer first; an earlier version of the record knows only some of them."""
    colleagues = [_colleague(person, context) for person in (call.organizer, *call.others)]
    everybody = colleagues + [_guest(call, number, context) for number in call.guests]
    known, versions = max(call.version_at(context.now), 1), len(call.versions)
    return everybody if whole else everybody[: max(1, len(everybody) * known // versions)]


def render_participants(call: Call, context: CallContext) -> list[dict[str, Any]]:
    """The collection participants_v2."""
    return [_render(participant) for participant in participants(call, context)]


def render_sessions(call: Call, context: CallContext, *, with_segments: bool) -> list[dict[str, Any]]:
    """One leg for each participant of a group call, one in all between two people."""
    present = participants(call, context)
    if call.thread is None:
        callee = _person_endpoint(present[-1], call, context)
        return [_session(call, call.id, present[0], callee, context, with_segments=with_segments)]
    service = {
        "@odata.type": _ENDPOINT.format("service"),
        "userAgent": {
            "@odata.type": _AGENT.format("service"),
            "headerValue": "CC/1.0",
            "applicationVersion": None,
            "role": "mediaController",
        },
    }
    return [
        _session(call, _numbered(call.id, number), caller, service, context, with_segments=with_segments)
        for number, caller in enumerate(present)
    ]


def _modalities(call: Call) -> list[str]:
    return [["audio"], ["audio", "video"], ["audio", "videoBasedScreenSharing"]][call.noise[1] % 3]


def _render(participant: Participant) -> dict[str, Any]:
    return {"id": participant.id, "identity": participant.identity, "administrativeUnitInfos": []}


def _colleague(person: Person, context: CallContext) -> Participant:
    user = {
        "id": person.id,
        "displayName": person.display_name,
        "userPrincipalName": person.upn,
        "tenantId": context.tenant_id,
    }
    return Participant(person.id, {**_NOBODY, "endpointType": "default", "user": user})


def _guest(call: Call, number: int, context: CallContext) -> Participant:
    """An outsider: by telephone, as a guest, with an account elsewhere, or from a calling service."""
    person = context.people.outsider(number % OUTSIDERS)["emailAddress"]
    guid = _numbered(call.id, 10_000 + number)
    match (number + call.noise[8]) % 4:
        case 0:
            phone = OUTSIDE_PHONES[number % len(OUTSIDE_PHONES)]
            return Participant(phone, {**_NOBODY, "phone": {"id": phone, "displayName": None, "tenantId": None}})
        case 1:
            guest = {"id": guid, "displayName": person["name"], "email": person["address"]}
            return Participant(guid, {**_NOBODY, "guest": guest})
        case 2:
            user = {"id": guid, "displayName": person["name"], "tenantId": _OTHER_TENANT}
            return Participant(guid, {**_NOBODY, "user": user})
        case _:
            user = {"id": f"8:acs:{guid}", "displayName": person["name"]}
            return Participant(f"8:acs:{guid}", {**_NOBODY, "acsUser": user, "azureCommunicationServicesUser": user})


def _session(
    call: Call,
    session_id: str,
    caller: Participant,
    callee: dict[str, Any],
    context: CallContext,
    *,
    with_segments: bool,
) -> dict[str, Any]:
    noise, digits = call.noise, digits_of(call)
    start, end = call.start + noise[17] * SECOND // 100, call.end
    record: dict[str, Any] = {
        "id": session_id,
        "modalities": _modalities(call),
        "startDateTime": to_text(start, digits),
        "endDateTime": to_text(end, digits),
        "isTest": False,
        "failureInfo": {"stage": "midcall", "reason": "Media path failed"} if noise[18] < 20 else None,
        "caller": _person_endpoint(caller, call, context),
        "callee": callee,
    }
    if with_segments:
        record["segments"] = [
            _segment(number, record, start, end, call, context) for number in range(1 + noise[19] % 2)
        ]
    return record


def _segment(
    number: int, session: dict[str, Any], start: int, end: int, call: Call, context: CallContext
) -> dict[str, Any]:
    return {
        "id": session["id"] if number == 0 else _numbered(session["id"], 500_000 + number),
        "startDateTime": to_text(start, 7),
        "endDateTime": to_text(max(end - number * MINUTE, start), 7),
        "failureInfo": None,
        "caller": session["caller"],
        "callee": session["callee"],
        "media": [
            {
                "label": "main-audio",
                "callerDevice": {"captureDeviceName": context.words.files[call.noise[20] % 40]},
                "callerNetwork": {
                    "ipAddress": f"10.{call.noise[21]}.{call.noise[22]}.7",
                    "macAddress": "00-15-5D-00-00-01",
                    "linkSpeed": 1_000_000_000,
                },
                "streams": [{"streamDirection": "callerToCallee", "averageJitter": "PT0.016S"}],
            }
        ],
    }


def _person_endpoint(participant: Participant, call: Call, context: CallContext) -> dict[str, Any]:
    user = participant.identity["user"]
    return {
        "@odata.type": _ENDPOINT.format("participant"),
        "name": context.words.files[call.noise[23] % 40],
        "cpuName": "GenuineProcessor",
        "cpuCoresCount": 8,
        "cpuProcessorSpeedInMhz": 2_400,
        "identity": {"user": user, "phone": participant.identity["phone"]},
        "associatedIdentity": None
        if user is None
        else {"@odata.type": "#microsoft.graph.callRecords.userIdentity", **user},
        "userAgent": {
            "@odata.type": _AGENT.format("client"),
            "headerValue": "Teams/24",
            "applicationVersion": "24.1",
            "platform": "windows",
            "productFamily": "teams",
        },
        "feedback": {
            "rating": "good",
            "text": context.words.sentences[call.noise[24] % 240],
            "tokens": {},
        },
    }


def _numbered(guid: str, number: int) -> str:
    """Another GUID for a part of the same call."""
    return f"{int(guid[:8], 16) ^ (number + 1):08x}{guid[8:]}"
