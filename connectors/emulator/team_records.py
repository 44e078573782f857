"""The JSON of teams, channels and channel messages.

https://learn.microsoft.com/graph/api/resources/team, .../channel and .../chatmessage (checked 2026-11).
"""

from dataclasses import dataclass
from typing import Any

from connectors.emulator.chat_records import CHAT_MESSAGE, ChatContext
from connectors.emulator.chats import ChatMessage, is_system_event
from connectors.emulator.posts import Post
from connectors.emulator.shapes import Shape
from connectors.emulator.teams import Channel, Membership, Team, TeamKind, Teams
from connectors.emulator.ticks import DAY, to_text

LISTED = ("id", "displayName", "description")  # all that the list of teams gives


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamContext:
    """What the JSON depends on besides the team or channel."""

    teams: Teams
    tenant_id: str
    start_ticks: int
    knows_new_members: bool = True  # Prefer: include-unknown-enum-members


def _membership(channel: Channel, context: TeamContext) -> str:
    is_new = channel.membership is Membership.SHARED and not context.knows_new_members
    return "unknownFutureValue" if is_new else channel.membership.value


def _summary(team: Team, context: TeamContext) -> dict[str, int]:
    members = context.teams.member_count(team)
    return {"ownersCount": 1, "membersCount": members, "guestsCount": members // 9}


TEAM: Shape[Team, TeamContext] = Shape(
    "microsoft.graph.team",
    {
        "id": lambda t, _: t.id,
        "createdDateTime": lambda t, c: to_text(c.start_ticks - (1 + t.number % 300) * DAY, 3),
        "displayName": lambda t, _: t.group.name,
        "description": lambda t, _: f"All about {t.group.name}",
        "internalId": lambda t, c: c.teams.hosted(t)[0].id,
        "classification": lambda _t, _: None,
        "specialization": lambda _t, _: "none",
        "visibility": lambda t, _: "private" if t.number % 3 else "public",
        "webUrl": lambda t, c: (
            f"https://teams.microsoft.com/l/team/x/conversations?groupId={t.id}&tenantId={c.tenant_id}"
        ),
        "isArchived": lambda t, _: t.kind is TeamKind.ARCHIVED,
        "tenantId": lambda _t, c: c.tenant_id,
        "memberSettings": lambda _t, _: {"allowCreateUpdateChannels": True},
        "funSettings": lambda _t, _: {"allowGiphy": True, "giphyContentRating": "moderate"},
        "summary": _summary,
    },
)

CHANNEL: Shape[Channel, TeamContext] = Shape(
    "microsoft.graph.channel",
    {
        "createdDateTime": lambda ch, _: to_text(ch.thread.created, 3),
        "displayName": lambda ch, _: ch.title,
        "description": lambda ch, _: f"All about {ch.title}",
        "isFavoriteByDefault": lambda _ch, _: None,
        "email": lambda ch, _: f"channel{ch.thread.noise[2:6].hex()}@amer.teams.example",
        "tenantId": lambda ch, _: ch.tenant_id,
        "webUrl": lambda ch, _: f"https://teams.microsoft.com/l/channel/{ch.id}/{ch.title}?groupId={ch.host_id}",
        "membershipType": _membership,
        "layoutType": lambda _ch, _: "post",
        "isArchived": lambda _ch, _: False,
    },
    always={
        "@odata.id": lambda ch, _: (
            f"https://graph.microsoft.com/v1.0/tenants/{ch.tenant_id}/teams/{ch.host_id}/channels/{ch.id}"
        ),
        "id": lambda ch, _: ch.id,
    },
)


def _post(message: ChatMessage) -> Post:
    if not isinstance(message, Post):
        raise TypeError("not a message of a channel")
    return message


def _subject(message: ChatMessage, context: ChatContext) -> str | None:
    if _post(message).reply_to is not None or is_system_event(message) or message.noise[22] >= 160:
        return None
    return context.words.subjects[message.noise[23] % len(context.words.subjects)]


def _identity(message: ChatMessage, _: ChatContext) -> dict[str, str]:
    channel = _post(message).channel
    return {"teamId": channel.host_id, "channelId": channel.id}


def _web_url(message: ChatMessage, context: ChatContext) -> str:
    channel = _post(message).channel
    return f"https://teams.microsoft.com/l/message/{channel.id}/{message.id}?groupId={channel.host_id}&tenantId={context.tenant_id}"


def _event_detail(message: ChatMessage, context: ChatContext) -> dict[str, Any] | None:
    """As in a chat; what is renamed is the team."""
    detail: dict[str, Any] | None = CHAT_MESSAGE.default["eventDetail"](message, context)
    if detail is None or "chatId" not in detail:
        return detail
    return {
        "@odata.type": "#microsoft.graph.teamRenamedEventMessageDetail",
        "teamId": _post(message).channel.host_id,
        "teamDisplayName": detail["chatDisplayName"],
        "initiator": detail["initiator"],
    }


CHANNEL_MESSAGE: Shape[ChatMessage, ChatContext] = Shape(
    "microsoft.graph.chatMessage",
    {
        **CHAT_MESSAGE.default,
        "replyToId": lambda m, _: _post(m).reply_to,
        "subject": _subject,
        "chatId": lambda _m, _: None,
        "webUrl": _web_url,
        "channelIdentity": _identity,
        "eventDetail": _event_detail,
    },
    always={"id": lambda m, _: m.id},
)
