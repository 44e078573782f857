"""Which calls were held: a pure function of the seed and of the present.

What holds:

- A meeting that is held in Teams, was called by a colleague and not called off, leaves one call record, which names
  the meeting's thread. Beside them colleagues call each other: two people (peer to peer, no thread), or more, who
  have a thread of their own; a few of those are meetings of a channel.
- A record appears minutes after the call has ended, a few only a day or two later. Within the next days it is
  rewritten up to twice: a higher version knows more of those who took part.
- Records are served for 30 days. Here all calls of the history are known, since reports of meetings outlive them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from connectors.emulator.clock import Clock
from connectors.emulator.events import is_online, meeting_thread
from connectors.emulator.meetings import Meeting, Meetings
from connectors.emulator.noise import Circles, Noise
from connectors.emulator.people import OUTSIDERS, People, Person
from connectors.emulator.profile import NOT_HUMAN, TenantProfile
from connectors.emulator.rhythm import Rhythm
from connectors.emulator.ticks import DAY, HOUR, MINUTE, SECOND

RETENTION = 30 * DAY
CHANNEL_THREAD = "@thread.tacv2"
_SIZES = (2, 2, 2, 3, 4, 6)
_MINUTES = (1, 3, 6, 11, 17, 26, 44, 75)
_EARLIEST, _LATEST = 6 * MINUTE, 9 * MINUTE  # how far a meeting's first caller comes before and after its time


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call as it was held. `thread`: of its meeting; None between two people."""

    id: str = field(repr=False)
    noise: bytes = field(repr=False)
    start: int
    end: int
    organizer: Person = field(repr=False)
    others: Sequence[Person] = field(repr=False)
    guests: Sequence[int] = field(default=(), repr=False)  # numbers of outsiders, and beyond: of people unknown to all
    thread: str | None = field(default=None, repr=False)

    @property
    def is_in_channel(self) -> bool:
        """A meeting of a channel."""
        return self.thread is not None and self.thread.endswith(CHANNEL_THREAD)

    @property
    def versions(self) -> list[int]:
        """When each version of the record was written, the first one first."""
        noise = self.noise
        late = (26 + noise[3] % 20) * HOUR if noise[2] < 10 else (1 + noise[3] % 40) * MINUTE
        written = [self.end + late]
        for number in range(noise[4] % 3):
            written.append(written[-1] + (3 + noise[5 + number] % 26) * HOUR)
        return written

    def version_at(self, now: int) -> int:
        """The version that is served now; 0 where there is no record yet, or no more."""
        if self.start < now - RETENTION:
            return 0
        return sum(written <= now for written in self.versions)


class Calls:
    """All calls of the tenant."""

    def __init__(
        self,
        noise: Noise,
        people: People,
        meetings: Meetings,
        profile: TenantProfile,
        *,
        clock: Clock,
        first_ticks: int,
    ) -> None:
        self._noise = noise
        self._people = people
        self._meetings = meetings
        self._clock = clock
        self._first_ticks = first_ticks
        self._seats = people.numbers_without(*NOT_HUMAN)
        self._circles = Circles(noise, "call-round", len(self._seats))
        self._rhythm = Rhythm(profile.calls_per_week) if profile.calls_per_week else None
        self._delivered: list[Call] = []
        self._day = lru_cache(maxsize=512)(self._calls_of_day)
        self._by_thread = lru_cache(maxsize=2)(self._threads_until)

    def started(self, start: int, end: int) -> list[Call]:
        """The calls that began in [start, end) ticks, by start."""
        found = [call for day in range(start // DAY, -(-end // DAY)) for call in self._day(day)]
        found += self._delivered
        return sorted((call for call in found if start <= call.start < end), key=lambda call: (call.start, call.id))

    def records(self, start: int, end: int) -> list[Call]:
        """The calls among them of which a record is served now, in no order that means anything."""
        now = self._clock.ticks
        start = max(start, now - RETENTION, self._first_ticks)
        found = self.started(start, min(end, now)) if start < end else []
        return sorted((call for call in found if call.version_at(now)), key=lambda call: call.id)

    def find(self, call_id: str) -> Call | None:
        """The call of this id."""
        try:
            day = int(call_id[:8], 16) ^ int(call_id[-12:-4], 16)
        except ValueError:
            return None
        candidates = (*self._delivered, *(self._day(day) if 0 <= day < 1 << 20 else ()))
        return next((call for call in candidates if call.id == call_id.lower()), None)

    def of_thread(self, thread: str) -> Sequence[Call]:
        """The calls of a meeting that have ended, the newest first."""
        now = self._clock.ticks
        held = self._by_thread(now // DAY, len(self._delivered)).get(thread, ())
        return [call for call in held if call.end <= now]

    def spontaneous(self) -> Iterator[Call]:
        """The calls with a thread that no calendar knows, up to now."""
        for call in self.started(self._first_ticks, self._clock.ticks):
            if call.thread is not None and not call.thread.startswith("19:meeting_"):
                yield call

    def deliver(self, organizer: Person, *, start: int, duration: int, guests: int) -> Call:
        """A call of one colleague with so many outsiders, in a thread of its own."""
        noise = bytearray(self._noise.bytes("call-delivery", organizer.number, len(self._delivered)))
        noise[2], noise[3], noise[4] = 255, 0, 0  # its record is written once, a minute after the end
        call = self._call(bytes(noise), start, start + duration, [organizer], guests=range(guests))
        self._delivered.append(call)
        return call

    def _calls_of_day(self, day: int) -> Sequence[Call]:
        start, end = day * DAY, (day + 1) * DAY
        calls = [
            call
            for meeting in self._meetings.planned(start - _LATEST, end + _EARLIEST)
            if (call := self._held(meeting)) is not None
        ]
        calls += self._ad_hoc(start, end)
        return [call for call in calls if start <= call.start < end and call.start >= self._first_ticks]

    def _held(self, meeting: Meeting) -> Call | None:
        """What came of a meeting."""
        organizer = meeting.organizer
        if organizer is None or not is_online(meeting) or meeting.cancelled_at is not None:
            return None
        noise = self._noise.bytes("held:" + meeting.key, meeting.start)
        if noise[0] < 30:  # nobody came
            return None
        present = [person for person in meeting.attendees if person.is_human]
        start = meeting.start - _EARLIEST + int.from_bytes(noise[10:16]) % (_EARLIEST + _LATEST)
        end = max(start + MINUTE, meeting.end - 5 * MINUTE + noise[7] * 4 * SECOND)
        guests = [noise[8] % OUTSIDERS] if meeting.outsiders else []
        return self._call(noise, start, end, [organizer, *present], guests=guests, thread=meeting_thread(meeting))

    def _ad_hoc(self, start: int, end: int) -> Iterator[Call]:
        if self._rhythm is None:
            return
        for slot in range(self._rhythm.slot_at(start // SECOND), self._rhythm.slot_at(end // SECOND) + 1):
            size = _SIZES[self._noise.number("call-size", slot, below=len(_SIZES))]
            for number in range(self._circles.count(size)):
                noise = self._noise.bytes("call", slot, number)
                members = [
                    self._people.person(self._seats[seat]) for seat in self._circles.circle(slot, size, number).members
                ]
                if noise[0] >= 180 or len(members) < 2 or members[0].is_guest:
                    continue
                offset = int.from_bytes(noise[10:16]) % (self._rhythm.width_s(slot) * SECOND)
                begun = self._rhythm.start_s(slot) * SECOND + offset
                yield self._call(noise, begun, begun + _MINUTES[noise[7] % len(_MINUTES)] * MINUTE, members)

    def _call(
        self,
        noise: bytes,
        start: int,
        end: int,
        members: Sequence[Person],
        *,
        guests: Sequence[int] = (),
        thread: str | None = None,
    ) -> Call:
        if thread is None and len(members) + len(guests) > 2:
            thread = f"19:{noise.hex()[32:]}{CHANNEL_THREAD if noise[9] < 30 else '@thread.v2'}"
        return Call(
            id=_guid(noise, start // DAY),
            noise=noise,
            start=start - start % _precision(noise),
            end=end - end % _precision(noise),
            organizer=members[0],
            others=members[1:],
            guests=guests,
            thread=thread,
        )

    def _threads_until(self, day: int, _: int) -> dict[str, list[Call]]:
        threads: dict[str, list[Call]] = {}
        for call in reversed(self.started(self._first_ticks, (day + 1) * DAY)):
            if call.thread is not None:
                threads.setdefault(call.thread, []).append(call)
        return threads


def digits_of(call: Call) -> int:
    """How many digits of a second the instants of a record have: 0, 3 or 7."""
    return (0, 3, 7, 7)[call.noise[6] % 4]


def _precision(noise: bytes) -> int:
    return (SECOND, SECOND // 1000, 1, 1)[noise[6] % 4]


def _guid(noise: bytes, day: int) -> str:
    """A random GUID in which the day of the call is hidden, so that a record is found by its id."""
    text = noise[16:].hex()
    mask = int(text[20:28], 16)
    return f"{day ^ mask:08x}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
