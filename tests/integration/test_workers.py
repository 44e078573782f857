"""A run led from one process and done by workers in others, over Dask: the same rows, whatever happens to a worker."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from ssl import create_default_context
from typing import Any

import pytest

from tests.integration.test_kill import COMMAND, DATASETS, NOW, Served, emulator, rows, write_settings

PRELOAD = ("--preload", "pipeline.cli.worker")
ROOT = Path(__file__).parents[2]
SECONDS = 150  # for a run with workers, their start included


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


def counters(served: Served) -> Mapping[str, Any]:
    trust = create_default_context(cafile=str(served.ca_file))
    with urllib.request.urlopen(f"{served.about['url']}/_emulator/counters", context=trust) as answer:
        counted: Mapping[str, Any] = json.load(answer)
    return counted


def manifest(folder: Path) -> dict[str, Any]:
    (file,) = (path for path in folder.glob("data/_manifests/*.json") if path.name.count(".") == 1)
    content: dict[str, Any] = json.loads(file.read_text())
    return content


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
    with ExitStack() as stack:
        start = [*python, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        scheduler = subprocess.Popen([*start, "--scheduler-file", str(address)], **quiet)
        stack.enter_context(ended(scheduler))
        while not address.exists():
            time.sleep(0.1)
        place = json.loads(address.read_text())["address"]
        started = []
        for number in range(workers):
            told = settings.parent / f"worker-{number}"
            command = [*python, "worker", place, "--nthreads", "2", "--no-nanny", "--no-dashboard", *PRELOAD]
            with told.open("wb") as log:
                process = subprocess.Popen(
                    command, env=environment(served, settings), cwd=settings.parent, stdout=log, stderr=log
                )
            started.append(stack.enter_context(ended(process)))
        while not all("Registered to" in path.read_text() for path in settings.parent.glob("worker-*")):
            time.sleep(0.1)
        yield place.removeprefix("tcp://"), started


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_workers_give_the_rows_of_one_process_and_survive_the_death_of_one(tmp_path: Path) -> None:
    """Three workers over TCP, then two: complete and exact; no limit of Microsoft's was touched."""
    with emulator(tmp_path) as served:
        folders = [tmp_path / name for name in ("alone", "local", "killed")]
        for folder in folders:
            folder.mkdir()
        alone, local, killed = (write_settings(served, folder) for folder in folders)
        done(export(served, alone))
        expected = {dataset: rows(alone.parent, dataset) for dataset in DATASETS}

        told = done(export(served, local, "--engine", "local:2"))
        assert '"workers": 2' in told
        assert expected == {dataset: rows(local.parent, dataset) for dataset in DATASETS}

        with cluster(served, killed, workers=3) as (place, workers):
            process = export(served, killed, "--engine", f"dask://{place}")
            while not list(killed.parent.glob("state/open/run/*/uploads/far-*")) and process.poll() is None:
                time.sleep(0.01)
            workers[0].send_signal(signal.SIGKILL)
            told = done(process)
        assert "one is lost with 2 groups of units" in told
        assert expected == {dataset: rows(killed.parent, dataset) for dataset in DATASETS}

        calm, hurt = manifest(alone.parent), manifest(killed.parent)
        for dataset, line in calm["datasets"].items():
            for key in ("rows", "rejected", "units", "completeness"):
                assert hurt["datasets"][dataset][key] == line[key], dataset
        assert (hurt["skipped"], hurt["failed"], hurt["status"]) == (calm["skipped"], calm["failed"], calm["status"])
        seen = counters(served)
        assert not [refusal for refusal in seen["refusals"] if refusal.startswith("429")]
        assert max(seen["max_in_flight"].values()) <= 4
