"""What the end-to-end benchmark reads: records of the emulated tenant, over pages that each hold a slice of time.

Real records vary in length, in the number of people they name and in how often those repeat, so they come from the
emulator; only their times are moved, because a page belongs to one slice of the window.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from config.instants import format_instant
from connectors.emulator import Tenant
from pipeline.sanitize.rules import built_in_rules

NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 28  # less than the longest window of any dataset: a mailbox is one unit
START = NOW - timedelta(days=DAYS)
HISTORY = timedelta(days=120)
CHAT_ID = "19:00000000000000000000000000000000@thread.v2"  # of every chat message; each user gets one of that length

Record = dict[str, Any]
Stamp = Callable[[Record, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One dataset. `pages` and `mailboxes` are what is exported unless the command line says otherwise."""

    name: str
    dataset: str
    connector: str
    collection: str  # below /users/{id}/
    page_items: int
    pages: int  # of each mailbox
    mailboxes: int
    profile: str = "strict"
    stock: int = 100  # different pages; mailboxes share them
    records: Callable[[Tenant], Iterator[Record]] = field(repr=False)
    stamp: Stamp = field(repr=False)
    is_personal: bool = False  # names the chat of its reader, so that a page is encoded for each


def page_texts(workload: Workload, *, stock: int) -> Iterator[bytes]:
    """The records of each page as a JSON array; page `n` of them lies in slice `n` of the window."""
    tenant = Tenant(seed=1, users=400, now=NOW, history=HISTORY)
    records = workload.records(tenant)
    for number in range(stock):
        page = [record for _, record in zip(range(workload.page_items), records, strict=False)]
        if len(page) < workload.page_items:
            raise SystemExit(f"{workload.name}: the emulated tenant has records for {number} pages only")
        for place, record in enumerate(page):
            workload.stamp(record, format_instant(instant(number + place / len(page), of=stock)))
        yield json.dumps(page, separators=(",", ":")).encode()


def instant(slices: float, *, of: int) -> datetime:
    """Where in the window so many slices lie."""
    return START + timedelta(days=DAYS) * (slices / of)


def _messages(tenant: Tenant) -> Iterator[Record]:
    for user in tenant.user_ids:
        yield from tenant.truth.messages(user, NOW - HISTORY, NOW)


def _metadata(tenant: Tenant) -> Iterator[Record]:
    """As `$select` leaves them."""
    selected = {*built_in_rules()["mail_messages"].select("strict"), "@odata.type", "@odata.etag"}
    for message in _messages(tenant):
        yield {name: value for name, value in message.items() if name in selected}


def _events(tenant: Tenant) -> Iterator[Record]:
    for user in tenant.user_ids:
        yield from tenant.truth.events(user, NOW - HISTORY, NOW)


def _chat_messages(tenant: Tenant) -> Iterator[Record]:
    for message in tenant.truth.chat_messages(NOW - HISTORY, NOW):
        if message.get("chatId"):
            yield {**message, "chatId": CHAT_ID}


def _received(record: Record, text: str) -> None:
    record["receivedDateTime"] = text


def _starts(record: Record, text: str) -> None:
    record["start"]["dateTime"] = text.removesuffix("Z")


def _created(record: Record, text: str) -> None:
    record["createdDateTime"] = record["lastModifiedDateTime"] = text


WORKLOADS: Sequence[Workload] = (
    Workload(
        name="metadata mail",
        dataset="mail_messages",
        connector="outlook-mail",
        collection="messages",
        page_items=1_000,
        pages=5,
        mailboxes=200,
        records=_metadata,
        stamp=_received,
    ),
    Workload(
        name="mail with bodies",
        dataset="mail_messages",
        connector="outlook-mail",
        collection="messages",
        page_items=1_000,
        pages=2,
        mailboxes=50,
        stock=20,
        records=_messages,
        stamp=_received,
    ),
    Workload(
        name="events",
        dataset="calendar_events",
        connector="outlook-calendar",
        collection="calendarView",
        page_items=100,
        pages=5,
        mailboxes=200,
        profile="psoxy",
        records=_events,
        stamp=_starts,
    ),
    Workload(
        name="chats",
        dataset="teams_chat_messages",
        connector="msft-teams",
        collection="chats/getAllMessages",
        page_items=50,
        pages=40,
        mailboxes=50,
        records=_chat_messages,
        stamp=_created,
        is_personal=True,
    ),
)
