"""Channel messages, roots and replies, by the team that hosts the channel.

  teams_channel_messages  GET /teams/{id}/channels/getAllMessages
                          https://learn.microsoft.com/graph/api/channel-getallmessages
                          and GET /teams/{id}/channels, GET /teams/{id}/channels/{id}/messages?$expand=replies
                          https://learn.microsoft.com/graph/api/channel-list-messages
                          https://learn.microsoft.com/graph/api/chatmessage-list-replies
(all checked 2026-11)

The export function (`connectors.msft_teams.export_function`) gives all channels of a team flat, by their last
modification, at 200 requests a second. Edits, reactions and deletions come as modified messages. Whether the function
covers shared channels is not documented, so those that the team hosts are listed as well; a message that comes twice is
kept once. What comes of a channel that another team hosts is left to that team.

Where the tenant refuses the function, all channels are listed, at 20 requests a second and one a second for each. There
nothing can be filtered, but the thread with the last change comes first: reading ends at the first one that has not
changed since the window began. Replies beyond those that come with their root have a next link of their own.
Channel delta queries are not used: they reach back eight months and have lost their page of the documentation.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Annotated

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.errors import End, Refusal
from connectors.graph.limits import CHANNEL_MESSAGES_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import Request, read_pages, typed
from connectors.graph.side_by_side import side_by_side
from connectors.graph.source import Collection, GraphSource, Reading
from connectors.graph.traffic import TEAMS_EXPORT_TRAFFIC, channel_messages_traffic, channels_traffic
from connectors.msft_teams.export_function import MODIFIED, ExportFunction
from connectors.msft_teams.names import NAME, UNKNOWN_MEMBERS
from connectors.options import ConnectorOptions
from pipeline.metering import joined, metered
from pipeline.model import Page, PrincipalKind, Unit, Window
from pipeline.ports import RowFilter, Sample

READERS = 4  # channels of one team that are read at the same time
COVERED = frozenset({"standard", "private"})  # what the export function is documented to give
NO_REPLIES = msgspec.Raw(b"null")
GONE = frozenset({End.ITEM_GONE, End.MAYBE_GONE})
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class ChannelMessageSource(GraphSource):
    """What was written, or changed, in the channels of a team."""

    def __init__(self, client: GraphClient, *, options: ConnectorOptions) -> None:
        self._export = ExportFunction(lambda team_id: segments("teams", team_id, "channels", "getAllMessages"))
        super().__init__(_exported(self._export, options), client)

    def filter(self, unit: Unit) -> RowFilter:
        """Keeps the messages of the channels that the team hosts."""
        team_id = unit.principal.id.lower()
        return RowFilter("channelIdentity.teamId", lambda host_id: host_id.lower() == team_id)

    async def read(self, unit: Unit, reading: Reading) -> AsyncIterator[Page]:
        """By the export function and, for what it may leave out or where it is refused, channel by channel."""
        refused: Refusal | None = None
        is_exported = False
        if self._export.is_offered:
            try:
                async for page in super().read(unit, reading):
                    yield page
                is_exported = True
                self._export.answered()
            except Refusal as refusal:
                if not self._export.may_be_replaced(refusal):
                    raise
                refused = refusal
        async for page in self._listed(unit, reading, skips=_is_covered if is_exported else _is_never_covered):
            yield page
        if refused is not None:
            self._export.replaced(refused)

    async def sample(self, unit: Unit, *, chance: Random) -> Sample:
        """The export function from the start of the window until now; what has to be listed beside it is read."""
        with metered() as meter:
            try:
                found = await self._export.sample(self._client, unit, chance=chance)
            except Refusal as refusal:
                if not self._export.may_be_replaced(refusal):
                    raise self.outcome(refusal, unit) from None
                return Sample(requests=meter.requests, pages=await self.whole(unit))
        with metered() as meter:
            try:
                listed = [page async for page in self._listed(unit, Reading(self._client.budget()), skips=_is_covered)]
            except Refusal as refusal:
                raise self.outcome(refusal, unit) from None
        requests = joined(meter.requests, {TEAMS_EXPORT_TRAFFIC.kind: found.requests})
        return Sample(requests=requests, pages=[*found.pages, *listed], weight=found.weight)

    async def _listed(
        self, unit: Unit, reading: Reading, *, skips: "Callable[[_Channel], bool]"
    ) -> AsyncIterator[Page]:
        async def messages(channel: _Channel) -> list[Page]:
            return await self._changed_threads(channel.id, unit, reading)

        team_id = unit.principal.id
        request = Request(
            path=segments("teams", team_id, "channels"),
            query={"$select": "id,membershipType"},
            traffic=channels_traffic(team_id),
            prefer=UNKNOWN_MEMBERS,
        )
        async for page in self.answers(request, reading):
            channels = [channel for channel in typed(page, _channels) if not skips(channel)]
            for few in range(0, len(channels), READERS):  # no more than theirs is held at once
                for pages in await side_by_side(messages, channels[few : few + READERS], at_most=READERS):
                    for each in pages:
                        yield each

    async def _changed_threads(self, channel_id: str, unit: Unit, reading: Reading) -> list[Page]:
        """The threads of one channel down to the first one that did not change since the window began."""
        team_id = unit.principal.id
        request = Request(
            path=segments("teams", team_id, "channels", channel_id, "messages"),
            query={"$expand": "replies"},
            traffic=channel_messages_traffic(team_id, channel_id),
            prefer=UNKNOWN_MEMBERS,
            page_items=CHANNEL_MESSAGES_PAGE_ITEMS,
        )
        pages: list[Page] = []
        try:
            async with aclosing(self.answers(request, reading)) as answers:
                async for page in answers:
                    threads, is_last = _changed(page, unit.window)
                    pages += [thread.page for thread in threads]
                    for thread in threads:
                        if thread.more_replies is not None:
                            pages += await self._replies(request, thread, reading)
                    if is_last:
                        break
        except Refusal as refusal:
            if refusal.row.end not in GONE:  # the channel was deleted since it was listed
                raise
        return pages

    async def _replies(self, request: Request, thread: "_Thread", reading: Reading) -> list[Page]:
        return [
            page
            async for page in read_pages(
                self._client, request, budget=reading.budget, size=None, since=thread.more_replies
            )
        ]


def _exported(export: ExportFunction, options: ConnectorOptions) -> Collection:
    return Collection(
        dataset="teams_channel_messages",
        connector=NAME,
        principals=PrincipalKind.TEAM,
        requests=lambda unit: (export.request(unit),),
        roles=("ChannelMessage.Read.All",),
        windowed=True,
        settle=options.settle_teams,
        instants=("createdDateTime", MODIFIED),
    )


# --- Channels and threads as they are listed --------------------------------------------------------------


class _Channel(msgspec.Struct, rename="camel", frozen=True):
    id: str
    membership_type: str | None = None


def _is_covered(channel: _Channel) -> bool:
    return channel.membership_type in COVERED


def _is_never_covered(_channel: _Channel) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Thread:
    """A root and the replies that came with it, as a page of messages."""

    page: Page
    more_replies: str | None = field(repr=False)


class _Message(msgspec.Struct, rename="camel", frozen=True):
    last_modified_date_time: Instant | None = None


class _Root(_Message, frozen=True):
    replies: list[_Message] | None = None
    more_replies: str | None = msgspec.field(name="replies@odata.nextLink", default=None)

    def is_older_than(self, window: Window | None) -> bool:
        """Certain only where all replies are here and all of them say when they changed."""
        if window is None or self.more_replies is not None:
            return False
        instants = [message.last_modified_date_time for message in (self, *(self.replies or ()))]
        return all(instant is not None and instant < window.start for instant in instants)


def _changed(page: Page, window: Window | None) -> tuple[list[_Thread], bool]:
    """The threads before the first one that is older than the window; whether there was such a one."""
    threads: list[_Thread] = []
    for raw, root in zip(typed(page, _raw_roots), typed(page, _roots), strict=True):
        if root.is_older_than(window):
            return threads, True
        replies = raw.pop("replies", NO_REPLIES)
        messages = [msgspec.json.encode(raw), *(_raws.decode(replies) or ())]
        threads.append(
            _Thread(page=Page(b"[" + b",".join(map(bytes, messages)) + b"]"), more_replies=root.more_replies)
        )
    return threads, False


_channels = msgspec.json.Decoder(list[_Channel])
_roots = msgspec.json.Decoder(list[_Root])
_raw_roots = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_raws = msgspec.json.Decoder(list[msgspec.Raw] | None)
