"""Messages of chats.

  teams_chat_messages  GET /users/{id}/chats/getAllMessages
                       https://learn.microsoft.com/graph/api/chats-getallmessages (checked 2026-11)

Messages come from the export function (`connectors.msft_teams.export_function`): 200 requests a second instead of one
for each chat. Where the tenant refuses it, messages are read chat by chat:
                       GET /chats/{id}/messages
                       https://learn.microsoft.com/graph/api/chat-list-messages (checked 2026-11)
newest change first, down to the beginning of the window. `$filter` works there only beside `$orderby` on the same
property and is ignored without a word otherwise, so it is not relied upon. Every chat is asked for: the time of its
last message would tell of new messages, but not of a reaction to an old one. A chat that is gone by then, or that
another tenant keeps to itself, holds nothing.
Neither endpoint supports $select.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from random import Random

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.errors import End, Refusal
from connectors.graph.limits import CHAT_MESSAGES_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import Request, typed
from connectors.graph.side_by_side import side_by_side
from connectors.graph.source import Collection, GraphSource, Reading
from connectors.graph.traffic import TEAMS_EXPORT_TRAFFIC, chat_messages_traffic
from connectors.msft_teams.chat_lists import READERS, REFUSED, UNREADABLE, chat_list, listed_chats
from connectors.msft_teams.chat_samples import ChatSampler
from connectors.msft_teams.export_function import MODIFIED, ExportFunction, changed_since, read_window
from connectors.msft_teams.names import NAME, UNKNOWN_MEMBERS
from connectors.msft_teams.roster import Instant, ListedChat, Rota
from connectors.options import ConnectorOptions
from pipeline.errors import FailReason, UnitFailed
from pipeline.metering import joined
from pipeline.model import Page, PrincipalKind, Unit, Window
from pipeline.ports import RowFilter, Sample


class MessageSource(GraphSource):
    """The messages of all chats of a user, of which those in chats the user reads are kept."""

    def __init__(self, client: GraphClient, rota: Rota, *, options: ConnectorOptions, sampler: ChatSampler) -> None:
        self._export = ExportFunction(lambda user_id: segments("users", user_id, "chats", "getAllMessages"))
        super().__init__(_messages(self._export, options), client)
        self._rota = rota
        self._sampler = sampler

    async def sample(self, unit: Unit, *, chance: Random) -> Sample:
        """From the start of the window until now, as a run asks; nothing of a user without chats."""
        chats = await self._sampler.of(unit, chance=chance)
        reads_any = 1 - (1 - self._sampler.reader_share) ** len(chats.chats)
        if not chats.chats or unit.window is None:
            return Sample(requests={})
        try:
            found = await self._export.sample(self._client, unit, chance=chance)
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

        async for page in self.answers(chat_list(user_id), reading):
            own = [chat for chat in typed(page, listed_chats) if roster.reads(user_id, chat.id)]
            for few in range(0, len(own), READERS):  # no more than theirs is held at once
                for pages in await side_by_side(messages, own[few : few + READERS], at_most=READERS):
                    for each in pages:
                        yield each

    async def _changed_messages(self, chat_id: str, unit: Unit, reading: Reading) -> tuple[list[Page], End | None]:
        """The pages of one chat down to the first message that changed before the window; why it cannot be read."""
        request = Request(
            path=segments("chats", chat_id, "messages"),
            query={
                "$filter": changed_since(read_window(unit)),
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


def _messages(export: ExportFunction, options: ConnectorOptions) -> Collection:
    return Collection(
        dataset="teams_chat_messages",
        connector=NAME,
        principals=PrincipalKind.USER,
        requests=lambda unit: (export.request(unit),),
        roles=("Chat.Read.All",),
        windowed=True,
        settle=options.settle_teams,
        instants=("createdDateTime", MODIFIED),
    )


class _ListedMessage(msgspec.Struct, rename="camel", frozen=True):
    last_modified_date_time: Instant | None = None

    def changed_before(self, window: Window | None) -> bool:
        modified = self.last_modified_date_time
        return window is not None and modified is not None and modified < window.start


_listed_messages = msgspec.json.Decoder(list[_ListedMessage])
