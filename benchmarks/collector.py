"""What the garbage collector costs, as the command sets it, as Python does and not at all; and if memory stays flat.

Rounds are taken in turn, because machines change their pace. The long one is what would show objects in circles that
the collector gets to too seldom: each mailbox makes some, so the later half would take more than the earlier.
"""

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.answers import Scene
from benchmarks.exporter import Collector
from benchmarks.exporting import exported
from benchmarks.page_server import served
from benchmarks.results import Answer, Claim, line
from benchmarks.workloads import CHATS

NAMES: Mapping[Collector, str] = {"ours": "as the command sets it", "usual": "as Python does", "off": "not at all"}
MAILBOXES, LONG_MAILBOXES = 40, 400
ROUNDS = 3
GROWTH = 1.05  # of the later half, at most
SMALL = {"page_items": 10, "pages": 2, "stock": 4, "users": 20}


def measure(*, quick: bool) -> Answer:
    """Chats, whose pages of 50 need the most Python for a row."""
    rounds, mailboxes, long = (1, 2, 4) if quick else (ROUNDS, MAILBOXES, LONG_MAILBOXES)
    sizes = SMALL if quick else {}
    short = Scene(workload=CHATS.name, mailboxes=mailboxes, sizes=sizes)
    with tempfile.TemporaryDirectory(prefix="m365-benchmark-") as folder:
        with served(short) as (site, _):
            taken: dict[Collector, list[dict[str, Any]]] = {setting: [] for setting in NAMES}
            for number in range(rounds):
                for setting, found in taken.items():
                    found.append(exported(short, site, Path(folder) / f"{setting}{number}", collector=setting))
        longer = Scene(workload=CHATS.name, mailboxes=long, sizes=sizes)
        with served(longer) as (site, _):
            soaked = exported(longer, site, Path(folder) / "long")
    earlier, later = halves(soaked["resident_mib"])
    lines = [
        line(name, [_figures(each, rows=short.rows) for each in taken[setting]]) for setting, name in NAMES.items()
    ]
    claim = Claim(
        f"the later half of {longer.rows:,} rows takes no more memory than the earlier, give or take {GROWTH - 1:.0%}",
        f"{later:.0f} MiB after {earlier:.0f} MiB",
        later <= earlier * GROWTH,
    )
    return Answer(
        question="The garbage collector",
        text=f"{short.rows:,} chat messages in pages of 50, which need the most Python for a row.",
        lines=lines,
        claims=[] if quick else [claim],
    )


def halves(resident_mib: list[float]) -> tuple[float, float]:
    """The median of the earlier and of the later half, once the first fifth has filled what is there to be filled."""
    settled = resident_mib[len(resident_mib) // 5 :]
    middle = len(settled) // 2
    return statistics.median(settled[: middle or 1]), statistics.median(settled[middle:])


def _figures(taken: Mapping[str, float], *, rows: int) -> dict[str, float]:
    return {
        "rows / CPU s": rows / taken["cpu_s"],
        "% of it in the collector": 100 * taken["collector_s"] / taken["cpu_s"],
        "peak MiB": taken["peak_mib"],
    }
