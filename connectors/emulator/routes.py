"""Which paths there are: for each the endpoint, the roles that open it, and how the service spells its next link.

Further sources join by adding a module of endpoints and their rows here.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

from connectors.emulator import directory_api, outlook_api, teams_api
from connectors.emulator.call import Call, Reply, Service
from connectors.emulator.errors import unknown_segment

_IN_PARENTHESES = re.compile(r"(\w+)\('(.*)'\)")


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
_CHATS = ("Chat.ReadBasic.All", "Chat.Read.All", "Chat.ReadWrite.All")
_CHAT_MEMBERS = ("ChatMember.Read.All", "ChatMember.ReadWrite.All", *_CHATS)
_CHAT_MESSAGES = ("Chat.Read.All", "Chat.ReadWrite.All")


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


_EXCHANGE = Service.OUTLOOK
ROUTES: Sequence[Route] = (
    _route("users", "users", Service.DIRECTORY, _USERS, directory_api.list_users),
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
)


def find_route(path: str) -> tuple[Route, dict[str, str]]:
    """The route of an encoded path (without version) and the keys in it. Raises GraphError.

    Names are taken in any letter case, keys as they are; `users('id')` is the same as `users/id`.
    """
    segments: list[str] = []
    for part in path.strip("/").split("/"):
        text = unquote(part)
        match = _IN_PARENTHESES.fullmatch(text)
        segments += [text] if match is None else [match[1], match[2].replace("''", "'")]
    for route in ROUTES:
        keys = _match(route.pattern, segments)
        if keys is not None:
            return route, keys
    raise unknown_segment(segments[-1])


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
