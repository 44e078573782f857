"""The JSON of calendar events.

https://learn.microsoft.com/graph/api/resources/event (checked 2026-11). `uid` and `occurrenceId` are undocumented
and sent all the same. With Calendars.ReadBasic.All bodies and attachments are never present.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from hashlib import md5
from typing import Any
from zoneinfo import ZoneInfo

from connectors.emulator.meetings import Entry, Meeting
from connectors.emulator.noise import Noise
from connectors.emulator.people import Person, Recipient
from connectors.emulator.profile import MailboxKind
from connectors.emulator.shapes import ABSENT, Shape
from connectors.emulator.ticks import HOUR, NEVER, SECOND, to_datetime, to_local_text, to_text
from connectors.emulator.words import CITIES, Vocabulary

NEEDS_MORE_THAN_READ_BASIC = frozenset({"body", "bodyPreview", "attachments", "extensions"})
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_RESPONSES = ("accepted",) * 9 + ("tentativelyAccepted",) * 2 + ("declined",) * 2 + ("notResponded",) * 3
_SENSITIVITY = ("private",) * 3 + ("personal", "confidential") + ("normal",) * 43


@dataclass(frozen=True, slots=True, kw_only=True)
class EventContext:
    """What the JSON of an event depends on besides the entry. `zone` is an IANA name behind `zone_name`."""

    ids: "EventIds"
    words: Vocabulary
    tenant_id: str
    immutable_ids: bool
    now: int
    zone: str = "UTC"
    zone_name: str = "UTC"


class EventIds:
    """Event ids, which say where the entry lies."""

    def __init__(self, noise: Noise) -> None:
        self._prefix = lru_cache(maxsize=8_192)(
            lambda number, head: head + noise.token(head + "event", number) + noise.token(head + "event2", number)[:27]
        )

    def event_id(self, owner: Person, place: int, *, immutable: bool) -> str:
        """The id of the entry at `place` of the owner's calendar."""
        tail = urlsafe_b64encode(struct.pack(">qI", place, owner.number)).decode()
        return f"{self._prefix(owner.number, 'AAkALg' if immutable else 'AAMkAG')}{tail}BBB="

    def place(self, event_id: str) -> int:
        """The place an id stands for. Raises KeyError."""
        try:
            place: int = struct.unpack(">qI", urlsafe_b64decode(event_id[-20:-4]))[0]
        except (ValueError, struct.error) as error:
            raise KeyError("not an event id") from error
        return place


def _uid(meeting: Meeting, *, of_series: bool) -> str:
    """The global object id: of the series without, of an occurrence with its date in it."""
    day = "00000000"
    if meeting.original_start is not None and not of_series:
        date = to_datetime(meeting.original_start)
        day = f"{date.year:04X}{date.month:02X}{date.day:02X}"
    return (
        f"040000008200E00074C5B7101A82E008{day}{md5(meeting.key.encode(), usedforsecurity=False).hexdigest().upper()}"
    )


def _cancelled(meeting: Meeting, now: int) -> bool:
    return meeting.cancelled_at is not None and meeting.cancelled_at <= now


def _modified(meeting: Meeting, now: int) -> int:
    """The last change so far."""
    changes = (meeting.created + 90 * SECOND, meeting.cancelled_at, meeting.rewritten_at)
    return max(change for change in changes if change is not None and (change <= now or change == changes[0]))


def _is_organizer(entry: Entry) -> bool:
    organizer = entry.meeting.organizer
    return organizer is not None and organizer.number == entry.owner.number


def _version(entry: Entry, context: EventContext) -> str:
    return f"zQhO7{_modified(entry.meeting, context.now) // SECOND:x}=="


def _subject(entry: Entry, context: EventContext) -> str | None:
    noise, subjects = entry.meeting.noise, context.words.subjects
    if noise[17] < 3:
        return None
    subject = subjects[int.from_bytes(noise[18:20]) % len(subjects)]
    return f"Canceled: {subject}" if _cancelled(entry.meeting, context.now) else subject


def _zoom_link(meeting: Meeting, context: EventContext) -> str | None:
    if not 110 <= meeting.noise[10] < 150:
        return None
    return f"https://acme.zoom.us/j/9{meeting.noise[20]:03d}{meeting.noise[21]:03d}000?pwd=" + _passcode(
        meeting, context
    )


def _passcode(meeting: Meeting, context: EventContext) -> str:
    return context.words.passcodes[meeting.noise[22] % len(context.words.passcodes)]


def is_online(meeting: Meeting) -> bool:
    """Whether it is held in Teams."""
    return meeting.noise[10] < 110 and bool(meeting.attendees)


def meeting_thread(meeting: Meeting) -> str:
    """The thread id of an online meeting; all occurrences of a series have one."""
    name = md5(f"join{meeting.key}".encode(), usedforsecurity=False).hexdigest()
    return f"19:meeting_{name}@thread.v2"


def join_url(thread: str, tenant_id: str) -> str:
    """The link that opens the meeting of a thread, percent-encoded inside as Teams writes it."""
    encoded = thread.replace(":", "%3a").replace("@", "%40")
    return f"https://teams.microsoft.com/l/meetup-join/{encoded}/0?context=%7b%22Tid%22%3a%22{tenant_id}%22%7d"


def _join_url(meeting: Meeting, context: EventContext) -> str:
    return join_url(meeting_thread(meeting), context.tenant_id)


def _text(entry: Entry, context: EventContext) -> list[str]:
    noise, sentences = entry.meeting.noise, context.words.sentences
    text = [sentences[(noise[23] + 13 * n) % len(sentences)] for n in range(1 + noise[24] % 3)]
    link = _zoom_link(entry.meeting, context)
    if link is not None:
        text.append(f"Join: {link} now")
    return text


def _body(entry: Entry, context: EventContext) -> Any:
    if entry.meeting.noise[13] < 8:
        return ABSENT if entry.meeting.noise[13] < 4 else None
    content = "<br>\r\n".join(_text(entry, context))
    if is_online(entry.meeting):
        content += f'<br>____<br><a href="{_join_url(entry.meeting, context)}">Join the meeting now</a>'
    return {"contentType": "html", "content": f"<html><body>{content}</body></html>"}


def _preview(entry: Entry, context: EventContext) -> str:
    return "" if entry.meeting.noise[13] < 8 else "\r\n".join(_text(entry, context))[:255]


def _response(person: Person, meeting: Meeting, now: int) -> dict[str, str]:
    response = _RESPONSES[(meeting.noise[9] + 7 * person.number) % len(_RESPONSES)]
    answered = meeting.created + (1 + person.number % 20) * HOUR
    if response == "notResponded" or answered > now:
        return {"response": "none", "time": NEVER}
    return {"response": response, "time": to_text(answered + person.number % 10_000_000, 7)}


def _attendees(entry: Entry, context: EventContext) -> list[dict[str, Any]]:
    meeting = entry.meeting
    own = [
        {
            "type": "resource"
            if person.kind is MailboxKind.ROOM
            else "optional"
            if person.number % 5 == meeting.noise[25] % 5
            else "required",
            "status": _response(person, meeting, context.now),
            **person.recipient,
        }
        for person in meeting.attendees
    ]
    guests = meeting.outsiders if meeting.organizer is not None else meeting.outsiders[1:]
    return own + [{"type": "required", "status": {"response": "none", "time": NEVER}, **guest} for guest in guests]


def _organizer(entry: Entry) -> Recipient:
    meeting = entry.meeting
    return meeting.outsiders[0] if meeting.organizer is None else meeting.organizer.recipient


def _own_response(entry: Entry, context: EventContext) -> dict[str, str]:
    if _is_organizer(entry):
        return {"response": "organizer", "time": NEVER}
    return _response(entry.owner, entry.meeting, context.now)


def _location(entry: Entry, context: EventContext) -> dict[str, Any]:
    meeting, noise = entry.meeting, entry.meeting.noise
    room = next((person for person in meeting.attendees if person.kind is MailboxKind.ROOM), None)
    if room is not None:
        return {
            "displayName": room.display_name,
            "locationUri": room.mail,
            "locationEmailAddress": room.mail,
            "locationType": "conferenceRoom",
            "uniqueId": room.mail,
            "uniqueIdType": "directory",
        }
    if noise[11] < 25:
        return {}
    link = _zoom_link(meeting, context)
    if link is not None:
        return {"displayName": link, "locationType": "default", "uniqueId": link, "uniqueIdType": "private"}
    place = context.words.places[noise[26] % len(context.words.places)]
    location: dict[str, Any] = {
        "displayName": place,
        "locationType": "default",
        "uniqueId": place,
        "uniqueIdType": "private",
    }
    if noise[11] < 60:
        location["locationType"] = "homeAddress"
        location["address"] = {
            "street": place,
            "city": CITIES[noise[27] % len(CITIES)],
            "state": "",
            "countryOrRegion": "DE",
            "postalCode": f"{10_000 + noise[28]}",
        }
        location["coordinates"] = {"latitude": 52.5 + noise[28] / 1000, "longitude": 13.25 + noise[29] / 1000}
    return location


def _online_meeting(entry: Entry, context: EventContext) -> dict[str, Any] | None:
    if not is_online(entry.meeting):
        return None
    digits = f"{int.from_bytes(entry.meeting.noise[20:24]):010d}"
    return {"joinUrl": _join_url(entry.meeting, context), "conferenceId": digits[:9]}


def _moment(ticks: int, entry: Entry, context: EventContext) -> dict[str, str]:
    """A dateTimeTimeZone; all-day events begin at midnight in every zone."""
    if context.zone != "UTC" and not entry.meeting.is_all_day:
        local = to_datetime(ticks).astimezone(ZoneInfo(context.zone)).replace(tzinfo=UTC)
        return {"dateTime": local.strftime("%Y-%m-%dT%H:%M:%S.0000000"), "timeZone": context.zone_name}
    return {"dateTime": to_local_text(ticks), "timeZone": context.zone_name}


def _type(meeting: Meeting) -> str:
    if meeting.series is None:
        return "singleInstance"
    if meeting.is_master:
        return "seriesMaster"
    return "exception" if meeting.is_moved else "occurrence"


def _recurrence(meeting: Meeting) -> dict[str, Any] | None:
    if not meeting.is_master or meeting.series is None:
        return None
    first, last = to_datetime(meeting.series.first_ticks), to_datetime(meeting.series.last_ticks)
    return {
        "pattern": {
            "type": "weekly",
            "interval": 1,
            "month": 0,
            "dayOfMonth": 0,
            "daysOfWeek": [_WEEKDAYS[first.weekday()]],
            "firstDayOfWeek": "sunday",
            "index": "first",
        },
        "range": {
            "type": "endDate",
            "startDate": f"{first:%Y-%m-%d}",
            "endDate": f"{last:%Y-%m-%d}",
            "recurrenceTimeZone": "UTC",
            "numberOfOccurrences": 0,
        },
    }


def _master_id(entry: Entry, context: EventContext) -> str | None:
    series = entry.meeting.series
    if series is None or entry.meeting.is_master:
        return None
    return context.ids.event_id(entry.owner, -int(series.key[1:].partition(".")[0]), immutable=context.immutable_ids)


def _occurrence_id(entry: Entry, context: EventContext) -> str | None:
    original = entry.meeting.original_start
    if original is None:
        return None
    return f"OID.{_master_id(entry, context)}.{to_datetime(original):%Y-%m-%d}"


def _nothing(_entry: Entry, _context: EventContext) -> None:
    return None


EVENT: Shape[Entry, EventContext] = Shape(
    "microsoft.graph.event",
    {
        "createdDateTime": lambda e, _: to_text(e.meeting.created, 7),
        "lastModifiedDateTime": lambda e, c: to_text(_modified(e.meeting, c.now), 7),
        "changeKey": _version,
        "categories": lambda e, c: [c.words.categories[e.meeting.noise[30] % 8]] if e.meeting.noise[30] < 16 else [],
        "transactionId": _nothing,
        "originalStartTimeZone": lambda e, _: (
            "tzone://Microsoft/Custom" if e.meeting.noise[31] < 8 else "W. Europe Standard Time"
        ),
        "originalEndTimeZone": lambda _e, _: "W. Europe Standard Time",
        "iCalUId": lambda e, _: _uid(e.meeting, of_series=False),
        "uid": lambda e, _: _uid(e.meeting, of_series=True),
        "reminderMinutesBeforeStart": lambda _e, _: 15,
        "isReminderOn": lambda e, _: e.meeting.noise[30] < 200,
        "hasAttachments": lambda e, _: e.meeting.noise[29] < 20,
        "subject": _subject,
        "bodyPreview": _preview,
        "importance": lambda e, _: "high" if e.meeting.noise[28] < 10 else "normal",
        "sensitivity": lambda e, _: _SENSITIVITY[e.meeting.noise[12] % len(_SENSITIVITY)],
        "isAllDay": lambda e, _: e.meeting.is_all_day,
        "isCancelled": lambda e, c: _cancelled(e.meeting, c.now),
        "isOrganizer": lambda e, _: _is_organizer(e),
        "responseRequested": lambda _e, _: True,
        "seriesMasterId": _master_id,
        "showAs": lambda e, c: (
            "free"
            if _cancelled(e.meeting, c.now)
            else "oof"
            if e.meeting.is_all_day
            else ("busy", "busy", "busy", "tentative")[e.meeting.noise[27] % 4]
        ),
        "type": lambda e, _: _type(e.meeting),
        "webLink": lambda e, c: (
            "https://outlook.office365.com/owa/?itemid="
            + c.ids.event_id(e.owner, e.place, immutable=False).replace("=", "%3D")
            + "&exvsurl=1&path=/calendar/item"
        ),
        "onlineMeetingUrl": _nothing,
        "isOnlineMeeting": lambda e, _: is_online(e.meeting),
        "onlineMeetingProvider": lambda e, _: "teamsForBusiness" if is_online(e.meeting) else "unknown",
        "allowNewTimeProposals": lambda _e, _: True,
        "occurrenceId": _occurrence_id,
        "isDraft": lambda _e, _: False,
        "hideAttendees": lambda e, _: e.meeting.noise[26] < 6,
        "responseStatus": _own_response,
        "body": _body,
        "start": lambda e, c: _moment(e.meeting.start, e, c),
        "end": lambda e, c: _moment(e.meeting.end, e, c),
        "location": _location,
        "locations": lambda e, c: [location] if (location := _location(e, c)) else [],
        "recurrence": lambda e, _: _recurrence(e.meeting),
        "attendees": _attendees,
        "organizer": lambda e, _: _organizer(e),
        "onlineMeeting": _online_meeting,
        "originalStart": lambda e, _: ABSENT if e.meeting.original_start is None else to_text(e.meeting.original_start),
    },
    always={
        "@odata.etag": lambda e, c: f'W/"{_version(e, c)}"',
        "id": lambda e, c: c.ids.event_id(e.owner, e.place, immutable=c.immutable_ids),
    },
)
