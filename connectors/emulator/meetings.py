"""Who meets whom and when: the calendars of the tenant as a pure function of the seed and of the present.

What holds:

- As with mail, time is cut into slots and in every slot the participants are divided into circles: a circle is one
  meeting, in the calendars of all its members, with one `iCalUId`, one start and one organizer (its first member
  that is not a room). A circle of one is an appointment of its own or a meeting called by an outsider.
- A third of the slots recur: for half a year the same circle meets every week. Some occurrences are moved
  (exceptions) or missing.
- An event is there from its creation on; some are cancelled shortly before they begin, rewritten after they ended,
  or deleted later. So the same window answers differently as the tenant's clock moves on.
"""

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from connectors.emulator.clock import Clock
from connectors.emulator.noise import Circle, Circles, Noise, spread
from connectors.emulator.people import OUTSIDERS, People, Person, Recipient
from connectors.emulator.profile import MailboxKind, TenantProfile
from connectors.emulator.rhythm import Rhythm
from connectors.emulator.ticks import DAY, HOUR, MINUTE, SECOND

_CIRCLE_SIZES = (1, 1, 1, 2, 2, 3, 3, 4, 6, 9)
_MINUTES = (15, 25, 30, 30, 30, 45, 50, 60, 60, 90, 120)
_LONGEST = 6 * DAY  # no event lasts longer, moves included
_WEEKS_PER_SERIES = 26
_PLANNED_AHEAD = 60 * DAY
_GRID_S = 900
_FIRST_DELIVERY = 1 << 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A weekly series; `key` is the same for all its occurrences, in all calendars."""

    key: str
    first_ticks: int
    last_ticks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """One meeting, before it is in anybody's calendar. `noise` decides whatever is not a field."""

    key: str = field(repr=False)
    noise: bytes = field(repr=False)
    start: int
    end: int
    created: int
    organizer: Person | None = field(repr=False)  # None: an outsider, the first of `outsiders`
    attendees: Sequence[Person] = field(repr=False)  # without the organizer
    outsiders: Sequence[Recipient] = field(default=(), repr=False)
    is_all_day: bool = False
    series: Series | None = None
    original_start: int | None = None  # of an occurrence
    is_master: bool = False

    @property
    def is_moved(self) -> bool:
        """An occurrence at another time than its series says."""
        return self.original_start is not None and self.original_start != self.start

    @property
    def cancelled_at(self) -> int | None:
        """When it was called off."""
        return self.start - 2 * HOUR if self.noise[5] < 10 and self.organizer and self.attendees else None

    @property
    def rewritten_at(self) -> int | None:
        """When somebody touched it after it had ended."""
        return self.end + (1 + self.noise[8] % 48) * HOUR if self.noise[8] < 50 else None

    @property
    def deleted_at(self) -> int | None:
        """When it vanished from all calendars."""
        return self.end + 26 * HOUR if self.noise[6] < 5 and self.series is None else None


@dataclass(frozen=True, slots=True)
class Entry:
    """A meeting in one calendar. `place` is its number there; a series master has the negative of its first slot."""

    owner: Person = field(repr=False)
    place: int
    meeting: Meeting


class Meetings:
    """The calendars of everybody who has a mailbox."""

    def __init__(self, noise: Noise, people: People, profile: TenantProfile, *, clock: Clock, first_ticks: int) -> None:
        self._noise = noise
        self._people = people
        self._clock = clock
        self._first_ticks = first_ticks
        self._rhythm = Rhythm(profile.meetings_per_week, round_to_s=_GRID_S)
        self._participants = people.numbers_without(MailboxKind.GUEST, MailboxKind.SHARED)
        self._seat = {number: seat for seat, number in enumerate(self._participants)}
        self._single_circles = Circles(noise, "meeting-round", len(self._participants))
        self._series_circles = Circles(noise, "series-round", len(self._participants))
        self._recurring = [noise.number("recurring", place, below=3) == 0 for place in range(profile.meetings_per_week)]
        self._delivered: dict[int, list[Entry]] = {}
        self._removed: set[tuple[int, int]] = set()
        self._touched: dict[tuple[int, int], int] = {}  # when an entry was delivered, moved or removed
        self._changes = 0
        self._view = lru_cache(maxsize=512)(self._view_at)
        self._listed = lru_cache(maxsize=128)(self._masters_and_singles)

    def view(self, owner: Person, start: int, end: int) -> Sequence[Entry]:
        """Occurrences, exceptions and single events that overlap [start, end) ticks, by start."""
        return self._view(owner.number, start, end, self._clock.ticks, self._changes)

    def masters_and_singles(self, owner: Person) -> Sequence[Entry]:
        """Single events and series masters from the beginning of the history to the planned future, by start."""
        return self._listed(owner.number, self._clock.ticks, self._changes)

    def planned(self, start: int, end: int) -> Iterator[Meeting]:
        """Every meeting that begins in [start, end) ticks, once, whatever became of it in the calendars."""
        for slot in self._slots(start - DAY, end):
            circles, round_number, size = self._round(slot)
            for number in range(circles.count(size)):
                meeting = self._meeting_of(slot, circles.circle(round_number, size, number))
                if meeting is not None and start <= meeting.start < end:
                    yield meeting

    def planned_of(self, owner: Person, start: int, end: int) -> Iterator[Meeting]:
        """The same for one participant."""
        for entry in self._entries(owner.number, start - DAY, end):
            if start <= entry.meeting.start < end:
                yield entry.meeting

    def deliver(self, owner: Person, *, count: int, start: int, duration: int) -> list[Entry]:
        """Puts new events, called by outsiders, into a calendar; they exist at once."""
        entries = []
        for _ in range(count):
            place = _FIRST_DELIVERY + self._changes
            noise = bytearray(self._noise.bytes("event-delivery", owner.number, place))
            noise[5] = noise[6] = noise[8] = 255  # neither cancelled nor deleted nor rewritten
            meeting = Meeting(
                key=f"d{place}",
                noise=bytes(noise),
                start=start,
                end=start + duration,
                created=min(self._clock.ticks, start),
                organizer=None,
                attendees=[owner],
                outsiders=[self._people.outsider(spread(bytes(noise[11:13]), OUTSIDERS))],
            )
            entries.append(Entry(owner, place, meeting))
            insort(self._delivered.setdefault(owner.number, []), entries[-1], key=_start)
            self._touch(owner, place)
        return entries

    def move(self, owner: Person, place: int, *, start: int) -> None:
        """Moves an event that was delivered. Raises KeyError where there is none."""
        entries = self._delivered.get(owner.number, [])
        entry = next((entry for entry in entries if entry.place == place), None)
        if entry is None:
            raise KeyError("no such event")
        entries.remove(entry)
        end = start + entry.meeting.end - entry.meeting.start
        insort(entries, replace(entry, meeting=replace(entry.meeting, start=start, end=end)), key=_start)
        self._touch(owner, place)

    def remove(self, owner: Person, place: int) -> None:
        """Deletes an event from one calendar."""
        self._removed.add((owner.number, place))
        self._touch(owner, place)

    def is_there(self, entry: Entry, now: int) -> bool:
        """Whether an entry is in its calendar at an instant."""
        deleted_at = entry.meeting.deleted_at
        return (
            entry.meeting.created <= now
            and (deleted_at is None or now < deleted_at)
            and (entry.owner.number, entry.place) not in self._removed
        )

    def changes(self, entry: Entry) -> tuple[int | None, ...]:
        """The instants at which an entry was made, changed or deleted, or will be."""
        meeting, touched = entry.meeting, self._touched.get((entry.owner.number, entry.place))
        return meeting.created, meeting.cancelled_at, meeting.rewritten_at, meeting.deleted_at, touched

    def around(self, owner: Person, start: int, end: int) -> list[Entry]:
        """Every entry that may overlap [start, end), there or not; their order does not change when they do."""
        rows = (*self._entries(owner.number, start - _LONGEST, end + DAY), *self._delivered.get(owner.number, ()))
        return sorted(rows, key=lambda entry: entry.place)

    def _touch(self, owner: Person, place: int) -> None:
        self._touched[owner.number, place] = self._clock.ticks
        self._changes += 1

    def _view_at(self, number: int, start: int, end: int, now: int, _: int) -> Sequence[Entry]:
        entries = self.around(self._people.person(number), start, end)
        shown = (entry for entry in entries if self.is_there(entry, now) and overlaps(entry.meeting, start, end))
        return sorted(shown, key=_start)

    def _masters_and_singles(self, number: int, now: int, _: int) -> Sequence[Entry]:
        entries = dict[int, Entry]()
        rows = (*self._entries(number, self._first_ticks, now + _PLANNED_AHEAD), *self._delivered.get(number, ()))
        for entry in rows:
            listed = entry if entry.meeting.series is None else self._master(entry, entry.meeting.series)
            if self.is_there(listed, now):
                entries.setdefault(listed.place, listed)
        return sorted(entries.values(), key=_start)

    def _entries(self, number: int, start: int, end: int) -> Iterator[Entry]:
        """Whatever the slots of this time hold for one participant."""
        if number not in self._seat:
            return
        owner = self._people.person(number)
        for slot in self._slots(start, end):
            circles, round_number, size = self._round(slot)
            meeting = self._meeting_of(slot, circles.of_member(round_number, size, self._seat[number]))
            if meeting is not None:
                yield Entry(owner, slot, meeting)

    def _slots(self, start: int, end: int) -> range:
        return range(self._rhythm.slot_at(start // SECOND), self._rhythm.slot_at(end // SECOND) + 1)

    def _round(self, slot: int) -> tuple[Circles, int, int]:
        """How the participants are divided in a slot: the circles, their round and their size."""
        recurring = self._is_recurring(slot)
        round_number = self._first_slot(slot) if recurring else slot
        size = _CIRCLE_SIZES[self._noise.number("meeting-size", round_number, below=len(_CIRCLE_SIZES))]
        return self._series_circles if recurring else self._single_circles, round_number, size

    def _is_recurring(self, slot: int) -> bool:
        return self._recurring[slot % self._rhythm.per_week]

    def _first_slot(self, slot: int) -> int:
        """Where the series that holds this slot began."""
        week, place = divmod(slot, self._rhythm.per_week)
        return (week - week % _WEEKS_PER_SERIES) * self._rhythm.per_week + place

    def _meeting_of(self, slot: int, circle: Circle) -> Meeting | None:
        return self._occurrence(slot, circle) if self._is_recurring(slot) else self._single(slot, circle)

    def _single(self, slot: int, circle: Circle) -> Meeting | None:
        noise = self._noise.bytes("meeting", slot, circle.number)
        if noise[0] >= 218:
            return None
        start, end = self._time(noise, slot)
        meeting = self._meeting(f"{slot}.{circle.number}", noise, start, end, circle)
        return meeting if meeting.attendees or meeting.outsiders else _appointment(meeting)

    def _occurrence(self, slot: int, circle: Circle) -> Meeting | None:
        first_slot = self._first_slot(slot)
        last_slot = first_slot + (_WEEKS_PER_SERIES - 1) * self._rhythm.per_week
        series_noise = self._noise.bytes("series", first_slot, circle.number)
        noise = self._noise.bytes("occurrence", slot, circle.number)
        if series_noise[0] >= 218 or noise[4] > 250:
            return None
        key = f"s{first_slot}.{circle.number}"
        start, end = self._time(series_noise, slot)
        series = Series(
            key=key,
            first_ticks=self._time(series_noise, first_slot)[0],
            last_ticks=self._time(series_noise, last_slot)[0],
        )
        moved = (1 + noise[7] % 5) * HOUR if noise[4] < 16 else 0
        meeting = self._meeting(key, series_noise[:4] + noise[4:9] + series_noise[9:], start, end, circle)
        return replace(
            meeting,
            start=start + moved,
            end=end + moved,
            created=series.first_ticks - 3 * DAY,
            series=series,
            original_start=start,
        )

    def _master(self, entry: Entry, series: Series) -> Entry:
        meeting = entry.meeting
        length = meeting.end - meeting.start
        calm = bytearray(meeting.noise)
        calm[5] = calm[8] = 255
        first_slot = int(series.key[1:].partition(".")[0])
        master = replace(
            meeting,
            noise=bytes(calm),
            start=series.first_ticks,
            end=series.first_ticks + length,
            original_start=None,
            is_master=True,
        )
        return Entry(entry.owner, -first_slot, master)

    def _time(self, noise: bytes, slot: int) -> tuple[int, int]:
        cells = max(1, self._rhythm.width_s(slot) // _GRID_S)
        start = self._rhythm.start_s(slot) + noise[1] % cells * _GRID_S
        return start * SECOND, start * SECOND + _MINUTES[noise[2] % len(_MINUTES)] * MINUTE

    def _meeting(self, key: str, noise: bytes, start: int, end: int, circle: Circle) -> Meeting:
        members = [self._people.person(self._participants[seat]) for seat in circle.members]
        organizer = next((person for person in members if person.kind is not MailboxKind.ROOM), None)
        called_by_outsider = organizer is None or (len(members) == 1 and 45 <= noise[3] < 100)
        invited = called_by_outsider or noise[14] < 30
        outsider = self._people.outsider(spread(noise[15:17], OUTSIDERS))
        return Meeting(
            key=key,
            noise=noise,
            start=start,
            end=end,
            created=start - (1 + noise[7]) * 2 * HOUR,
            organizer=None if called_by_outsider else organizer,
            attendees=[person for person in members if called_by_outsider or person is not organizer],
            outsiders=[outsider] if invited and (called_by_outsider or len(members) > 1) else [],
        )


def _appointment(meeting: Meeting) -> Meeting:
    """An entry without guests: a day off, a night shift, or an hour to oneself."""
    chance = meeting.noise[3]
    midnight = meeting.start - meeting.start % DAY
    if chance < 30:
        days = 1 if chance < 20 else 2 + chance % 3
        return replace(meeting, start=midnight, end=midnight + days * DAY, is_all_day=True)
    if chance < 45:
        return replace(meeting, start=midnight + 22 * HOUR, end=midnight + 30 * HOUR)
    return meeting


def overlaps(meeting: Meeting, start: int, end: int) -> bool:
    """Whether a calendar view of [start, end) shows the meeting."""
    if meeting.start == meeting.end:
        return start <= meeting.start < end
    return meeting.start < end and meeting.end > start


def _start(entry: Entry) -> tuple[int, int]:
    return entry.meeting.start, entry.place
