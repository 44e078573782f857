"""What a mailbox costs that is idle, whatever their number: time and memory, planning and state included.

The nightly run of a tenant in which nothing happened: directory, watermarks of the night before, a plan, the requests
of every mailbox, manifest, watermarks. What a run over one mailbox takes, measured in turn with the others, is taken
off its time. The largest tenant is answered by the process itself, everything above the connection being the
exporter's.

Memory is the peak of the process less what it took before its first request. What a principal takes of it is the
difference between two sizes, and so is what a chat takes. Rows and remembered pseudonyms are bounded by
`limits.memory_mib`; it is set so low that they reach their bounds at the smaller size already, and belong to the base.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.answers import Scene
from benchmarks.exporting import exported
from benchmarks.measuring import MIB
from benchmarks.page_server import served
from benchmarks.results import Answer, Claim, Line, line
from benchmarks.workloads import CHATS, METADATA_MAIL

OVER_HTTP = {100: 9, 1_000: 3, 10_000: 1}  # mailboxes, rounds: of few the time that all runs take shows more
IN_PROCESS = (10_000, 100_000)
CHATS_EACH = (10, 500)  # of each user
IN_PROCESS_MIB = 128  # pages, rows and pseudonyms get their shares of it, however many principals there are
CHATTERS = 1_000
QUICK_HTTP, QUICK_IN_PROCESS, QUICK_CHATS, QUICK_CHATTERS = {5: 1}, (5, 10), (1, 5), 5
BYTES_A_PRINCIPAL, BYTES_A_CHAT = 600, 64
EVEN = 0.15  # how much the time of a mailbox may differ from one size to the next
TIME = "CPU ms a mailbox"

Figures = dict[str, Any]


def measure(*, quick: bool) -> Answer:
    """Mailboxes over HTTP, many more in process, and chats."""
    with tempfile.TemporaryDirectory(prefix="m365-benchmark-") as name:
        folder = Path(name)
        over_http = _over_http(QUICK_HTTP if quick else OVER_HTTP, folder)
        in_process, bytes_a_principal = _in_process(QUICK_IN_PROCESS if quick else IN_PROCESS, folder)
        chats, bytes_a_chat = _chats(
            QUICK_CHATS if quick else CHATS_EACH, QUICK_CHATTERS if quick else CHATTERS, folder
        )
    return Answer(
        question="Cost against size",
        text="The nightly run of idle mailboxes (connector `outlook-mail`: mail, contacts, settings).",
        lines=[*over_http, *in_process, *chats],
        claims=[
            _even("over HTTPS", over_http),
            _even("in process", in_process),
            _memory("a principal", bytes_a_principal, BYTES_A_PRINCIPAL),
            _memory("a chat", bytes_a_chat, BYTES_A_CHAT),
        ],
    )


def _over_http(sizes: dict[int, int], folder: Path) -> list[Line]:
    lines = []
    for mailboxes, rounds in sizes.items():
        scenes = [_idle(METADATA_MAIL.name, number) for number in (1, mailboxes)]
        with served(scenes[0]) as (near, _), served(scenes[1]) as (site, _):
            pairs = [
                [
                    exported(scene, at, folder / f"http-{mailboxes}-{number}-{scene.mailboxes}", is_nightly=True)
                    for scene, at in zip(scenes, (near, site), strict=True)
                ]
                for number in range(rounds)
            ]
        lines.append(line(f"{mailboxes:,} over HTTPS", [_per_mailbox(alone, run, mailboxes) for alone, run in pairs]))
    return lines


def _in_process(sizes: Sequence[int], folder: Path) -> tuple[list[Line], float]:
    alone, *runs = _runs_in_process([_idle(METADATA_MAIL.name, mailboxes) for mailboxes in (1, *sizes)], folder)
    lines = [
        line(f"{mailboxes:,} in process", [_per_mailbox(alone, run, mailboxes)])
        for mailboxes, run in zip(sizes, runs, strict=True)
    ]
    return lines, _slope(runs[0], runs[-1], sizes[-1] - sizes[0])


def _chats(sizes: Sequence[int], users: int, folder: Path) -> tuple[list[Line], float]:
    runs = _runs_in_process([_idle(CHATS.name, users, chats=each) for each in sizes], folder)
    lines = [
        line(f"{users:,} users with {each:,} idle chats each, in process", [_absolute(run, users)])
        for each, run in zip(sizes, runs, strict=True)
    ]
    return lines, _slope(runs[0], runs[-1], (sizes[-1] - sizes[0]) * users)


def _idle(workload: str, mailboxes: int, *, chats: int = 0) -> Scene:
    return Scene(workload=workload, mailboxes=mailboxes, busy_every=0, chats=chats)


def _runs_in_process(scenes: Sequence[Scene], folder: Path) -> list[Figures]:
    """One run of each; a server is there for the tokens alone."""
    place = Path(tempfile.mkdtemp(dir=folder))
    with served(scenes[0]) as (site, _):
        return [
            exported(scene, site, place / str(number), is_nightly=True, in_process=True, memory_mib=IN_PROCESS_MIB)
            for number, scene in enumerate(scenes)
        ]


def _per_mailbox(one: Figures, all_: Figures, mailboxes: int) -> dict[str, float]:
    more = max(mailboxes - 1, 1)
    return {
        TIME: (all_["cpu_s"] - one["cpu_s"]) / more * 1e3,
        "ms a mailbox": (all_["wall_s"] - one["wall_s"]) / more * 1e3,
        "peak MiB": all_["peak_mib"],
        "above base MiB": _above_base(all_),
    }


def _absolute(run: Figures, users: int) -> dict[str, float]:
    return {
        TIME: run["cpu_s"] / users * 1e3,
        "ms a mailbox": run["wall_s"] / users * 1e3,
        "peak MiB": run["peak_mib"],
        "above base MiB": _above_base(run),
    }


def _above_base(run: Figures) -> float:
    above: float = run["peak_mib"] - run["base_mib"]
    return above


def _slope(small: Figures, large: Figures, more: int) -> float:
    """Bytes of memory for each one more."""
    return (_above_base(large) - _above_base(small)) * MIB / more


def _even(how: str, lines: Sequence[Line]) -> Claim:
    times = [each[TIME] for each in lines]
    middle = median(times)
    off = max(abs(each / middle - 1) for each in times)
    text = f"the CPU time of an idle mailbox is the same at every size {how}, ± {EVEN:.0%}"
    return Claim(text, f"± {off:.0%}", off <= EVEN)


def _memory(of: str, measured: float, at_most: float) -> Claim:
    return Claim(f"a base and at most {at_most} bytes {of}", f"{measured:,.0f} bytes", measured <= at_most)
