"""What the benchmarks' tenant answers: pages encoded beforehand, so that whoever serves them is never the bottleneck.

A page is one deflate stream of which all but the next link was compressed before. Where fewer items are asked for than
a page of the stock has, they are cut out and compressed anew. Mailboxes of a `Scene` may be idle.
"""

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec
from isal import igzip, isal_zlib

from benchmarks.workloads import CHAT_ID, NOW, WINDOW, WORKLOADS, Workload, instant, page_texts
from config.instants import format_instant, parse_instant
from pipeline.model import Window

LEVEL = 6
USERS_PAGE = 999
CHATS_PAGE = 50
GZIP_HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))
MAILBOX_SETTINGS = b'{"timeZone":"UTC","userPurpose":"user"}'
LONG_AGO = "2024-01-01T00:00:00Z"
_GOLDEN = 0x9E3779B97F4A7C15F39CC0605CEDC835  # spreads consecutive numbers over all ids


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant to be read, as one process tells it to another.

    One mailbox of each `busy_every` has the workload's pages, with 0 none. `sizes` stand in for the workload's own.
    """

    workload: str
    mailboxes: int
    busy_every: int = 1
    chats: int = 0  # old ones of each user, besides the workload's
    sizes: dict[str, int] = {}

    @property
    def content(self) -> Workload:
        """What busy mailboxes hold."""
        return next(each for each in WORKLOADS if each.name == self.workload).resized(**self.sizes)

    @property
    def rows(self) -> int:
        """How many records there are."""
        busy = sum(map(self.is_busy, range(self.mailboxes)))
        return busy * self.content.pages * self.content.page_items

    def is_busy(self, number: int) -> bool:
        return self.busy_every > 0 and number % self.busy_every == 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A body as it is sent."""

    body: bytes
    is_packed: bool = False


class Encoded:
    """The beginning of a gzip answer, up to where the next link goes."""

    def __init__(self, records: bytes) -> None:
        text = b'{"value":' + records
        packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._deflated = packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH)
        self._crc, self._size = isal_zlib.crc32(text), len(text)

    def answer(self, ending: bytes) -> bytes:
        """The whole answer with its last few bytes."""
        packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        rest = packer.compress(ending) + packer.flush()
        trailer = struct.pack("<II", isal_zlib.crc32(ending, self._crc), self._size + len(ending))
        return GZIP_HEADER + self._deflated + rest + trailer

    @property
    def records(self) -> bytes:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(self._deflated).removeprefix(b'{"value":')


class Answers:
    """Graph, as far as the benchmarks ask it."""

    def __init__(self, scene: Scene) -> None:
        self.url = ""  # of next links; known once somebody serves
        self._scene = scene
        self._workload = scene.content
        texts = page_texts(self._workload) if scene.busy_every else ()
        self._stock = [Encoded(text) for text in texts]

    def to(self, raw_path: str, headers: Mapping[str, str]) -> Answer:
        """The answer to a GET of a path below `/v1.0/`."""
        url = urlsplit(raw_path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path.removeprefix("/v1.0/").split("/", 2):
            case ["users"]:
                return Answer(self._users(int(query.get("skip", 0))))
            case ["users", user, collection] if collection == self._workload.collection:
                return self._records(url.path, user, query, _items_asked(query, headers.get("Prefer", "")))
            case ["users", _, "mailboxSettings"]:
                return Answer(MAILBOX_SETTINGS)
            case ["users", user, "chats"]:
                return Answer(self._chats(url.path, user, int(query.get("skip", 0))))
            case _:
                return Answer(b'{"value":[]}')

    def _users(self, skip: int) -> bytes:
        end = min(skip + USERS_PAGE, self._scene.mailboxes)
        users = [
            {
                "id": user_id(number),
                "displayName": f"Given{number} Family{number}",
                "mail": f"person{number}@contoso.com",
                "userPrincipalName": f"person{number}@contoso.com",
                "userType": "Member",
                "accountEnabled": True,
            }
            for number in range(skip, end)
        ]
        more = end < self._scene.mailboxes
        return json.dumps({"value": users, **self._link(f"/v1.0/users?skip={end}", more)}).encode()

    def _chats(self, path: str, user: str, skip: int) -> bytes:
        """The chat that is read, and `chats` more in which nothing happens."""
        now = format_instant(NOW)
        current = [(_chat_of(user), now)] if self._workload.is_personal and self._scene.busy_every else []
        end = min(skip + CHATS_PAGE, self._scene.chats)
        old = [(f"19:{user[:18]}{number:014}@thread.v2", LONG_AGO) for number in range(skip, end)]
        chats = [
            {"id": chat, "createdDateTime": at, "lastUpdatedDateTime": at, "chatType": "group"}
            for chat, at in (*old, *(current if end == self._scene.chats else ()))
        ]
        return json.dumps({"value": chats, **self._link(f"{path}?skip={end}", end < self._scene.chats)}).encode()

    def _link(self, path: str, more: bool) -> dict[str, str]:
        return {"@odata.nextLink": self.url + path} if more else {}

    def _records(self, path: str, user: str, query: Mapping[str, str], asked: int) -> Answer:
        """A page of a mailbox: `skip` counts records from the beginning of those the filter leaves."""
        asked_for = _window_asked(query)
        pages = self._pages(user, asked_for)
        items = self._workload.page_items
        skip = int(query.get("skip", 0))
        place, within = divmod(skip, items)
        ending = {}
        if "$count" in query and not skip and (not pages or asked_for == WINDOW):
            ending["@odata.count"] = len(pages) * items
        if place >= len(pages):
            return Answer(json.dumps({"value": [], **ending}).encode())
        taken = min(asked, items - within)
        kept = "&".join(
            f"{name}={query[name]}" for name in ("$filter", "startDateTime", "endDateTime", "$top") if name in query
        )
        link = f"{path}?{kept.replace(' ', '%20')}&skip={skip + taken}"
        rest = json.dumps({**ending, **self._link(link, skip + taken < len(pages) * items)}).encode()[1:]
        rest = rest if rest == b"}" else b"," + rest
        return Answer(self._packed(pages[place], user, slice(within, within + taken), rest), is_packed=True)

    def _packed(self, page: int, user: str, which: slice, ending: bytes) -> bytes:
        encoded = self._stock[page]
        is_whole = which == slice(0, self._workload.page_items)
        if is_whole and not self._workload.is_personal:
            return encoded.answer(ending)
        records = encoded.records.replace(CHAT_ID.encode(), _chat_of(user).encode())
        if not is_whole:
            records = msgspec.json.encode(msgspec.json.decode(records, type=list[msgspec.Raw])[which])
        return igzip.compress(b'{"value":' + records + ending, 1)

    def _pages(self, user: str, window: Window) -> list[int]:
        """Which pages of the stock a mailbox holds in the window."""
        number = _number(user)
        if not self._scene.is_busy(number):
            return []
        stock = len(self._stock)
        step = stock // self._workload.pages
        return [
            page
            for page in range(number % step, stock, step)
            if instant(page + 1, of=stock) > window.start and instant(page, of=stock) < window.end
        ][: self._workload.pages]


def user_id(number: int) -> str:
    return str(UUID(int=(number + 1) * _GOLDEN % (1 << 128)))


_INVERSE = pow(_GOLDEN, -1, 1 << 128)


def _number(user: str) -> int:
    return UUID(user).int * _INVERSE % (1 << 128) - 1


def _chat_of(user: str) -> str:
    return CHAT_ID[:3] + user.replace("-", "") + CHAT_ID[35:]


def _items_asked(query: Mapping[str, str], prefer: str) -> int:
    asked = int(query.get("$top", 10))
    for preference in prefer.split(","):
        name, _, value = preference.strip().partition("=")
        if name == "odata.maxpagesize":
            asked = min(asked, int(value)) if "$top" in query else int(value)
    return asked


def _window_asked(query: Mapping[str, str]) -> Window:
    first, end = WINDOW.start, WINDOW.end
    if "startDateTime" in query:
        first, end = _instant(query["startDateTime"]), _instant(query["endDateTime"])
    for clause in query.get("$filter", "").split(" and "):
        match clause.split():
            case [_, "ge", at]:
                first = _instant(at)
            case [_, "lt", at]:
                end = _instant(at)
    return Window(first, end)


@lru_cache(maxsize=64)
def _instant(text: str) -> datetime:
    return parse_instant(text)
