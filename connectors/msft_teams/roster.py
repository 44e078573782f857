"""Who reads which chat: of all members in scope, the one with the lowest id.

Graph returns a chat, and its messages, to every member. So that each is exported once, the chats of all users are
listed before anything is read, and of each chat only its reader's copy is kept. A tenant has millions of chats:
the roster keeps 8 bytes of a digest and 4 of a reader for each, and up to 8 in a table to find them by; 8 more while it
is made. Two chats with one digest would share a reader; among ten million that is one chance in 370,000.
"""

import zlib
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Annotated

import msgspec

from pipeline.model import Window

VERSION = 1
_FREE = 0xFFFF_FFFF
_LATEST = 0xFFFF_FFFF  # the last second an unsigned 32-bit number of seconds can name, in 2106
_SMALLEST_TABLE = 1 << 10
_FULLEST = 0.75  # of a table that is searched slot by slot
_GROWTH = 1.5
_DIGEST_BYTES = 8


Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class ListedChat(msgspec.Struct, rename="camel", frozen=True):
    """What the roster needs of a chat. A change is a rename or a change of members, not a message."""

    id: str
    created_date_time: Instant | None = None
    last_updated_date_time: Instant | None = None

    def changed_in(self, window: Window) -> bool:
        """Whether it was created or changed in the window, edges included; without instants it was."""
        instants = (self.created_date_time, self.last_updated_date_time)
        if instants == (None, None):
            return True
        return any(instant is not None and window.start <= instant <= window.end for instant in instants)

    def changed_since(self, window: Window) -> bool:
        """Whether it was created or changed after the window began; without instants it was."""
        instants = [at for at in (self.created_date_time, self.last_updated_date_time) if at is not None]
        return not instants or max(instants) >= window.start

    def __repr__(self) -> str:
        return "ListedChat(…)"


class RosterBuilder:
    """Learns chats user by user, in any order."""

    def __init__(self, users: Iterable[str]) -> None:
        self.users = sorted(users)
        self._chats = _Chats()
        self._created, self._updated = array("I"), array("I")  # of each chat, in seconds since 1970

    def learn(self, place: int, chats: Iterable[ListedChat]) -> None:
        """All chats of the user at `place` in `users`."""
        for chat in chats:
            number = self._chats.put(_digest(chat.id), place)
            created, updated = _changes(chat)
            if number == len(self._created):
                self._created.append(created)
                self._updated.append(updated)
            else:
                self._created[number], self._updated[number] = created, updated

    def roster(self) -> "Roster":
        """What was learnt; the builder is not used afterwards."""
        earliest = array("I", [_LATEST]) * len(self.users)
        latest = array("I", [0]) * len(self.users)
        owned = array("I", [0]) * len(self.users)
        for reader, created, updated in zip(self._chats.readers, self._created, self._updated, strict=True):
            earliest[reader] = min(earliest[reader], created)
            latest[reader] = max(latest[reader], updated)
            owned[reader] += 1
        return Roster(self.users, self._chats, earliest, latest, owned)


class Roster:
    """The readers of all chats; does not change."""

    def __init__(
        self,
        users: Sequence[str],
        chats: "_Chats",
        earliest: "array[int]",
        latest: "array[int]",
        owned: "array[int]",
    ) -> None:
        self._users = users
        self._chats = chats
        self._earliest = earliest  # change of a chat the user reads, in seconds since 1970
        self._latest = latest
        self._owned = owned  # how many chats the user reads

    def reads(self, user_id: str, chat_id: str) -> bool:
        """Whether the user is the one who reads the chat; nobody reads a chat that no member listed."""
        return self.reader_of(_digest(chat_id)) == user_id

    def reads_any(self, user_id: str) -> bool:
        """Whether the user reads any chat at all."""
        place = self._place(user_id)
        return place is not None and self._owned[place] > 0

    def may_have_changed(self, user_id: str, window: Window) -> bool:
        """False where none of the chats the user reads was created or changed in the window."""
        place = self._place(user_id)
        if place is None or self._owned[place] == 0:
            return False
        return (
            self._earliest[place] <= window.end.timestamp()
            and self._latest[place] >= window.start.timestamp() - 1  # it was cut to the second
        )

    @property
    def users(self) -> Sequence[str]:
        """Everybody whose chats were to be listed."""
        return self._users

    def reader_of(self, digest: int) -> str | None:
        """Who reads the chat of this digest; None where no member listed it."""
        reader = self._chats.reader_of(digest)
        return None if reader is None else self._users[reader]

    def read_by(self, users: Collection[str]) -> Iterator[tuple[int, str]]:
        """The digests of all chats that one of the users reads, each with who it is."""
        places = {place for place in map(self._place, users) if place is not None}
        for digest, reader in zip(self._chats.digests, self._chats.readers, strict=True) if places else ():
            if reader in places:
                yield digest, self._users[reader]

    def knows(self, user_id: str) -> bool:
        """Whether the user's chats were listed when the roster was made."""
        return self._place(user_id) is not None

    def to_bytes(self, *, failed: Mapping[str, "Failure"]) -> bytes:
        """For `from_bytes` in a later process, with what kept users out of the roster."""
        saved = _Saved(
            version=VERSION,
            users=list(self._users),
            digests=_bytes(self._chats.digests),
            readers=_bytes(self._chats.readers),
            earliest=_bytes(self._earliest),
            latest=_bytes(self._latest),
            owned=_bytes(self._owned),
            failed=dict(failed),
        )
        return zlib.compress(msgspec.msgpack.encode(saved))

    @classmethod
    def from_bytes(cls, data: bytes) -> tuple["Roster", Mapping[str, "Failure"]]:
        """Raises: ValueError, when the bytes are not a roster of this version."""
        try:
            saved = msgspec.msgpack.decode(zlib.decompress(data), type=_Saved)
        except (zlib.error, msgspec.DecodeError):
            raise ValueError("the saved roster of chats cannot be read") from None
        if saved.version != VERSION:
            raise ValueError("the saved roster of chats is of another version")
        chats = _Chats()
        for digest, reader in zip(_array("Q", saved.digests), _array("I", saved.readers), strict=True):
            chats.put(digest, reader)
        roster = cls(
            saved.users,
            chats,
            _array("I", saved.earliest),
            _array("I", saved.latest),
            _array("I", saved.owned),
        )
        return roster, saved.failed

    def _place(self, user_id: str) -> int | None:
        place = bisect_left(self._users, user_id)
        return place if place < len(self._users) and self._users[place] == user_id else None


class Rota:
    """Holds the roster once it is known, for the sources that were made before."""

    def __init__(self) -> None:
        self._roster: Roster | None = None

    @property
    def is_known(self) -> bool:
        return self._roster is not None

    @property
    def roster(self) -> Roster:
        if self._roster is None:
            raise RuntimeError("teams chats are read before `prepare` settled who reads them")
        return self._roster

    @roster.setter
    def roster(self, roster: Roster) -> None:
        self._roster = roster


class Failure(msgspec.Struct, frozen=True):
    """Why a user's chats could not be listed, so that a resumed run reports the same."""

    skipped: bool
    reason: str
    code: str = ""
    request_id: str = ""


class _Saved(msgspec.Struct):
    version: int
    users: list[str]
    digests: memoryview
    readers: memoryview
    earliest: memoryview
    latest: memoryview
    owned: memoryview
    failed: dict[str, Failure]


class _Chats:
    """Digest and reader of each chat, numbered as they come, and an open-addressed table of their numbers."""

    def __init__(self) -> None:
        self.digests = array("Q")
        self.readers = array("I")
        self._slots = array("I", [_FREE]) * _SMALLEST_TABLE

    def put(self, digest: int, reader: int) -> int:
        """The number of the chat; the lowest reader counts."""
        slot = self._slot(digest)
        number = self._slots[slot]
        if number != _FREE:
            self.readers[number] = min(self.readers[number], reader)
            return number
        number = self._slots[slot] = len(self.digests)
        self.digests.append(digest)
        self.readers.append(reader)
        if len(self.digests) > len(self._slots) * _FULLEST:
            self._grow()
        return number

    def reader_of(self, digest: int) -> int | None:
        number = self._slots[self._slot(digest)]
        return None if number == _FREE else self.readers[number]

    def _slot(self, digest: int) -> int:
        """The slot of the digest, or the free one where it belongs."""
        slots, digests = self._slots, self.digests
        slot = digest % len(slots)
        while (number := slots[slot]) != _FREE and digests[number] != digest:
            slot = (slot + 1) % len(slots)
        return slot

    def _grow(self) -> None:
        self._slots = array("I", [_FREE]) * int(len(self._slots) * _GROWTH)
        for number, digest in enumerate(self.digests):
            self._slots[self._slot(digest)] = number


def _digest(chat_id: str) -> int:
    return int.from_bytes(blake2b(chat_id.encode(), digest_size=_DIGEST_BYTES).digest(), "big")


def _changes(chat: ListedChat) -> tuple[int, int]:
    """The first and the last change, in whole seconds since 1970; a chat without instants changed always."""
    instants = [at for at in (chat.created_date_time, chat.last_updated_date_time) if at is not None]
    if not instants:
        return 0, _LATEST
    seconds = [int(min(max((at - _EPOCH).total_seconds(), 0), _LATEST)) for at in instants]
    return min(seconds), max(seconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _bytes(numbers: "array[int]") -> memoryview:
    """As they lie in memory, no copy."""
    return memoryview(numbers).cast("B")


def _array(kind: str, data: memoryview) -> "array[int]":
    numbers: array[int] = array(kind)
    numbers.frombytes(data)
    return numbers
