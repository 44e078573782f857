"""What the benchmarks read: records of the emulated tenant, over pages that each hold a slice of time.

Real records vary in length, in the number of people they name and in how often those repeat, so they come from the
emulator; only their times are moved, because a page belongs to one slice of the window.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Any

from config.instants import format_instant
from connectors.emulator import Tenant
from pipeline.model import Window
from pipeline.sanitize.rules import Profile, built_in_rules

NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 28  # less than the longest window of any dataset: a mailbox is one unit
WINDOW = Window(NOW - timedelta(days=DAYS), NOW)
HISTORY = timedelta(days=120)
CHAT_ID = "19:00000000000000000000000000000000@thread.v2"  # of every chat message; each user gets one of that length
_FIRST_MESSAGE = 1_700_000_000_000  # ids are milliseconds since 1970

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One dataset: so many `pages` of each mailbox, out of a `stock` of different ones that all share."""

    name: str
    dataset: str
    connector: str
    collection: str  # below /users/{id}/
    times: tuple[str, ...]  # dotted paths of the instants that say which window a record belongs to
    page_items: int
    pages: int
    profile: Profile = "strict"
    stock: int = 100
    users: int = 400  # of the emulated tenant, whose records there are
    records: Callable[[Tenant], Iterable[Record]] = field(repr=False)
    is_personal: bool = False  # names the chat of its reader, so that a page is encoded for each

    def resized(self, **sizes: Any) -> "Workload":
        """The same with other `page_items`, `pages`, `stock` or `users`."""
        return replace(self, **sizes)


def page_texts(workload: Workload) -> Iterator[bytes]:
    """The records of each page as a JSON array; page `n` of them lies in slice `n` of the window.

    Raises:
        ValueError: the emulated tenant has too few records.
    """
    records = iter(workload.records(Tenant(seed=1, users=workload.users, now=NOW, history=HISTORY)))
    for number in range(workload.stock):
        page = list(islice(records, workload.page_items))
        if len(page) < workload.page_items:
            raise ValueError(f"{workload.name}: the emulated tenant has records for {number} pages only")
        for place, record in enumerate(page):
            _move(record, workload.times, instant(number + place / len(page), of=workload.stock))
        yield json.dumps(page, separators=(",", ":")).encode()


def instant(slices: float, *, of: int) -> datetime:
    """Where in the window so many slices lie."""
    return WINDOW.start + (WINDOW.end - WINDOW.start) * (slices / of)


def _move(record: Record, times: Iterable[str], at: datetime) -> None:
    for path in times:
        *parents, name = path.split(".")
        holder = record
        for parent in parents:
            holder = holder[parent]
        text = format_instant(at)
        holder[name] = text.removesuffix("Z") if "timeZone" in holder else text  # it says the zone itself


def _of_all(read: Callable[[Tenant, str], Iterable[Record]]) -> Callable[[Tenant], Iterable[Record]]:
    """The records of all users, one after the other."""
    return lambda tenant: chain.from_iterable(read(tenant, user) for user in tenant.user_ids)


def _messages(tenant: Tenant, user: str) -> Iterable[Record]:
    return tenant.truth.messages(user, NOW - HISTORY, NOW)


def _metadata(tenant: Tenant, user: str) -> Iterable[Record]:
    """Messages as `$select` leaves them."""
    selected = {*built_in_rules()["mail_messages"].select("strict"), "@odata.type", "@odata.etag"}
    for message in _messages(tenant, user):
        yield {name: value for name, value in message.items() if name in selected}


def _events(tenant: Tenant, user: str) -> Iterable[Record]:
    return tenant.truth.events(user, NOW - HISTORY, NOW)


def _chat_messages(tenant: Tenant) -> Iterable[Record]:
    """All of one chat, so they are numbered anew: a number is one message's in its own chat only."""
    messages = tenant.truth.chat_messages(NOW - HISTORY, NOW)
    for number, message in enumerate(each for each in messages if each.get("chatId")):
        yield {**message, "chatId": CHAT_ID, "id": str(_FIRST_MESSAGE + number)}


METADATA_MAIL = Workload(
    name="metadata mail",
    dataset="mail_messages",
    connector="outlook-mail",
    collection="messages",
    times=("receivedDateTime",),
    page_items=1_000,
    pages=5,
    records=_of_all(_metadata),
)
METADATA_MAIL_READABLE_IDS = replace(METADATA_MAIL, name="metadata mail in `psoxy`", profile="psoxy")
MAIL_WITH_BODIES = Workload(
    name="mail with bodies",
    dataset="mail_messages",
    connector="outlook-mail",
    collection="messages",
    times=("receivedDateTime",),
    page_items=1_000,
    pages=2,
    stock=20,
    records=_of_all(_messages),
)
EVENTS = Workload(
    name="events",
    dataset="calendar_events",
    connector="outlook-calendar",
    collection="calendarView",
    times=("start.dateTime",),
    page_items=100,
    pages=5,
    profile="psoxy",
    records=_of_all(_events),
)
CHATS = Workload(
    name="chats",
    dataset="teams_chat_messages",
    connector="msft-teams",
    collection="chats/getAllMessages",
    times=("createdDateTime", "lastModifiedDateTime"),
    page_items=50,
    pages=40,
    records=_chat_messages,
    is_personal=True,
)
WORKLOADS: Sequence[Workload] = (METADATA_MAIL, METADATA_MAIL_READABLE_IDS, MAIL_WITH_BODIES, EVENTS, CHATS)
