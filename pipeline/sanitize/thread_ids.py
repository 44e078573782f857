"""Pseudonyms inside Teams thread ids and join links.

A one-to-one chat is named by the object ids of its two members, a meeting chat by an id that its join link repeats.
Rewriting the ids *inside* keeps what the forms tell (one-to-one, meeting, channel) and lets chats join with users and
meetings, where a token of the whole text would not. Forms: https://learn.microsoft.com/graph/api/resources/chat and
https://learn.microsoft.com/graph/api/resources/onlinemeeting (checked 2026-11).
"""

import json
import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

Token = Callable[[str], str | None]

_THREAD = re.compile(r"19:(?P<kind>meeting_)?(?P<ids>[^@/?#]+)@(?P<space>[A-Za-z0-9.]+)")
_GUID_PAIR = re.compile(r"([0-9a-fA-F-]{36})_([0-9a-fA-F-]{36})")
_TEAMS_HOSTS = re.compile(
    r"(?:[a-z0-9-]+\.)*teams\.(?:microsoft\.(?:com|us)|live\.com|cloud\.microsoft)|dod\.teams\.microsoft\.us"
)
_TEAMS_LINK = re.compile(rf"https?://(?:{_TEAMS_HOSTS.pattern})\S*", re.IGNORECASE)
_HOST = re.compile(r"[a-z0-9.-]+")  # anything else in its place may be typed text
_MEETUP = re.compile(r"^/l/meetup-join/(?P<thread>19:[^/]+)/(?P<message>[0-9]+)$")


def treat_thread_id(text: str, token: Token) -> str | None:
    """`19:A_B@unq.gbl.spaces` -> `19:t~(A)_t~(B)@unq.gbl.spaces`; an unknown form becomes one token."""
    match = _THREAD.fullmatch(text)
    if match is None:
        return token(text)
    kind, ids, space = match.groups("")
    pair = _GUID_PAIR.fullmatch(ids)
    treated = f"{token(pair[1]) or ''}_{token(pair[2]) or ''}" if pair else token(ids) or ""
    return f"19:{kind}{treated}@{space}"


def treat_join_url(text: str, token: Token) -> str | None:
    """A Teams join link with its thread and organizer as pseudonyms; of any other link scheme and host.

    The text is percent-decoded first, because calendars encode what call records do not. Text that is no http link
    becomes null.
    """
    decoded = unquote(text)
    try:
        link = urlsplit(decoded)
    except ValueError:
        return None
    host = (link.hostname or "").lower()
    if link.scheme.lower() not in {"http", "https"} or not _HOST.fullmatch(host) or "@" in link.netloc:
        return None
    origin = f"{link.scheme.lower()}://{host}"
    meetup = _MEETUP.match(link.path) if _TEAMS_HOSTS.fullmatch(host) else None
    if meetup is None:
        return origin
    organizer = _organizer(link.query)
    pseudonym = token(organizer) if organizer else None
    query = f"?Oid={pseudonym}" if pseudonym else ""
    return f"{origin}/l/meetup-join/{treat_thread_id(meetup['thread'], token)}/{meetup['message']}{query}"


def treat_links_into_teams(text: str, token: Token) -> str:
    """Typed text whose links into Teams are what `treat_join_url` makes of them: they spell ids of accounts."""
    return _TEAMS_LINK.sub(lambda link: treat_join_url(link[0], token) or "", text)


def _organizer(query: str) -> str | None:
    """The organizer's object id out of `context={"Tid":"…","Oid":"…"}`."""
    match = re.search(r"context=(\{.*?\})", query)
    if match is None:
        return None
    try:
        context = json.loads(match[1])
    except ValueError:
        return None
    organizer = context.get("Oid") if isinstance(context, dict) else None
    return organizer if isinstance(organizer, str) and organizer else None
