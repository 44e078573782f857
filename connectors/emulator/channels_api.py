"""Endpoints of teams: the teams, their channels, messages and replies, and the export of all messages of a team.

https://learn.microsoft.com/graph/api/teams-list, .../team-list-allchannels, .../channel-list-messages,
.../chatmessage-list-replies, .../channel-getallmessages and .../chatmessage-delta (checked 2026-11).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.emulator.call import Call, Reply, refuse_options
from connectors.emulator.chat_records import ChatContext
from connectors.emulator.delta import round_of, tell
from connectors.emulator.errors import GraphError, bad_query
from connectors.emulator.filters import Comparison, Instant, holds, leaves
from connectors.emulator.posts import Post, Thread
from connectors.emulator.shapes import UnknownProperty
from connectors.emulator.team_records import CHANNEL, CHANNEL_MESSAGE, LISTED, TEAM
from connectors.emulator.teams import Channel, Membership, Team
from connectors.emulator.teams_api import EXPORT_FILTERS, LARGEST_PAGE, page_size
from connectors.emulator.ticks import DAY

UNKNOWN_MEMBERS = "include-unknown-enum-members"
TEAMS_PAGE, LARGEST_TEAMS_PAGE = 20, 999
DELTA_HORIZON = 243 * DAY  # eight months


def list_teams(call: Call) -> Reply:
    """GET /teams: three properties of each."""
    refuse_options(call, "$skip", "$search", "$expand", "$orderby")
    context, condition = call.tenant.team_context(), call.filter
    names = LISTED if call.select is None else tuple(name for name in call.select if name in LISTED)
    try:
        TEAM.selection(call.select)  # unknown names are refused, those of single teams come empty-handed
        teams = [
            team
            for team in call.tenant.teams.all()
            if condition is None or holds(condition, TEAM.lookup(team, context))
        ]
    except UnknownProperty as error:
        raise bad_query(str(error)) from error
    top = call.top()
    if top is not None and top > LARGEST_TEAMS_PAGE:
        raise bad_query("Invalid page size specified.")
    selection = TEAM.selection(("id", *names))

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return (TEAM.render(team, context, selection) for team in teams[start:])

    return Reply(page=call.page_of(walk, length=len(teams), size=top or TEAMS_PAGE))


def get_team(call: Call) -> Reply:
    """GET /teams/{id}."""
    try:
        record = TEAM.render(_team(call), call.tenant.team_context(), TEAM.selection(call.select))
    except UnknownProperty as error:
        raise bad_query(str(error)) from error
    return Reply(record=record)


def list_channels(call: Call) -> Reply:
    """GET /teams/{id}/channels: what the team hosts."""
    return _channels(call, call.tenant.teams.hosted(_team(call)))


def list_incoming_channels(call: Call) -> Reply:
    """GET /teams/{id}/incomingChannels: what others share with the team."""
    return _channels(call, call.tenant.teams.incoming(_team(call)))


def list_all_channels(call: Call) -> Reply:
    """GET /teams/{id}/allChannels: both."""
    teams, team = call.tenant.teams, _team(call)
    return _channels(call, (*teams.hosted(team), *teams.incoming(team)))


def list_channel_messages(call: Call) -> Reply:
    """GET /teams/{id}/channels/{id}/messages: roots, the thread with the newest activity first."""
    refuse_options(call, "$skip", "$search", "$filter", "$orderby", "$count")
    expand = call.options.get("$expand")
    if expand not in (None, "replies"):
        raise bad_query("Only replies can be expanded.")
    threads, context = call.tenant.posts.threads(_channel(call)), _context(call)

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        for thread in threads[start:]:
            record = _render(thread.root, context)
            yield record if expand is None else {**record, **_expanded(call, thread, context)}

    return Reply(page=call.page_of(walk, length=len(threads), size=page_size(call)))


def channel_messages_delta(call: Call) -> Reply:
    """GET /teams/{id}/channels/{id}/messages/delta: whole threads in which something changed, of the last eight months.

    A message that was deleted stays in its thread, with an empty body.
    """
    refuse_options(call, "$skip", "$search", "$orderby", "$count")
    expand = call.options.get("$expand")
    if expand not in (None, "replies"):
        raise bad_query("Only replies can be expanded.")
    posts, channel, context = call.tenant.posts, _channel(call), _context(call)
    current, span = round_of(call)
    threads = posts.threads(channel, at=span.until)
    if not threads:
        raise bad_query("Parameter 'DeltaToken' not supported for this request.")
    floor = max(_modified_after(call), span.until - DELTA_HORIZON)
    told = [
        thread
        for thread in threads
        if thread.active > floor and any(span.covers(*posts.changes(post)) for post in (thread.root, *thread.replies))
    ]

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        for thread in told[start:]:
            record = _render(thread.root, context)
            yield record if expand is None else {**record, **_expanded(call, thread, context)}

    return tell(call, current, walk, length=len(told), size=page_size(call))


def list_replies(call: Call) -> Reply:
    """GET /teams/{id}/channels/{id}/messages/{id}/replies, newest first."""
    refuse_options(call, "$skip", "$search", "$filter", "$orderby", "$expand")
    context = _context(call)
    thread = _thread(call)
    replies = thread.replies[::-1]

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return (_render(reply, context) for reply in replies[start:])

    return Reply(page=call.page_of(walk, length=len(replies), size=page_size(call)))


def get_all_channel_messages(call: Call) -> Reply:
    """GET /teams/{id}/channels/getAllMessages: roots and replies of all channels, flat."""
    refuse_options(call, "$skip", "$search", "$expand", "$orderby")
    team, condition, context = _team(call), call.filter, _context(call)
    if condition is not None and any(leaf.path != EXPORT_FILTERS[0] for leaf in leaves(condition)):
        raise bad_query("The filter is not supported for the exported messages.")
    teams, covers_shared = call.tenant.teams, call.tenant.profile.export_has_shared_channels
    channels = [*teams.hosted(team), *teams.incoming(team)] if covers_shared else teams.hosted(team)
    posts = [
        post
        for channel in channels
        if channel.tenant_id == call.tenant.id and (covers_shared or channel.membership is not Membership.SHARED)
        for post in call.tenant.posts.of(channel)
        if condition is None or holds(condition, CHANNEL_MESSAGE.lookup(post, context))
    ]

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return (_render(post, context) for post in posts[start:])

    return Reply(page=call.page_of(walk, length=len(posts), size=page_size(call)))


def _channels(call: Call, channels: Sequence[Channel]) -> Reply:
    refuse_options(call, "$skip", "$search", "$expand", "$orderby", "$top")
    context, condition = call.tenant.team_context(), call.filter
    shown = call.tenant.team_context(knows_new_members=UNKNOWN_MEMBERS in call.preferences)
    try:
        selection = CHANNEL.selection(call.select)
        chosen = [
            channel for channel in channels if condition is None or holds(condition, CHANNEL.lookup(channel, context))
        ]
    except UnknownProperty as error:
        raise bad_query(str(error)) from error

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return (CHANNEL.render(channel, shown, selection) for channel in chosen[start:])

    return Reply(page=call.page_of(walk, length=len(chosen), size=max(len(chosen), 1)))


def _expanded(call: Call, thread: Thread, context: ChatContext) -> dict[str, Any]:
    """The first replies inside their root; where there are more, a link to the others."""
    shown = call.tenant.profile.expanded_replies
    replies = [_render(reply, context) for reply in thread.replies[::-1]]
    record: dict[str, Any] = {"replies@odata.count": len(replies[:shown]), "replies": replies[:shown]}
    if len(replies) > shown:
        options = {"$top": str(min(shown, LARGEST_PAGE))}
        keys = {**call.keys, "message": thread.root.id}
        record["replies@odata.nextLink"] = call.link("replies", keys, options, shown)
    return record


def _render(post: Post, context: ChatContext) -> dict[str, Any]:
    return CHANNEL_MESSAGE.render(post, context, CHANNEL_MESSAGE.selection(None))


def _team(call: Call) -> Team:
    team = call.tenant.teams.find(call.keys["team"])
    if team is None:
        raise GraphError(404, "NotFound", "No team found with Group Id. The team is being provisioned or deleted.")
    return team


def _channel(call: Call) -> Channel:
    channel = call.tenant.teams.channel(_team(call), call.keys["channel"])
    if channel is None:
        raise GraphError(404, "NotFound", "NotFound: the channel thread does not exist.")
    if channel.tenant_id != call.tenant.id:
        raise GraphError(403, "Forbidden", "The channel belongs to another tenant.")
    return channel


def _thread(call: Call) -> Thread:
    for thread in call.tenant.posts.threads(_channel(call)):
        if thread.root.id == call.keys["message"]:
            return thread
    raise GraphError(404, "NotFound", "NotFound: the message does not exist.")


def _modified_after(call: Call) -> int:
    """The instant, in ticks, after which a delta query wants changes. Raises GraphError for any other filter."""
    match call.filter:
        case None:
            return -(1 << 62)
        case Comparison(path="lastModifiedDateTime", operator="gt", value=Instant(ticks=instant)):
            return instant
    raise bad_query("Changes can be filtered by a lastModifiedDateTime that is 'gt' only.")


def _context(call: Call) -> ChatContext:
    return call.tenant.chat_context(knows_new_members=UNKNOWN_MEMBERS in call.preferences)
