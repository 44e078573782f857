"""The JSON of chats, their members and their messages.

https://learn.microsoft.com/graph/api/resources/chat and .../chatmessage (checked 2026-11). System events show as
`unknownFutureValue` unless the request carries `Prefer: include-unknown-enum-members`.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from connectors.emulator.chats import ChangeKind, Chat, ChatKind, ChatMessage, Chats, OutsideMember, is_system_event
from connectors.emulator.events import join_url
from connectors.emulator.people import Person
from connectors.emulator.shapes import Shape
from connectors.emulator.teams import OTHER_TENANT
from connectors.emulator.ticks import NEVER, SECOND, to_text
from connectors.emulator.words import Vocabulary

_BOT_ID = "b07b07b0-1111-4222-a333-444444444444"
_REACTIONS = ("like", "heart", "laugh", "surprised", "👍", "custom")
_SENDER_TYPES = {
    OutsideMember.FEDERATED: "federatedUser",
    OutsideMember.ANONYMOUS: "anonymousGuest",
    OutsideMember.PHONE: "phoneUser",
    OutsideMember.SKYPE: "skypeUser",
}
_MEMBER_TYPE = "#microsoft.graph.{}ConversationMember"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatContext:
    """What the JSON depends on besides the chat or message."""

    chats: Chats
    words: Vocabulary
    tenant_id: str
    knows_new_members: bool  # Prefer: include-unknown-enum-members


def _topic(chat: Chat, context: ChatContext) -> str | None:
    if chat.kind is ChatKind.ONE_ON_ONE or chat.noise[20] < 60:
        return None
    return context.words.topics[chat.noise[21] % len(context.words.topics)]


def _meeting_info(chat: Chat, context: ChatContext) -> dict[str, Any] | None:
    if chat.kind is not ChatKind.MEETING:
        return None
    return {
        "calendarEventId": None,
        "joinWebUrl": join_url(chat.id, context.tenant_id),
        "organizer": _user_identity(chat.members[0], context),
    }


CHAT: Shape[Chat, ChatContext] = Shape(
    "microsoft.graph.chat",
    {
        "topic": _topic,
        "createdDateTime": lambda chat, _: to_text(chat.created, 3),
        "lastUpdatedDateTime": lambda chat, _: to_text(chat.updated, 3),
        "chatType": lambda chat, _: chat.kind.value,
        "webUrl": lambda chat, c: f"https://teams.microsoft.com/l/chat/{chat.id}/0?tenantId={c.tenant_id}",
        "tenantId": lambda _, c: c.tenant_id,
        "isHiddenForAllMembers": lambda _chat, _: False,
        "onlineMeetingInfo": _meeting_info,
        "viewpoint": lambda _chat, _: None,
    },
    always={"id": lambda chat, _: chat.id},
)


def render_members(chat: Chat, context: ChatContext) -> list[dict[str, Any]]:
    """The members of a chat, each with its own @odata.type."""
    members = [_member(chat, person, context) for person in chat.present]
    if chat.outside_kind is not None:
        members.append(_outside_member(chat, chat.outside_kind, context))
    return members


def render_preview(chat: Chat, context: ChatContext) -> dict[str, Any] | None:
    """The lastMessagePreview of a chat: there only when expanded."""
    messages = context.chats.messages(chat)
    if not messages:
        return None
    message = messages[0]
    keys = ("id", "createdDateTime", "messageType", "eventDetail", "body", "from")
    record = CHAT_MESSAGE.render(message, context, CHAT_MESSAGE.selection(keys))
    return {**record, "isDeleted": message.last(ChangeKind.DELETION) is not None}


def _member(chat: Chat, person: Person, context: ChatContext) -> dict[str, Any]:
    roles = ["guest"] if person.is_guest else ["owner"]
    return {
        "@odata.type": _MEMBER_TYPE.format(OutsideMember.FEDERATED.value),
        "id": b64encode(f"1##{context.tenant_id}##{chat.id}##{person.id}".encode()).decode(),
        "roles": roles,
        "displayName": person.display_name,
        "visibleHistoryStartDateTime": NEVER,
        "userId": person.id,
        "email": person.mail,
        "tenantId": context.tenant_id,
    }


def _outside_member(chat: Chat, kind: OutsideMember, context: ChatContext) -> dict[str, Any]:
    name = chat.outsider["emailAddress"]["name"] if chat.outsider else None
    outside_id = _outside_id(chat)
    member: dict[str, Any] = {
        "@odata.type": _MEMBER_TYPE.format(kind.value),
        "id": b64encode(f"1##{context.tenant_id}##{chat.id}##{outside_id}".encode()).decode(),
        "roles": [],
        "displayName": name,
        "visibleHistoryStartDateTime": NEVER,
    }
    if kind is OutsideMember.FEDERATED:
        address = chat.outsider["emailAddress"]["address"] if chat.outsider else None
        member |= {"userId": outside_id, "email": address, "tenantId": OTHER_TENANT}
    elif kind is OutsideMember.ANONYMOUS:
        member["anonymousGuestId"] = outside_id
    elif kind is OutsideMember.PHONE:
        member["phoneNumber"] = _outside_phone(chat)
    elif kind is OutsideMember.SKYPE:
        member["skypeId"] = outside_id
    else:
        member["azureCommunicationServicesId"] = f"8:acs:{outside_id}"
    return member


def _outside_id(chat: Chat) -> str:
    text = chat.noise[4:20].hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _outside_phone(chat: Chat) -> str:
    return f"+1555{int.from_bytes(chat.noise[4:7]):08d}"


def outside_phones(chats: Chats) -> list[str]:
    """The telephone numbers of members who dialled in."""
    return [_outside_phone(chat) for chat in chats.all() if chat.outside_kind is OutsideMember.PHONE]


def _user_identity(person: Person, context: ChatContext) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.teamworkUserIdentity",
        "id": person.id,
        "displayName": person.display_name,
        "userIdentityType": "aadUser",
        "tenantId": context.tenant_id,
    }


def _from(message: ChatMessage, context: ChatContext) -> dict[str, Any] | None:
    chat = message.chat
    if is_system_event(message):
        return None
    identity: dict[str, Any] = {"application": None, "device": None, "user": None}
    if message.noise[12] < 6:
        identity["application"] = {
            "@odata.type": "#microsoft.graph.teamworkApplicationIdentity",
            "id": _BOT_ID,
            "displayName": "Polls",
            "applicationIdentityType": "bot",
        }
    elif chat.outside_kind in _SENDER_TYPES and message.noise[12] < 60 and chat.outsider is not None:
        identity["user"] = {
            "@odata.type": "#microsoft.graph.teamworkUserIdentity",
            "id": _outside_id(chat),
            "displayName": chat.outsider["emailAddress"]["name"],
            "userIdentityType": _SENDER_TYPES[chat.outside_kind],
            "tenantId": OTHER_TENANT if chat.outside_kind is OutsideMember.FEDERATED else None,
        }
    else:
        identity["user"] = _user_identity(message.sender, context)
    return identity


def _is_deleted(message: ChatMessage) -> bool:
    return message.last(ChangeKind.DELETION) is not None


def _mentioned(message: ChatMessage) -> Person | None:
    if message.noise[13] >= 30 or _is_deleted(message) or is_system_event(message):
        return None
    return message.chat.members[message.noise[14] % len(message.chat.members)]


def _attachment_name(message: ChatMessage, context: ChatContext) -> str | None:
    if message.noise[15] >= 20 or _is_deleted(message) or is_system_event(message):
        return None
    return context.words.files[message.noise[16] % len(context.words.files)]


def _body(message: ChatMessage, context: ChatContext) -> dict[str, str]:
    if is_system_event(message):
        return {"contentType": "html", "content": "<systemEventMessage/>"}
    if _is_deleted(message):
        return {"contentType": "html", "content": ""}
    sentences, edits = context.words.sentences, message.last(ChangeKind.EDIT) is not None
    text = sentences[(message.noise[17] + edits) % len(sentences)]
    mentioned = _mentioned(message)
    if mentioned is not None:
        text = f'<at id="0">{mentioned.display_name}</at> {text}'
    if _attachment_name(message, context):
        text += f'<attachment id="{_attachment_id(message)}"></attachment>'
    return {"contentType": "html", "content": f"<p>{text}</p>"}


def _attachment_id(message: ChatMessage) -> str:
    text = message.noise[16:32].hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _attachments(message: ChatMessage, context: ChatContext) -> list[dict[str, Any]]:
    name = _attachment_name(message, context)
    if name is None:
        return []
    url = f"https://alderbrook-my.sharepoint.com/personal/x/Documents/{name.replace(' ', '%20')}"
    return [
        {
            "id": _attachment_id(message),
            "contentType": "reference",
            "contentUrl": url,
            "content": None,
            "name": name,
            "thumbnailUrl": None,
            "teamsAppId": None,
        }
    ]


def _mentions(message: ChatMessage, context: ChatContext) -> list[dict[str, Any]]:
    person = _mentioned(message)
    if person is None:
        return []
    mentioned = {"application": None, "device": None, "conversation": None, "user": _user_identity(person, context)}
    return [{"id": 0, "mentionText": person.display_name, "mentioned": mentioned}]


def _reactions(message: ChatMessage, context: ChatContext) -> list[dict[str, Any]]:
    if _is_deleted(message):
        return []
    return [
        {
            "reactionType": _REACTIONS[(message.noise[18] + n) % len(_REACTIONS)],
            "displayName": None,
            "reactionContentUrl": None,
            "createdDateTime": to_text(change.ticks, 3),
            "user": {"application": None, "device": None, "user": _user_identity(change.by, context)},
        }
        for n, change in enumerate(change for change in message.changes if change.kind is ChangeKind.REACTION)
    ]


def _history(message: ChatMessage, context: ChatContext) -> list[dict[str, Any]]:
    return [
        {"modifiedDateTime": reaction["createdDateTime"], "actions": "reactionAdded", "reaction": reaction}
        for reaction in _reactions(message, context)
    ]


def _event_detail(message: ChatMessage, context: ChatContext) -> dict[str, Any] | None:
    if not is_system_event(message):
        return None
    initiator = {"application": None, "device": None, "user": _user_identity(message.sender, context)}
    if message.noise[18] < 100:
        return {
            "@odata.type": "#microsoft.graph.membersAddedEventMessageDetail",
            "visibleHistoryStartDateTime": NEVER,
            "members": [_user_identity(message.chat.members[0], context)],
            "initiator": initiator,
        }
    if message.noise[18] < 200:
        return {
            "@odata.type": "#microsoft.graph.callEndedEventMessageDetail",
            "callId": _attachment_id(message),
            "callDuration": f"PT{1 + message.noise[19] % 59}M",
            "callEventType": "meeting",
            "callParticipants": [{"participant": initiator}],
            "initiator": initiator,
        }
    return {
        "@odata.type": "#microsoft.graph.chatRenamedEventMessageDetail",
        "chatId": message.chat.id,
        "chatDisplayName": context.words.topics[message.noise[19] % len(context.words.topics)],
        "initiator": initiator,
    }


def _message_type(message: ChatMessage, context: ChatContext) -> str:
    if not is_system_event(message):
        return "message"
    return "systemEventMessage" if context.knows_new_members else "unknownFutureValue"


def _optional_time(ticks: int | None) -> str | None:
    return None if ticks is None else to_text(ticks, 3)


CHAT_MESSAGE: Shape[ChatMessage, ChatContext] = Shape(
    "microsoft.graph.chatMessage",
    {
        "replyToId": lambda _m, _: None,
        "etag": lambda m, _: str(m.modified // (SECOND // 1000)),
        "messageType": _message_type,
        "createdDateTime": lambda m, _: to_text(m.created, 3),
        "lastModifiedDateTime": lambda m, _: to_text(m.modified, 3),
        "lastEditedDateTime": lambda m, _: _optional_time(m.last(ChangeKind.EDIT)),
        "deletedDateTime": lambda m, _: _optional_time(m.last(ChangeKind.DELETION)),
        "subject": lambda _m, _: None,
        "summary": lambda _m, _: None,
        "chatId": lambda m, _: m.chat.id,
        "importance": lambda m, _: "urgent" if m.noise[20] < 3 else "high" if m.noise[20] < 10 else "normal",
        "locale": lambda _m, _: "en-us",
        "webUrl": lambda _m, _: None,
        "channelIdentity": lambda _m, _: None,
        "policyViolation": lambda _m, _: None,
        "eventDetail": _event_detail,
        "from": _from,
        "body": _body,
        "attachments": _attachments,
        "mentions": _mentions,
        "reactions": _reactions,
        "messageHistory": _history,
    },
    always={"id": lambda m, _: m.id},
)
