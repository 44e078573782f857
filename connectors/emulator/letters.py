"""Who writes to whom and when: the mail traffic of the tenant as a pure function of the seed.

What holds:

- Time is cut into slots (`Rhythm`). In every slot the colleagues are divided into circles; the first of a circle
  writes one letter to the others. So every mailbox gets exactly one shared letter per slot: its owner sent it, or
  received it. All copies have one `internetMessageId`, one `conversationIndex` and one time. `conversationId` is
  per mailbox, as in Exchange.
- A circle of one is a letter from or to an outsider, or a draft. Mailboxes with a factor above one have further
  such letters between the shared ones. Rooms, shared mailboxes and guests are in no
  circle.
- Copies are ordered by time, without end in both directions; a copy is found by its place or by its time without
  looking at any other. What lies in the tenant's future is not shown yet (see `mailboxes`).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from connectors.emulator.noise import Circles, Noise, spread
from connectors.emulator.people import OUTSIDERS, People, Person, Recipient
from connectors.emulator.profile import NOT_HUMAN, MailboxKind, TenantProfile
from connectors.emulator.rhythm import Rhythm
from connectors.emulator.ticks import SECOND

_CIRCLE_SIZES = (1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 5, 6, 8, 12)
_FRACTION_DIGITS = (0, 0, 0, 0, 0, 0, 3, 6, 7, 7)


class Role(StrEnum):
    """What a letter is to the owner of this copy."""

    SENT = "sent"
    RECEIVED = "received"
    DRAFT = "draft"


class MeetingNote(StrEnum):
    """The eventMessage types; the value is what `meetingMessageType` says."""

    REQUEST = "meetingRequest"
    CANCELLATION = "meetingCancelled"
    ACCEPTED = "meetingAccepted"
    DECLINED = "meetingDeclined"


@dataclass(slots=True, kw_only=True)
class Letter:
    """One letter, before it is anybody's copy. `noise` decides whatever is not a field."""

    key: str = field(repr=False)
    noise: bytes = field(repr=False)
    ticks: int
    digits: int
    sender: Recipient | None = field(repr=False)
    to: Sequence[Recipient] = field(repr=False)
    cc: Sequence[Recipient] = field(repr=False)
    bcc: Sequence[Recipient] = field(repr=False)  # only the sender sees them
    thread: str = field(repr=False)
    note: MeetingNote | None = None
    subject: str | None = field(default=None, repr=False)  # given by `deliver`; else chosen by the noise


@dataclass(slots=True)
class Copy:
    """A letter in one mailbox. `place` is its number there and never changes."""

    owner: Person = field(repr=False)
    place: int
    letter: Letter
    role: Role

    @property
    def ticks(self) -> int:
        """When it was received, sent, or drafted."""
        return self.letter.ticks


class Letters:
    """The endless row of copies of each mailbox."""

    def __init__(self, noise: Noise, people: People, profile: TenantProfile, *, history_s: range) -> None:
        self._noise = noise
        self._people = people
        self._profile = profile
        self._history_s = history_s
        self._rhythm = Rhythm(profile.mail_per_week)
        self._colleagues = people.numbers_without(MailboxKind.GUEST, *NOT_HUMAN)
        self._seat = {number: seat for seat, number in enumerate(self._colleagues)}
        self._circles = Circles(noise, "mail-round", len(self._colleagues))
        self._size = lru_cache(maxsize=8_192)(self._size_of_round)
        self._shared_first = lru_cache(maxsize=8_192)(self._solos_before_shared)
        self.factor = lru_cache(maxsize=8_192)(self._factor)

    def place_at(self, owner: Person, ticks: int) -> int:
        """The place of the first copy that is not before `ticks`."""
        slot, factor = self._rhythm.slot_at(ticks // SECOND), self.factor(owner.number)
        places = range(slot * factor, (slot + 1) * factor)
        return places.start + bisect_left(places, ticks, key=lambda place: self.copy(owner, place).ticks)

    def copy(self, owner: Person, place: int) -> Copy:
        """The copy at this place of the owner's mailbox."""
        factor = self.factor(owner.number)
        slot, rank = divmod(place, factor)
        if owner.number not in self._seat:
            return self._solo(owner, place, slot, rank, factor)
        if factor == 1:
            return self._shared(owner, place, slot)
        solos_first = self._shared_first(owner.number, slot)
        if rank == solos_first:
            return self._shared(owner, place, slot)
        return self._solo(owner, place, slot, rank if rank < solos_first else rank - 1, factor - 1)

    def _factor(self, number: int) -> int:
        """How many copies a mailbox gets per slot."""
        wanted = self._profile.large_mailboxes.get(number)
        if wanted is None:
            return (1, 1, 1, 2, 2)[self._noise.number("factor", number, below=5)]
        first, last = (self._rhythm.slot_at(second) for second in (self._history_s.start, self._history_s.stop))
        slots = max(1, last - first - 1)
        factor = -(-wanted // slots)
        if factor > self._rhythm.narrowest_s:
            raise ValueError("a mailbox receives at most one message per second; give it a longer history")
        return factor

    def _size_of_round(self, slot: int) -> int:
        return _CIRCLE_SIZES[self._noise.number("mail-size", slot, below=len(_CIRCLE_SIZES))]

    def _solos_before_shared(self, number: int, slot: int) -> int:
        """How many of a mailbox's own letters of a slot come before its shared one."""
        owner, solos = self._people.person(number), self.factor(number) - 1
        shared = self._shared(owner, 0, slot).ticks
        ranks = range(solos)
        return bisect_left(ranks, shared, key=lambda rank: self._solo(owner, 0, slot, rank, solos).ticks)

    def _shared(self, owner: Person, place: int, slot: int) -> Copy:
        size = self._size(slot)
        circle = self._circles.of_member(slot, size, self._seat[owner.number])
        noise = self._noise.bytes("letter", slot, circle.number)
        ticks, digits = self._time(noise, self._rhythm.start_s(slot), self._rhythm.width_s(slot))
        if len(circle.members) == 1:
            return self._alone(owner, place, f"{slot}.{circle.number}", noise, ticks, digits)
        members = [self._people.person(self._colleagues[seat]) for seat in circle.members]
        sender, others = members[0], members[1:]
        hidden = 1 if len(others) > 2 and noise[8] < 16 else 0
        shown = [_address_as_written(person, noise[9] + n) for n, person in enumerate(others)]
        if noise[10] < 64:
            shown.insert(1, self._people.outsider(spread(noise[11:13], OUTSIDERS)))
        visible = len(shown) - hidden
        to_count = 1 + noise[13] * visible // 256
        letter = Letter(
            key=f"{slot}.{circle.number}",
            noise=noise,
            ticks=ticks,
            digits=digits,
            sender=sender.recipient,
            to=shown[:to_count],
            cc=shown[to_count:visible],
            bcc=shown[visible:],
            thread=f"{sender.number}.{slot // 12}",
            note=_meeting_note(noise),
        )
        return Copy(owner, place, letter, Role.SENT if sender.number == owner.number else Role.RECEIVED)

    def _solo(self, owner: Person, place: int, slot: int, rank: int, solos: int) -> Copy:
        noise = self._noise.bytes("solo", owner.number, slot, rank)
        start, width = self._rhythm.start_s(slot), self._rhythm.width_s(slot)
        first = width * rank // solos
        ticks, digits = self._time(noise, start + first, width * (rank + 1) // solos - first)
        return self._alone(owner, place, f"{owner.number}-{slot}.{rank}", noise, ticks, digits)

    def _alone(self, owner: Person, place: int, key: str, noise: bytes, ticks: int, digits: int) -> Copy:
        """A letter from an outsider, to an outsider, by a machine, or not sent at all."""
        outsider = self._people.outsider(spread(noise[11:13], OUTSIDERS))
        role, to = Role.RECEIVED, [owner.recipient]
        sender: Recipient | None = outsider
        cc: list[Recipient] = []
        if noise[8] < 52:
            role, sender, to = Role.SENT, owner.recipient, [outsider]
        elif noise[8] < 64:
            role, sender, to = Role.DRAFT, None, [outsider] if noise[9] < 128 else []
        elif noise[8] < 68:
            sender, to = None, []  # a message of the system
        elif noise[9] < 24:
            to, cc = [_address_as_written(owner, noise[10])], [self._people.outsider(noise[13])]
        letter = Letter(
            key=key,
            noise=noise,
            ticks=ticks,
            digits=digits,
            sender=sender,
            to=to,
            cc=cc,
            bcc=[],
            thread=key if role is Role.DRAFT else f"x{owner.number}.{noise[12] % 4}",
        )
        return Copy(owner, place, letter, role)

    def _time(self, noise: bytes, start_s: int, width_s: int) -> tuple[int, int]:
        """An instant within these seconds: some on the full hour, with 0, 3, 6 or 7 digits."""
        digits = _FRACTION_DIGITS[noise[0] % 10]
        next_hour = -(-start_s // 3600) * 3600
        if noise[1] < 24 and next_hour < start_s + width_s:
            return next_hour * SECOND, digits
        second = start_s + spread(noise[2:5], width_s)
        fraction = spread(noise[5:8], SECOND)
        return second * SECOND + fraction - fraction % 10 ** (7 - digits), digits


def _address_as_written(person: Person, chance: int) -> Recipient:
    """Colleagues are mostly addressed by their primary address."""
    chance %= 256
    if chance < 22:
        return person.recipient_by_alias
    return person.recipient_by_dn if chance < 26 else person.recipient


def _meeting_note(noise: bytes) -> MeetingNote | None:
    if noise[14] >= 20:
        return None
    if noise[14] < 12:
        return MeetingNote.REQUEST
    return (MeetingNote.CANCELLATION, MeetingNote.ACCEPTED, MeetingNote.DECLINED)[noise[14] % 3]
