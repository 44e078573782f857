"""Who reads which chat: of all members in scope, the one with the lowest id.

Graph returns a chat, and its messages, to every member. So that each is exported once, the chats of all users are
listed before anything is read, and of each chat only its reader's copy is kept. A tenant has millions of chats:
the roster keeps 8 bytes of a digest and 4 of a reader for each, in arrays with room for at most three times that.
Two chats with one digest would share a reader; among ten million that is one chance in 370,000.
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
NOBODY = 0xFFFF_FFFF
_LATEST = 0xFFFF_FFFF  # the last second an unsigned 32-bit number of seconds can name, in 2106
_SMALLEST_TABLE = 1 << 10
_FULLEST = 2 / 3  # of a table that is searched slot by slot
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
        self._table = _Table()

    def learn(self, place: int, chats: Iterable[ListedChat]) -> None:
        """All chats of the user at `place` in `users`."""
        for chat in chats:
            self._table.put(_digest(chat.id), place, *_changes(chat))

    def roster(self) -> "Roster":
        """What was learnt; the builder is not used afterwards."""
        table = self._table
        earliest = array("I", [_LATEST]) * len(self.users)
        latest = array("I", [0]) * len(self.users)
        owned = array("I", [0]) * len(self.users)
        for slot, reader in enumerate(table.readers):
            if reader != NOBODY:
                earliest[reader] = min(earliest[reader], table.created[slot])
                latest[reader] = max(latest[reader], table.updated[slot])
                owned[reader] += 1
        return Roster(self.users, table.digests, table.readers, earliest, latest, owned)


class Roster:
    """The readers of all chats; does not change."""

    def __init__(
        self,
        users: Sequence[str],
        digests: "array[int]",
        readers: "array[int]",
        earliest: "array[int]",
        latest: "array[int]",
        owned: "array[int]",
    ) -> None:
        self._users = users
        self._digests = digests
        self._readers = readers
        self._earliest = earliest  # change of a chat the user reads, in seconds since 1970
        self._latest = latest
        self._owned = owned  # how many chats the user reads

    def reads(self, user_id: str, chat_id: str) -> bool:
        """Whether the user is the one who reads the chat; nobody reads a chat that no member listed."""
        slot = _slot(self._digests, self._readers, _digest(chat_id))
        reader = self._readers[slot]
        return reader != NOBODY and self._users[reader] == user_id

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
        reader = self._readers[_slot(self._digests, self._readers, digest)]
        return None if reader == NOBODY else self._users[reader]

    def read_by(self, users: Collection[str]) -> Iterator[tuple[int, str]]:
        """The digests of all chats that one of the users reads, each with who it is."""
        places = {place for place in map(self._place, users) if place is not None}
        for slot, reader in enumerate(self._readers) if places else ():
            if reader in places:
                yield self._digests[slot], self._users[reader]

    def knows(self, user_id: str) -> bool:
        """Whether the user's chats were listed when the roster was made."""
        return self._place(user_id) is not None

    def to_bytes(self, *, failed: Mapping[str, "Failure"]) -> bytes:
        """For `from_bytes` in a later process, with what kept users out of the roster."""
        taken = [slot for slot, reader in enumerate(self._readers) if reader != NOBODY]
        saved = _Saved(
            version=VERSION,
            users=list(self._users),
            digests=array("Q", (self._digests[slot] for slot in taken)).tobytes(),
            readers=array("I", (self._readers[slot] for slot in taken)).tobytes(),
            earliest=self._earliest.tobytes(),
            latest=self._latest.tobytes(),
            owned=self._owned.tobytes(),
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
        table = _Table()
        for digest, reader in zip(_array("Q", saved.digests), _array("I", saved.readers), strict=True):
            table.put(digest, reader, 0, 0)
        roster = cls(
            saved.users,
            table.digests,
            table.readers,
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
    digests: bytes
    readers: bytes
    earliest: bytes
    latest: bytes
    owned: bytes
    failed: dict[str, Failure]


class _Table:
    """An open-addressed hash table in four arrays: 20 bytes a slot, and no object for each chat."""

    def __init__(self) -> None:
        self._resize(_SMALLEST_TABLE)
        self._taken = 0

    def put(self, digest: int, reader: int, created: int, updated: int) -> None:
        slot = _slot(self.digests, self.readers, digest)
        if self.readers[slot] == NOBODY:
            self._taken += 1
        self.digests[slot] = digest
        self.readers[slot] = min(self.readers[slot], reader)
        self.created[slot] = created
        self.updated[slot] = updated
        if self._taken > len(self.readers) * _FULLEST:
            self._grow()

    def _grow(self) -> None:
        rows = zip(self.digests, self.readers, self.created, self.updated, strict=True)
        self._resize(2 * len(self.readers))
        for digest, reader, created, updated in rows:
            if reader != NOBODY:
                slot = _slot(self.digests, self.readers, digest)
                self.digests[slot], self.readers[slot] = digest, reader
                self.created[slot], self.updated[slot] = created, updated

    def _resize(self, slots: int) -> None:
        self.digests = array("Q", [0]) * slots
        self.readers = array("I", [NOBODY]) * slots
        self.created = array("I", [0]) * slots
        self.updated = array("I", [0]) * slots


def _slot(digests: "array[int]", readers: "array[int]", digest: int) -> int:
    """The slot of the digest, or the free one where it belongs; tables have powers of two as sizes."""
    mask = len(digests) - 1
    slot = digest & mask
    while readers[slot] != NOBODY and digests[slot] != digest:
        slot = (slot + 1) & mask
    return slot


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


def _array(kind: str, data: bytes) -> "array[int]":
    numbers: array[int] = array(kind)
    numbers.frombytes(data)
    return numbers
