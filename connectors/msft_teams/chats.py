"""Chats and what is written in them: who reads which chat is settled before anything is read.

Everything is returned to every member, so one member reads each chat (`connectors.msft_teams.roster`); who it is gets
settled before the first unit, by listing the chats of all users once. What a chat is stands in
`connectors.msft_teams.chat_lists`, how its messages are read in `connectors.msft_teams.chat_messages`.
"""

import asyncio
from collections.abc import Mapping, Sequence

from connectors.graph.client import GraphClient
from connectors.graph.connector import Select
from connectors.graph.paging import typed
from connectors.graph.side_by_side import side_by_side
from connectors.graph.source import GraphSource
from connectors.msft_teams.chat_debts import ChatDebts
from connectors.msft_teams.chat_lists import PREVIEW, ChatSource, MemberReader, chats, listed_chats
from connectors.msft_teams.chat_messages import MessageSource
from connectors.msft_teams.chat_samples import ChatSampler
from connectors.msft_teams.names import NAME
from connectors.msft_teams.roster import Failure, Roster, RosterBuilder, Rota
from connectors.options import ConnectorOptions
from pipeline.errors import DatasetDenied, FailReason, SkipReason, UnitFailed, UnitSkipped
from pipeline.model import Principal, PrincipalKind, Unit
from pipeline.ports import Debts, Preparation, Reach, Source

LISTERS = 16  # users whose chats are listed at the same time; the governor keeps the rate
LIST_SLOW_AFTER_S = 5.0  # somebody else's list is begun beside one that takes longer: it backs off


class Chats:
    """The part of the connector that has to know all chats before it reads any."""

    name = NAME

    def __init__(self, client: GraphClient, *, select: Select, options: ConnectorOptions) -> None:
        self._rota = Rota()
        self._debts = ChatDebts()
        self._lists_all = False
        self._list = GraphSource(chats(options), client)
        collection = chats(options, expand=PREVIEW if PREVIEW in select["teams_chats"] else "")
        members = MemberReader(client, roles=collection.roles)
        self._sampler = ChatSampler(GraphSource(collection, client).whole, members.read)
        self.sources: Sequence[Source] = (
            ChatSource(collection, client, self._rota, members=members, sampler=self._sampler),
            MessageSource(client, self._rota, options=options, sampler=self._sampler),
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
                builder.learn(place, [chat for page in pages for chat in typed(page, listed_chats)])
            except DatasetDenied:
                raise
            except (UnitSkipped, UnitFailed) as error:
                failures[user_id] = _failure_of(error)

        await side_by_side(learn, enumerate(builder.users), at_most=LISTERS, slow_after_s=LIST_SLOW_AFTER_S)
        return await asyncio.to_thread(builder.roster), failures  # seconds for millions of chats


def _failure_of(error: UnitSkipped | UnitFailed) -> Failure:
    if isinstance(error, UnitSkipped):
        return Failure(skipped=True, reason=error.reason, code=error.code)
    return Failure(skipped=False, reason=error.reason, code=error.code, request_id=error.request_id)


def _error_of(failure: Failure) -> UnitSkipped | UnitFailed:
    if failure.skipped:
        return UnitSkipped(SkipReason(failure.reason), code=failure.code)
    return UnitFailed(FailReason(failure.reason), code=failure.code, request_id=failure.request_id)
