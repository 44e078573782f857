"""One export in a process of its own, as `m365-export backfill` does it, that prints what it took.

    python -m benchmarks.exporter SETTINGS.yaml

CPU counts from the first request to the manifest; what came before is told apart. Peak memory is that of the whole
process from its beginning. The shares say where the CPU went: on the event loop (TLS, inflate, envelopes), in which
function on the worker threads, or elsewhere (the stores' threads).
"""

import argparse
import asyncio
import json
import os
import resource
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline import process

process.set_up()  # as the command does, before anything large is imported

from benchmarks.workloads import NOW, START
from config.load import load_settings
from config.secrets import SecretReader
from connectors.graph.budgets import Budgets
from connectors.graph.client import Manners
from pipeline import cli
from pipeline.app import equip
from pipeline.model import RunKind
from pipeline.ports import Blocking
from pipeline.run import Request, export
from pipeline.telemetry import configure_logging


@dataclass(slots=True)
class Figures:
    """What an export took. `shares` are CPU seconds; `peak_mib` is the process's from its beginning."""

    rows: int
    wall_s: float
    cpu_s: float
    started_cpu_s: float
    started_mib: float
    peak_mib: float
    shares: dict[str, float] = field(default_factory=dict)


class Stopwatch:
    """CPU time of each function that runs on a worker thread."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

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


async def run(settings_file: Path, log_level: str) -> Figures:
    """Export the benchmark's window."""
    reader = SecretReader(environ=os.environ)
    settings = load_settings(settings_file, environ=os.environ, overrides={}, reader=reader)
    watch = Stopwatch()
    log = configure_logging(format_="json", level=log_level)
    started_cpu, started_mib = time.process_time(), memory_mib("VmRSS")
    manners = Manners(budgets=Budgets.unpaced())
    async with equip(settings, reader=reader, kind=RunKind.BACKFILL, log=log, manners=manners) as equipment:
        process.loaded()
        watched = replace(equipment, blocking=watch.watched(equipment.blocking))
        started, loop_started = time.monotonic(), time.thread_time()
        (outcome,) = await export(watched, Request(kind=RunKind.BACKFILL, since=START, until=NOW))
        wall, loop = time.monotonic() - started, time.thread_time() - loop_started
    cpu = time.process_time() - started_cpu
    if outcome.manifest is None or outcome.manifest.failed:
        raise SystemExit("the export did not complete")
    shares = {"event loop": loop, **watch.seconds}
    shares["elsewhere"] = cpu - sum(shares.values())
    return Figures(
        rows=sum(line.rows for line in outcome.manifest.datasets.values()),
        wall_s=wall,
        cpu_s=cpu,
        started_cpu_s=started_cpu,
        started_mib=started_mib,
        peak_mib=memory_mib("VmHWM"),
        shares=shares,
    )


def memory_mib(name: str) -> float:
    """`VmRSS` or `VmHWM` of this process; on systems without /proc its peak."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    except FileNotFoundError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(lines[name].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("settings", type=Path)
    parser.add_argument("--log-level", default="warning")
    options = parser.parse_args()
    assert cli.main  # the command's modules are loaded, as they are in the real process
    print(json.dumps(asdict(asyncio.run(run(options.settings, options.log_level)))))


if __name__ == "__main__":
    main()
