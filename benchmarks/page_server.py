"""The emulator with a stock of pages encoded beforehand, in a process of its own, so that it is never the bottleneck.

    python benchmarks/page_server.py --workload "metadata mail" [--mailboxes 200] [--pages 5]

Prints one line of JSON when it is ready: where it listens, and as whom to sign in. Token service and TLS are the
emulator's. A page is one deflate stream of which all but the next link was compressed before. Where fewer items are
asked for than a page of the stock has, they are cut out and compressed anew.
"""

import argparse
import asyncio
import json
import resource
import signal
import struct
import zlib
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec
from aiohttp import web
from isal import igzip, isal_zlib

from benchmarks.workloads import CHAT_ID, NOW, WORKLOADS, Workload, instant, page_texts
from config.instants import parse_instant
from connectors.emulator import Emulator, Tenant

LEVEL = 6
USERS_PAGE = 999
GZIP_HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))
MAILBOX_SETTINGS = b'{"timeZone":"UTC","userPurpose":"user"}'


@dataclass(frozen=True, slots=True)
class Encoded:
    """The beginning of a gzip answer, up to where the next link goes."""

    deflated: bytes
    crc: int
    size: int

    @classmethod
    def of(cls, records: bytes) -> "Encoded":
        text = b'{"value":' + records
        packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        return cls(packer.compress(text) + packer.flush(zlib.Z_FULL_FLUSH), isal_zlib.crc32(text), len(text))

    def answer(self, ending: bytes) -> bytes:
        """The whole answer with its last few bytes."""
        packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        rest = packer.compress(ending) + packer.flush()
        trailer = struct.pack("<II", isal_zlib.crc32(ending, self.crc), self.size + len(ending))
        return GZIP_HEADER + self.deflated + rest + trailer

    @property
    def records(self) -> list[msgspec.Raw]:
        text = zlib.decompressobj(-zlib.MAX_WBITS).decompress(self.deflated)
        return msgspec.json.decode(text.removeprefix(b'{"value":'), type=list[msgspec.Raw])


class PageServer(Emulator):
    """Its own answers for everything below /v1.0."""

    def __init__(self, workload: Workload, *, mailboxes: int, pages: int) -> None:
        super().__init__(Tenant(seed=1, users=10, now=NOW))
        self._workload = workload
        self._pages = pages
        self._users = [
            str(UUID(int=(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128))) for number in range(mailboxes)
        ]
        self._numbers = {user: number for number, user in enumerate(self._users)}
        stock = max(workload.stock, pages)
        texts = page_texts(workload, stock=stock)
        self._texts: list[bytes] = []
        self._stock: list[Encoded] = []
        for text in texts:
            if workload.is_personal:
                self._texts.append(text)
            else:
                self._stock.append(Encoded.of(text))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path.startswith("/v1.0/"):
            return self._page(request)
        return await super()._handle(request)

    def _page(self, request: web.BaseRequest) -> web.Response:
        url = urlsplit(request.raw_path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path.removeprefix("/v1.0/").split("/", 2):
            case ["users"]:
                return self._plain(self._some_users(int(query.get("skip", 0))))
            case ["users", user, collection] if collection == self._workload.collection:
                return self._records(request, user, query)
            case ["users", _, "mailboxSettings"]:
                return self._plain(MAILBOX_SETTINGS)
            case ["users", user, "chats"] if self._workload.is_personal:
                return self._plain(json.dumps({"value": [self._chat(user)]}).encode())
            case _:
                return self._plain(b'{"value":[]}')

    def _plain(self, body: bytes) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    def _some_users(self, skip: int) -> bytes:
        users = [
            {
                "id": user,
                "displayName": f"Given{number} Family{number}",
                "mail": f"person{number}@contoso.com",
                "userPrincipalName": f"person{number}@contoso.com",
                "userType": "Member",
                "accountEnabled": True,
            }
            for number, user in enumerate(self._users[skip : skip + USERS_PAGE], start=skip)
        ]
        more = skip + USERS_PAGE < len(self._users)
        link = {"@odata.nextLink": f"{self.url}/v1.0/users?skip={skip + USERS_PAGE}"} if more else {}
        return json.dumps({"value": users, **link}).encode()

    def _chat(self, user: str) -> dict[str, str]:
        created = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"id": _chat_of(user), "createdDateTime": created, "lastUpdatedDateTime": created, "chatType": "group"}

    def _records(self, request: web.BaseRequest, user: str, query: dict[str, str]) -> web.Response:
        """A page of a mailbox: `skip` counts records from the beginning of those the filter leaves."""
        pages = self._pages_between(user, query)
        items, asked = self._workload.page_items, _items_asked(request, query)
        skip = int(query.get("skip", 0))
        place, within = divmod(skip, items)
        if place >= len(pages):
            return self._plain(b'{"value":[]}')
        taken = min(asked, items - within)
        more = skip + taken < len(pages) * items
        ending = b"}"
        if "$count" in query and not skip and len(pages) == self._pages:
            ending = f',"@odata.count":{len(pages) * items}}}'.encode()
        if more:
            kept = "&".join(
                f"{name}={query[name]}"
                for name in ("from", "until", "$filter", "startDateTime", "endDateTime", "$top")
                if name in query
            )
            path = request.raw_path.partition("?")[0]
            link = f"{self.url}{path}?{kept.replace(' ', '%20')}&skip={skip + taken}"
            ending = ending.removesuffix(b"}") + f',"@odata.nextLink":"{link}"}}'.encode()
        return web.Response(
            body=self._encoded(pages[place], user, within, taken, ending),
            headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
        )

    def _encoded(self, page: int, user: str, within: int, taken: int, ending: bytes) -> bytes:
        if self._workload.is_personal:
            text = self._texts[page].replace(CHAT_ID.encode(), _chat_of(user).encode())
            if taken < self._workload.page_items:
                text = msgspec.json.encode(msgspec.json.decode(text, type=list[msgspec.Raw])[within : within + taken])
            return igzip.compress(b'{"value":' + text + ending, 1)
        if taken == self._workload.page_items:
            return self._stock[page].answer(ending)
        records = msgspec.json.encode(self._stock[page].records[within : within + taken])
        return igzip.compress(b'{"value":' + records + ending, 1)

    def _pages_between(self, user: str, query: dict[str, str]) -> list[int]:
        """Which pages of the stock a mailbox holds in the range of time that is asked for."""
        stock = len(self._texts) or len(self._stock)
        step = stock // self._pages
        first = self._numbers[user] % step
        start, end = _range_asked(query)
        return [
            page
            for page in range(first, first + self._pages * step, step)
            if instant(page + 1, of=stock) > start and instant(page, of=stock) < end
        ]


def _chat_of(user: str) -> str:
    return CHAT_ID[:3] + user.replace("-", "") + CHAT_ID[35:]


def _items_asked(request: web.BaseRequest, query: dict[str, str]) -> int:
    asked = int(query.get("$top", 10))
    for preference in ",".join(request.headers.getall("Prefer", ())).split(","):
        name, _, value = preference.strip().partition("=")
        if name == "odata.maxpagesize":
            asked = min(asked, int(value))
    return asked


def _range_asked(query: dict[str, str]) -> tuple[datetime, datetime]:
    first, end = instant(0, of=1), instant(1, of=1)
    if "startDateTime" in query:
        return parse_instant(query["startDateTime"]), parse_instant(query["endDateTime"])
    for clause in query.get("$filter", "").split(" and "):
        match clause.split():
            case [_, "ge", at]:
                first = parse_instant(at)
            case [_, "lt", at]:
                end = parse_instant(at)
    return first, end


async def serve(workload: Workload, *, mailboxes: int, pages: int) -> None:
    """Until SIGTERM; then prints what it used."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with PageServer(workload, mailboxes=mailboxes, pages=pages) as server:
        facts = {
            "url": server.url,
            "tenant": server.tenant_id,
            "client": server.client_id,
            "secret": server.client_secret,
            "ca_file": str(server.ca_file),
        }
        print(json.dumps(facts), flush=True)
        before = resource.getrusage(resource.RUSAGE_SELF)
        await stopped.wait()
        after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu_s": used, "peak_mib": after.ru_maxrss / 1024}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", choices=[each.name for each in WORKLOADS], required=True)
    parser.add_argument("--mailboxes", type=int)
    parser.add_argument("--pages", type=int, help="of each mailbox")
    options = parser.parse_args()
    workload = next(each for each in WORKLOADS if each.name == options.workload)
    asyncio.run(
        serve(workload, mailboxes=options.mailboxes or workload.mailboxes, pages=options.pages or workload.pages)
    )


if __name__ == "__main__":
    main()
