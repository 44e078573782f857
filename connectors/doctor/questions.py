"""One question to Microsoft, one answer: no retries and no waiting, because the refusal is what is asked for."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from connectors.graph.clock import GraphClock
from connectors.graph.errors import UNTRUSTED, Refusal, classify, fault
from connectors.graph.network import Network

ANSWER_S = 30.0  # for the whole exchange
BODY_BYTES = 64 * 1024  # a question asks for one small record
HALF_A_SECOND = timedelta(seconds=0.5)  # an HTTP date is cut to whole seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`refusal` is None for a 200. `ahead`: how far our clock is ahead of the server's, where it says its time."""

    refusal: Refusal | None
    body: bytes = field(default=b"", repr=False)
    ahead: timedelta | None = None

    @property
    def was_reached(self) -> bool:
        """Whether something that speaks HTTP answered."""
        return self.refusal is None or self.refusal.status is not None


class Questioner:
    """Asks over one session. Use as an async context manager."""

    def __init__(self, network: Network, *, clock: GraphClock, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._network = network
        self._clock = clock
        self._monotonic = monotonic
        self._open = AsyncExitStack()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tls = await asyncio.to_thread(self._network.tls)  # reads the certificate files
        self._session = await self._open.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls),
                timeout=aiohttp.ClientTimeout(total=ANSWER_S),
                headers={"Accept": "application/json", "User-Agent": "m365-export doctor"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        await self._open.aclose()

    async def ask(self, url: URL, *, token: str | None = None) -> Answer:
        """The answer; where none comes, a refusal that says why."""
        if self._session is None:
            raise RuntimeError("the questioner is used outside `async with`")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        asked = self._clock.now()
        started_s = self._monotonic()
        try:
            async with self._session.get(
                url, headers=headers, proxy=self._network.proxy_for(str(url)), allow_redirects=False
            ) as response:
                halfway = asked + timedelta(seconds=(self._monotonic() - started_s) / 2)
                body = await _beginning(response)
        except aiohttp.ClientConnectorCertificateError:
            return Answer(refusal=fault(UNTRUSTED))
        except (aiohttp.ClientHttpProxyError, aiohttp.ClientProxyConnectionError):
            return Answer(refusal=fault("proxy_failed"))
        except aiohttp.ClientConnectorError:
            return Answer(refusal=fault("connection_failed"))
        except TimeoutError:
            return Answer(refusal=fault("timed_out"))
        except (aiohttp.ClientError, OSError):
            return Answer(refusal=fault("connection_broken"))
        refusal = None if response.status == 200 else classify(response.status, body)
        return Answer(refusal=refusal, body=body, ahead=_ahead(halfway, response.headers.get("Date")))


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) >= BODY_BYTES:
            break
    return body


def _ahead(ours: datetime, date: str | None) -> timedelta | None:
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    return ours - (theirs + HALF_A_SECOND)
