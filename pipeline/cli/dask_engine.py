"""Workers in other processes, by Dask's scheduler: an `Engine`. Nothing else imports Dask.

https://distributed.dask.org/en/stable/api.html (checked 2026-11). Dask is told which worker does what: its own choice
could give a mailbox to two of them. So it brings tasks and answers, knows who is there, and starts and watches the
processes; what follows from that is decided in `pipeline.workers.coordinator`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import dask
import msgspec
from distributed import Client, LocalCluster

from pipeline.cli import worker
from pipeline.errors import EngineLost
from pipeline.workers.coordinator import Engine
from pipeline.workers.messages import Grant, Heartbeat

CONFIRMATION_S = 5.0  # for a worker to say that it has a grant
SCHEDULER_S = 30.0  # for the scheduler to answer
SLOTS = 2  # tasks in hand of a local worker: while one ends, the other goes on


@asynccontextmanager
async def open_local(workers: int, *, environment: dict[str, str]) -> AsyncIterator[Engine]:
    """Workers that this process starts; they speak TLS with certificates made for this cluster."""
    _quieten()
    cluster = LocalCluster(  # type: ignore[no-untyped-call]  # Dask has no types
        n_workers=workers,
        threads_per_worker=SLOTS,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        security=True,
        silence_logs=logging.CRITICAL,
        env=environment,
        preload=[worker.PRELOAD],
        memory_limit=0,  # each keeps to limits.memory_mib itself; Dask would have it killed above its own idea
        asynchronous=True,
    )
    async with cluster, _client(cluster.scheduler_address, cluster.security) as client:
        yield _Dask(client)


@asynccontextmanager
async def open_remote(place: str) -> AsyncIterator[Engine]:
    """The scheduler at HOST:PORT, encrypted where Dask's own settings name a certificate authority.

    https://distributed.dask.org/en/stable/tls.html (checked 2026-11): DASK_DISTRIBUTED__COMM__TLS__CA_FILE and others.

    Raises:
        EngineLost: it does not answer.
    """
    _quieten()
    scheme = "tls" if dask.config.get("distributed.comm.tls.ca-file", None) else "tcp"
    async with _client(f"{scheme}://{place}", None) as client:
        yield _Dask(client)


class _Dask:
    """An `Engine`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def workers(self) -> Mapping[str, int]:
        try:
            async with asyncio.timeout(SCHEDULER_S):
                present: Mapping[str, int] = await self._client.nthreads()
        except (OSError, TimeoutError) as error:
            raise EngineLost("the scheduler of the workers does not answer any more") from error
        return present

    async def grant(self, name: str, grant: Grant) -> Heartbeat | None:
        try:
            async with asyncio.timeout(CONFIRMATION_S):
                answers = await self._client.run(
                    worker.grant, msgspec.msgpack.encode(grant), workers=[name], on_error="return"
                )
        except Exception:  # noqa: BLE001 - whatever it is: nothing was confirmed
            return None
        answer = answers.get(name)
        return msgspec.msgpack.decode(answer, type=Heartbeat) if isinstance(answer, bytes) else None

    async def run(self, name: str, task: bytes) -> bytes | None:
        future = self._client.submit(worker.do, task, workers=[name], allow_other_workers=False, pure=False)
        try:
            answer: bytes = await future
        except Exception:  # noqa: BLE001 - `do` answers every error of its own: this one is the engine's
            return None
        finally:
            with suppress(Exception):
                future.release()
        return answer


@asynccontextmanager
async def _client(address: str, security: Any) -> AsyncIterator[Any]:
    client = Client(  # type: ignore[no-untyped-call]  # Dask has no types
        address, security=security, asynchronous=True, set_as_default=False, timeout=SCHEDULER_S
    )
    try:
        await client
    except (OSError, TimeoutError) as error:
        raise EngineLost("--engine: no scheduler answers at this address") from error
    try:
        yield client
    finally:
        await client.close()  # type: ignore[no-untyped-call]  # Dask has no types


def _quieten() -> None:
    """What Dask has to say of workers that come and go is said by the run."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
