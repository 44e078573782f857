"""Chats that their readers failed to read, from one run to the next.

A reader who failed is caught up from his own watermark, as long as he is the reader. Where he leaves the chat, or the
company, or somebody with a lower id joins, another member reads on, whose own watermark may have moved since. So it is
kept of each such chat from when on it was not read, until somebody has read it from there.
"""

import zlib
from array import array
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec

from connectors.msft_teams.roster import Roster
from pipeline.model import Principal, PrincipalKind
from pipeline.ports import Reach

MOST = 1_000_000  # chats of a dataset, 8 bytes each; beyond, a chat that changes its reader has a gap, which is told


class ChatDebts:
    """By dataset and digest of a chat: the second since 1970 from which it was not read. Does not change."""

    def __init__(
        self, since: Mapping[str, Mapping[int, int]] | None = None, *, dropped: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self._since = since or {}
        self.dropped = dropped
        """By dataset: how many chats there was no room for."""

    def starts(self, roster: Roster) -> dict[tuple[str, Principal], datetime]:
        """From when on the readers of these chats have to read."""
        starts: dict[tuple[str, Principal], datetime] = {}
        for dataset, chats in self._since.items():
            for digest, since in chats.items():
                reader = roster.reader_of(digest)
                if reader is not None:
                    key = (dataset, _user(reader))
                    starts[key] = min(starts.get(key, _instant(since)), _instant(since))
        return starts

    def after(
        self, roster: Roster, reach: Reach, *, datasets: Iterable[str], lists_all: bool, most: int = MOST
    ) -> "ChatDebts":
        """What is owed after a run, of at most so many chats a dataset.

        `lists_all`: a chat that is not in its roster has no member in scope.
        """
        since, dropped = {}, {}
        for dataset in datasets:
            since[dataset], dropped[dataset] = self._after(dataset, roster, reach, lists_all=lists_all, most=most)
        return ChatDebts(
            {dataset: chats for dataset, chats in since.items() if chats},
            dropped={dataset: count for dataset, count in dropped.items() if count},
        )

    def _after(
        self, dataset: str, roster: Roster, reach: Reach, *, lists_all: bool, most: int
    ) -> tuple[dict[int, int], int]:
        """What is owed of one dataset, and how many chats more."""
        before = self._since.get(dataset, {})
        unread = {
            user: begin for user in roster.users if (begin := reach.unread_from(dataset, _user(user))) is not None
        }
        if len(unread) == len(roster.users):
            return dict(before), 0  # the service was down: nobody's watermark is ahead of another's
        owed: dict[int, int] = {}
        for digest, since in before.items():
            reader = roster.reader_of(digest)
            if reader is not None:
                begin = reach.unread_from(dataset, _user(reader), since=_instant(since))
                if begin is not None:
                    owed[digest] = _second(begin)
            elif not lists_all:
                owed[digest] = since
        dropped = 0
        for digest, user in roster.read_by(unread):
            second = _second(unread[user])
            if len(owed) < most or digest in owed:
                owed[digest] = min(owed.get(digest, second), second)
            else:
                dropped += 1
        return owed, dropped

    def to_bytes(self) -> bytes | None:
        """For `from_bytes` in the next run; None where nothing is owed."""
        if not self._since:
            return None
        kept: dict[str, dict[int, bytes]] = {}
        for dataset, chats in self._since.items():
            by_second: dict[int, array[int]] = {}
            for digest, since in chats.items():
                by_second.setdefault(since, array("Q")).append(digest)
            kept[dataset] = {second: digests.tobytes() for second, digests in by_second.items()}
        return zlib.compress(msgspec.msgpack.encode(kept))

    @classmethod
    def from_bytes(cls, data: bytes) -> "ChatDebts":
        since: dict[str, dict[int, int]] = {}
        for dataset, by_second in msgspec.msgpack.decode(
            zlib.decompress(data), type=dict[str, dict[int, bytes]]
        ).items():
            for second, kept in by_second.items():
                digests = array("Q")
                digests.frombytes(kept)
                since.setdefault(dataset, {}).update(dict.fromkeys(digests, second))
        return cls(since)


def _user(user_id: str) -> Principal:
    return Principal(PrincipalKind.USER, user_id)


def _second(at: datetime) -> int:
    return int(at.timestamp())


def _instant(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)
