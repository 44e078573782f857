"""The real thing dies: SIGKILL at seeded moments, and the next command of the kind continues.

`tests/long/test_deaths.py` has the crash matrix, and ten times as many kills on each store.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from ssl import create_default_context
from typing import IO, Any

import duckdb
import pytest

from pipeline.cli.emulator import EXPORT

KILLS = 20
SEED = 20260302
NOW = "2026-03-02T03:00:00Z"
COMMAND = (sys.executable, "-m", "pipeline.cli")
DATASETS = {
    "entra_users": "id",
    "entra_group_members": "_owner, id",
    "mailbox_settings": "_owner",
    "mail_messages": "_owner, id",
    "calendar_events": "_owner, id",
    "teams_chats": "id",
    "teams_chat_messages": "chatId, id",
}


class Served:
    """An emulator in a process of its own, steered over its control endpoints."""

    def __init__(self, about: dict[str, Any], ca_file: Path) -> None:
        self.about = about
        self.ca_file = ca_file

    def requests(self) -> int:
        return int(self.steer("counters")["requests_total"])

    def steer(self, name: str, body: object = None) -> Any:
        """The answer of a control endpoint; one that has a `body` is told something."""
        data = None if body is None else json.dumps(body).encode()
        trust = create_default_context(cafile=str(self.ca_file))
        request = urllib.request.Request(f"{self.about['url']}/_emulator/{name}", data=data)
        with urllib.request.urlopen(request, context=trust) as answer:
            return json.load(answer)


@contextmanager
def emulator(folder: Path) -> Iterator[Served]:
    ca_file = folder / "ca.pem"
    command = [*COMMAND, "emulator", "--port", "0", "--users", "10", "--now", NOW, "--ca-file", str(ca_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            settings = "".join(_lines_until_ready(process))
            secret = settings.split("M365_EXPORT_CLIENT_SECRET='")[1].split("'")[0]
            url = settings.split("authority: '")[1].split("'")[0]
            yield Served({"settings": settings, "secret": secret, "url": url}, ca_file)
        finally:
            process.send_signal(signal.SIGTERM)


def _lines_until_ready(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    for line in process.stdout:
        yield line
        if line.startswith("state:"):
            return
    raise AssertionError("the emulator ended before it was ready")


def write_settings(served: Served, folder: Path) -> Path:
    text = served.about["settings"].replace(str(Path.cwd() / EXPORT), str(folder))
    text += "initial_lookback: 3d\noutput: {part_size: 16KiB}\n"  # small parts are published while the run goes on
    file = folder / "m365-export.yaml"
    file.write_text(text)
    return file


def exporter(served: Served, settings: Path, *options: str) -> subprocess.Popen[bytes]:
    with (settings.parent / "log").open("ab") as log:
        return start_exporter(served, settings, log, *options)


def start_exporter(served: Served, settings: Path, log: IO[bytes], *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "--config", str(settings), "run", "--until", NOW, "--log-format", "json", *options],
        env={
            **os.environ,
            "M365_EXPORT_CLIENT_SECRET": served.about["secret"],
            "M365_EXPORT_SALT": "kill-test-salt-0123456789",
        },
        stdout=subprocess.DEVNULL,
        stderr=log,
    )


def run_to_end(served: Served, settings: Path) -> int:
    for _ in range(4):
        code = exporter(served, settings).wait(120)
        if code == 0:
            return code
    return code


def rows(folder: Path, dataset: str) -> set[tuple[Any, ...]]:
    files = f"{folder}/data/{dataset}/*/*.parquet"
    found = duckdb.connect().execute(f"SELECT _run_id, {DATASETS[dataset]} FROM read_parquet('{files}')").fetchall()
    assert len(found) == len(set(found)), f"{dataset} holds a row twice within a run"
    return {row[1:] for row in found}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """Killed between first request and exit, run again until exit 0: the rows of an undisturbed run, for less."""
    with emulator(tmp_path) as served:
        calm = tmp_path / "calm"
        calm.mkdir()
        before = served.requests()
        started = time.monotonic()
        assert run_to_end(served, write_settings(served, calm)) == 0
        duration_s = time.monotonic() - started
        fresh_requests = served.requests() - before
        expected = {dataset: rows(calm, dataset) for dataset in DATASETS}

        moments = random.Random(SEED)
        saved = 0
        for number in range(KILLS):
            folder = tmp_path / f"kill-{number}"
            folder.mkdir()
            settings = write_settings(served, folder)
            wait_s = moments.uniform(0.3, 0.95) * duration_s
            killed_after = kill_during_work(served, settings, wait_s)
            before = served.requests()

            assert run_to_end(served, settings) == 0

            resumed_requests = served.requests() - before
            assert expected == {dataset: rows(folder, dataset) for dataset in DATASETS}
            assert resumed_requests <= fresh_requests
            saved += fresh_requests - resumed_requests
            assert killed_after > 0
        assert saved > 0


def kill_during_work(served: Served, settings: Path, wait_s: float) -> int:
    """Kill an export after its first request and before its seal; how many requests it had made."""
    folder = settings.parent
    while True:
        before = served.requests()
        process = exporter(served, settings)
        deadline = time.monotonic() + wait_s
        while process.poll() is None and (time.monotonic() < deadline or served.requests() == before):
            time.sleep(0.02)
        if process.poll() is None:
            process.kill()
            process.wait(10)
            if not list(folder.glob("data/_manifests/*")):
                return served.requests() - before
        wait_s *= 0.7  # it was done already: begin again, earlier
        for name in ("data", "state"):
            shutil.rmtree(folder / name, ignore_errors=True)
