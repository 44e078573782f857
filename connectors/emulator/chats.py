"""Which chats there are and what is written in them, as a pure function of the seed and of the present.

What holds:

- Everybody but rooms and shared mailboxes chats, guests too. A one-on-one chat joins two people and no two chats
  join the same two; group and meeting chats are circles, one per person and round; some have outsiders in them.
  A chat of guests alone does not exist.
- A chat has its own row of slots with at most one message each. A message may later be edited, get a reaction, or
  be deleted, at the latest `LATEST_CHANGE` after it was written; changes that still lie in the future are not seen.
  (Changes made through the tenant's methods may come at any time.)
- Members stay for ever, unless the tenant's methods let somebody join or leave. A chat is listed to those who are
  in it; what was written before stays as it was.
- A message id is its creation in milliseconds and unique within its chat only, as in Teams.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache

from connectors.emulator.clock import Clock
from connectors.emulator.noise import Circles, Noise, spread
from connectors.emulator.people import OUTSIDERS, People, Person, Recipient
from connectors.emulator.profile import NOT_HUMAN, TenantProfile
from connectors.emulator.rhythm import Rhythm
from connectors.emulator.ticks import DAY, HOUR, MINUTE, SECOND

MILLISECOND = SECOND // 1000
LATEST_CHANGE = 2 * DAY
_GROUP_SIZES = (3, 3, 4, 5, 6, 8, 12)
_MEETING_SIZES = (2, 3, 4, 4, 6, 9)


class ChatKind(StrEnum):
    """Graph's chatType."""

    ONE_ON_ONE = "oneOnOne"
    GROUP = "group"
    MEETING = "meeting"


class OutsideMember(StrEnum):
    """Members who are no users of the tenant; the value is the kind of their conversationMember."""

    FEDERATED = "aadUser"
    ANONYMOUS = "anonymousGuest"
    PHONE = "phoneUser"
    CALLING_APP = "azureCommunicationServicesUser"
    SKYPE = "skypeUser"


class ChangeKind(StrEnum):
    """What can happen to a message after it was written."""

    EDIT = "edit"
    REACTION = "reaction"
    DELETION = "deletion"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that happened to a message."""

    kind: ChangeKind
    ticks: int
    by: Person = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chat:
    """A chat, seen by those who are `present`. `key` alone tells two chats apart; `members` founded it."""

    key: tuple[int, int, int]
    id: str = field(repr=False)
    kind: ChatKind
    noise: bytes = field(repr=False)
    created: int
    updated: int
    members: Sequence[Person] = field(repr=False)
    present: Sequence[Person] = field(repr=False)
    outside_kind: OutsideMember | None = None
    outsider: Recipient | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Chat) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatMessage:
    """A message as it is now: `changes` are those that have happened."""

    chat: Chat = field(repr=False)
    noise: bytes = field(repr=False)
    created: int
    sender: Person = field(repr=False)
    changes: Sequence[Change] = ()

    @property
    def id(self) -> str:
        """Milliseconds since 1970."""
        return str(self.created // MILLISECOND)

    @property
    def modified(self) -> int:
        """The last change, or the creation."""
        return max((change.ticks for change in self.changes), default=self.created)

    def last(self, kind: ChangeKind) -> int | None:
        """When a change of this kind happened last."""
        return max((change.ticks for change in self.changes if change.kind is kind), default=None)


class Chats:
    """All chats and their messages."""

    def __init__(self, noise: Noise, people: People, profile: TenantProfile, *, clock: Clock, first_ticks: int) -> None:
        self._noise = noise
        self._people = people
        self._clock = clock
        self._first_ticks = first_ticks
        self._seats = people.numbers_without(*NOT_HUMAN)
        self._seat = {number: seat for seat, number in enumerate(self._seats)}
        self._circles = Circles(noise, "chat-round", len(self._seats))
        self._pair_rounds = min(profile.one_on_one_chats, max(0, len(self._seats) - 1))
        self._first_sum = noise.number("chat-pairs", below=max(1, len(self._seats)))
        self._circle_rounds = profile.group_chats + profile.meeting_chats
        self._group_rounds = profile.group_chats
        self._rhythm = Rhythm(profile.chat_messages_per_week)
        self._busy_rhythm = Rhythm(3 * profile.chat_messages_per_week)
        self._delivered: dict[str, list[ChatMessage]] = {}
        self._made_changes: dict[tuple[str, str], list[Change]] = {}
        self._change_count = 0
        self._now_present: dict[tuple[int, int, int], tuple[Sequence[Person], int]] = {}  # and since when
        self._joined: dict[int, list[Chat]] = {}
        self.of_member = lru_cache(maxsize=2_048)(self._of_member)
        self._messages = lru_cache(maxsize=1_024)(self._messages_at)

    def all(self) -> Iterator[Chat]:
        """Every chat once."""
        for number in self._seats:
            for chat in self._founded_by(number):
                if min(person.number for person in chat.members) == number:
                    yield chat

    def find(self, chat_id: str) -> Chat | None:
        """The chat of this id; letter case counts."""
        first = self._people.find(chat_id[3:].partition("_")[0])
        number = self._member_in_thread_id(chat_id) if first is None else first.number
        if number not in self._seat:
            return None
        return next((chat for chat in self._founded_by(number) if chat.id == chat_id), None)

    def messages(self, chat: Chat, *, since: int | None = None) -> Sequence[ChatMessage]:
        """The messages of a chat, newest first; with `since` at least all that were created or changed since."""
        floor = self._first_ticks if since is None else max(since - LATEST_CHANGE, self._first_ticks)
        return self._messages(chat, floor, self._clock.ticks, self._change_count)

    def deliver(self, chat: Chat, *, count: int, ticks: int) -> list[ChatMessage]:
        """Writes messages into a chat, a millisecond apart."""
        taken = {message.id for message in (*self.messages(chat), *self._delivered.get(chat.id, ()))}
        messages: list[ChatMessage] = []
        sender = (chat.present or chat.members)[0]
        while len(messages) < count:
            noise = bytearray(self._noise.bytes("chat-delivery", *chat.key, self._change_count))
            self._change_count += 1
            noise[1:4] = b"\xff\xff\xff"  # an ordinary message, not changed by itself
            message = ChatMessage(chat=chat, noise=bytes(noise), created=ticks - ticks % MILLISECOND, sender=sender)
            ticks += MILLISECOND
            if message.id not in taken:
                messages.append(message)
        self._delivered.setdefault(chat.id, []).extend(messages)
        return messages

    def change(self, chat: Chat, message_id: str, kind: ChangeKind, *, ticks: int) -> None:
        """Edits, reacts to, or deletes a message. Raises KeyError where there is none of that id."""
        message = next((m for m in self.messages(chat) if m.id == message_id), None)
        if message is None:
            raise KeyError("no such message")
        change = Change(kind, ticks - ticks % MILLISECOND, chat.members[-1])
        self._made_changes.setdefault((chat.id, message_id), []).append(change)
        self._change_count += 1

    def join(self, chat: Chat, person: Person, *, ticks: int) -> None:
        """Adds a member to a chat."""
        self._joined.setdefault(person.number, []).append(chat)
        self._set_present(chat, (*chat.present, person), ticks)

    def leave(self, chat: Chat, person: Person, *, ticks: int) -> None:
        """Takes a member out of a chat. Raises KeyError where it has no such member."""
        if person.number not in {each.number for each in chat.present}:
            raise KeyError("no such member")
        self._set_present(chat, tuple(each for each in chat.present if each.number != person.number), ticks)

    def _set_present(self, chat: Chat, present: Sequence[Person], ticks: int) -> None:
        self._now_present[chat.key] = present, ticks
        self.of_member.cache_clear()

    def _as_it_is(self, chat: Chat) -> Chat:
        if chat.key not in self._now_present:
            return chat
        present, updated = self._now_present[chat.key]
        return replace(chat, present=present, updated=updated)

    def _of_member(self, number: int) -> Sequence[Chat]:
        """The chats a person is in, in a stable order."""
        joined = (self._as_it_is(chat) for chat in self._joined.get(number, ()))
        listed = dict.fromkeys((*self._founded_by(number), *joined))
        return tuple(chat for chat in listed if number in {person.number for person in chat.present})

    def _founded_by(self, number: int) -> Sequence[Chat]:
        if number not in self._seat:
            return ()
        rounds = range(self._pair_rounds + self._circle_rounds)
        founded = (self._chat(n, self._seat[number]) for n in rounds)
        return tuple(self._as_it_is(chat) for chat in founded if chat is not None)

    def _chat(self, round_number: int, seat: int) -> Chat | None:
        if round_number < self._pair_rounds:
            return self._pair(round_number, seat)
        kind = ChatKind.GROUP if round_number < self._pair_rounds + self._group_rounds else ChatKind.MEETING
        sizes = _GROUP_SIZES if kind is ChatKind.GROUP else _MEETING_SIZES
        size = sizes[self._noise.number("chat-size", round_number, below=len(sizes))]
        circle = self._circles.of_member(round_number, size, seat)
        members = [self._people.person(self._seats[member]) for member in circle.members]
        if len(members) < 2 or all(person.is_guest for person in members):
            return None
        key = (1 if kind is ChatKind.GROUP else 2, round_number, circle.number)
        noise = self._noise.bytes("chat", *key)
        name = f"{min(person.number for person in members) ^ _mask(noise):08x}{noise[8:20].hex()}"
        created = self._first_ticks - (1 + noise[0]) * DAY
        outside = list(OutsideMember)[noise[2] % len(OutsideMember)] if noise[1] < 50 else None
        if outside is not None and kind is ChatKind.GROUP:
            outside = OutsideMember.FEDERATED
        return Chat(
            key=key,
            id=f"19:{'meeting_' if kind is ChatKind.MEETING else ''}{name}@thread.v2",
            kind=kind,
            noise=noise,
            created=created,
            updated=created + noise[22] * SECOND,
            members=members,
            present=members,
            outside_kind=outside,
            outsider=None if outside is None else self._people.outsider(spread(noise[3:5], OUTSIDERS)),
        )

    def _pair(self, round_number: int, seat: int) -> Chat | None:
        other = (self._first_sum + round_number - seat) % len(self._seats)
        members = [self._people.person(self._seats[n]) for n in sorted((seat, other))]
        if other == seat or all(person.is_guest for person in members):
            return None
        key = (0, round_number, min(seat, other))
        noise = self._noise.bytes("chat", *key)
        created = self._first_ticks - (1 + noise[0]) * DAY
        ids = "_".join(sorted(person.id for person in members))
        return Chat(
            key=key,
            id=f"19:{ids}@unq.gbl.spaces",
            kind=ChatKind.ONE_ON_ONE,
            noise=noise,
            created=created,
            updated=created + noise[22] * SECOND,
            members=members,
            present=members,
        )

    def _member_in_thread_id(self, chat_id: str) -> int | None:
        """The lowest member's number, which the id of a thread hides."""
        name = chat_id.removeprefix("19:").removeprefix("meeting_").partition("@")[0]
        try:
            noise = bytes.fromhex(name[8:])
            return int(name[:8], 16) ^ int.from_bytes(noise[:4])
        except ValueError:
            return None

    def _messages_at(self, chat: Chat, floor: int, now: int, _: int) -> Sequence[ChatMessage]:
        rhythm = self._rhythm if chat.kind is ChatKind.ONE_ON_ONE else self._busy_rhythm
        changed = {message_id for chat_id, message_id in self._made_changes if chat_id == chat.id}
        start = min([floor, *(int(message_id) * MILLISECOND for message_id in changed)])
        found = [*self._delivered.get(chat.id, ())]
        for slot in range(rhythm.slot_at(start // SECOND), rhythm.slot_at(now // SECOND) + 1):
            message = self._message(chat, rhythm, slot)
            if message is not None and message.created >= self._first_ticks:
                found.append(message)
        seen = (self._so_far(message, now) for message in found if message.created <= now)
        return sorted(seen, key=lambda message: message.created, reverse=True)

    def _message(self, chat: Chat, rhythm: Rhythm, slot: int) -> ChatMessage | None:
        noise = self._noise.bytes("chat-message", *chat.key, slot)
        if noise[0] >= 192:
            return None
        offset = spread(noise[4:8], rhythm.width_s(slot) * 1000)
        created = rhythm.start_s(slot) * SECOND + offset * MILLISECOND
        by = chat.members[noise[8] % len(chat.members)]
        message = ChatMessage(chat=chat, noise=noise, created=created, sender=by)
        changes = []
        if not is_system_event(message):
            other = chat.members[noise[9] % len(chat.members)]
            if noise[2] < 40:
                changes.append(Change(ChangeKind.REACTION, created + (1 + noise[10]) * 5 * MINUTE, other))
            if noise[3] < 25:
                changes.append(Change(ChangeKind.EDIT, created + (1 + noise[11]) * 30 * SECOND, by))
            if 25 <= noise[3] < 35:
                changes.append(Change(ChangeKind.DELETION, created + (1 + noise[11] % 47) * HOUR, by))
        return ChatMessage(chat=chat, noise=noise, created=created, sender=by, changes=changes)

    def _so_far(self, message: ChatMessage, now: int) -> ChatMessage:
        made = self._made_changes.get((message.chat.id, message.id), ())
        changes = [change for change in (*message.changes, *made) if change.ticks <= now]
        if len(changes) == len(message.changes) and not made:
            return message
        return ChatMessage(
            chat=message.chat, noise=message.noise, created=message.created, sender=message.sender, changes=changes
        )


def is_system_event(message: ChatMessage) -> bool:
    """Somebody joined, a call ended, the chat was renamed: not written by a person."""
    return message.noise[1] < 14 and message.chat.kind is not ChatKind.ONE_ON_ONE


def _mask(noise: bytes) -> int:
    return int.from_bytes(noise[8:12])
