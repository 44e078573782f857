"""The fault proxy: each fate is what it says, seen from a client with a plain socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.chaos_proxy import ChaosProxy, Fate, Kind

SENT = bytes(range(256)) * 400


@asynccontextmanager
async def _proxy(*fates: Fate) -> AsyncIterator[ChaosProxy]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(SENT)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, ChaosProxy(upstream=server.sockets[0].getsockname()[1]) as proxy:
        proxy.schedule(fates)
        yield proxy


async def _ask(proxy: ChaosProxy, *, within_s: float = 5.0) -> tuple[bytes, str]:
    """What came, and how it ended."""
    got = b""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(b"?")
        async with asyncio.timeout(within_s):
            while piece := await reader.read(65_536):
                got += piece
    except TimeoutError:
        return got, "silence"
    except OSError:
        return got, "reset"
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return got, "end"


@pytest.mark.parametrize(
    ("fate", "arrives", "how"),
    [
        (Fate(kind=Kind.CLOSE, after=1_000), 1_000, "end"),
        (Fate(kind=Kind.CLOSE), 0, "end"),
        (Fate(kind=Kind.STALL, after=1_000), 1_000, "silence"),
        (Fate(kind=Kind.REFUSE), 0, "reset"),
        (Fate(kind=Kind.SLICE), len(SENT), "end"),
        (Fate(kind=Kind.DELAY, seconds=0.01), len(SENT), "end"),
    ],
    ids=lambda value: str(value.kind) if isinstance(value, Fate) else None,
)
async def test_a_fate_befalls_one_connection(fate: Fate, arrives: int, how: str) -> None:
    """So many bytes arrive, and it ends so; the next connection is carried whole."""
    async with _proxy(fate) as proxy:
        got, ended = await _ask(proxy, within_s=0.2 if how == "silence" else 5.0)
        assert (got, ended) == (SENT[:arrives], how)
        assert await _ask(proxy) == (SENT, "end")


async def test_a_reset_is_no_orderly_end() -> None:
    """The client's stack says so; bytes that were still under way may be lost with it."""
    async with _proxy(Fate(kind=Kind.RESET, after=1_000)) as proxy:
        got, ended = await _ask(proxy)
    assert ended == "reset"
    assert SENT[:1_000].startswith(got)


async def test_one_byte_is_another() -> None:
    """All others are carried as they are."""
    async with _proxy(Fate(kind=Kind.CORRUPT, after=700)) as proxy:
        got, ended = await _ask(proxy)
    assert ended == "end"
    assert [place for place in range(len(SENT)) if got[place] != SENT[place]] == [700]
