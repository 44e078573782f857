"""The connector: parts that are prepared one after the other, each answering for its own datasets.

A missing permission for chats must not cost the channels, so a part that is refused denies its datasets only.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.connector import Select
from connectors.msft_teams.calls import calls
from connectors.msft_teams.chats import Chats
from connectors.msft_teams.meeting_links import MeetingLinks
from connectors.msft_teams.meetings import Meetings, meeting_links
from connectors.msft_teams.names import NAME
from connectors.msft_teams.teams import Teams
from connectors.options import ConnectorOptions
from pipeline.errors import DatasetDenied, FailReason, SourceRefused, UnitFailed, UnitSkipped
from pipeline.model import Principal, PrincipalKind
from pipeline.ports import Admits, Connector, Debts, Glimpsing, Learner, Owing, Preparation, Reach, Source


def connector(client: GraphClient, *, select: Select, options: ConnectorOptions) -> "TeamsConnector":
    """All of Teams."""
    links = meeting_links()
    return TeamsConnector(
        {
            "teams": Teams(client, select=select, options=options),
            "chats": Chats(client, select=select, options=options),
            "calls": calls(client, options=options),
            "meetings": Meetings(client, links=links, options=options),
        },
        links=links,
    )


class TeamsConnector:
    """A `pipeline.ports.Connector` made of others; what one of them saves is kept under the name it has here."""

    name = NAME

    def __init__(self, parts: Mapping[str, Connector], *, links: MeetingLinks | None = None) -> None:
        self._parts = parts
        self.learners: Sequence[Learner] = () if links is None else (links,)
        self._owing = {name: part for name, part in (*parts.items(), ("links", links)) if isinstance(part, Owing)}
        self.sources: Sequence[Source] = tuple(source for part in parts.values() for source in part.sources)

    async def glimpse(self, users: Sequence[Principal]) -> Preparation:
        """As `prepare`, without what takes requests for each user; what is refused here fails where it is sampled."""
        principals: list[Principal] = []
        admissions: dict[PrincipalKind, Admits] = {}
        for part in self._parts.values():
            if isinstance(part, Glimpsing):
                with suppress(UnitFailed, SourceRefused):
                    glimpsed = await part.glimpse(users)
                    principals += glimpsed.principals
                    admissions |= glimpsed.admissions
        return Preparation(principals=principals, admissions=admissions)

    def remind(self, owed: bytes) -> None:
        """Remind every part of what it owes."""
        left = _owed.decode(owed)
        for name, part in self._owing.items():
            if name in left:
                part.remind(left[name])

    async def owed(self, reach: Reach) -> Debts:
        """What the parts owe."""
        debts = {name: await part.owed(reach) for name, part in self._owing.items()}
        kept = {name: each.kept for name, each in debts.items() if each.kept is not None}
        dropped = Counter[str]()
        for each in debts.values():
            dropped.update(each.dropped)
        return Debts(msgspec.msgpack.encode(kept) if kept else None, dropped)

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        """Prepare every part; one that is refused denies its own datasets, also when an interrupted run goes on."""
        kept = _Saved() if saved is None else _saved.decode(saved)
        new = _Saved()
        failed: dict[tuple[str, Principal], UnitSkipped | UnitFailed] = {}
        denied: dict[str, UnitFailed] = {}
        principals: list[Principal] = []
        since: dict[tuple[str, Principal], datetime] = {}
        for name, part in self._parts.items():
            prepared = await self._prepared(name, part, users, kept)
            if isinstance(prepared, _Refusal):
                new.refused[name] = prepared
                denied |= {source.dataset: prepared.error() for source in part.sources}
                continue
            failed |= prepared.failed
            since |= prepared.since
            principals += prepared.principals
            if prepared.saved is not None:
                new.learnt[name] = prepared.saved
        return Preparation(
            saved=msgspec.msgpack.encode(new) if new.learnt else None,
            failed=failed,
            denied=denied,
            principals=principals,
            since=since,
        )

    @staticmethod
    async def _prepared(
        name: str, part: Connector, users: Sequence[Principal], kept: "_Saved"
    ) -> "Preparation | _Refusal":
        if name in kept.refused:
            return kept.refused[name]
        try:
            return await part.prepare(users, saved=kept.learnt.get(name))
        except DatasetDenied as denied:
            return _Refusal(FailReason.PERMISSION, denied.code, denied.needs)
        except UnitFailed as failed:
            return _Refusal(failed.reason, failed.code)
        except SourceRefused as refused:
            return _Refusal(FailReason.PERMISSION, refused.code or "")


class _Refusal(msgspec.Struct, frozen=True):
    reason: str
    code: str
    needs: tuple[str, ...] = ()

    def error(self) -> UnitFailed:
        if self.needs:
            return DatasetDenied(needs=self.needs, code=self.code)
        return UnitFailed(FailReason(self.reason), code=self.code)


class _Saved(msgspec.Struct):
    """By part. Who was refused once stays so: a roster that is made later would name other readers."""

    learnt: dict[str, bytes] = {}
    refused: dict[str, _Refusal] = {}


_owed = msgspec.msgpack.Decoder(dict[str, bytes])
_saved = msgspec.msgpack.Decoder(_Saved)
