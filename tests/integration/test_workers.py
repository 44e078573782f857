"""A run led from one process and done by workers in others, over Dask: the same rows, whatever happens to a worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.worker import PRELOAD
from pipeline.execution import STOP_GRACE
from pipeline.exits import Exit
from tests.integration.test_kill import COMMAND, DATASETS, NOW, Served, emulator, rows, write_settings
from tests.integration.waiting import wait_until

ROOT = Path(__file__).parents[2]
REQUESTS_OF_A_SIGN_IN = 2
SECONDS = 150  # for a run with workers, their start included
DEADLINE_S = 8
STARTING_S = 60  # and ending, of the processes, on a busy machine


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_workers_of_this_machine_give_the_rows_of_one_process(tmp_path: Path) -> None:
    """The same rows and counts; requests of all processes are the run's; nobody is asked more than Microsoft allows."""
    with emulator(tmp_path) as served:
        alone, local = (folder_with_settings(served, tmp_path / name) for name in ("alone", "local"))
        done(export(served, alone))
        before = served.requests()

        told = done(export(served, local, "--engine", "local:2"))

        assert of_event(told, "workers_changed")["workers"] == 2
        counted = sum(of_event(told, "run_finished")["requests"].values())
        assert counted == served.requests() - before - 3 * REQUESTS_OF_A_SIGN_IN
        assert_same_result(local.parent, alone.parent)
        assert_limits_kept(served)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_deadline_ends_workers_and_the_next_run_goes_on_without_them(tmp_path: Path) -> None:
    """Exit 5 within the grace time, and nobody is left behind; the next run has the same rows, none twice."""
    with emulator(tmp_path) as served:
        alone, late = (folder_with_settings(served, tmp_path / name) for name in ("alone", "late"))
        done(export(served, alone))
        served.steer("faults", [{"path": "*/messages*", "effect": "slow", "seconds": 3}])
        started = time.monotonic()

        process = export(served, late, "--engine", "local:1", "--deadline", f"{DEADLINE_S}s")
        _, told = process.communicate(timeout=SECONDS)

        assert process.returncode == Exit.INTERRUPTED, told
        assert '"reason": "deadline"' in told
        assert "Bad file descriptor" not in told
        assert time.monotonic() - started < DEADLINE_S + STOP_GRACE.total_seconds() + STARTING_S
        served.steer("faults", [])
        done(export(served, late))

        assert_same_result(late.parent, alone.parent)
        assert not list(late.parent.glob("state/open/run/*/uploads/*"))
        assert_limits_kept(served)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_death_of_one_worker_of_three_costs_what_it_had_in_hand(tmp_path: Path) -> None:
    """Three workers over TCP, one of them killed with tasks in hand: complete and exact, and no limit is touched."""
    with emulator(tmp_path) as served:
        alone, killed = (folder_with_settings(served, tmp_path / name) for name in ("alone", "killed"))
        done(export(served, alone))

        with cluster(served, killed, workers=3) as (place, workers):
            process = export(served, killed, "--engine", f"dask://{place}")
            wait_until(lambda: has_worker_uploads(killed.parent) or process.poll() is not None, within_s=SECONDS)
            workers[0].send_signal(signal.SIGKILL)
            told = done(process)

        assert "one is lost with 2 groups of units" in told
        assert_same_result(killed.parent, alone.parent)
        assert_limits_kept(served)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_stop_reaches_the_workers_and_the_next_run_continues_without_them(tmp_path: Path) -> None:
    """SIGTERM: exit 5 within the grace time; then one process alone completes the run: the same rows, none twice."""
    with emulator(tmp_path) as served:
        alone, stopped = (folder_with_settings(served, tmp_path / name) for name in ("alone", "stopped"))
        done(export(served, alone))

        with cluster(served, stopped, workers=2) as (place, _):
            process = export(served, stopped, "--engine", f"dask://{place}")
            wait_until(lambda: has_worker_uploads(stopped.parent) or process.poll() is not None, within_s=SECONDS)
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=60)
            assert process.returncode == Exit.INTERRUPTED, told
        done(export(served, stopped))

        assert_same_result(stopped.parent, alone.parent)
        assert not list(stopped.parent.glob("state/open/run/*/uploads/*"))
        assert_limits_kept(served)


def assert_same_result(folder: Path, expected: Path) -> None:
    """Rows, none of them twice, and what the manifest says of them."""
    for dataset in DATASETS:
        assert rows(folder, dataset) == rows(expected, dataset), dataset
    told, wanted = manifest(folder), manifest(expected)
    for dataset, line in wanted["datasets"].items():
        for key in ("rows", "rejected", "units", "completeness"):
            assert told["datasets"][dataset][key] == line[key], dataset
    for key in ("skipped", "failed", "status"):
        assert told[key] == wanted[key]


def assert_limits_kept(served: Served) -> None:
    """Nobody was refused for asking too much, and in no mailbox were more than four requests open at once."""
    seen: Mapping[str, Any] = served.steer("counters")
    assert not [refusal for refusal in seen["refusals"] if refusal.startswith("429")]
    assert 1 <= max(seen["max_in_flight"].values()) <= 4


def folder_with_settings(served: Served, folder: Path) -> Path:
    folder.mkdir()
    return write_settings(served, folder)


def environment(served: Served, settings: Path) -> dict[str, str]:
    return {
        **os.environ,
        "M365_EXPORT_CONFIG": str(settings),
        "M365_EXPORT_CLIENT_SECRET": served.about["secret"],
        "PYTHONPATH": str(ROOT),
        "M365_EXPORT_SALT": "kill-test-salt-0123456789",
    }


def export(served: Served, settings: Path, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, "--log-format", "json", "run", "--until", NOW, *options],
        env=environment(served, settings),
        cwd=settings.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(process: "subprocess.Popen[str]") -> str:
    """What a run that has to succeed says on stderr."""
    _, told = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, told
    return told


def of_event(told: str, event: str) -> dict[str, Any]:
    """The last log line of an event."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    return next(line for line in reversed(lines) if line["event"] == event)


def manifest(folder: Path) -> dict[str, Any]:
    (file,) = (path for path in folder.glob("data/_manifests/*.json") if path.name.count(".") == 1)
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def has_worker_uploads(folder: Path) -> bool:
    """Whether a worker is in the middle of a part."""
    return any(folder.glob("state/open/run/*/uploads/worker-*"))


@contextmanager
def ended(process: "subprocess.Popen[Any]") -> Iterator["subprocess.Popen[Any]"]:
    """Killed at the end, whatever the test did."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def cluster(served: Served, settings: Path, *, workers: int) -> Iterator[tuple[str, list["subprocess.Popen[Any]"]]]:
    """A scheduler and its workers, as the Deployments start them; the workers have settings of their own."""
    python = [sys.executable, "-m", "dask"]
    address = settings.parent / "scheduler.json"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": settings.parent}
    options = ["--nthreads", "2", "--no-nanny", "--no-dashboard", "--memory-limit", "0", "--preload", PRELOAD]
    with ExitStack() as stack:
        start = [*python, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        scheduler = subprocess.Popen([*start, "--scheduler-file", str(address)], **quiet)
        stack.enter_context(ended(scheduler))
        wait_until(address.exists, within_s=SECONDS)
        place = json.loads(address.read_text())["address"]
        started = [
            stack.enter_context(
                ended(
                    subprocess.Popen([*python, "worker", place, *options], env=environment(served, settings), **quiet)
                )
            )
            for _ in range(workers)
        ]
        yield place.removeprefix("tcp://"), started
