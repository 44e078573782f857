"""Which teams and channels there are: every Microsoft 365 group that is a team has some channels.

What holds:

- The second team is archived; the third cannot be opened: it is listed, and everything else about it is 404, as
  with a team that is being made or was just deleted. So it goes on, in fives.
- A team hosts two standard channels, one of them without any message; some host a private and a shared one. Every
  other team is let into the shared channel of the team before it. The first two are also let into a channel of
  another organisation, which nobody here can read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from connectors.emulator.chats import Chat, ChatKind
from connectors.emulator.directory import Group, Groups
from connectors.emulator.noise import Noise
from connectors.emulator.people import People, Person
from connectors.emulator.ticks import DAY
from connectors.emulator.words import Vocabulary

OTHER_TENANT = "0f0f0f0f-1111-4222-a333-444444444444"
_PARTNERS_TEAM = "0d0d0d0d-1111-4222-a333-555555555555"
_LARGEST_CIRCLE = 50  # of members who write; group 0 holds everybody


class TeamKind(StrEnum):
    """What is special about a team."""

    NORMAL = "normal"
    ARCHIVED = "archived"
    MISSING = "missing"  # in the list only


class Membership(StrEnum):
    """Graph's channelMembershipType."""

    STANDARD = "standard"
    PRIVATE = "private"
    SHARED = "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A team, which has the id and the name of its group. `number` counts teams."""

    number: int
    kind: TeamKind
    group: Group = field(repr=False)

    @property
    def id(self) -> str:
        return self.group.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel and the team that hosts it, here or in another organisation. `thread` is who writes in it."""

    id: str = field(repr=False)
    host_id: str
    tenant_id: str
    membership: Membership
    title: str = field(repr=False)
    thread: Chat = field(repr=False)
    is_silent: bool = False


class Teams:
    """All teams and channels of the tenant."""

    def __init__(
        self, noise: Noise, people: People, groups: Groups, words: Vocabulary, *, tenant_id: str, first_ticks: int
    ) -> None:
        self._noise = noise
        self._people = people
        self._groups = groups
        self._words = words
        self._tenant_id = tenant_id
        self._first_ticks = first_ticks
        self._removed: set[str] = set()
        grouped = [group for group in groups if is_team(group)]
        self._teams = {
            group.id: Team(number=number, kind=_KINDS.get(number % 5, TeamKind.NORMAL), group=group)
            for number, group in enumerate(grouped)
        }
        self._numbered = tuple(self._teams.values())
        self.hosted = lru_cache(maxsize=4_096)(self._hosted)

    def all(self) -> Iterator[Team]:
        """Every team that is listed."""
        return (team for team in self._numbered if team.id not in self._removed)

    def find(self, team_id: str) -> Team | None:
        """The team of this id, where it can be opened."""
        team = self._teams.get(team_id.lower())
        if team is None or team.kind is TeamKind.MISSING or team.id in self._removed:
            return None
        return team

    def remove(self, team_id: str) -> None:
        """Deletes a team. Raises KeyError."""
        if team_id not in self._teams:
            raise KeyError("no such team")
        self._removed.add(team_id)

    def restore(self, team_id: str) -> None:
        """Brings a deleted team back. Raises KeyError."""
        self._removed.remove(team_id)

    def incoming(self, team: Team) -> Sequence[Channel]:
        """Channels of others that are shared with the team."""
        shared: list[Channel] = []
        if team.number % 2:
            host = self._numbered[team.number - 1]
            shared += [channel for channel in self.hosted(host) if channel.membership is Membership.SHARED]
        if team.number < 2:
            shared.append(self._channel(9, self._numbered[0], Membership.SHARED, foreign=True))
        return shared

    def channel(self, team: Team, channel_id: str) -> Channel | None:
        """A channel that the team hosts or is let into; letter case counts."""
        channels = (*self.hosted(team), *self.incoming(team))
        return next((channel for channel in channels if channel.id == channel_id), None)

    def member_count(self, team: Team) -> int:
        """How many members the team's group has."""
        return self._groups.member_count(team.group)

    def _hosted(self, team: Team) -> Sequence[Channel]:
        channels = [
            self._channel(0, team, Membership.STANDARD),
            self._channel(1, team, Membership.STANDARD, is_silent=True),
        ]
        if team.number % 3 != 1:
            channels.append(self._channel(2, team, Membership.PRIVATE))
        if team.number % 2 == 0:
            channels.append(self._channel(3, team, Membership.SHARED))
        return tuple(channels)

    def _channel(
        self, number: int, team: Team, membership: Membership, *, foreign: bool = False, is_silent: bool = False
    ) -> Channel:
        noise = self._noise.bytes("channel", team.number, number)
        channel_id = f"19:{noise[:16].hex()}@thread.tacv2"
        topics = self._words.topics
        created, writers = self._first_ticks - (1 + noise[0]) * DAY, self._writers(team)
        thread = Chat(
            key=(3, team.number, number),
            id=channel_id,
            kind=ChatKind.GROUP,
            noise=noise,
            created=created,
            updated=created,
            members=writers,
            present=writers,
        )
        return Channel(
            id=channel_id,
            host_id=_PARTNERS_TEAM if foreign else team.id,
            tenant_id=OTHER_TENANT if foreign else self._tenant_id,
            membership=membership,
            title="General" if number == 0 else topics[noise[1] % len(topics)],
            thread=thread,
            is_silent=is_silent,
        )

    def _writers(self, team: Team) -> Sequence[Person]:
        count = min(self._groups.member_count(team.group), _LARGEST_CIRCLE)
        members = [self._groups.member(team.group, number) for number in range(count)]
        people = [member for member in members if isinstance(member, Person) and member.is_human]
        return people or [self._people.person(0)]


def is_team(group: Group) -> bool:
    """Whether the group was made, or made into, a team."""
    return group.kind == "unified"


_KINDS = {1: TeamKind.ARCHIVED, 2: TeamKind.MISSING}
