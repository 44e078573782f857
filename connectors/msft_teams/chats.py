"""Chats with their members, and chat messages, each exported once.

  teams_chats          GET /users/{id}/chats and GET /chats/{id}/members
                       https://learn.microsoft.com/graph/api/chat-list
                       https://learn.microsoft.com/graph/api/chat-list-members
  teams_chat_messages  GET /users/{id}/chats/getAllMessages
                       https://learn.microsoft.com/graph/api/chats-getallmessages
(all checked 2026-11)

Everything is returned to every member, so one member reads each chat (`connectors.msft_teams.roster`); who it is gets
settled before the first unit, by listing the chats of all users once.
Members are asked for chat by chat: `$expand=members` ends silently at 25 members for all chats of a page. Only chats
that were created, renamed or changed members in the window are exported again, which their list tells.
Messages come from the export function: 200 requests a second instead of one for each chat. It is asked without
an upper bound, since a message that was edited later would otherwise miss the window of its creation; whether a
message belongs to the window is checked afterwards, by its creation and its last modification.

Where the tenant refuses the function (`connectors.msft_teams.export_function`), messages are read chat by chat:
                       GET /chats/{id}/messages
                       https://learn.microsoft.com/graph/api/chat-list-messages (checked 2026-11)
newest change first, down to the beginning of the window. `$filter` works there only beside `$orderby` on the same
property and is ignored without a word otherwise, so it is not relied upon. Every chat is asked for: the time of its
last message would tell of new messages, but not of a reaction to an old one. A chat that is gone by then, or that
another tenant keeps to itself, holds nothing.
Neither endpoint supports $select.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from random import Random

import msgspec

from config.instants import format_instant
from connectors.graph.client import GraphClient
from connectors.graph.connector import Select
from connectors.graph.errors import End, Refusal, outcome
from connectors.graph.limits import CHAT_MESSAGES_PAGE_ITEMS, CHATS_PAGE_ITEMS, EXPORTED_MESSAGES_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import CollectionBroken, Request, read_pages, typed
from connectors.graph.sampling import Fill, sample_window
from connectors.graph.side_by_side import side_by_side
from connectors.graph.source import MOST_RESTARTS, Collection, GraphSource, Reading
from connectors.graph.traffic import TEAMS_EXPORT_TRAFFIC, chat_list_traffic, chat_messages_traffic, chat_traffic
from connectors.msft_teams.chat_debts import ChatDebts
from connectors.msft_teams.chat_samples import ChatSampler
from connectors.msft_teams.export_function import ExportFunction
from connectors.msft_teams.names import NAME, UNKNOWN_MEMBERS
from connectors.msft_teams.roster import Failure, Instant, ListedChat, Roster, RosterBuilder
from connectors.options import ConnectorOptions
from pipeline.errors import (
    DatasetDenied,
    FailReason,
    SkipReason,
    UnitFailed,
    UnitSkipped,
)
from pipeline.metering import joined
from pipeline.model import MICROSECOND, Page, Principal, PrincipalKind, Unit, Window
from pipeline.ports import Debts, Preparation, Reach, RequestKind, RowFilter, Sample, Source

LISTERS = 16  # users whose chats are listed at the same time; the governor keeps the rate
LIST_SLOW_AFTER_S = 5.0  # somebody else's list is begun beside one that takes longer: it backs off
READERS = 8  # chats of one user whose members or messages are read at the same time
PREVIEW = "lastMessagePreview"  # comes only when it is expanded
MODIFIED = "lastModifiedDateTime"
REFUSED = frozenset({End.FORBIDDEN, End.OUT_OF_POLICY})  # a chat of another tenant, or all for want of permission
UNREADABLE = REFUSED | {End.ITEM_GONE, End.MAYBE_GONE, End.DELETED}


class Chats:
    """The part of the connector that has to know all chats before it reads any."""

    name = NAME

    def __init__(self, client: GraphClient, *, select: Select, options: ConnectorOptions) -> None:
        self._rota = Rota()
        self._debts = ChatDebts()
        self._lists_all = False
        self._list = GraphSource(_chats(options, expand=""), client)
        expand = PREVIEW if PREVIEW in select["teams_chats"] else ""
        members = MemberReader(client, roles=_chats(options, expand="").roles)
        self._sampler = ChatSampler(GraphSource(_chats(options, expand=expand), client).whole, members.read)
        self.sources: Sequence[Source] = (
            ChatSource(_chats(options, expand=expand), client, self._rota, members=members, sampler=self._sampler),
            MessageSource(_messages(options), client, self._rota, sampler=self._sampler),
        )

    async def glimpse(self, users: Sequence[Principal]) -> Preparation:
        """Lists nothing; samples are taken among these users."""
        self._sampler.people = frozenset(user.id for user in users)
        return Preparation()

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
        self._lists_all = all(failure.skipped for failure in failures.values())
        failed: dict[tuple[str, Principal], UnitSkipped | UnitFailed] = {}
        for user in users:
            if (failure := failures.get(user.id)) is not None:
                error = _error_of(failure)
            elif not roster.knows(user.id):  # new since the interrupted run began: the next run's
                error = UnitSkipped(SkipReason.OUT_OF_SCOPE, code="not_in_roster")
            else:
                continue
            failed |= {(source.dataset, user): error for source in self.sources}
        return Preparation(saved=saved, failed=failed, since=self._debts.starts(roster))

    def remind(self, owed: bytes) -> None:
        """Of chats whose readers failed: who reads them now begins where they were left."""
        self._debts = ChatDebts.from_bytes(owed)

    async def owed(self, reach: Reach) -> Debts:
        """The chats whose readers failed; without a roster nothing was read, and nothing is settled."""
        debts = self._debts
        if self._rota.is_known:
            datasets = [source.dataset for source in self.sources]
            debts = await asyncio.to_thread(
                debts.after, self._rota.roster, reach, datasets=datasets, lists_all=self._lists_all
            )
        return Debts(debts.to_bytes(), debts.dropped)

    async def _listed(self, users: Sequence[Principal]) -> tuple[Roster, Mapping[str, Failure]]:
        builder = RosterBuilder(user.id for user in users)
        failures: dict[str, Failure] = {}

        async def learn(place_and_user: tuple[int, str]) -> None:
            """Nothing of a user is learnt unless the list of chats is complete."""
            place, user_id = place_and_user
            unit = Unit("teams_chats", Principal(PrincipalKind.USER, user_id))
            try:
                pages = await self._list.whole(unit)
                builder.learn(place, [chat for page in pages for chat in typed(page, _listed_chats)])
            except DatasetDenied:
                raise
            except (UnitSkipped, UnitFailed) as error:
                failures[user_id] = _failure_of(error)

        await side_by_side(learn, enumerate(builder.users), at_most=LISTERS, slow_after_s=LIST_SLOW_AFTER_S)
        return await asyncio.to_thread(builder.roster), failures  # seconds for millions of chats


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


class MessageSource(GraphSource):
    """The messages of all chats of a user, of which those in chats the user reads are kept."""

    def __init__(self, collection: Collection, client: GraphClient, rota: Rota, *, sampler: ChatSampler) -> None:
        super().__init__(collection, client)
        self._rota = rota
        self._sampler = sampler
        self._export = ExportFunction()
        self._fill = Fill()

    async def sample(self, unit: Unit, *, chance: Random) -> Sample:
        """From the start of the window until now, as a run asks; nothing of a user without chats."""
        chats = await self._sampler.of(unit, chance=chance)
        reads_any = 1 - (1 - self._sampler.reader_share) ** len(chats.chats)
        if not chats.chats or unit.window is None:
            return Sample(requests={})
        try:
            found = await sample_window(
                self._client,
                Window(unit.window.start, max(self._client.now(), unit.window.end)),
                lambda window: _exported(unit.principal.id, window),
                page_items=EXPORTED_MESSAGES_PAGE_ITEMS,
                fill=self._fill,
                budget=self._client.budget(),
                chance=chance,
            )
        except Refusal as refusal:
            if not self._export.may_be_replaced(refusal):
                raise self.outcome(refusal, unit) from None
            own = len(chats.chats) * self._sampler.reader_share  # at least a page of each chat
            return Sample(requests=joined(chats.listing, {chat_messages_traffic("").kind: own}))
        return Sample(
            requests={TEAMS_EXPORT_TRAFFIC.kind: found.requests * reads_any},
            pages=found.pages,
            weight=found.weight * self._sampler.reader_share,
        )

    def filter(self, unit: Unit) -> RowFilter:
        """Keeps the messages of the chats this user reads."""
        roster, user_id = self._rota.roster, unit.principal.id
        return RowFilter("chatId", lambda chat_id: roster.reads(user_id, chat_id))

    async def read(self, unit: Unit, reading: Reading) -> AsyncIterator[Page]:
        """By the export function, or chat by chat; nothing is asked for a user whose chats others read."""
        if not self._rota.roster.reads_any(unit.principal.id):
            return
        refused: Refusal | None = None
        if self._export.is_offered:
            try:
                async for page in super().read(unit, reading):
                    yield page
            except Refusal as refusal:
                if not self._export.may_be_replaced(refusal):
                    raise
                refused = refusal
            else:
                self._export.answered()
                return
        answers: Counter[End | None] = Counter()  # of the chats; None: its messages
        async for page in self._one_by_one(unit, reading, answers):
            yield page
        if refused is not None:
            self._judge(refused, answers)

    def _judge(self, refused: Refusal, answers: Counter[End | None]) -> None:
        """Whether chats could be read one by one where the export function was refused.

        Raises:
            UnitFailed: neither way is open, so nothing shows that there are no messages.
        """
        if answers[None]:
            self._export.replaced(refused)
        elif answers.keys() & REFUSED:
            raise UnitFailed(FailReason.PERMISSION, code=refused.code, request_id=refused.request_id)

    async def _one_by_one(self, unit: Unit, reading: Reading, answers: Counter[End | None]) -> AsyncIterator[Page]:
        roster, user_id = self._rota.roster, unit.principal.id

        async def messages(chat: ListedChat) -> list[Page]:
            pages, end = await self._changed_messages(chat.id, unit, reading)
            answers[end] += 1
            return pages

        async for page in self.answers(_chat_list(user_id), reading):
            own = [chat for chat in typed(page, _listed_chats) if roster.reads(user_id, chat.id)]
            for few in range(0, len(own), READERS):  # no more than theirs is held at once
                for pages in await side_by_side(messages, own[few : few + READERS], at_most=READERS):
                    for each in pages:
                        yield each

    async def _changed_messages(self, chat_id: str, unit: Unit, reading: Reading) -> tuple[list[Page], End | None]:
        """The pages of one chat down to the first message that changed before the window; why it cannot be read."""
        request = Request(
            path=segments("chats", chat_id, "messages"),
            query={
                "$filter": f"{MODIFIED} gt {format_instant(_window(unit).start - MICROSECOND)}",
                "$orderby": f"{MODIFIED} desc",
            },
            traffic=chat_messages_traffic(chat_id),
            prefer=UNKNOWN_MEMBERS,
            page_items=CHAT_MESSAGES_PAGE_ITEMS,
        )
        pages: list[Page] = []
        try:
            async with aclosing(self.answers(request, reading)) as answers:
                async for page in answers:
                    pages.append(page)
                    if any(message.changed_before(unit.window) for message in typed(page, _listed_messages)):
                        break
        except Refusal as refusal:
            if refusal.row.end not in UNREADABLE:
                raise
            return pages, refusal.row.end
        return pages, None


def _chat_list(user_id: str, *, expand: str = "") -> Request:
    return Request(
        path=segments("users", user_id, "chats"),
        query={"$expand": expand} if expand else {},
        traffic=chat_list_traffic(user_id),
        prefer=UNKNOWN_MEMBERS,
        page_items=CHATS_PAGE_ITEMS,
    )


def _chats(options: ConnectorOptions, *, expand: str) -> Collection:
    def requests(unit: Unit) -> Iterable[Request]:
        yield _chat_list(unit.principal.id, expand=expand)

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


def _exported(user_id: str, window: Window, *, is_open: bool = False) -> Request:
    """The messages of a user by their last change; without an end where the window `is_open`."""
    end = "" if is_open else f" and {MODIFIED} lt {format_instant(window.end)}"
    return Request(
        path=segments("users", user_id, "chats", "getAllMessages"),
        query={"$filter": f"{MODIFIED} gt {format_instant(window.start - MICROSECOND)}{end}"},
        traffic=TEAMS_EXPORT_TRAFFIC,
        prefer=UNKNOWN_MEMBERS,
        page_items=EXPORTED_MESSAGES_PAGE_ITEMS,
    )


def _messages(options: ConnectorOptions) -> Collection:
    def requests(unit: Unit) -> Iterable[Request]:
        yield _exported(unit.principal.id, _window(unit), is_open=True)

    return Collection(
        dataset="teams_chat_messages",
        connector=NAME,
        principals=PrincipalKind.USER,
        requests=requests,
        roles=("Chat.Read.All",),
        windowed=True,
        settle=options.settle_teams,
        instants=("createdDateTime", MODIFIED),
    )


def _window(unit: Unit) -> Window:
    if unit.window is None:
        raise ValueError("chat messages are read by window")
    return unit.window


def _spliced(raw: bytes, members: bytes) -> bytes:
    """The bytes of a chat with its members."""
    opened = raw.rstrip().removesuffix(b"}").rstrip()
    separator = b"" if opened.endswith(b"{") else b","
    return opened + separator + b'"members":' + members + b"}"


def _times(requests: Mapping[RequestKind, float], factor: float) -> Mapping[RequestKind, float]:
    return {kind: count * factor for kind, count in requests.items()}


class _ListedMessage(msgspec.Struct, rename="camel", frozen=True):
    last_modified_date_time: Instant | None = None

    def changed_before(self, window: Window | None) -> bool:
        modified = self.last_modified_date_time
        return window is not None and modified is not None and modified < window.start


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
_listed_messages = msgspec.json.Decoder(list[_ListedMessage])
