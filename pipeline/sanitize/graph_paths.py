"""Which Graph path gives the records of which dataset.

One table for two questions: whose rules apply to an answer read from a path, and which endpoint of an operator's rules
file speaks of a dataset. `{}` stands for an id or a date.
https://learn.microsoft.com/graph/api/overview (checked 2026-11)
"""

import re
from collections.abc import Mapping
from functools import cache

from pipeline.sanitize.rest_rules import Endpoint, RestRules

# In the order in which a rules file is asked; Psoxy's own files list mail by Sent Items, and events by calendar view.
SHAPES: Mapping[str, tuple[str, ...]] = {
    "entra_users": ("/users", "/users/{}", "/users/delta"),
    "entra_groups": ("/groups", "/groups/{}", "/groups/delta"),
    "entra_group_members": ("/groups/{}/members", "/groups/{}/transitiveMembers"),
    "mailbox_settings": ("/users/{}/mailboxSettings",),
    "mail_messages": (
        "/users/{}/mailFolders/SentItems/messages",
        "/users/{}/mailFolders('SentItems')/messages",
        "/users/{}/mailFolders/{}/messages",
        "/users/{}/mailFolders/{}/messages/delta",
        "/users/{}/mailFolders/{}/messages/{}",
        "/users/{}/messages",
        "/users/{}/messages/{}",
    ),
    "mail_contacts": (
        "/users/{}/contacts",
        "/users/{}/contacts/{}",
        "/users/{}/contactFolders/{}/contacts",
        "/users/{}/contactFolders/{}/contacts/{}",
    ),
    "calendar_events": (
        "/users/{}/calendar/calendarView",
        "/users/{}/calendarView",
        "/users/{}/calendarView/delta",
        "/users/{}/calendars/{}/calendarView",
        "/users/{}/events",
        "/users/{}/events/{}",
        "/users/{}/events/{}/instances",
        "/users/{}/calendar/events",
        "/users/{}/calendars/{}/events",
    ),
    "teams_teams": ("/teams", "/teams/{}", "/groups/{}/team"),
    "teams_channels": ("/teams/{}/allChannels", "/teams/{}/channels", "/teams/{}/channels/{}"),
    "teams_channel_messages": (
        "/teams/{}/channels/{}/messages",
        "/teams/{}/channels/{}/messages/delta",
        "/teams/{}/channels/{}/messages/{}",
        "/teams/{}/channels/{}/messages/{}/replies",
        "/teams/{}/channels/{}/messages/{}/replies/{}",
        "/teams/{}/channels/getAllMessages",
    ),
    "teams_chats": ("/users/{}/chats", "/users/{}/chats/{}", "/chats", "/chats/{}"),
    "teams_chat_messages": (
        "/chats/{}/messages",
        "/chats/{}/messages/{}",
        "/users/{}/chats/getAllMessages",
        "/users/{}/chats/{}/messages",
        "/users/{}/chats/{}/messages/{}",
    ),
    "teams_call_records": ("/communications/callRecords", "/communications/callRecords/{}"),
    "teams_pstn_calls": ("/communications/callRecords/getPstnCalls(fromDateTime={},toDateTime={})",),
    "teams_direct_routing_calls": ("/communications/callRecords/getDirectRoutingCalls(fromDateTime={},toDateTime={})",),
    "teams_online_meetings": ("/users/{}/onlineMeetings", "/users/{}/onlineMeetings/{}"),
    "teams_attendance_reports": (
        "/users/{}/onlineMeetings/{}/attendanceReports/{}",
        "/users/{}/onlineMeetings/{}/attendanceReports",
    ),
}

_HOST = re.compile(r"https?://[^/]+")
_VERSION = r"/(?:v1\.0|beta)"


def dataset_at(path: str) -> str | None:
    """The dataset that a path such as `/v1.0/users/{id}/messages?$top=5` gives records of; None for an unknown path."""
    path = relative(path).partition("?")[0].rstrip("/")
    fitting = [(len(shape.replace("{}", "")), name) for shape, name in _all_shapes() if _pattern(shape).fullmatch(path)]
    return max(fitting)[1] if fitting else None  # the one that says most


def relative(url: str) -> str:
    """A Graph address without scheme and host."""
    match = _HOST.match(url)
    return url[match.end() :] if match else url


def endpoint_for(rules: RestRules, dataset: str) -> Endpoint | None:
    """What a rules file says about the records of a dataset."""
    found = (rules.match_shape(f"/v1.0{shape}") for shape in SHAPES[dataset])
    return next((endpoint for endpoint in found if endpoint is not None), None)


def _all_shapes() -> list[tuple[str, str]]:
    return [(shape, dataset) for dataset, shapes in SHAPES.items() for shape in shapes]


@cache
def _pattern(shape: str) -> re.Pattern[str]:
    return re.compile(_VERSION + re.escape(shape).replace(r"\{\}", "[^/]+"), re.IGNORECASE)
