"""One export by the product in a process of its own, as its command does it, that prints what it took.

    python -m benchmarks.exporter JOB.json

The file holds a `Job`. What a nightly one finds of the nights before is left beforehand, by the process that starts the
measured one (`leave_nights_before`). CPU counts from the first request to the manifest, state and plan included; peak
memory is that of the whole process. The shares say where the CPU went: on the event loop (TLS, paging), in which
function on the worker threads, or elsewhere (unpacking, the stores' threads).
"""

import asyncio
import gc
import json
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

from pipeline import process

process.set_up()  # as the command does, before anything large is imported

import msgspec
import structlog

from benchmarks.answers import Answers, Scene, user_id
from benchmarks.measuring import Watch, resident_mib
from benchmarks.page_server import Site
from benchmarks.workloads import NOW, WINDOW
from config.load import load_settings
from config.model import Settings
from config.secrets import SecretReader
from connectors.graph.bodies import Body
from connectors.graph.budgets import Budgets
from connectors.graph.client import Ask, GraphClient, Manners
from connectors.graph.traffic import USERS_TRAFFIC
from pipeline import cli  # noqa: F401 - loads what the command loads
from pipeline.app import equip
from pipeline.equipment import Equipment
from pipeline.model import Principal, PrincipalKind, RunKind
from pipeline.ports import Blocking
from pipeline.progress import Progress
from pipeline.run import Request, export
from pipeline.telemetry import configure_logging
from pipeline.watermarks import by_principal

DAY = timedelta(days=1)
# For a page of a thousand users Graph takes longer.
DIRECTORY_ANSWER_S = 0.05
SALT = "benchmark-salt-0123456789"
SAMPLE_EVERY_S = 0.25
USUAL_THRESHOLDS = (700, 10, 10)  # of Python
Collector = Literal["ours", "usual", "off"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported: the window by a backfill, or the last day by a `run`, all before being done already."""

    site: Site
    scene: Scene
    folder: str  # destination and state
    is_nightly: bool = False
    in_process: bool = False  # Graph answers in this process; only tokens are asked for over HTTPS
    memory_mib: int = 300
    in_flight: int = 32  # mailboxes
    collector: Collector = "ours"

    @property
    def settings(self) -> dict[str, object]:
        """As an operator would write them."""
        content = self.scene.content
        return {
            "tenant.id": self.site.tenant,
            "tenant.authority": self.site.url,
            "tenant.graph": self.site.url,
            "tenant.ca_file": self.site.ca_file,
            "auth.method": "client-secret",
            "auth.client_id": self.site.client,
            "auth.client_secret": "env:CLIENT_SECRET",
            "connectors": {content.connector: {}},
            "privacy.salt": "env:SALT",
            "privacy.profile": content.profile,
            "privacy.groups": False,
            "destination": f"file://{self.folder}/data",
            "state": f"file://{self.folder}/state",
            "limits.memory_mib": self.memory_mib,
            "limits.mailboxes_in_flight": self.in_flight,
            "limits.backfill_share": 1.0,
        }


class Shares:
    """CPU time of each function that runs on a worker thread."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def watched(self, blocking: Blocking) -> Blocking:
        """The same, with a watch on it."""

        def timed(function: Any, args: Any, kwargs: Any) -> Any:
            started = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[function.__name__.lstrip("_")] += time.thread_time() - started

        async def watch(function: Any, *args: Any, **kwargs: Any) -> Any:
            return await blocking(timed, function, args, kwargs)

        return watch


class Collecting:
    """CPU time the garbage collector takes, set as the command sets it, as Python does, or not at all."""

    def __init__(self, setting: Collector) -> None:
        self.seconds = 0.0
        self._started = 0.0
        if setting == "usual":
            gc.unfreeze()
            gc.set_threshold(*USUAL_THRESHOLDS)
        elif setting == "off":
            gc.disable()
        gc.callbacks.append(self._notice)

    def _notice(self, phase: str, _info: object) -> None:
        if phase == "start":
            self._started = time.thread_time()
        else:
            self.seconds += time.thread_time() - self._started


async def run(job: Job) -> dict[str, Any]:
    """Do the job; what it took."""
    reader, settings = _read_settings(job)
    shares, progress = Shares(), Progress()
    kind = RunKind.RUN if job.is_nightly else RunKind.BACKFILL
    answering = _answers_in_process(Answers(job.scene), job.site) if job.in_process else nullcontext()
    log = configure_logging(format_="json", level="error")
    process.loaded()
    collecting, resident = Collecting(job.collector), list[float]()
    with answering:
        watch, loop_started = Watch(), time.thread_time()
        async with equip(
            settings,
            reader=reader,
            kind=kind,
            log=log,
            clock=_now,
            progress=progress,
            manners=Manners(budgets=Budgets.unpaced()),
        ) as equipment:
            watched = replace(equipment, blocking=shares.watched(equipment.blocking))
            request = Request(kind=kind, since=None if job.is_nightly else WINDOW.start, until=NOW)
            sampling = asyncio.create_task(_sample(resident))
            (outcome,) = await export(watched, request)
            sampling.cancel()
        loop = time.thread_time() - loop_started
    figures = watch.figures()
    if outcome.manifest is None or outcome.manifest.failed:
        raise SystemExit("the export did not complete")
    spent = {"event loop": loop, **shares.seconds}
    spent["elsewhere"] = figures["cpu_s"] - sum(spent.values())
    return {
        **figures,
        "rows": outcome.manifest.datasets[job.scene.content.dataset].rows,
        "requests": sum(progress.usage().requests.values()),
        "units": progress.units_settled,
        "collector_s": collecting.seconds,
        "resident_mib": resident,
        "shares": {name: seconds / figures["cpu_s"] for name, seconds in spent.items()},
    }


async def _sample(resident: list[float]) -> None:
    """What the process takes, from time to time."""
    while True:
        resident.append(resident_mib())
        await asyncio.sleep(SAMPLE_EVERY_S)


def _now() -> datetime:
    """Long enough after the window that no dataset leaves its end for the next run."""
    return NOW + 2 * DAY


def _read_settings(job: Job) -> tuple[SecretReader, Settings]:
    reader = SecretReader(environ={"CLIENT_SECRET": job.site.secret, "SALT": SALT})
    return reader, load_settings(None, environ={}, overrides=job.settings, reader=reader)


async def leave_nights_before(job: Job) -> None:
    """What a nightly run finds in its state."""
    reader, settings = _read_settings(job)
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    silence = structlog.wrap_logger(structlog.ReturnLogger(), wrapper_class=quiet)
    async with equip(settings, reader=reader, kind=RunKind.RUN, log=silence, clock=_now) as equipment:
        await _leave_watermarks(equipment, job.scene)


async def _leave_watermarks(equipment: Equipment, scene: Scene) -> None:
    users = [Principal(PrincipalKind.USER, user_id(number)) for number in range(scene.mailboxes)]
    windowed = [
        source for source in equipment.sources.values() if source.windowed and source.principals is PrincipalKind.USER
    ]
    keys = sorted(
        ((source.dataset, equipment.pseudonym(user)) for user in users for source in windowed), key=by_principal
    )
    await equipment.watermarks.advance(equipment.vault.seal((key, NOW - DAY) for key in keys))


@contextmanager
def _answers_in_process(answers: Answers, site: Site) -> Iterator[None]:
    """Everything above the connection stays as it is: fences, budgets, retries, decoding."""
    answers.url = site.url

    async def exchange(client: GraphClient, ask: Ask, token: str) -> Body:
        del token
        client.counters.requests += 1
        answer = answers.to(ask.url().raw_path_qs, {"Prefer": ", ".join(ask.prefer())})
        client.scales.weigh(len(answer.body))
        await asyncio.sleep(DIRECTORY_ANSWER_S if ask.traffic is USERS_TRAFFIC else 0)
        return Body(answer.body, answer.is_packed)

    with patch.object(GraphClient, "_exchange", exchange):
        yield


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)))))
