"""Microsoft Teams: chats with their members, and chat messages, each exported once.

  teams_chats          GET /users/{id}/chats and GET /chats/{id}/members
                       https://learn.microsoft.com/graph/api/chat-list
                       https://learn.microsoft.com/graph/api/chat-list-members
  teams_chat_messages  GET /users/{id}/chats/getAllMessages
                       https://learn.microsoft.com/graph/api/chats-getallmessages
(all checked 2026-11)

Everything is returned to every member, so one member reads each chat (`connectors.chat_roster`); who it is gets
settled before the first unit, by listing the chats of all users once.
Members are asked for chat by chat: `$expand=members` ends silently at 25 members for all chats of a page. Only chats
that were created, renamed or changed members in the window are exported again, which their list tells.
Messages come from the export function: 200 requests a second instead of one for each chat. It is asked without
an upper bound, since a message that was edited later would otherwise miss the window of its creation; whether a
message belongs to the window is checked afterwards, by its creation and its last modification.
Neither endpoint supports $select. System messages need the opt-in to enumeration members beyond the known ones:
https://learn.microsoft.com/graph/best-practices-concept#handling-future-members-in-evolvable-enumerations
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

import msgspec

from config.instants import format_instant
from connectors.chat_roster import Failure, ListedChat, Roster, RosterBuilder
from connectors.graph.client import GraphClient
from connectors.graph.connector import Select
from connectors.graph.errors import End, Refusal, outcome
from connectors.graph.limits import CHATS_PAGE_ITEMS, EXPORTED_MESSAGES_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import CollectionBroken, Request, read_pages, typed
from connectors.graph.source import MOST_RESTARTS, Collection, GraphSource
from connectors.graph.traffic import TEAMS_EXPORT_TRAFFIC, chat_list_traffic, chat_traffic
from connectors.options import ConnectorOptions
from pipeline.errors import (
    DatasetDenied,
    FailReason,
    SkipReason,
    SourceRefused,
    UnitFailed,
    UnitReadAgain,
    UnitSkipped,
)
from pipeline.model import MICROSECOND, Page, Principal, PrincipalKind, Unit
from pipeline.ports import Preparation, RowFilter, Source

NAME = "msft-teams"
UNKNOWN_MEMBERS = ("include-unknown-enum-members",)
LISTERS = 16  # users whose chats are listed at the same time; the governor keeps the rate
PREVIEW = "lastMessagePreview"  # comes only when it is expanded
UNREADABLE_MEMBERS = frozenset({End.ITEM_GONE, End.MAYBE_GONE, End.FORBIDDEN, End.OUT_OF_POLICY, End.DELETED})


def connector(client: GraphClient, *, select: Select, options: ConnectorOptions) -> "TeamsConnector":
    """The chats of all users in scope."""
    return TeamsConnector(client, select=select, options=options)


class TeamsConnector:
    """A `pipeline.ports.Connector` that has to know all chats before it reads any."""

    name = NAME

    def __init__(self, client: GraphClient, *, select: Select, options: ConnectorOptions) -> None:
        self._rota = Rota()
        self._list = GraphSource(_chats(options, expand=""), client)
        expand = PREVIEW if PREVIEW in select["teams_chats"] else ""
        self.sources: Sequence[Source] = (
            ChatSource(_chats(options, expand=expand), client, self._rota),
            MessageSource(_messages(options), client, self._rota),
        )

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        """Settle who reads which chat, or take over what an interrupted run had settled.

        Raises:
            DatasetDenied, SourceRefused: no chat can be listed at all.
        """
        if saved is not None:
            roster, failures = await asyncio.to_thread(Roster.from_bytes, saved)
        else:
            roster, failures = await self._listed(users)
            saved = await asyncio.to_thread(roster.to_bytes, failed=failures)
        self._rota.roster = roster
        failed: dict[Principal, UnitSkipped | UnitFailed] = {}
        for user in users:
            if (failure := failures.get(user.id)) is not None:
                failed[user] = _error_of(failure)
            elif not roster.knows(user.id):  # new since the interrupted run began: the next run's
                failed[user] = UnitSkipped(SkipReason.OUT_OF_SCOPE, code="not_in_roster")
        return Preparation(saved=saved, failed=failed)

    async def _listed(self, users: Sequence[Principal]) -> tuple[Roster, Mapping[str, Failure]]:
        builder = RosterBuilder(user.id for user in users)
        failures: dict[str, Failure] = {}
        waiting = iter(enumerate(builder.users))
        refused: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(LISTERS):
                    group.create_task(self._list_users(waiting, builder, failures))
        except* (DatasetDenied, SourceRefused) as causes:
            refused = causes.exceptions[0]
        if refused is not None:
            raise refused
        return await asyncio.to_thread(builder.roster), failures  # seconds for millions of chats

    async def _list_users(
        self, waiting: Iterator[tuple[int, str]], builder: RosterBuilder, failures: dict[str, Failure]
    ) -> None:
        for place, user_id in waiting:
            try:
                builder.learn(place, await self._chats_of(user_id))
            except (DatasetDenied, SourceRefused):
                raise
            except (UnitSkipped, UnitFailed) as error:
                failures[user_id] = _failure_of(error)

    async def _chats_of(self, user_id: str) -> list[ListedChat]:
        """All chats of a user; nothing of them is learnt unless the list is complete."""
        unit = Unit("teams_chats", Principal(PrincipalKind.USER, user_id))
        while True:
            chats: list[ListedChat] = []
            try:
                async for page in self._list.pages(unit):
                    chats += typed(page, _listed_chats)
            except UnitReadAgain:
                continue  # the source bounds it
            return chats


class Rota:
    """Holds the roster once it is known, for the sources that were made before."""

    def __init__(self) -> None:
        self._roster: Roster | None = None

    @property
    def roster(self) -> Roster:
        if self._roster is None:
            raise RuntimeError("teams chats are read before `prepare` settled who reads them")
        return self._roster

    @roster.setter
    def roster(self, roster: Roster) -> None:
        self._roster = roster


class ChatSource(GraphSource):
    """The chats a user reads that changed in the window, each with its members."""

    def __init__(self, collection: Collection, client: GraphClient, rota: Rota) -> None:
        super().__init__(collection, client)
        self._members_of = MemberReader(client, roles=collection.roles)
        self._rota = rota

    async def pages(self, unit: Unit) -> AsyncIterator[Page]:
        """As `GraphSource.pages`, a page for each page of chats that has any to export."""
        roster, user_id, window = self._rota.roster, unit.principal.id, unit.window
        if window is not None and not roster.may_have_changed(user_id, window):
            return
        async for page in super().pages(unit):
            chats = [
                await self._with_members(raw, chat)
                for raw, chat in _raw_chats(page)
                if roster.reads(user_id, chat.id) and (window is None or chat.changed_in(window))
            ]
            if chats:
                yield Page(b"[" + b",".join(chats) + b"]")

    async def _with_members(self, raw: bytes, chat: ListedChat) -> bytes:
        """The chat's own bytes with its members spliced in; without them where they cannot be read."""
        members = await self._members_of.read(chat.id)
        if members is None:
            return raw
        opened = raw.rstrip().removesuffix(b"}").rstrip()
        separator = b"" if opened.endswith(b"{") else b","
        return opened + separator + b'"members":' + members + b"}"


class MemberReader:
    """The members of one chat."""

    def __init__(self, client: GraphClient, *, roles: tuple[str, ...]) -> None:
        self._client = client
        self._roles = roles

    async def read(self, chat_id: str) -> bytes | None:
        """A JSON array of all members; None for a chat that is gone by now, or belongs to another tenant."""
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
                if refused.row.end in UNREADABLE_MEMBERS:
                    return None
                raise outcome(refused, roles=self._roles) from None
            return b"[" + b",".join(members) + b"]"
        raise UnitFailed(FailReason.SERVICE_ERROR, code=refusal.code, request_id=refusal.request_id)


class MessageSource(GraphSource):
    """The messages of all chats of a user, of which those in chats he reads are kept."""

    def __init__(self, collection: Collection, client: GraphClient, rota: Rota) -> None:
        super().__init__(collection, client)
        self._rota = rota

    def filter(self, unit: Unit) -> RowFilter:
        """Keeps the messages of the chats this user reads."""
        roster, user_id = self._rota.roster, unit.principal.id
        return RowFilter("chatId", lambda chat_id: roster.reads(user_id, chat_id))

    async def pages(self, unit: Unit) -> AsyncIterator[Page]:
        """As `GraphSource.pages`; nothing is asked for a user whose chats others read."""
        if not self._rota.roster.reads_any(unit.principal.id):
            return
        async for page in super().pages(unit):
            yield page


def _chats(options: ConnectorOptions, *, expand: str) -> Collection:
    def requests(unit: Unit) -> Iterable[Request]:
        user_id = unit.principal.id
        yield Request(
            path=segments("users", user_id, "chats"),
            query={"$expand": expand} if expand else {},
            traffic=chat_list_traffic(user_id),
            prefer=UNKNOWN_MEMBERS,
            page_items=CHATS_PAGE_ITEMS,
        )

    return Collection(
        dataset="teams_chats",
        connector=NAME,
        principals=PrincipalKind.USER,
        from_beginning=True,
        requests=requests,
        roles=("Chat.ReadBasic.All", "Chat.Read.All", "ChatMember.Read.All"),
        windowed=True,
        settle=options.settle_teams,
        instants=("createdDateTime", "lastUpdatedDateTime"),
    )


def _messages(options: ConnectorOptions) -> Collection:
    def requests(unit: Unit) -> Iterable[Request]:
        if unit.window is None:
            raise ValueError("chat messages are read by window")
        after = format_instant(unit.window.start - MICROSECOND)
        yield Request(
            path=segments("users", unit.principal.id, "chats", "getAllMessages"),
            query={"$filter": f"lastModifiedDateTime gt {after}"},
            traffic=TEAMS_EXPORT_TRAFFIC,
            prefer=UNKNOWN_MEMBERS,
            page_items=EXPORTED_MESSAGES_PAGE_ITEMS,
        )

    return Collection(
        dataset="teams_chat_messages",
        connector=NAME,
        principals=PrincipalKind.USER,
        requests=requests,
        roles=("Chat.Read.All",),
        windowed=True,
        settle=options.settle_teams,
        instants=("createdDateTime", "lastModifiedDateTime"),
    )


def _raw_chats(page: Page) -> Iterator[tuple[bytes, ListedChat]]:
    """Each chat of a page, as its own bytes and as what the roster needs of it."""
    for raw, chat in zip(typed(page, _raws), typed(page, _listed_chats), strict=True):
        yield bytes(raw), chat


def _failure_of(error: UnitSkipped | UnitFailed) -> Failure:
    if isinstance(error, UnitSkipped):
        return Failure(skipped=True, reason=error.reason, code=error.code)
    return Failure(skipped=False, reason=error.reason, code=error.code, request_id=error.request_id)


def _error_of(failure: Failure) -> UnitSkipped | UnitFailed:
    if failure.skipped:
        return UnitSkipped(SkipReason(failure.reason), code=failure.code)
    return UnitFailed(FailReason(failure.reason), code=failure.code, request_id=failure.request_id)


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_listed_chats = msgspec.json.Decoder(list[ListedChat])
