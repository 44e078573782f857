"""Chats with their members.

  teams_chats  GET /users/{id}/chats and GET /chats/{id}/members
               https://learn.microsoft.com/graph/api/chat-list
               https://learn.microsoft.com/graph/api/chat-list-members
(all checked 2026-11)

Members are asked for chat by chat: `$expand=members` ends silently at 25 members for all chats of a page. Only chats
that were created, renamed or changed members in the window are exported again, which their list tells.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from random import Random

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.errors import End, Refusal, outcome
from connectors.graph.limits import CHATS_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import CollectionBroken, Request, read_pages, typed
from connectors.graph.side_by_side import side_by_side
from connectors.graph.source import MOST_RESTARTS, Collection, GraphSource
from connectors.graph.traffic import chat_list_traffic, chat_traffic
from connectors.msft_teams.chat_samples import ChatSampler
from connectors.msft_teams.names import NAME, UNKNOWN_MEMBERS
from connectors.msft_teams.roster import ListedChat, Rota
from connectors.options import ConnectorOptions
from pipeline.errors import FailReason, UnitFailed
from pipeline.metering import joined
from pipeline.model import Page, PrincipalKind, Unit
from pipeline.ports import RequestKind, Sample

READERS = 8  # chats of one user whose members or messages are read at the same time
PREVIEW = "lastMessagePreview"  # comes only when it is expanded
REFUSED = frozenset({End.FORBIDDEN, End.OUT_OF_POLICY})  # a chat of another tenant, or all for want of permission
UNREADABLE = REFUSED | {End.ITEM_GONE, End.MAYBE_GONE, End.DELETED}


class ChatSource(GraphSource):
    """The chats a user reads that changed in the window, each with its members."""

    def __init__(
        self,
        collection: Collection,
        client: GraphClient,
        rota: Rota,
        *,
        members: "MemberReader",
        sampler: ChatSampler,
    ) -> None:
        super().__init__(collection, client)
        self._members_of = members
        self._sampler = sampler
        self._rota = rota

    async def sample(self, unit: Unit, *, chance: Random) -> Sample:
        """The list of chats is read before all units and again by this one; members once for each chat and reader."""
        found = await self._sampler.of(unit, chance=chance)
        window, share = unit.window, self._sampler.reader_share
        changed = [raw for raw, chat in found.chats if window is None or chat.changed_in(window)]
        since = [chat for _, chat in found.chats if window is None or chat.changed_since(window)]
        reads_any = 1 - (1 - share) ** len(since)
        members = {chat_traffic("").kind: len(changed) * share}
        known = dict(found.looked_into)
        likely = next(iter(known.values()), None)  # whose members were not read has as many as another
        chats = [raw if likely is None else _spliced(raw, known.get(raw, likely)) for raw in changed]
        return Sample(
            requests=joined(found.listing, _times(found.listing, reads_any), members),
            pages=[Page(b"[" + b",".join(chats) + b"]")],
            weight=share,
        )

    async def pages(self, unit: Unit) -> AsyncIterator[Page]:
        """As `GraphSource.pages`, a page for each page of chats that has any to export."""
        roster, user_id, window = self._rota.roster, unit.principal.id, unit.window
        if window is not None and not roster.may_have_changed(user_id, window):
            return
        async for page in super().pages(unit):
            chats = [
                (raw, chat)
                for raw, chat in _raw_chats(page)
                if roster.reads(user_id, chat.id) and (window is None or chat.changed_in(window))
            ]
            if chats:
                found = await side_by_side(self._with_members, chats, at_most=READERS)
                withheld = sum(end in REFUSED for _, end in found)
                yield Page(b"[" + b",".join(raw for raw, _ in found) + b"]", withheld=withheld)

    async def _with_members(self, raw_and_chat: tuple[bytes, ListedChat]) -> tuple[bytes, End | None]:
        """The chat's own bytes with its members spliced in; without them where they cannot be read, and why."""
        raw, chat = raw_and_chat
        members = await self._members_of.look(chat.id)
        return (raw, members) if isinstance(members, End) else (_spliced(raw, members), None)


class MemberReader:
    """The members of one chat."""

    def __init__(self, client: GraphClient, *, roles: tuple[str, ...]) -> None:
        self._client = client
        self._roles = roles

    async def read(self, chat_id: str) -> bytes | None:
        """A JSON array of all members; None where they cannot be read."""
        members = await self.look(chat_id)
        return None if isinstance(members, End) else members

    async def look(self, chat_id: str) -> bytes | End:
        """As `read`; why they cannot be read: the chat is gone by now, or belongs to another tenant."""
        request = Request(path=segments("chats", chat_id, "members"), traffic=chat_traffic(chat_id))
        budget = self._client.budget()
        for _ in range(MOST_RESTARTS + 1):
            try:
                pages = read_pages(self._client, request, budget=budget, size=None)
                members = [page.records.strip()[1:-1] async for page in pages]
            except CollectionBroken as broken:
                refusal = broken.refusal
                continue
            except Refusal as refused:
                if refused.row.end in UNREADABLE:
                    return refused.row.end
                raise outcome(refused, roles=self._roles) from None
            return b"[" + b",".join(members) + b"]"
        raise UnitFailed(FailReason.SERVICE_ERROR, code=refusal.code, request_id=refusal.request_id)


def chat_list(user_id: str, *, expand: str = "") -> Request:
    """All chats of a user."""
    return Request(
        path=segments("users", user_id, "chats"),
        query={"$expand": expand} if expand else {},
        traffic=chat_list_traffic(user_id),
        prefer=UNKNOWN_MEMBERS,
        page_items=CHATS_PAGE_ITEMS,
    )


def chats(options: ConnectorOptions, *, expand: str = "") -> Collection:
    """As `ChatSource` reads them."""

    def requests(unit: Unit) -> Iterable[Request]:
        yield chat_list(unit.principal.id, expand=expand)

    return Collection(
        dataset="teams_chats",
        connector=NAME,
        principals=PrincipalKind.USER,
        from_beginning=True,
        requests=requests,
        roles=("Chat.ReadBasic.All", "Chat.Read.All"),
        windowed=True,
        settle=options.settle_teams,
        instants=("createdDateTime", "lastUpdatedDateTime"),
    )


def _spliced(raw: bytes, members: bytes) -> bytes:
    """The bytes of a chat with its members."""
    opened = raw.rstrip().removesuffix(b"}").rstrip()
    separator = b"" if opened.endswith(b"{") else b","
    return opened + separator + b'"members":' + members + b"}"


def _times(requests: Mapping[RequestKind, float], factor: float) -> Mapping[RequestKind, float]:
    return {kind: count * factor for kind, count in requests.items()}


def _raw_chats(page: Page) -> Iterator[tuple[bytes, ListedChat]]:
    """Each chat of a page, as its own bytes and as what the roster needs of it."""
    for raw, chat in zip(typed(page, _raws), typed(page, listed_chats), strict=True):
        yield bytes(raw), chat


_raws = msgspec.json.Decoder(list[msgspec.Raw])
listed_chats = msgspec.json.Decoder(list[ListedChat])
