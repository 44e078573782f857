"""Which paths there are: for each the endpoint, the roles that open it, and how the service spells its next link.

Further sources join by adding a module of endpoints and their rows here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from connectors.emulator import (
    calls_api,
    channels_api,
    contacts_api,
    directory_api,
    directory_delta,
    meetings_api,
    outlook_api,
    outlook_delta,
    teams_api,
)
from connectors.emulator.call import Call, Reply, Service
from connectors.emulator.errors import unknown_segment

_IN_PARENTHESES = re.compile(r"(\w+)\('(.*)'\)")
_WITH_PARAMETERS = re.compile(r"(\w+)\((\w+=[^()]*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One kind of request. `link` is the path of next links; `selects` says that $select reduces the answer."""

    kind: str
    pattern: tuple[str, ...]
    service: Service
    roles: tuple[str, ...]
    endpoint: Callable[[Call], Reply]
    link: str = ""
    selects: bool = True

    def link_path(self, keys: Mapping[str, str]) -> str:
        """The path of a next link below the version, encoded as the service does it."""
        return self.link.format_map({name: _encoded(value.replace("'", "''")) for name, value in keys.items()})


_USERS = ("User.Read.All", "User.ReadWrite.All", "Directory.Read.All")
_GROUPS = ("Group.ReadBasic.All", "GroupMember.Read.All", "Group.Read.All", "Directory.Read.All")
_MEMBERS = ("GroupMember.ReadBasic.All", "GroupMember.Read.All", "Group.Read.All", "Directory.Read.All")
_SETTINGS = ("MailboxSettings.Read", "MailboxSettings.ReadWrite")
_MAIL = ("Mail.ReadBasic.All", "Mail.ReadBasic", *outlook_api.MAIL_READ)
_CALENDARS = ("Calendars.ReadBasic.All", "Calendars.ReadBasic", *outlook_api.CALENDARS_READ)
_CONTACTS = ("Contacts.Read", "Contacts.ReadWrite")
_TEAMS = ("Team.ReadBasic.All", "TeamSettings.Read.All", "TeamSettings.ReadWrite.All")
_CHANNELS = ("Channel.ReadBasic.All", "ChannelSettings.Read.All", "ChannelSettings.ReadWrite.All")
_CHANNEL_MESSAGES = ("ChannelMessage.Read.All",)
_CHATS = ("Chat.ReadBasic.All", "Chat.Read.All", "Chat.ReadWrite.All")
_CHAT_MEMBERS = ("ChatMember.Read.All", "ChatMember.ReadWrite.All", *_CHATS)
_CHAT_MESSAGES = ("Chat.Read.All", "Chat.ReadWrite.All")
_RECORDS = ("CallRecords.Read.All",)
_PHONE_LOGS = ("CallRecord-PstnCalls.Read.All", "CallRecords.Read.All")
_MEETINGS = ("OnlineMeetings.Read.All", "OnlineMeetings.ReadWrite.All")
_ATTENDANCE = ("OnlineMeetingArtifact.Read.All",)


def _route(
    kind: str,
    path: str,
    service: Service,
    roles: tuple[str, ...],
    endpoint: Callable[[Call], Reply],
    link: str = "",
    *,
    selects: bool = True,
) -> Route:
    return Route(
        kind=kind,
        pattern=tuple(path.split("/")),
        service=service,
        roles=roles,
        endpoint=endpoint,
        link=link or path,
        selects=selects,
    )


_EXCHANGE, _CALLS = Service.OUTLOOK, Service.CALLS
ROUTES: Sequence[Route] = (
    _route("users", "users", Service.DIRECTORY, _USERS, directory_api.list_users),
    _route("usersDelta", "users/delta", Service.DIRECTORY, _USERS, directory_delta.users_delta),
    _route("user", "users/{user}", Service.DIRECTORY, _USERS, directory_api.get_user),
    _route("groups", "groups", Service.DIRECTORY, _GROUPS, directory_api.list_groups),
    _route(
        "members",
        "groups/{group}/members",
        Service.DIRECTORY,
        _MEMBERS,
        directory_api.list_members,
        "groups/{group}/members",
    ),
    _route("groupsDelta", "groups/delta", Service.DIRECTORY, _GROUPS, directory_delta.groups_delta),
    _route("group", "groups/{group}", Service.DIRECTORY, _GROUPS, directory_api.get_group),
    _route(
        "transitiveMembers",
        "groups/{group}/transitiveMembers",
        Service.DIRECTORY,
        _MEMBERS,
        directory_api.list_transitive_members,
    ),
    _route("mailboxSettings", "users/{user}/mailboxSettings", _EXCHANGE, _SETTINGS, outlook_api.get_mailbox_settings),
    _route(
        "mailFolders",
        "users/{user}/mailFolders",
        _EXCHANGE,
        _MAIL,
        outlook_api.list_mail_folders,
        "users('{user}')/mailFolders",
        selects=False,
    ),
    _route(
        "mailFolders",
        "users/{user}/mailFolders/{folder}/childFolders",
        _EXCHANGE,
        _MAIL,
        outlook_api.list_mail_folders,
        "users('{user}')/mailfolders('{folder}')/childFolders",
        selects=False,
    ),
    _route(
        "mailFolder",
        "users/{user}/mailFolders/{folder}",
        _EXCHANGE,
        _MAIL,
        outlook_api.get_mail_folder,
        selects=False,
    ),
    _route(
        "messages",
        "users/{user}/messages",
        _EXCHANGE,
        _MAIL,
        outlook_api.list_messages,
        "users('{user}')/messages",
    ),
    _route(
        "messages",
        "users/{user}/mailFolders/{folder}/messages",
        _EXCHANGE,
        _MAIL,
        outlook_api.list_messages,
        "users('{user}')/mailfolders('{folder}')/messages",
    ),
    _route(
        "messagesDelta",
        "users/{user}/mailFolders/{folder}/messages/delta",
        _EXCHANGE,
        _MAIL,
        outlook_delta.messages_delta,
        "users('{user}')/mailfolders('{folder}')/messages/delta",
    ),
    _route(
        "contacts",
        "users/{user}/contacts",
        _EXCHANGE,
        _CONTACTS,
        contacts_api.list_contacts,
        "users('{user}')/contacts",
    ),
    _route(
        "contacts",
        "users/{user}/contactFolders/{folder}/contacts",
        _EXCHANGE,
        _CONTACTS,
        contacts_api.list_contacts,
        "users('{user}')/contactFolders('{folder}')/contacts",
    ),
    _route(
        "contactFolders",
        "users/{user}/contactFolders",
        _EXCHANGE,
        _CONTACTS,
        contacts_api.list_contact_folders,
        "users('{user}')/contactFolders",
        selects=False,
    ),
    _route(
        "contactFolders",
        "users/{user}/contactFolders/{folder}/childFolders",
        _EXCHANGE,
        _CONTACTS,
        contacts_api.list_contact_folders,
        "users('{user}')/contactFolders('{folder}')/childFolders",
        selects=False,
    ),
    _route(
        "calendarView",
        "users/{user}/calendarView",
        _EXCHANGE,
        _CALENDARS,
        outlook_api.list_calendar_view,
        "users('{user}')/calendarview",
    ),
    _route(
        "calendarView",
        "users/{user}/calendar/calendarView",
        _EXCHANGE,
        _CALENDARS,
        outlook_api.list_calendar_view,
        "users('{user}')/calendar/calendarview",
    ),
    _route(
        "calendarViewDelta",
        "users/{user}/calendarView/delta",
        _EXCHANGE,
        _CALENDARS,
        outlook_delta.calendar_view_delta,
        "users('{user}')/calendarview/delta",
        selects=False,
    ),
    _route(
        "calendarViewDelta",
        "users/{user}/calendar/calendarView/delta",
        _EXCHANGE,
        _CALENDARS,
        outlook_delta.calendar_view_delta,
        "users('{user}')/calendar/calendarview/delta",
        selects=False,
    ),
    _route("events", "users/{user}/events", _EXCHANGE, _CALENDARS, outlook_api.list_events, "users('{user}')/events"),
    _route(
        "chats",
        "users/{user}/chats",
        Service.TEAMS,
        _CHATS,
        teams_api.list_chats,
        "users('{user}')/chats",
        selects=False,
    ),
    _route(
        "getAllMessages",
        "users/{user}/chats/getAllMessages",
        Service.TEAMS,
        _CHAT_MESSAGES,
        teams_api.get_all_messages,
        "users('{user}')/chats/getallMessages",
        selects=False,
    ),
    _route(
        "chatMembers",
        "chats/{chat}/members",
        Service.TEAMS,
        _CHAT_MEMBERS,
        teams_api.list_chat_members,
        "chats('{chat}')/members",
        selects=False,
    ),
    _route(
        "chatMessages",
        "chats/{chat}/messages",
        Service.TEAMS,
        _CHAT_MESSAGES,
        teams_api.list_chat_messages,
        "chats('{chat}')/messages",
        selects=False,
    ),
    _route("teams", "teams", Service.TEAMS, _TEAMS, channels_api.list_teams, selects=False),
    _route("team", "teams/{team}", Service.TEAMS, _TEAMS, channels_api.get_team),
    _route("channels", "teams/{team}/channels", Service.TEAMS, _CHANNELS, channels_api.list_channels),
    _route("channels", "teams/{team}/allChannels", Service.TEAMS, _CHANNELS, channels_api.list_all_channels),
    _route("channels", "teams/{team}/incomingChannels", Service.TEAMS, _CHANNELS, channels_api.list_incoming_channels),
    _route(
        "getAllChannelMessages",
        "teams/{team}/channels/getAllMessages",
        Service.TEAMS,
        _CHANNEL_MESSAGES,
        channels_api.get_all_channel_messages,
        "teams('{team}')/channels/getallMessages",
        selects=False,
    ),
    _route(
        "channelMessages",
        "teams/{team}/channels/{channel}/messages",
        Service.TEAMS,
        _CHANNEL_MESSAGES,
        channels_api.list_channel_messages,
        "teams('{team}')/channels('{channel}')/messages",
        selects=False,
    ),
    _route(
        "channelMessagesDelta",
        "teams/{team}/channels/{channel}/messages/delta",
        Service.TEAMS,
        _CHANNEL_MESSAGES,
        channels_api.channel_messages_delta,
        "teams('{team}')/channels('{channel}')/messages/delta",
        selects=False,
    ),
    _route(
        "replies",
        "teams/{team}/channels/{channel}/messages/{message}/replies",
        Service.TEAMS,
        _CHANNEL_MESSAGES,
        channels_api.list_replies,
        "teams('{team}')/channels('{channel}')/messages('{message}')/replies",
        selects=False,
    ),
    _route("callRecords", "communications/callRecords", _CALLS, _RECORDS, calls_api.list_call_records),
    _route(
        "pstnCalls",
        "communications/callRecords/getPstnCalls(fromDateTime,toDateTime)/{from}/{to}",
        _CALLS,
        _PHONE_LOGS,
        calls_api.get_pstn_calls,
        "communications/callRecords/getPstnCalls(from={from},to={to})",
        selects=False,
    ),
    _route(
        "pstnCalls",
        "communications/callRecords/getPstnCalls(from,to)/{from}/{to}",
        _CALLS,
        _PHONE_LOGS,
        calls_api.only_next_pages(calls_api.get_pstn_calls),
        "communications/callRecords/getPstnCalls(from={from},to={to})",
        selects=False,
    ),
    _route(
        "directRoutingCalls",
        "communications/callRecords/getDirectRoutingCalls(fromDateTime,toDateTime)/{from}/{to}",
        _CALLS,
        _PHONE_LOGS,
        calls_api.get_direct_routing_calls,
        "communications/callRecords/getDirectRoutingCalls(from={from},to={to})",
        selects=False,
    ),
    _route(
        "directRoutingCalls",
        "communications/callRecords/getDirectRoutingCalls(from,to)/{from}/{to}",
        _CALLS,
        _PHONE_LOGS,
        calls_api.only_next_pages(calls_api.get_direct_routing_calls),
        "communications/callRecords/getDirectRoutingCalls(from={from},to={to})",
        selects=False,
    ),
    _route(
        "callRecord",
        "communications/callRecords/{record}",
        _CALLS,
        _RECORDS,
        calls_api.get_call_record,
        "communications/callRecords('{record}')",
        selects=False,
    ),
    _route(
        "callSessions",
        "communications/callRecords/{record}/sessions",
        _CALLS,
        _RECORDS,
        calls_api.list_sessions,
        "communications/callRecords('{record}')/sessions",
        selects=False,
    ),
    _route(
        "callParticipants",
        "communications/callRecords/{record}/participants_v2",
        _CALLS,
        _RECORDS,
        calls_api.list_participants,
        "communications/callRecords('{record}')/participants_v2",
        selects=False,
    ),
    _route(
        "onlineMeetings",
        "users/{user}/onlineMeetings",
        _CALLS,
        _MEETINGS,
        meetings_api.find_online_meeting,
        selects=False,
    ),
    _route(
        "onlineMeeting",
        "users/{user}/onlineMeetings/{meeting}",
        _CALLS,
        _MEETINGS,
        meetings_api.get_online_meeting,
        selects=False,
    ),
    _route(
        "attendanceReports",
        "users/{user}/onlineMeetings/{meeting}/attendanceReports",
        _CALLS,
        _ATTENDANCE,
        meetings_api.list_attendance_reports,
        selects=False,
    ),
    _route(
        "attendanceReport",
        "users/{user}/onlineMeetings/{meeting}/attendanceReports/{report}",
        _CALLS,
        _ATTENDANCE,
        meetings_api.get_attendance_report,
        selects=False,
    ),
)


def find_route(path: str) -> tuple[Route, dict[str, str]]:
    """The route of an encoded path (without version) and the keys in it. Raises GraphError.

    Names are taken in any letter case, keys as they are; `users('id')` is the same as `users/id`.
    """
    segments: list[str] = []
    for part in path.strip("/").split("/"):
        segments += _unfolded(unquote(part))
    for route in ROUTES:
        keys = _match(route.pattern, segments)
        if keys is not None:
            return route, keys
    raise unknown_segment(segments[-1])


def route_of(kind: str) -> Route:
    """The first route of a kind. Raises KeyError."""
    route = next((route for route in ROUTES if route.kind == kind), None)
    if route is None:
        raise KeyError(kind)
    return route


def _unfolded(text: str) -> list[str]:
    """`users('id')` as name and key; `f(a=1,b=2)` as `f(a,b)` and the values."""
    if match := _IN_PARENTHESES.fullmatch(text):
        return [match[1], match[2].replace("''", "'")]
    if match := _WITH_PARAMETERS.fullmatch(text):
        pairs = [pair.partition("=") for pair in match[2].split(",")]
        return [f"{match[1]}({','.join(name for name, _, _ in pairs)})", *(value for _, _, value in pairs)]
    return [text]


def _match(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    keys = {}
    for wanted, found in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            keys[wanted[1:-1]] = found
        elif wanted.lower() != found.lower():
            return None
    return keys


def _encoded(key: str) -> str:
    """Percent-encoded with small letters; the key itself keeps its case."""
    return re.sub("%..", lambda match: match[0].lower(), quote(key, safe=""))
