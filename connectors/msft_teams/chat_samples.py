"""What reading the chats of a user would take, from a list of them and the members of a few.

A run settles first who reads each chat, for which it lists the chats of all users. An estimate asks a few users and
supposes that each of a chat's members in scope is as likely to be its reader as any other.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import msgspec

from connectors.graph.paging import typed
from connectors.msft_teams.roster import ListedChat
from pipeline.metering import metered
from pipeline.model import Page, Unit
from pipeline.ports import RequestKind

CHATS_LOOKED_INTO = 1  # of one user
USERS_REMEMBERED = 256
UNKNOWN_SHARE = 1 / 3  # of the chats of a user that he reads, before any chat was looked into

ListChats = Callable[[Unit], Awaitable[list[Page]]]
ReadMembers = Callable[[str], Awaitable[bytes | None]]


@dataclass(frozen=True, slots=True)
class ChatSample:
    """The chats of one user, those in `looked_into` with their members as JSON; `listing` is what the list took."""

    chats: Sequence[tuple[bytes, ListedChat]] = field(repr=False)
    looked_into: Sequence[tuple[bytes, bytes]] = field(repr=False)
    listing: Mapping[RequestKind, float]


class ChatSampler:
    """Lists the chats of users and looks into a few of them, each user once."""

    def __init__(self, list_chats: ListChats, read_members: ReadMembers) -> None:
        self.people: Collection[str] = frozenset()  # in scope: one of them reads each chat
        self._list_chats = list_chats
        self._read_members = read_members
        self._known: OrderedDict[str, ChatSample] = OrderedDict()
        self._shares: list[float] = []

    async def of(self, unit: Unit, *, chance: Random) -> ChatSample:
        """What the user's chats tell. Raises: as `Source.pages`."""
        user_id = unit.principal.id
        if user_id not in self._known:
            self._known[user_id] = await self._sampled(unit, chance)
            if len(self._known) > USERS_REMEMBERED:
                self._known.popitem(last=False)
        return self._known[user_id]

    @property
    def reader_share(self) -> float:
        """Of how many of his chats a member is the reader, on average."""
        return sum(self._shares) / len(self._shares) if self._shares else UNKNOWN_SHARE

    async def _sampled(self, unit: Unit, chance: Random) -> ChatSample:
        with metered() as meter:
            pages = await self._list_chats(unit)
            listing = dict(meter.requests)
        chats = [
            pair for page in pages for pair in zip(map(bytes, typed(page, _raws)), typed(page, _chats), strict=True)
        ]
        looked_into = []
        for raw, chat in chance.sample(chats, min(CHATS_LOOKED_INTO, len(chats))):
            members = await self._read_members(chat.id)
            if members is not None:
                looked_into.append((raw, members))
                in_scope = sum(member.user_id in self.people for member in typed(Page(members), _members))
                self._shares.append(1 / max(in_scope, 1))
        return ChatSample(chats, looked_into, listing)


class _Member(msgspec.Struct, rename="camel", frozen=True):
    user_id: str | None = None


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_chats = msgspec.json.Decoder(list[ListedChat])
_members = msgspec.json.Decoder(list[_Member])
