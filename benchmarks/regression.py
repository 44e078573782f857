"""Whether an export became slower: what a row costs end to end, as a multiple of decoding it alone.

The ratio holds on machines of any speed, which records per second do not: the floor (Arrow's JSON reader over the same
pages, the least that any columnar export does) is measured before and after each export, in the same minute.
`baseline.json` has the ratio to compare with; `python -m benchmarks.regression` makes this run's the baseline.
"""

import json
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

from benchmarks.answers import Scene
from benchmarks.exporting import exported
from benchmarks.page_server import Site, served
from benchmarks.results import Answer, Claim, line
from benchmarks.sanitize import decode
from benchmarks.workloads import METADATA_MAIL, Workload, page_texts

BASELINE = Path(__file__).with_name("baseline.json")
WORST = 1.3  # times the baseline
ROUNDS = 3
PAGES = 20


def measure(*, quick: bool) -> Answer:
    """The ratio now and then. In a small run it means nothing and nothing is claimed of it."""
    ratios = _ratios(quick=quick)
    ratio, baseline = statistics.median(ratios), json.loads(BASELINE.read_text(encoding="utf-8"))[METADATA_MAIL.name]
    claim = Claim(
        f"at most {WORST:.0%} of the baseline, {baseline:.2f}", f"{ratio / baseline:.0%}", ratio <= baseline * WORST
    )
    return Answer(
        question="Has it become slower?",
        text="CPU time of a row from request to Parquet, as a multiple of the time it takes to decode it.",
        lines=[line(METADATA_MAIL.name, [{"times decoding alone": each} for each in ratios])],
        claims=[] if quick else [claim],
        is_guarded=True,
    )


def _ratios(*, quick: bool) -> list[float]:
    sizes = {"page_items": 20, "stock": 5, "users": 20} if quick else {}
    scene = Scene(workload=METADATA_MAIL.name, mailboxes=2 if quick else 40, sizes=sizes)
    pages = list(islice(page_texts(scene.content), PAGES))
    with tempfile.TemporaryDirectory(prefix="m365-benchmark-") as folder, served(scene) as (site, _):
        return [_ratio(pages, scene, site, Path(folder) / str(number)) for number in range(1 if quick else ROUNDS)]


def _ratio(pages: list[bytes], scene: Scene, site: Site, folder: Path) -> float:
    """The floor is taken before and after, because machines change their pace."""
    before = _floor_s(pages, scene.content)
    whole_s: float = exported(scene, site, folder)["cpu_s"] / scene.rows
    return whole_s / ((before + _floor_s(pages, scene.content)) / 2)


def _floor_s(pages: list[bytes], workload: Workload) -> float:
    """CPU seconds to decode one record."""
    started = time.process_time()
    for page in pages:
        decode(workload, [page], profile=workload.profile)
    return (time.process_time() - started) / (len(pages) * workload.page_items)


def main() -> None:
    """Make this machine's ratio the baseline."""
    ratio = statistics.median(_ratios(quick=False))
    BASELINE.write_text(json.dumps({METADATA_MAIL.name: round(ratio, 2)}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
