"""A whole export over loopback HTTPS with gzip: rows per second, peak memory, and where the time went."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median, median_high
from typing import Any

import pyarrow.parquet as pq

from benchmarks.answers import Scene
from benchmarks.exporting import exported, rates
from benchmarks.page_server import served, took
from benchmarks.results import Answer, Claim, Line, line
from benchmarks.workloads import CHATS, EVENTS, MAIL_WITH_BODIES, METADATA_MAIL, METADATA_MAIL_READABLE_IDS

MAILBOXES = {
    METADATA_MAIL.name: 80,
    METADATA_MAIL_READABLE_IDS.name: 80,
    MAIL_WITH_BODIES.name: 20,
    EVENTS.name: 120,
    CHATS.name: 40,
}
ROUNDS = 3
ROWS_PER_CPU_SECOND = 80_000
MIB = 300  # the default of `limits.memory_mib`
SMALL = {"page_items": 10, "pages": 2, "stock": 4, "users": 20}


def measure(*, quick: bool) -> Answer:
    """Every workload, each with a server of its own."""
    lines = [_line(name, quick=quick) for name in MAILBOXES]
    return Answer(
        question="End to end",
        text="A whole export of one dataset, over HTTPS with gzip, 32 mailboxes in flight, to a local folder.",
        lines=lines,
        claims=[claim for each in lines[:2] for claim in _claims(each)],
    )


def _line(name: str, *, quick: bool) -> Line:
    scene = Scene(workload=name, mailboxes=2 if quick else MAILBOXES[name], sizes=SMALL if quick else {})
    with tempfile.TemporaryDirectory(prefix="m365-benchmark-") as folder, served(scene) as (site, server):
        rounds = [exported(scene, site, Path(folder) / str(number)) for number in range(1 if quick else ROUNDS)]
        used = took(server)
        group = _rows_of_a_group(Path(folder))
    figures = [rates(each, rows=scene.rows) for each in rounds]
    note = f"{_shares(rounds)}; {group:,} rows in a row group; the server took {used['cpu_s'] / len(rounds):.1f} CPU s"
    return line(f"{name}, {scene.rows:,} rows", figures, note=note)


def _rows_of_a_group(folder: Path) -> int:
    """Of the usual row group of the largest dataset: the last one of each part is smaller."""
    parts = [pq.ParquetFile(path).metadata for path in folder.rglob("*.parquet")]
    largest = max(part.num_rows for part in parts)
    return int(median_high([part.row_group(0).num_rows for part in parts if part.num_rows > largest // 2]))


def _shares(rounds: Sequence[dict[str, Any]]) -> str:
    """Where the CPU went, most of it first."""
    shares = {name: median(each["shares"].get(name, 0) for each in rounds) for name in rounds[0]["shares"]}
    ordered = sorted(shares.items(), key=lambda share: -share[1])
    return " · ".join(f"{name} {share:.0%}" for name, share in ordered if share >= 0.01)


def _claims(metadata: Line) -> list[Claim]:
    name = metadata.name.partition(",")[0]
    rate, peak = metadata["rows / CPU s"], metadata.figures["peak MiB"].high
    return [
        Claim(
            f"{name}: at least {ROWS_PER_CPU_SECOND:,} rows per CPU second",
            f"{rate:,.0f}",
            rate >= ROWS_PER_CPU_SECOND,
        ),
        Claim(f"{name}: at most {MIB} MiB at 32 in flight, pages of 1,000", f"{peak:.0f} MiB", peak <= MIB),
    ]
