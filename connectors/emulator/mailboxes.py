"""What lies in each mailbox now: the endless row of copies up to the tenant's present, deliveries and removals."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from connectors.emulator.clock import Clock
from connectors.emulator.folders import FOLDERS
from connectors.emulator.letters import Copy, Letter, Letters, Role
from connectors.emulator.noise import Noise, spread
from connectors.emulator.people import OUTSIDERS, People, Person

_FIRST_GENERATION, _GENERATIONS_AT_ONCE = 1_600, 3
_FIRST_DELIVERY = 1 << 40  # places from here on are deliveries; a row is never that long
_COUNTED_ONE_BY_ONE = 20_000  # folder counts of longer mailboxes are extrapolated from their first copies
_RECEIVED_IN = ("archive", "deleteditems", "junkemail", "clients", "contracts", "disputes", "teamchat", "clutter")


@dataclass(frozen=True, slots=True)
class Stay:
    """The time of a message in one folder, in ticks: `went` is None while it lies there. `number` counts its moves."""

    folder: str
    came: int
    went: int | None
    number: int


class Mailboxes:
    """All mailboxes; a mailbox that nobody delivered to costs no memory."""

    def __init__(self, noise: Noise, people: People, letters: Letters, *, clock: Clock, first_ticks: int) -> None:
        self._noise = noise
        self._people = people
        self._letters = letters
        self._clock = clock
        self._first_ticks = first_ticks
        self._delivered: dict[int, list[Copy]] = {}
        self._arrived: dict[int, int] = {}  # when a delivery came, by its place
        self._removed: dict[int, dict[int, int]] = {}  # when a message went, by owner and place
        self._moved: dict[int, dict[int, list[tuple[str, int]]]] = {}  # where and when, by owner and place
        self._delivery_count = 0
        self._forgotten: dict[int, int] = {}  # how often the sync states of a mailbox were
        self._prefix = lru_cache(maxsize=8_192)(self._prefix_of)
        self._counts = lru_cache(maxsize=1_024)(self._counts_until)

    def window(
        self, owner: Person, *, start: int | None = None, end: int | None = None, with_removed: bool = False
    ) -> "MailWindow":
        """The copies received in [start, end) ticks, as far as they lie in the past."""
        start = self._first_ticks if start is None else max(start, self._first_ticks)
        now = self._clock.ticks + 1
        end = max(start, now if end is None else min(end, now))
        extra = self._delivered.get(owner.number, [])
        removed = {} if with_removed else self._removed.get(owner.number, {})
        extra = extra[bisect_left(extra, start, key=_ticks) : bisect_left(extra, end, key=_ticks)]
        places = range(self._letters.place_at(owner, start), self._letters.place_at(owner, end))
        return MailWindow(
            letters=self._letters,
            owner=owner,
            first=places.start,
            stop=places.stop,
            extra=[copy for copy in extra if copy.place not in removed],
            removed=sorted(place for place in removed if place in places),
        )

    def deliver(self, owner: Person, *, count: int, ticks: int, subject: str | None, recipients: int = 1) -> list[Copy]:
        """Puts new letters of outsiders into a mailbox, all at one instant, each to so many people."""
        copies = []
        others = [self._people.outsider(number % OUTSIDERS) for number in range(recipients - 1)]
        for _ in range(count):
            number = self._delivery_count
            self._delivery_count += 1
            noise = self._noise.bytes("delivery", owner.number, number)
            letter = Letter(
                key=f"d{owner.number}.{number}",
                noise=noise,
                ticks=ticks,
                digits=7 if ticks % 10_000_000 else 0,
                sender=self._people.outsider(spread(noise[11:13], OUTSIDERS)),
                to=[owner.recipient, *others],
                cc=[],
                bcc=[],
                thread=f"d{number}",
                subject=subject,
            )
            copies.append(Copy(owner, _FIRST_DELIVERY + number, letter, Role.RECEIVED))
            self._arrived[copies[-1].place] = max(ticks, self._clock.ticks)
            insort(self._delivered.setdefault(owner.number, []), copies[-1], key=_ticks)
        return copies

    def remove(self, owner: Person, message_id: str) -> None:
        """Deletes a message for good. Raises KeyError where it is not a message id of this mailbox."""
        self._removed.setdefault(owner.number, {}).setdefault(_place(owner, message_id), self._clock.ticks)

    def move(self, owner: Person, message_id: str, folder: str) -> None:
        """Puts a message into another folder, which changes its default id. Raises KeyError."""
        moves = self._moved.setdefault(owner.number, {})
        moves.setdefault(_place(owner, message_id), []).append((FOLDERS[folder].name, self._clock.ticks))

    def stays(self, copy: Copy) -> list[Stay]:
        """Where a message has been, the latest place last; it came when it was delivered, whatever its date says."""
        moves = self._moves_of(copy)
        folders = [_first_folder(copy), *(folder for folder, _ in moves)]
        came = [self._arrived.get(copy.place, copy.ticks), *(ticks for _, ticks in moves)]
        went = [*came[1:], self._removed.get(copy.owner.number, {}).get(copy.place)]
        return [Stay(*stay, number) for number, stay in enumerate(zip(folders, came, went, strict=True))]

    def folder_of(self, copy: Copy) -> str:
        """In which folder a message lies."""
        moves = self._moves_of(copy)
        return moves[-1][0] if moves else _first_folder(copy)

    def late_changes(self, owner: Person, *, before: int) -> list[Copy]:
        """The copies received before `before` that were delivered, moved or deleted by hand, by place."""
        delivered = {copy.place: copy for copy in self._delivered.get(owner.number, ())}
        touched = {**delivered, **self._removed.get(owner.number, {}), **self._moved.get(owner.number, {})}
        copies = (delivered.get(place) or self._letters.copy(owner, place) for place in sorted(touched))
        return [copy for copy in copies if copy.ticks < before]

    def generation(self, owner: Person) -> int:
        """The number of the mailbox's sync states; those of an earlier number are forgotten."""
        return _FIRST_GENERATION + owner.number + _GENERATIONS_AT_ONCE * self._forgotten.get(owner.number, 0)

    def forget_sync_states(self, owner: Person) -> None:
        """No delta link that the mailbox has given out is good any more."""
        self._forgotten[owner.number] = self._forgotten.get(owner.number, 0) + 1

    def message_id(self, copy: Copy, *, immutable: bool, moves: int | None = None) -> str:
        """The id in the default or in the immutable format; of the same length, not of the same characters.

        The default one is another after each move; `moves` asks for that after so many of them.
        """
        number = copy.owner.number
        tail = urlsafe_b64encode(struct.pack(">qI", copy.place, number)).decode()
        if immutable:
            return f"{self._prefix(number, 'AAkALg')}{tail}AAA="
        moves = len(self._moves_of(copy)) if moves is None else moves
        return f"{self._prefix(number, 'AAMkAG', moves)}{tail}AAA="

    def folder_id(self, owner: Person, folder: str) -> str:
        """The id of a folder; it has one format only."""
        return f"{self._prefix(owner.number, 'AAMkAF')}{FOLDERS[folder].number:04d}AAAA=" if folder in FOLDERS else ""

    def find_folder(self, owner: Person, name_or_id: str) -> str | None:
        """The folder behind a well-known name (in any case) or an id (in this case only)."""
        known = FOLDERS.get(name_or_id.lower())
        if known is not None and known.is_well_known:
            return known.name
        return next((name for name in FOLDERS if self.folder_id(owner, name) == name_or_id), None)

    def conversation_id(self, copy: Copy) -> str:
        """The conversation as this mailbox numbers it."""
        token = self._noise.token(copy.letter.thread)
        return f"{self._prefix(copy.owner.number, 'AAQkAG')[:40]}{token}="

    def count(self, owner: Person, folder: str) -> int:
        """How many messages lie in a folder, deliveries included; extrapolated in very large mailboxes."""
        window = self.window(owner)
        counts, looked_at = self._counts(owner.number, window.first, window.stop)
        in_row = counts.get(folder, 0) * (window.stop - window.first) // max(looked_at, 1)
        for place, moves in self._moved.get(owner.number, {}).items():
            if window.first <= place < window.stop:
                came_from = _first_folder(self._letters.copy(owner, place))
                in_row += (moves[-1][0] == folder) - (came_from == folder)
        return in_row + sum(self.folder_of(copy) == folder for copy in window.extra)

    def _moves_of(self, copy: Copy) -> Sequence[tuple[str, int]]:
        moved = self._moved.get(copy.owner.number)
        return moved.get(copy.place, ()) if moved else ()

    def _counts_until(self, number: int, first: int, stop: int) -> tuple[dict[str, int], int]:
        counts: dict[str, int] = {}
        places = range(first, min(stop, first + _COUNTED_ONE_BY_ONE))
        for place in places:
            folder = _first_folder(self._letters.copy(self._people.person(number), place))
            counts[folder] = counts.get(folder, 0) + 1
        return counts, len(places)

    def _prefix_of(self, number: int, head: str, moves: int = 0) -> str:
        names = (number, moves) if moves else (number,)
        return head + self._noise.token(head, *names) + self._noise.token(head + "2", *names)[:27]


@dataclass(frozen=True, slots=True, kw_only=True)
class MailWindow:
    """A row of copies by time: a range of places and a few deliveries between them."""

    letters: Letters
    owner: Person
    first: int
    stop: int
    extra: list[Copy]
    removed: list[int] = field(default_factory=list)  # places between first and stop; what came after moved up

    def __len__(self) -> int:
        return self.stop - self.first - len(self.removed) + len(self.extra)

    def walk(self, *, skip: int = 0, descending: bool) -> Iterator[Copy]:
        """The copies in order of time, from the `skip`-th on."""
        owner, copy = self.owner, self.letters.copy
        if not self.extra and not self.removed:
            places = range(self.first, self.stop)
            for place in (places[::-1] if descending else places)[skip:]:
                yield copy(owner, place)
            return
        gaps = [place - self.first - n for n, place in enumerate(self.removed)]  # how many copies stand before each
        taken = [self._copies_before(extra) + n for n, extra in enumerate(self.extra)]
        positions = range(len(self))
        for position in (positions[::-1] if descending else positions)[skip:]:
            before = bisect_left(taken, position)
            if before < len(taken) and taken[before] == position:
                yield self.extra[before]
            else:
                number = position - before
                yield copy(owner, self.first + number + bisect_right(gaps, number))

    def _copies_before(self, delivered: Copy) -> int:
        """How many copies of the row are older than a delivery."""
        place = self.letters.place_at(self.owner, delivered.ticks)
        return place - self.first - bisect_left(self.removed, place)


def _place(owner: Person, message_id: str) -> int:
    """The place that an id stands for. Raises KeyError where it is none of this mailbox."""
    place: int
    try:
        place, number = struct.unpack(">qI", urlsafe_b64decode(message_id[-20:-4]))
    except (ValueError, struct.error) as error:
        raise KeyError("not a message id") from error
    if number != owner.number:
        raise KeyError("an id of another mailbox")
    return place


def _first_folder(copy: Copy) -> str:
    """In which folder a copy comes to lie."""
    if copy.role is Role.SENT:
        return "sentitems"
    if copy.role is Role.DRAFT:
        return "drafts"
    chance = (copy.letter.noise[15] + 37 * copy.owner.number) % 256
    return _RECEIVED_IN[chance // 8] if chance < 8 * len(_RECEIVED_IN) else "inbox"


def _ticks(copy: Copy) -> int:
    return copy.ticks
