"""Teams and their channels: snapshots, read anew by every run.

  (which teams there are)  GET /teams                https://learn.microsoft.com/graph/api/teams-list
  teams_teams              GET /teams/{id}           https://learn.microsoft.com/graph/api/team-get
  teams_channels           GET /teams/{id}/channels  https://learn.microsoft.com/graph/api/channel-list
(all checked 2026-11)

The list of teams gives id and names only, so each team is asked for by itself: one request a team and night. The
list is read before anything else, since it says whose channels there are. A team that was listed and cannot be
opened is being made or was just deleted: an expected skip.

A channel belongs to the team that hosts it, and `/channels` gives just those, shared ones included. `/allChannels`
would add the channels that other teams, or other organisations, let this team into; whoever hosts them exports them.
Where the settings have a scope, a team is read if somebody in scope is a member of the group behind it. One whose
members cannot be read, because they are hidden or the answer fails, fails alone.
No change of a channel is dated, hence the snapshot; what is missing in it was deleted.
"""

from collections.abc import Iterable, Sequence

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.connector import Select, select_of
from connectors.graph.limits import TEAMS_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import Request, typed
from connectors.graph.side_by_side import side_by_side
from connectors.graph.source import Collection, GraphSource
from connectors.graph.traffic import TEAMS_LIST_TRAFFIC, channels_traffic, team_traffic
from connectors.msft_teams.channel_messages import ChannelMessageSource
from connectors.msft_teams.names import NAME, UNKNOWN_MEMBERS
from connectors.options import ConnectorOptions
from pipeline.completeness import Method
from pipeline.errors import DatasetDenied, FailReason, UnitFailed, UnitSkipped
from pipeline.model import Principal, PrincipalKind, Unit
from pipeline.ports import Preparation, Source

TEAM_ROLES = ("Team.ReadBasic.All",)
CHANNEL_ROLES = ("Channel.ReadBasic.All",)
LOOKERS = 16  # teams whose members are looked at at the same time


class Teams:
    """The part of the connector that finds the teams: their properties, channels, and what is written there."""

    name = NAME

    def __init__(self, client: GraphClient, *, select: Select, options: ConnectorOptions) -> None:
        self._list = GraphSource(_list_of_teams(), client)
        self._scope = options.scope
        self.sources: Sequence[Source] = (
            GraphSource(_teams(select), client),
            GraphSource(_channels(select), client),
            ChannelMessageSource(client, options=options),
        )

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        """List the teams; an interrupted run keeps those it had found.

        Raises:
            DatasetDenied, UnitFailed, SourceRefused: the teams cannot be listed.
        """
        del users
        found = await self._found() if saved is None else _kept.decode(saved)
        failed = {
            (source.dataset, _team(team)): UnitFailed(FailReason(reason), code=code)
            for team, (reason, code) in found.unknown.items()
            for source in self.sources
        }
        teams = [_team(team) for team in (*found.read, *found.unknown)]
        return Preparation(saved=msgspec.msgpack.encode(found), principals=teams, failed=failed)

    async def glimpse(self, users: Sequence[Principal]) -> Preparation:
        """The list of teams is as short for an estimate; their members are not."""
        del users
        admissions = {} if self._scope is None else {PrincipalKind.TEAM: self._concerns_scope}
        return Preparation(principals=await self._listed(), admissions=admissions)

    async def _found(self) -> "_Found":
        teams = await self._listed()
        looked = await side_by_side(self._looked_at, teams, at_most=LOOKERS)
        read = [team.id for team, concerns in zip(teams, looked, strict=True) if concerns is True]
        failures = {
            team.id: failure for team, failure in zip(teams, looked, strict=True) if isinstance(failure, UnitFailed)
        }
        if failures and len(failures) == len(teams):
            raise next(iter(failures.values()))
        return _Found(read, {team: (failure.reason, failure.code) for team, failure in failures.items()})

    async def _looked_at(self, team: Principal) -> bool | UnitFailed:
        try:
            return await self._concerns_scope(team)
        except DatasetDenied:
            raise  # of every team
        except UnitFailed as failed:
            return failed

    async def _concerns_scope(self, team: Principal) -> bool:
        return self._scope is None or await self._scope.has_member_in_scope(team.id)

    async def _listed(self) -> list[Principal]:
        try:
            pages = await self._list.whole(Unit("teams_teams", Principal(PrincipalKind.TENANT, "")))
        except UnitSkipped as skipped:  # a list of all teams is never expected to be missing
            raise UnitFailed(FailReason.UNKNOWN_ERROR, code=skipped.code) from None
        return list(dict.fromkeys(_team(team.id) for page in pages for team in typed(page, _listed_teams)))


def _team(team_id: str) -> Principal:
    return Principal(PrincipalKind.TEAM, team_id)


def _list_of_teams() -> Collection:
    request = Request(
        path=segments("teams"), query={"$select": "id"}, traffic=TEAMS_LIST_TRAFFIC, page_items=TEAMS_PAGE_ITEMS
    )
    return Collection(
        dataset="teams_teams",
        connector=NAME,
        principals=PrincipalKind.TENANT,
        requests=lambda _: (request,),
        roles=TEAM_ROLES,
    )


def _teams(select: Select) -> Collection:
    properties = select_of(select, "teams_teams", "id")

    def requests(unit: Unit) -> Iterable[Request]:
        team_id = unit.principal.id
        yield Request(path=segments("teams", team_id), query={"$select": properties}, traffic=team_traffic(team_id))

    return Collection(
        dataset="teams_teams",
        connector=NAME,
        principals=PrincipalKind.TEAM,
        requests=requests,
        roles=TEAM_ROLES,
        completeness=Method.ENUMERATION,
        single=True,
    )


def _channels(select: Select) -> Collection:
    properties = select_of(select, "teams_channels", "id")

    def requests(unit: Unit) -> Iterable[Request]:
        team_id = unit.principal.id
        yield Request(
            path=segments("teams", team_id, "channels"),
            query={"$select": properties},
            traffic=channels_traffic(team_id),
            prefer=UNKNOWN_MEMBERS,  # `shared` is one of them
        )

    return Collection(
        dataset="teams_channels",
        connector=NAME,
        principals=PrincipalKind.TEAM,
        requests=requests,
        roles=CHANNEL_ROLES,
    )


class _ListedTeam(msgspec.Struct):
    id: str


class _Found(msgspec.Struct):
    """Ids of the teams that are read, and of those of whose members nothing is known: reason and code."""

    read: list[str]
    unknown: dict[str, tuple[str, str]]


_listed_teams = msgspec.json.Decoder(list[_ListedTeam])
_kept = msgspec.msgpack.Decoder(_Found)
