"""Online meetings as Teams knows them, and the reports of who attended: model and JSON.

https://learn.microsoft.com/graph/api/resources/onlinemeeting and
https://learn.microsoft.com/graph/api/resources/meetingattendancereport (checked 2026-11).

What holds: a meeting of a calendar, of a meeting chat, or called on the spot has one thread and one join link; a
series has one of both for all its occurrences. It is found by its organizer and by the colleagues it invited, until
it expires. Each time it was held and ended left a report; the reports of a channel's meetings lie together.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from connectors.emulator.call_records import CallContext, Participant, participants
from connectors.emulator.calls import CHANNEL_THREAD, Call, Calls
from connectors.emulator.chats import ChatKind, Chats
from connectors.emulator.clock import Clock
from connectors.emulator.events import is_online, join_url, meeting_thread
from connectors.emulator.meetings import Meetings
from connectors.emulator.people import People, Person
from connectors.emulator.ticks import DAY, MINUTE, SECOND, to_text
from connectors.emulator.words import Vocabulary

REPORTS_KEPT = 50  # the newest; older ones are not listed
_KEPT = 60 * DAY  # after the last time it was planned for
_CHAT_KEPT = 300 * DAY
_PLANNED_AHEAD = 60 * DAY
_REPORT_AFTER = 20 * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineMeeting:
    """One meeting. `kind` is Graph's meetingType."""

    thread: str = field(repr=False)
    kind: str
    organizer: Person = field(repr=False)
    attendees: Sequence[Person] = field(repr=False)
    noise: bytes = field(repr=False)
    created: int
    start: int
    end: int
    expiry: int

    @property
    def id(self) -> str:
        """Base64 of organizer and thread."""
        return b64encode(f"1*{self.organizer.id}*0**{self.thread}".encode()).decode()

    @property
    def is_in_channel(self) -> bool:
        """A meeting of a channel."""
        return self.thread.endswith(CHANNEL_THREAD)


class OnlineMeetings:
    """All online meetings, by the people who can find them."""

    def __init__(
        self, people: People, meetings: Meetings, chats: Chats, calls: Calls, *, clock: Clock, first_ticks: int
    ) -> None:
        self._meetings = meetings
        self._chats = chats
        self._calls = calls
        self._clock = clock
        self._first_ticks = first_ticks
        self._of_person = lru_cache(maxsize=512)(lambda number, now: self._threads_of(people.person(number), now))

    def of(self, person: Person) -> list[OnlineMeeting]:
        """The meetings that this person can find now."""
        now = self._clock.ticks
        found = self._of_person(person.number, now).values()
        return [meeting for meeting in found if meeting.created <= now < meeting.expiry]

    def by_link(self, person: Person, link: str, *, tenant_id: str) -> OnlineMeeting | None:
        """The meeting that the link opens; letter case and encoding count."""
        return next((each for each in self.of(person) if join_url(each.thread, tenant_id) == link), None)

    def by_id(self, person: Person, meeting_id: str) -> OnlineMeeting | None:
        """The meeting of this id."""
        try:
            thread = b64decode(meeting_id, validate=True).decode().rpartition("**")[2]
        except (NotBase64, UnicodeDecodeError):
            return None
        return next((each for each in self.of(person) if each.thread == thread and each.id == meeting_id), None)

    def reports(self, meeting: OnlineMeeting) -> list[Call]:
        """The times the meeting was held of which there is a report by now, the newest first."""
        now = self._clock.ticks
        return [call for call in self._calls.of_thread(meeting.thread) if call.end + _REPORT_AFTER <= now]

    def _threads_of(self, person: Person, now: int) -> Mapping[str, OnlineMeeting]:
        found: dict[str, OnlineMeeting] = {}
        for each in self._meetings.planned_of(person, self._first_ticks - DAY, now + _PLANNED_AHEAD):
            if each.organizer is not None and is_online(each):
                first, last = (each.start, each.end)
                if each.series is not None:
                    first, last = each.series.first_ticks, each.series.last_ticks
                meeting = OnlineMeeting(
                    thread=meeting_thread(each),
                    kind="scheduled" if each.series is None else "recurring",
                    organizer=each.organizer,
                    attendees=each.attendees,
                    noise=each.noise,
                    created=each.created,
                    start=first,
                    end=first + (each.end - each.start),
                    expiry=last + _KEPT,
                )
                found.setdefault(meeting.thread, meeting)
        for chat in self._chats.of_member(person.number):
            if chat.kind is ChatKind.MEETING:
                start, end = chat.created, chat.created + 30 * MINUTE
                found[chat.id] = OnlineMeeting(
                    thread=chat.id,
                    kind="scheduled",
                    organizer=chat.members[0],
                    attendees=chat.members[1:],
                    noise=chat.noise,
                    created=start,
                    start=start,
                    end=end,
                    expiry=end + _CHAT_KEPT,
                )
        for call in self._calls.spontaneous():
            if call.thread is not None and person.number in {each.number for each in (call.organizer, *call.others)}:
                found[call.thread] = OnlineMeeting(
                    thread=call.thread,
                    kind="meetnow",
                    organizer=call.organizer,
                    attendees=call.others,
                    noise=call.noise,
                    created=call.start,
                    start=call.start,
                    end=call.end,
                    expiry=call.end + _KEPT,
                )
        return found


def render_meeting(meeting: OnlineMeeting, words: Vocabulary, tenant_id: str) -> dict[str, Any]:
    """An onlineMeeting."""
    link, noise = join_url(meeting.thread, tenant_id), meeting.noise
    digits = f"{int.from_bytes(noise[20:24]):010d}"
    return {
        "id": meeting.id,
        "creationDateTime": to_text(meeting.created, 7),
        "startDateTime": to_text(meeting.start),
        "endDateTime": to_text(meeting.end),
        "expiryDateTime": to_text(meeting.expiry),
        "joinWebUrl": link,
        "subject": words.subjects[int.from_bytes(noise[18:20]) % len(words.subjects)],
        "meetingType": meeting.kind,
        "isBroadcast": False,
        "autoAdmittedUsers": "EveryoneInCompany",
        "allowedPresenters": "everyone",
        "allowMeetingChat": "enabled",
        "allowRecording": True,
        "allowTranscription": True,
        "recordAutomatically": False,
        "externalId": None,
        "videoTeleconferenceId": digits[:9],
        "meetingOptionsWebUrl": f"https://teams.microsoft.com/meetingOptions/?organizerId={meeting.organizer.id}",
        "participants": {
            "organizer": _participant(meeting.organizer, "presenter", tenant_id),
            "attendees": [_participant(person, "attendee", tenant_id) for person in meeting.attendees],
        },
        "lobbyBypassSettings": {"scope": "organization", "isDialInBypassEnabled": False},
        "joinMeetingIdSettings": {
            "isPasscodeRequired": True,
            "joinMeetingId": digits,
            "passcode": words.passcodes[noise[22] % len(words.passcodes)],
        },
        "chatInfo": {"threadId": meeting.thread, "messageId": "0", "replyChainMessageId": None},
        "joinInformation": {
            "contentType": "html",
            "content": f"data:text/html,{words.sentences[noise[23] % len(words.sentences)]} {link}",
        },
        "audioConferencing": None,
        "watermarkProtection": None,
    }


def render_report(call: Call, context: CallContext, *, with_records: bool) -> dict[str, Any]:
    """A meetingAttendanceReport; a list never holds the records."""
    present = participants(call, context, whole=True)
    records = [_attendance(call, place, person) for place, person in enumerate(present)]
    return {
        "id": report_id(call),
        "totalParticipantCount": len(present),
        "meetingStartDateTime": to_text(call.start, 7),
        "meetingEndDateTime": to_text(call.end, 7),
        "externalEventInformation": [],
        "attendanceRecords": records if with_records else [],
    }


def report_id(call: Call) -> str:
    """The id of the report of one time a meeting was held."""
    return f"{int(call.id[:8], 16) ^ 0x5A5A5A5A:08x}{call.id[8:]}"


def _participant(person: Person, role: str, tenant_id: str) -> dict[str, Any]:
    user = {"id": person.id, "displayName": person.display_name, "tenantId": tenant_id, "identityProvider": "AAD"}
    return {"upn": person.upn, "role": role, "identity": {"application": None, "phone": None, "user": user}}


def _attendance(call: Call, place: int, who: Participant) -> dict[str, Any]:
    identity = who.identity["user"] or who.identity["guest"] or {"id": who.id, "displayName": None}
    left = max(call.start + 1, call.end - place * 7 * SECOND)
    record: dict[str, Any] = {
        "emailAddress": identity.get("userPrincipalName") or identity.get("email"),
        "totalAttendanceInSeconds": (left - call.start) // SECOND,
        "role": "Organizer" if place == 0 else "Attendee",
        "registrationId": None,
        "identity": {
            "@odata.type": "#microsoft.graph.communicationsUserIdentity",
            "id": identity["id"],
            "displayName": identity["displayName"],
            "tenantId": identity.get("tenantId"),
        },
        "attendanceIntervals": [
            {
                "joinDateTime": to_text(call.start, 7),
                "leaveDateTime": to_text(left, 7),
                "durationInSeconds": (left - call.start) // SECOND,
            }
        ],
    }
    if place % 2 == 0:  # often missing
        record["id"] = report_id(call)[:-4] + f"{place:04x}"
    return record
