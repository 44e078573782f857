"""A night in a tenant in which one mailbox of twenty got mail: what most runs are like."""

import tempfile
from pathlib import Path

from benchmarks.answers import Scene
from benchmarks.exporting import exported
from benchmarks.page_server import served
from benchmarks.results import Answer, line
from benchmarks.workloads import DAYS, METADATA_MAIL

MAILBOXES, BUSY_EVERY, MESSAGES = 2_000, 20, 40
ROUNDS = 3


def measure(*, quick: bool) -> Answer:
    """The run of one night after many others."""
    mailboxes, busy_every = (6, 3) if quick else (MAILBOXES, BUSY_EVERY)
    # One page a day: of the window that a first run would have read, the night has the last one.
    sizes = {"page_items": MESSAGES, "pages": DAYS, "stock": DAYS, "users": 60}
    scene = Scene(workload=METADATA_MAIL.name, mailboxes=mailboxes, busy_every=busy_every, sizes=sizes)
    rows = mailboxes // busy_every * MESSAGES
    with tempfile.TemporaryDirectory(prefix="m365-benchmark-") as folder, served(scene) as (site, _):
        runs = [
            exported(scene, site, Path(folder) / str(number), rows=rows, is_nightly=True)
            for number in range(1 if quick else ROUNDS)
        ]
    figures = [
        {
            "CPU ms a mailbox": run["cpu_s"] / mailboxes * 1e3,
            "ms a mailbox": run["wall_s"] / mailboxes * 1e3,
            "peak MiB": run["peak_mib"],
        }
        for run in runs
    ]
    return Answer(
        question="A night with mostly idle mailboxes",
        text=f"{mailboxes:,} mailboxes of which {mailboxes // busy_every:,} got {MESSAGES} messages: {rows:,} rows, "
        f"{runs[0]['requests']:,} requests.",
        lines=[line(f"{mailboxes:,} mailboxes", figures)],
    )
