"""Calls with the telephone network: the rows of two logs, and their JSON.

https://learn.microsoft.com/graph/api/resources/callrecords-pstncalllogrow and
https://learn.microsoft.com/graph/api/resources/callrecords-directroutinglogrow (checked 2026-11). Rows appear within
half a day and do not change. A row of a bot has no user.
"""

from dataclasses import dataclass, field
from typing import Any

from connectors.emulator.call_records import OUTSIDE_PHONES
from connectors.emulator.clock import Clock
from connectors.emulator.noise import Noise
from connectors.emulator.people import People, Person
from connectors.emulator.profile import NOT_HUMAN, MailboxKind, TenantProfile
from connectors.emulator.rhythm import Rhythm
from connectors.emulator.ticks import MINUTE, NEVER, SECOND, to_text


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneCall:
    """One row of a log."""

    noise: bytes = field(repr=False)
    person: Person = field(repr=False)
    start: int
    end: int
    is_direct: bool  # through a session border controller of the organisation's own

    @property
    def shown_from(self) -> int:
        """When the row appears."""
        return self.end + (1 + self.noise[10]) * 2 * MINUTE


class PhoneCalls:
    """All calls with the telephone network."""

    def __init__(self, noise: Noise, people: People, profile: TenantProfile, *, clock: Clock, first_ticks: int) -> None:
        self._noise = noise
        self._people = people
        self._clock = clock
        self._first_ticks = first_ticks
        self._callers = people.numbers_without(MailboxKind.GUEST, *NOT_HUMAN)
        self._rhythm = Rhythm(profile.phone_calls_per_week) if profile.phone_calls_per_week else None

    def shown(self, start: int, end: int, *, is_direct: bool) -> list[PhoneCall]:
        """The rows of one log whose calls began in [start, end) ticks, as far as they have appeared, by start."""
        now, start = self._clock.ticks, max(start, self._first_ticks)
        end = min(end, now)
        if self._rhythm is None or start >= end:
            return []
        calls = []
        for slot in range(self._rhythm.slot_at(start // SECOND), self._rhythm.slot_at(end // SECOND) + 1):
            for number in self._callers:
                call = self._call(slot, number, self._rhythm)
                if call.is_direct is is_direct and start <= call.start < end and call.shown_from <= now:
                    calls.append(call)
        return sorted(calls, key=lambda call: (call.start, call.noise))

    def _call(self, slot: int, number: int, rhythm: Rhythm) -> PhoneCall:
        noise = self._noise.bytes("phone-call", slot, number)
        start = rhythm.start_s(slot) * SECOND + int.from_bytes(noise[2:8]) % (rhythm.width_s(slot) * SECOND)
        return PhoneCall(
            noise=noise,
            person=self._people.person(number),
            start=start,
            end=start + noise[9] * 4 * SECOND,
            is_direct=noise[0] < 100,
        )


def render_pstn(call: PhoneCall) -> dict[str, Any]:
    """A row of getPstnCalls."""
    noise, number = call.noise, OUTSIDE_PHONES[call.noise[11] % len(OUTSIDE_PHONES)]
    inward, is_bot = noise[12] % 2 == 0, noise[13] < 20
    return {
        "id": _guid(call, 0),
        "callId": _guid(call, 1),
        **_user(call, is_bot=is_bot),
        "startDateTime": to_text(call.start, 7),
        "endDateTime": to_text(call.end, 7),
        "duration": (call.end - call.start) // SECOND,
        "charge": noise[14] / 100,
        "callType": ("ucap_in" if is_bot else "user_in") if inward else ("ucap_out" if is_bot else "user_out"),
        "currency": "EUR",
        "calleeNumber": call.person.phone if inward else number,
        "callerNumber": number if inward else call.person.phone,
        "usageCountryCode": "DE",
        "tenantCountryCode": "DE",
        "connectionCharge": 0.0,
        "destinationContext": "Domestic" if noise[15] < 128 else "International",
        "destinationName": "Germany" if noise[15] < 128 else "United States",
        "conferenceId": None if not is_bot else f"{int.from_bytes(noise[16:19]) % 10**8:08d}",
        "licenseCapability": "MCOPSTN2",
        "inventoryType": "Subscriber",
        "operator": "Microsoft",
        "callDurationSource": "microsoft",
        "administrativeUnitInfos": [],
        "clientLocalIpV4Address": f"10.{noise[20]}.{noise[21]}.9",
        "otherPartyCountryCode": "US",
    }


def render_direct(call: PhoneCall) -> dict[str, Any]:
    """A row of getDirectRoutingCalls; numbers come partly masked."""
    noise, number = call.noise, OUTSIDE_PHONES[call.noise[11] % len(OUTSIDE_PHONES)]
    failed = noise[12] < 40
    return {
        "id": _guid(call, 0),
        "correlationId": _guid(call, 1),
        **_user(call, is_bot=noise[13] < 20),
        "startDateTime": to_text(call.start, 7),
        "inviteDateTime": to_text(call.start - 2 * SECOND, 7),
        "failureDateTime": to_text(call.end, 7) if failed else NEVER,
        "endDateTime": to_text(call.end, 7),
        "duration": (call.end - call.start) // SECOND,
        "callType": "ByotIn" if noise[12] % 2 == 0 else "ByotOut",
        "successfulCall": not failed,
        "callerNumber": f"{number[:5]}***",
        "calleeNumber": call.person.phone[:7] + "***",
        "mediaPathLocation": "EUWE",
        "signalingLocation": "EUNO",
        "finalSipCode": 487 if failed else 0,
        "callEndSubReason": 540_000 if failed else 0,
        "finalSipCodePhrase": "Request Terminated" if failed else "BYE",
        "trunkFullyQualifiedDomainName": "sbc1.alderbrook.example",
        "mediaBypassEnabled": False,
    }


def _user(call: PhoneCall, *, is_bot: bool) -> dict[str, Any]:
    if is_bot:
        return {"userId": None, "userPrincipalName": None, "userDisplayName": None}
    person = call.person
    return {"userId": person.id, "userPrincipalName": person.upn, "userDisplayName": person.display_name}


def _guid(call: PhoneCall, number: int) -> str:
    text = (call.noise[16:] if number == 0 else call.noise[:16]).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
