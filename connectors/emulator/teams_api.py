"""Endpoints of Teams: chats of a user, their members and messages, and the export of all messages of a user.

https://learn.microsoft.com/graph/api/chat-list, .../chat-list-messages, .../chats-getallmessages (checked 2026-11).
`$filter` on chat messages does nothing, silently, unless `$orderby` names the same property. `$select` on messages
is ignored.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.emulator import ticks
from connectors.emulator.call import Call, Reply, refuse_options, too_large
from connectors.emulator.chat_records import CHAT, CHAT_MESSAGE, ChatContext, render_members, render_preview
from connectors.emulator.chats import Chat, ChatMessage
from connectors.emulator.errors import GraphError, bad_query
from connectors.emulator.filters import Comparison, Filter, Instant, conjunction, holds, leaves
from connectors.emulator.shapes import UnknownProperty

DEFAULT_PAGE, LARGEST_PAGE = 20, 50
_EXPANDED_MEMBERS = 25  # per response, a known limit of the service
_MODIFIED = "lastModifiedDateTime"
_CREATED = "createdDateTime"
EXPORT_FILTERS = (
    _MODIFIED,
    "from/user/id",
    "from/application/applicationIdentityType",
    "from/user/userIdentityType",
)


def list_chats(call: Call) -> Reply:
    """GET /users/{id}/chats."""
    refuse_options(call, "$skip", "$search")
    person = call.person()
    context = _context(call)
    expand = {part.strip().partition("(")[0] for part in call.options.get("$expand", "").split(",") if part.strip()}
    if not expand <= {"members", "lastMessagePreview"}:
        raise bad_query("Only members and lastMessagePreview can be expanded.")
    chats = _filtered_chats(call, call.tenant.chats.of_member(person.number), context)
    try:
        selection = CHAT.selection(call.select)
    except UnknownProperty as error:
        raise bad_query(str(error)) from error

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        left = _EXPANDED_MEMBERS
        for chat in chats[start:]:
            record = CHAT.render(chat, context, selection)
            if "members" in expand:
                record["members"] = render_members(chat, context)[: max(left, 0)]
                left -= len(record["members"])
            if "lastMessagePreview" in expand:
                record["lastMessagePreview"] = render_preview(chat, context)
            yield record

    return Reply(page=call.page_of(walk, length=len(chats), size=page_size(call)))


def list_chat_members(call: Call) -> Reply:
    """GET /chats/{id}/members."""
    members = render_members(_chat(call), _context(call))

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return iter(members[start:])

    return Reply(page=call.page_of(walk, length=len(members), size=LARGEST_PAGE))


def list_chat_messages(call: Call) -> Reply:
    """GET /chats/{id}/messages, newest first."""
    refuse_options(call, "$skip", "$search", "$expand")
    chat, order, condition = _chat(call), call.order, call.filter
    path = order[0][0] if order else _CREATED
    if len(order) > 1 or path not in (_MODIFIED, _CREATED):
        raise bad_query("QueryOptions to order by is not supported on this property.")
    if order and not order[0][1]:
        raise bad_query("QueryOptions to order by in 'Ascending' direction is not supported.")
    if condition is not None and (not order or any(leaf.path != path for leaf in leaves(condition))):
        condition = None  # as the service does: all messages, and status 200
    if condition is not None and path == _CREATED:
        for leaf in leaves(condition):
            if not isinstance(leaf, Comparison) or leaf.operator != "lt":
                raise bad_query("Only 'lt' is supported on createdDateTime.")
    since = _modified_since(condition)
    messages = list(call.tenant.chats.messages(chat, since=since))
    if path == _MODIFIED:
        messages.sort(key=lambda message: message.modified, reverse=True)
    return _message_page(call, _filtered(messages, condition, _context(call)))


def get_all_messages(call: Call) -> Reply:
    """GET /users/{id}/chats/getAllMessages: every chat of the user, both directions."""
    refuse_options(call, "$skip", "$search", "$expand", "$orderby")
    person, condition = call.person(), call.filter
    if condition is not None and any(leaf.path not in EXPORT_FILTERS for leaf in leaves(condition)):
        raise bad_query("The filter is not supported for the exported messages.")
    since = _modified_since(condition)
    context = _context(call)
    messages = [
        message
        for chat in call.tenant.chats.of_member(person.number)
        for message in _filtered(call.tenant.chats.messages(chat, since=since), condition, context)
    ]
    return _message_page(call, messages)


def _message_page(call: Call, messages: Sequence[ChatMessage]) -> Reply:
    context, selection = _context(call), CHAT_MESSAGE.selection(None)

    def walk(start: int) -> Iterator[Mapping[str, Any]]:
        return (CHAT_MESSAGE.render(message, context, selection) for message in messages[start:])

    return Reply(page=call.page_of(walk, length=len(messages), size=page_size(call)))


def _filtered(messages: Sequence[ChatMessage], condition: Filter | None, context: ChatContext) -> Sequence[ChatMessage]:
    if condition is None:
        return messages
    return [message for message in messages if holds(condition, CHAT_MESSAGE.lookup(message, context))]


def _modified_since(condition: Filter | None) -> int | None:
    """A lower bound of the modification, where the filter sets one."""
    bounds = [
        term.value.ticks
        for term in (conjunction(condition) if condition is not None else ())
        if isinstance(term, Comparison)
        and isinstance(term.value, Instant)
        and term.path == _MODIFIED
        and term.operator in ("gt", "ge")
    ]
    return max(bounds, default=None)


def _filtered_chats(call: Call, chats: Sequence[Chat], context: ChatContext) -> Sequence[Chat]:
    condition = call.filter
    try:
        if condition is not None:
            chats = [chat for chat in chats if holds(condition, CHAT.lookup(chat, context))]
    except UnknownProperty as error:
        raise bad_query(str(error)) from error
    if not call.order:
        return chats
    if call.order != [("lastMessagePreview/createdDateTime", True)]:
        raise bad_query("Chats can be ordered by lastMessagePreview/createdDateTime desc only.")
    return sorted(chats, key=lambda chat: _last_written(chat, context), reverse=True)


def _last_written(chat: Chat, context: ChatContext) -> int:
    messages = context.chats.messages(chat)
    return messages[0].created if messages else -ticks.DAY


def _chat(call: Call) -> Chat:
    chat = call.tenant.chats.find(call.keys["chat"])
    if chat is None:
        raise GraphError(404, "NotFound", "NotFound: the chat thread does not exist.")
    return chat


def _context(call: Call) -> ChatContext:
    return call.tenant.chat_context(knows_new_members="include-unknown-enum-members" in call.preferences)


def page_size(call: Call) -> int:
    """`$top`, at most fifty; twenty without."""
    top = call.top()
    refusal = too_large(LARGEST_PAGE, top)
    if refusal is not None:
        raise refusal
    return top or DEFAULT_PAGE
