"""Getting started as the page says it: its commands, run one after the other in an empty folder."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
PORT, USERS = "8443", "--users 20"
PATIENCE_S = 120.0


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


@contextmanager
def shell(folder: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    """A terminal in which `script` goes on until the end of the block."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("M365_EXPORT")}
    with subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environ | {"PYTHONPATH": str(ROOT), "M365_EXPORT__INITIAL_LOOKBACK": "2d"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    """Only port, number of users and length of the first run are others: it is quick and disturbs nobody."""
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, module in (("m365-export", "-m pipeline.cli"), ("python", "")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (binaries / name).chmod(0o755)
    (start,) = blocks("sh emulator")
    assert PORT in start
    assert USERS in start
    steps = [block for block in blocks("sh") if not block.startswith("make")]

    with shell(tmp_path, start.replace(PORT, free_port()).replace(USERS, "--users 3")) as emulator:
        settings = tmp_path / "m365-export.yaml"
        deadline = time.monotonic() + PATIENCE_S
        while "state:" not in (settings.read_text() if settings.exists() else ""):
            assert emulator.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)  # another process is waited for
        with shell(tmp_path, "".join(steps)) as terminal:
            out, err = terminal.communicate(timeout=PATIENCE_S)

    assert terminal.returncode == 0, err
    assert "nothing to mend" in out
    assert re.search(r"run \S+: complete", out)
    assert "as the manifest says" in out
    assert "Ann Lee" not in out
    assert re.search(r'"mail":"t~[\w-]{43}@example\.org"', out)
    assert list((tmp_path / "emulator-export" / "data" / "mail_messages").glob("*/*.parquet"))
