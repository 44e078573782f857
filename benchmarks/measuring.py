"""The one way in which anything is measured here: CPU seconds, wall seconds and peak memory of a process of its own.

A measured program uses `Watch` and prints its figures as one line of JSON; whoever starts it (`Program`) adds what the
whole process tree took at once. Only the standard library is used, because programs of other environments use it too.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20
SAMPLE_EVERY_S = 0.02
_PAGE_BYTES = resource.getpagesize()


class Watch:
    """Started when the work begins; what happened before is told apart."""

    def __init__(self) -> None:
        self.base_mib = resident_mib()
        self._started = time.monotonic(), cpu_seconds()

    def figures(self) -> dict[str, float]:
        """Since the beginning of the work; the peak is that of the process from its own beginning."""
        wall, cpu = self._started
        return {
            "wall_s": time.monotonic() - wall,
            "cpu_s": cpu_seconds() - cpu,
            "base_mib": self.base_mib,
            "peak_mib": peak_mib(),
        }


def cpu_seconds() -> float:
    """Of this process and of those it started that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def peak_mib() -> float:
    """The most memory this process ever took.

    Where the system tells, that of its own program: what `getrusage` says counts the program that started it too.
    """
    with suppress(OSError):
        lines = dict(each.split(":", 1) for each in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024


def resident_mib() -> float:
    """What this process takes now; its peak where the system does not tell."""
    return _resident_bytes(os.getpid()) / MIB or peak_mib()


class Program:
    """A process that works and prints what it took."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._most_bytes = 0
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()

    def told(self) -> dict[str, Any]:
        """The next line of JSON it prints; `peak_mib` is that of the whole tree.

        Raises:
            RuntimeError: it ended without one.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended without figures")
        told: dict[str, Any] = json.loads(line)
        if "peak_mib" in told:
            told["peak_mib"] = max(told["peak_mib"], self._most_bytes / MIB)
        return told

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._ended.set()
        self._sampler.join()

    def _sample(self) -> None:
        """The tree's memory at one moment; a process alone knows its own peak better, so a coarse step does."""
        while not self._ended.wait(SAMPLE_EVERY_S):
            self._most_bytes = max(self._most_bytes, sum(map(_resident_bytes, _tree(self.process.pid))))


@contextmanager
def started(command: Sequence[str], environ: Mapping[str, str] = os.environ) -> Iterator[Program]:
    """A program that is ended with the context. It runs at the root of the repository."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(environ)) as process:
        program = Program(process)
        try:
            yield program
        finally:
            program.end()


def own(module: str, *arguments: str) -> list[str]:
    """The command line of a module of ours."""
    return [sys.executable, "-m", module, *arguments]


def _tree(pid: int) -> list[int]:
    """A process and all below it."""
    pids = [pid]
    for parent in pids:
        for task in _tasks(parent):
            with suppress(OSError):
                pids += map(int, (task / "children").read_text(encoding="ascii").split())
    return pids


def _tasks(pid: int) -> list[Path]:
    with suppress(OSError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _resident_bytes(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    return 0
