"""The emulator with pages encoded beforehand, in a process of its own.

    python -m benchmarks.page_server SCENE

`SCENE` is the JSON text of a `Scene`. Prints a line of JSON when it is ready: where it listens, and as whom to sign in;
and another one when it is asked to end: what it took. Token service and TLS are the emulator's.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from aiohttp import web

from benchmarks.answers import Answers, Scene
from benchmarks.measuring import Program, Watch, own, started
from benchmarks.workloads import NOW
from connectors.emulator import Emulator, Tenant
from pipeline.signals import signals_heeded


class Site(msgspec.Struct, frozen=True):
    """Where it listens, and as whom to sign in."""

    url: str
    tenant: str
    client: str
    secret: str
    ca_file: str


@contextmanager
def served(scene: Scene) -> Iterator[tuple[Site, Program]]:
    """Somebody who answers, until the context ends."""
    with started(own("benchmarks.page_server", msgspec.json.encode(scene).decode())) as server:
        yield msgspec.convert(server.told(), Site), server


def took(server: Program) -> dict[str, float]:
    """End a server; what it took since it was ready."""
    server.process.send_signal(signal.SIGTERM)
    return server.told()


class PageServer(Emulator):
    """Its own answers for everything below /v1.0."""

    def __init__(self, answers: Answers) -> None:
        super().__init__(Tenant(seed=1, users=10, now=NOW))
        self._answers = answers

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if not request.raw_path.startswith("/v1.0/"):
            return await super()._handle(request)
        answer = self._answers.to(request.raw_path, request.headers)
        headers = {"Content-Encoding": "gzip"} if answer.is_packed else {}
        return web.Response(body=answer.body, headers={"Content-Type": "application/json", **headers})


async def serve(scene: Scene) -> None:
    """Until SIGTERM."""
    stopped = asyncio.Event()
    answers = Answers(scene)
    with signals_heeded(stopped.set):
        async with PageServer(answers) as server:
            answers.url = server.url
            site = Site(server.url, server.tenant_id, server.client_id, server.client_secret, str(server.ca_file))
            print(msgspec.json.encode(site).decode(), flush=True)
            watch = Watch()
            await stopped.wait()
        print(json.dumps(watch.figures()), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(msgspec.json.decode(sys.argv[1], type=Scene)))
