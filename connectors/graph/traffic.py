"""What a request counts against: the service it loads, the budgets it draws on, the scope of a refusal.

Limits overlap: each request is checked against several, and the first one reached refuses.
https://learn.microsoft.com/graph/throttling (checked 2026-11)
"""

from dataclasses import dataclass, field
from enum import StrEnum

from connectors.graph.limits import (
    GROUP_MEMBERS_LIST_UNITS,
    GROUP_TRANSITIVE_MEMBERS_LIST_UNITS,
    GROUPS_LIST_UNITS,
    SELECT_UNITS,
    USERS_LIST_UNITS,
)
from pipeline.ports import RequestKind


class Service(StrEnum):
    OUTLOOK = "outlook"
    DIRECTORY = "directory"
    TEAMS = "teams"
    CALLS = "calls"
    MEETINGS = "meetings"


class ScopeKind(StrEnum):
    APP = "app"
    SERVICE = "service"
    MAILBOX = "mailbox"
    CHAT = "chat"


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a refusal concerns. `key` is an object id, except for a service, whose name it is."""

    kind: ScopeKind
    key: str = field(default="", repr=False)


APP_SCOPE = Scope(ScopeKind.APP)


def service_scope(service: Service) -> Scope:
    return Scope(ScopeKind.SERVICE, service)


class Limit(StrEnum):
    """The rates a request can draw on; `connectors.graph.budgets` holds the numbers."""

    MAILBOX = "mailbox"
    DIRECTORY = "directory"
    TEAMS = "teams"
    TEAMS_EXPORT = "teams_export"
    TEAMS_CHAT = "teams_chat"
    TEAMS_CHAT_LIST = "teams_chat_list"
    TEAMS_CHAT_MESSAGES = "teams_chat_messages"
    TEAMS_CHANNELS = "teams_channels"
    TEAMS_CHANNEL_MESSAGES = "teams_channel_messages"
    TEAMS_TEAM = "teams_team"
    CALL_RECORD_LIST = "call_record_list"
    CALL_RECORD = "call_record"
    CALL_LOG = "call_log"
    MEETING = "meeting"


@dataclass(frozen=True, slots=True)
class Draw:
    """Units taken from one budget; `key` tells the budgets of several mailboxes or chats apart."""

    limit: Limit
    key: str = field(default="", repr=False)
    units: float = 1


@dataclass(frozen=True, slots=True)
class Traffic:
    service: Service
    scope: Scope  # the narrowest one a refusal may speak of
    draws: tuple[Draw, ...]

    @property
    def kind(self) -> RequestKind:
        """What all such requests have in common: the service, and the budgets that no key divides."""
        return RequestKind(self.service, tuple((draw.limit, draw.units) for draw in self.draws if not draw.key))

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Every scope whose fence holds this request."""
        return tuple(dict.fromkeys((APP_SCOPE, service_scope(self.service), self.scope)))


def mailbox_traffic(user_id: str) -> Traffic:
    """A request that Exchange answers from one mailbox: messages, events, settings."""
    return Traffic(Service.OUTLOOK, Scope(ScopeKind.MAILBOX, user_id), (Draw(Limit.MAILBOX, user_id),))


def directory_traffic(units: float) -> Traffic:
    """A request to Entra that costs `units` resource units."""
    return Traffic(Service.DIRECTORY, service_scope(Service.DIRECTORY), (Draw(Limit.DIRECTORY, units=max(units, 1)),))


USERS_TRAFFIC = directory_traffic(USERS_LIST_UNITS + SELECT_UNITS)
GROUPS_TRAFFIC = directory_traffic(GROUPS_LIST_UNITS + SELECT_UNITS)
GROUP_MEMBERS_TRAFFIC = directory_traffic(GROUP_MEMBERS_LIST_UNITS + SELECT_UNITS)
GROUP_TRANSITIVE_MEMBERS_TRAFFIC = directory_traffic(GROUP_TRANSITIVE_MEMBERS_LIST_UNITS + SELECT_UNITS)


def chat_list_traffic(user_id: str) -> Traffic:
    """A page of the chats of one user."""
    draws = (Draw(Limit.TEAMS), Draw(Limit.TEAMS_CHAT_LIST, user_id))
    return Traffic(Service.TEAMS, service_scope(Service.TEAMS), draws)


def chat_traffic(chat_id: str) -> Traffic:
    """A request about one chat, such as the list of its members."""
    draws = (Draw(Limit.TEAMS), Draw(Limit.TEAMS_CHAT, chat_id))
    return Traffic(Service.TEAMS, Scope(ScopeKind.CHAT, chat_id), draws)


def chat_messages_traffic(chat_id: str) -> Traffic:
    """A page of the messages of one chat."""
    draws = (Draw(Limit.TEAMS_CHAT_MESSAGES), Draw(Limit.TEAMS_CHAT, chat_id))
    return Traffic(Service.TEAMS, Scope(ScopeKind.CHAT, chat_id), draws)


def team_traffic(team_id: str) -> Traffic:
    """A request about one team."""
    draws = (Draw(Limit.TEAMS), Draw(Limit.TEAMS_TEAM, team_id))
    return Traffic(Service.TEAMS, service_scope(Service.TEAMS), draws)


def channels_traffic(team_id: str) -> Traffic:
    """The list of the channels of one team."""
    draws = (Draw(Limit.TEAMS_CHANNELS), Draw(Limit.TEAMS_TEAM, team_id))
    return Traffic(Service.TEAMS, service_scope(Service.TEAMS), draws)


def channel_messages_traffic(team_id: str, channel_id: str) -> Traffic:
    """A page of the messages, or of replies, of one channel."""
    draws = (
        Draw(Limit.TEAMS_CHANNEL_MESSAGES),
        Draw(Limit.TEAMS_TEAM, team_id),
        Draw(Limit.TEAMS_CHAT, channel_id),
    )
    return Traffic(Service.TEAMS, Scope(ScopeKind.CHAT, channel_id), draws)


TEAMS_LIST_TRAFFIC = Traffic(Service.TEAMS, service_scope(Service.TEAMS), (Draw(Limit.TEAMS),))
TEAMS_EXPORT_TRAFFIC = Traffic(Service.TEAMS, service_scope(Service.TEAMS), (Draw(Limit.TEAMS_EXPORT),))
CALL_RECORD_LIST_TRAFFIC = Traffic(
    Service.CALLS, service_scope(Service.CALLS), (Draw(Limit.CALL_RECORD), Draw(Limit.CALL_RECORD_LIST))
)
# One record is limited too, to 40 requests in 20 seconds; its pages are asked for one after the other and stay below.
CALL_RECORD_TRAFFIC = Traffic(Service.CALLS, service_scope(Service.CALLS), (Draw(Limit.CALL_RECORD),))
MEETING_TRAFFIC = Traffic(Service.MEETINGS, service_scope(Service.MEETINGS), (Draw(Limit.MEETING),))


def call_log_traffic(log: str) -> Traffic:
    """A page of a log of calls with the telephone network; each log has a budget of its own."""
    return Traffic(Service.CALLS, service_scope(Service.CALLS), (Draw(Limit.CALL_LOG, log),))
