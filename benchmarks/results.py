"""What was measured, as it is kept in `results.json` and laid out by `page`."""

import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from benchmarks.measuring import ROOT

PACKAGES = ("aiohttp", "isal", "msgspec", "pyarrow")


class Spread(msgspec.Struct, frozen=True):
    """One figure over all rounds."""

    median: float
    low: float
    high: float


class Line(msgspec.Struct, frozen=True):
    """What was measured of one thing; figures by their heading, which has the unit. `note` goes below."""

    name: str
    figures: dict[str, Spread]
    note: str = ""

    def __getitem__(self, heading: str) -> float:
        return self.figures[heading].median


class Claim(msgspec.Struct, frozen=True):
    """What is said of the exporter, and whether this run bears it out."""

    text: str
    measured: str
    holds: bool


class Answer(msgspec.Struct, frozen=True):
    """The answer to one question. `is_guarded`: the benchmark fails where a claim does not hold."""

    question: str
    text: str
    lines: list[Line]
    claims: list[Claim] = []
    is_guarded: bool = False


class Results(msgspec.Struct, frozen=True):
    """One run of the benchmarks."""

    measured_at: str
    commit: str
    machine: str
    software: str
    answers: dict[str, Answer]  # by the module that measured


def line(name: str, rounds: Sequence[Mapping[str, float]], *, note: str = "") -> Line:
    """Rounds of the same measurement as one line."""
    return Line(name, {heading: spread(each[heading] for each in rounds) for heading in rounds[0]}, note)


def spread(values: Iterable[float]) -> Spread:
    ordered = sorted(values)
    return Spread(statistics.median(ordered), ordered[0], ordered[-1])


def results(answers: Mapping[str, Answer]) -> Results:
    """What was measured just now, on this machine."""
    packages = " · ".join(f"{name} {version(name)}" for name in PACKAGES)
    return Results(
        measured_at=f"{datetime.now(UTC):%Y-%m-%d}",
        commit=_git("rev-parse", "--short=10", "HEAD") + (" and changes" if _git("status", "--porcelain") else ""),
        machine=f"{os.cpu_count()} cores of {_processor()}, {platform.system()} {platform.release()}",
        software=f"Python {platform.python_version()} · {packages}",
        answers=dict(answers),
    )


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.processor() or platform.machine()
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return names[0] if names else platform.machine()
