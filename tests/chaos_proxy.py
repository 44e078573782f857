"""A TCP proxy that lets connections fail the way networks do, on purpose and in a known order.

Each connection that is opened through it takes the next fate of the schedule; with none left it is simply carried.
Bytes are carried as they are, so that TLS is between the two ends and not between either of them and us.
"""

import asyncio
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

CARRIED_AT_ONCE = 65_536
SLICE = 512  # bytes a sliced connection carries at once


class Kind(StrEnum):
    REFUSE = "refuse"  # reset at once
    RESET = "reset"  # reset, after so many bytes of the answer
    CLOSE = "close"  # closed in an orderly way, after so many bytes of the answer
    STALL = "stall"  # silence for ever, after so many bytes of the answer
    CORRUPT = "corrupt"  # one byte of the answer is another one, after so many
    SLICE = "slice"  # carried in small pieces
    DELAY = "delay"  # every piece comes later


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What happens to one connection. `after`: bytes of the answer that pass first; `seconds`: of a delay."""

    kind: Kind
    after: int = 0
    seconds: float = 0.0


class ChaosProxy:
    """Listens on a port of this machine while the context is open; `upstream` may be set later than that."""

    def __init__(self, *, upstream: int = 0) -> None:
        self.upstream = upstream
        self.port = 0
        self.met: list[Kind] = []
        self.carried = 0  # bytes of answers
        self.refused = 0  # connections, because the line was cut
        self._cut_at: int | None = None  # so many bytes carried
        self._refusals_left: int | None = None  # of a line that is cut; None: for ever
        self._fates: list[Fate] = []
        self._carriers: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def schedule(self, fates: Iterable[Fate]) -> None:
        """The fates of the next connections, instead of those that have not come true; open ones are cut."""
        self._fates = list(fates)
        for carrier in self._carriers:
            carrier.cancel()

    def cut(self, *, after: int, refuse: int | None) -> None:
        """Cut the line for everybody once so many more bytes of answers have passed.

        Open connections are reset, and so are the next `refuse` ones (None: all, until `restore`).
        """
        self._cut_at, self._refusals_left = self.carried + after, refuse

    def restore(self) -> None:
        """The line works."""
        self._cut_at = None

    @property
    def is_cut(self) -> bool:
        return self._cut_at is not None and self.carried >= self._cut_at

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            self._refuse(writer)
            return
        carrier = asyncio.ensure_future(self._carry(reader, writer))
        self._carriers.add(carrier)
        carrier.add_done_callback(self._carriers.discard)

    def _refuse(self, writer: asyncio.StreamWriter) -> None:
        self.refused += 1
        _reset(writer)
        if self._refusals_left is not None:
            self._refusals_left -= 1
            if self._refusals_left == 0:
                self.restore()

    async def _carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        fate = self._fates.pop(0) if self._fates else None
        to_server: asyncio.StreamWriter | None = None
        try:
            if fate is not None and fate.kind is Kind.REFUSE:
                self.met.append(fate.kind)
                _reset(to_client)
                return
            server, to_server = await asyncio.open_connection("127.0.0.1", self.upstream)
            async with asyncio.TaskGroup() as ways:
                asking = ways.create_task(_copy(client, to_server))
                await self._answer(server, to_client, fate)
                asking.cancel()
        except* OSError:
            pass  # one of the ends is gone, which is what this is about
        finally:
            for writer in (to_client, to_server):
                if writer is not None:
                    writer.transport.abort()

    async def _answer(self, server: asyncio.StreamReader, client: asyncio.StreamWriter, fate: Fate | None) -> None:
        """Carry the server's bytes until it, or the fate, ends it."""
        carried = 0
        while data := await server.read(CARRIED_AT_ONCE):
            self.carried += len(data)
            if self.is_cut:
                for carrier in self._carriers:  # this one among them
                    carrier.cancel()
            if fate is not None and fate.kind is Kind.DELAY:
                await asyncio.sleep(fate.seconds)
            due = fate is not None and carried <= fate.after < carried + len(data)
            if fate is not None and due and fate.kind is Kind.CORRUPT:
                place = fate.after - carried
                data = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
                self.met.append(fate.kind)
            elif fate is not None and due and fate.kind in (Kind.RESET, Kind.CLOSE, Kind.STALL):
                self.met.append(fate.kind)
                await _write(client, data[: fate.after - carried])
                if fate.kind is Kind.STALL:
                    await asyncio.get_running_loop().create_future()
                if fate.kind is Kind.RESET:
                    _reset(client)
                else:
                    client.close()
                    with suppress(OSError):
                        await client.wait_closed()
                return
            await _write(client, data, at_once=SLICE if fate is not None and fate.kind is Kind.SLICE else None)
            carried += len(data)
        await _write_end(client)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CARRIED_AT_ONCE):
        await _write(writer, data)
    await _write_end(writer)


async def _write(writer: asyncio.StreamWriter, data: bytes, *, at_once: int | None = None) -> None:
    step = at_once or max(len(data), 1)
    for start in range(0, len(data), step):
        writer.write(data[start : start + step])
        await writer.drain()
        if at_once is not None:
            await asyncio.sleep(0)


async def _write_end(writer: asyncio.StreamWriter) -> None:
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
