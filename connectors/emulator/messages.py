"""The JSON of messages and mail folders.

https://learn.microsoft.com/graph/api/resources/message and .../eventmessage (checked 2026-11). With
Mail.ReadBasic(.All) body, bodyPreview, uniqueBody and attachments are never present.
"""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import md5
from typing import Any

from connectors.emulator.folders import FOLDERS, ROOT, Folder, children
from connectors.emulator.letters import Copy, MeetingNote, Role
from connectors.emulator.mailboxes import Mailboxes
from connectors.emulator.people import Person
from connectors.emulator.shapes import ABSENT, Selection, Shape
from connectors.emulator.ticks import DAY, HOUR, MINUTE, SECOND, to_local_text, to_text
from connectors.emulator.words import Vocabulary

NEEDS_MORE_THAN_READ_BASIC = frozenset({"body", "bodyPreview", "uniqueBody", "attachments", "extensions"})
_NOTE_TYPE = {
    MeetingNote.REQUEST: "#microsoft.graph.eventMessageRequest",
    MeetingNote.CANCELLATION: "#microsoft.graph.eventMessage",
    MeetingNote.ACCEPTED: "#microsoft.graph.eventMessageResponse",
    MeetingNote.DECLINED: "#microsoft.graph.eventMessageResponse",
}
_IMPORTANCE = ("normal",) * 14 + ("high", "low")
_PREVIEW_CHARACTERS = 255
LATEST_CHANGE = 255 * SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class MailContext:
    """What the JSON of a message depends on besides the copy."""

    mailboxes: Mailboxes
    words: Vocabulary
    immutable_ids: bool


def _version(copy: Copy) -> str:
    return "CQAAABYAAAB" + b64encode(copy.letter.noise[16:25]).decode()


def _subject(copy: Copy, context: MailContext) -> str | None:
    letter = copy.letter
    if letter.subject is not None:
        return letter.subject
    if letter.noise[16] < 4:
        return None
    return context.words.subjects[int.from_bytes(letter.noise[17:19]) % len(context.words.subjects)]


def _sentences(copy: Copy, context: MailContext) -> list[str]:
    sentences, noise = context.words.sentences, copy.letter.noise
    return [sentences[(noise[19] + 17 * n + noise[20] * n) % len(sentences)] for n in range(1 + noise[21] % 9)]


def _body(copy: Copy, context: MailContext) -> dict[str, str]:
    text = "</p><p>".join(_sentences(copy, context))
    return {"contentType": "html", "content": f"<html><body><p>{text}</p></body></html>"}


def _sent(copy: Copy) -> str:
    return to_text(copy.ticks - (1 + copy.letter.noise[22] % 3) * SECOND)


def modified_at(copy: Copy) -> int:
    """When a message changed last: when somebody read it, up to `LATEST_CHANGE` after it was received."""
    return copy.ticks + copy.letter.noise[23] * SECOND


def _thread_index(copy: Copy) -> str:
    """The 22 bytes that begin every conversationIndex: the same for all letters of a thread, in all mailboxes."""
    thread = md5(copy.letter.thread.encode(), usedforsecurity=False).digest()
    return b64encode(b"\x01" + thread + copy.letter.noise[:5]).decode()


def _flag(copy: Copy) -> dict[str, Any]:
    if copy.letter.noise[24] >= 8:
        return {"flagStatus": "notFlagged"}
    due = {"dateTime": to_local_text(copy.ticks - copy.ticks % DAY + DAY), "timeZone": "UTC"}
    return {"flagStatus": "flagged", "dueDateTime": due, "startDateTime": due}


def _when(copy: Copy, after: int) -> dict[str, str]:
    start = copy.ticks - copy.ticks % HOUR + DAY
    return {"dateTime": to_local_text(start + after), "timeZone": "UTC"}


def _headers(copy: Copy, context: MailContext) -> list[dict[str, str]]:
    return [
        {"name": "Received", "value": f"from mx.mail.example by alderbrook.example; {_sent(copy)}"},
        {"name": "Subject", "value": _subject(copy, context) or ""},
    ]


MESSAGE: Shape[Copy, MailContext] = Shape(
    "microsoft.graph.message",
    {
        "createdDateTime": lambda copy, _: _sent(copy),
        "lastModifiedDateTime": lambda copy, _: to_text(modified_at(copy)),
        "changeKey": lambda copy, _: _version(copy),
        "categories": lambda copy, c: (
            [c.words.categories[copy.letter.noise[25] % 8]] if copy.letter.noise[25] < 8 else []
        ),
        "receivedDateTime": lambda copy, _: to_text(copy.letter.ticks, copy.letter.digits),
        "sentDateTime": lambda copy, _: _sent(copy),
        "hasAttachments": lambda copy, _: copy.letter.noise[26] < 40,
        "internetMessageId": lambda copy, _: f"<{copy.letter.noise[8:24].hex().upper()}@mail.alderbrook.example>",
        "subject": _subject,
        "bodyPreview": lambda copy, c: "\r\n".join(_sentences(copy, c))[:_PREVIEW_CHARACTERS],
        "importance": lambda copy, _: _IMPORTANCE[copy.letter.noise[27] % 16],
        "parentFolderId": lambda copy, c: c.mailboxes.folder_id(copy.owner, c.mailboxes.folder_of(copy)),
        "conversationId": lambda copy, c: c.mailboxes.conversation_id(copy),
        "conversationIndex": lambda copy, _: _thread_index(copy),
        "isDeliveryReceiptRequested": lambda copy, _: None if copy.letter.noise[28] < 8 else False,
        "isReadReceiptRequested": lambda copy, _: copy.letter.noise[28] > 250,
        "isRead": lambda copy, _: copy.role is not Role.RECEIVED or copy.letter.noise[29] < 200,
        "isDraft": lambda copy, _: copy.role is Role.DRAFT,
        "webLink": lambda copy, c: (
            "https://outlook.office365.com/owa/?ItemID="
            + c.mailboxes.message_id(copy, immutable=False).replace("=", "%3D")
            + "&exvsurl=1&viewmodel=ReadMessageItem"
        ),
        "inferenceClassification": lambda copy, _: "other" if copy.letter.noise[30] < 60 else "focused",
        "body": _body,
        "sender": lambda copy, _: copy.letter.sender or ABSENT,
        "from": lambda copy, _: copy.letter.sender or ABSENT,
        "toRecipients": lambda copy, _: copy.letter.to,
        "ccRecipients": lambda copy, _: copy.letter.cc,
        "bccRecipients": lambda copy, _: copy.letter.bcc if copy.role is Role.SENT else [],
        "replyTo": lambda copy, _: [copy.letter.sender] if copy.letter.sender and copy.letter.noise[31] < 6 else [],
        "flag": lambda copy, _: _flag(copy),
    },
    on_request={"uniqueBody": _body, "internetMessageHeaders": _headers},
    always={
        "@odata.type": lambda copy, _: ABSENT if copy.letter.note is None else _NOTE_TYPE[copy.letter.note],
        "@odata.etag": lambda copy, _: f'W/"{_version(copy)}"',
        "id": lambda copy, c: c.mailboxes.message_id(copy, immutable=c.immutable_ids),
    },
)


def render_message(
    copy: Copy, context: MailContext, selection: Selection[Copy, MailContext], *, whole: bool
) -> dict[str, Any]:
    """A message with the selected properties; a `whole` one also carries what its derived type adds."""
    record = MESSAGE.render(copy, context, selection)
    if whole and copy.letter.note is not None:
        record.update(_meeting_properties(copy, copy.letter.note, context))
    return record


def _meeting_properties(copy: Copy, note: MeetingNote, context: MailContext) -> dict[str, Any]:
    record: dict[str, Any] = {
        "meetingMessageType": note.value,
        "type": "singleInstance",
        "isOutOfDate": False,
        "isAllDay": False,
        "isDelegated": False,
        "startDateTime": _when(copy, 0),
        "endDateTime": _when(copy, 30 * MINUTE),
        "location": {"displayName": context.words.places[copy.letter.noise[25] % 40], "locationType": "default"},
        "recurrence": None,
    }
    if note is MeetingNote.REQUEST:
        record |= {
            "responseRequested": True,
            "allowNewTimeProposals": True,
            "meetingRequestType": "newMeetingRequest",
            "previousLocation": None,
            "previousStartDateTime": None,
            "previousEndDateTime": None,
        }
    if note in (MeetingNote.ACCEPTED, MeetingNote.DECLINED):
        record |= {"responseType": "accepted" if note is MeetingNote.ACCEPTED else "declined", "proposedNewTime": None}
    return record


def render_folder(folder: Folder, owner: Person, mailboxes: Mailboxes) -> dict[str, Any]:
    """A mail folder with its counts."""
    total = mailboxes.count(owner, folder.name)
    parent = folder.parent if folder.parent in FOLDERS else ROOT
    record: dict[str, Any] = {
        "id": mailboxes.folder_id(owner, folder.name),
        "displayName": folder.title,
        "parentFolderId": mailboxes.folder_id(owner, parent),
        "childFolderCount": len(children(folder.name, include_hidden=False)),
        "unreadItemCount": total // 5 if folder.name == "inbox" else 0,
        "totalItemCount": total,
        "isHidden": folder.is_hidden,
    }
    if folder.is_search:
        extra = {
            "isSupported": True,
            "includeNestedFolders": True,
            "sourceFolderIds": [mailboxes.folder_id(owner, "inbox")],
            "filterQuery": "isRead eq false",
        }
        record = {"@odata.type": "#microsoft.graph.mailSearchFolder", **record, **extra}
    return record
