"""The command line as an operator meets it: exit codes, what is printed where, options before and after."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.execution import STOP_GRACE
from tests.integration.test_kill import Served, emulator, exporter, write_settings
from tests.integration.waiting import wait_until

FIVE_FAULTS = """\
tenant: {id: not-a-guid}
auth: {method: client-secret, client_id: app, client_secret: hunter2-hunter2}
connectors: {outlok-mail: {}}
privacy: {salt: 'env:M365_EXPORT_SALT', profil: strict}
destination: relative/path
state: file:///tmp/state
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with emulator(tmp_path_factory.mktemp("tenant")) as tenant:
        yield tenant


def call(*arguments: str, served: Served | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "M365_EXPORT_SALT": "command-line-salt-0123"}
    environ.pop("M365_EXPORT_CONFIG", None)
    if served is not None:
        environ["M365_EXPORT_CLIENT_SECRET"] = served.about["secret"]
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=cwd,
        check=False,
    )


def test_five_faults_are_five_lines_with_the_keys_path(tmp_path: Path) -> None:
    """Exit 2, every fault at once, the nearest known key named, no secret repeated."""
    file = tmp_path / "m365-export.yaml"
    file.write_text(FIVE_FAULTS)

    done = call("run", "--config", str(file))

    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2
    assert {line.split(":")[0] for line in lines} >= {
        "tenant.id", "auth.client_secret", "connectors.outlok-mail", "privacy.profil", "destination",
    }  # fmt: skip
    assert "outlook-mail" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_without_settings_the_command_says_where_they_go(tmp_path: Path) -> None:
    """Exit 2 and the names of the places that are looked at."""
    done = call("run", cwd=tmp_path)

    assert done.returncode == 2
    assert "m365-export.yaml" in done.stderr


def test_a_wrong_secret_ends_with_the_code_and_what_to_do(served: Served, tmp_path: Path) -> None:
    """Exit 3: nothing can be read."""
    settings = write_settings(served, tmp_path)
    text = settings.read_text().replace("env:M365_EXPORT_CLIENT_SECRET", "env:M365_EXPORT_SALT")
    settings.write_text(text)

    done = call("run", "--config", str(settings), served=served)

    assert done.returncode == 3
    assert "AADSTS7000215" in done.stderr


def test_a_run_prints_its_result_to_stdout_and_one_json_line_per_event_to_stderr(
    served: Served, tmp_path: Path
) -> None:
    """The table can be piped; every log line is JSON with listed keys; the metrics file agrees with the last line."""
    settings = write_settings(served, tmp_path)
    metrics = tmp_path / "m365.prom"
    with settings.open("a") as file:
        file.write(f"telemetry: {{textfile: {metrics}}}\n")

    done = call("run", "--config", str(settings), "--until", "2026-03-02", "--log-format", "json", served=served)

    assert done.returncode == 0, done.stderr
    assert "mail_messages" in done.stdout
    events = [json.loads(line) for line in done.stderr.strip().splitlines()]
    assert {"run_started", "run_finished"} <= {event["event"] for event in events}
    assert not any("dropped_keys" in event for event in events)
    (finished,) = (event for event in events if event["event"] == "run_finished")
    assert finished["requests"]["200"] > 0
    assert finished["waited_seconds"] >= 0
    assert _metric(metrics, "m365_export_rows_total") == finished["rows"]
    assert _metric(metrics, "m365_export_requests_total") == sum(finished["requests"].values())
    assert _metric(metrics, "m365_export_received_bytes_total") == finished["received_bytes"]
    assert _metric(metrics, "m365_export_exit_code") == 0
    succeeded_at = _metric(metrics, "m365_export_last_success_timestamp_seconds")
    settings.write_text(settings.read_text().replace("env:M365_EXPORT_CLIENT_SECRET", "env:M365_EXPORT_SALT"))
    assert call("run", "--config", str(settings), served=served).returncode == 3
    assert _metric(metrics, "m365_export_exit_code") == 3
    assert _metric(metrics, "m365_export_last_success_timestamp_seconds") == succeeded_at > 0
    shown = call("status", "--config", str(settings), served=served)
    assert shown.returncode == 0
    assert "complete" in shown.stdout
    told = call("report", "--config", str(settings), served=served)
    assert told.returncode == 0, told.stderr
    assert "nothing is known to be missing" in told.stdout
    page = tmp_path / "report.html"
    assert call("report", "--html", str(page), "--config", str(settings), served=served).returncode == 0
    assert "<title>Complete: run " in page.read_text(encoding="utf-8")
    unknown = call("report", "20200101T000000Z-0000", "--config", str(settings), served=served)
    assert (unknown.returncode, "no sealed run has this id" in unknown.stderr) == (2, True)


def _metric(file: Path, name: str) -> float:
    """The sum of its samples, rounded as a file of text is."""
    lines = [line for line in file.read_text().splitlines() if line.startswith(f"{name}{{")]
    assert lines, name
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_verify_tells_what_was_changed_after_a_run(served: Served, tmp_path: Path) -> None:
    """0 while all is well, without salt or secret; 4 and a line for each difference; 2 for a run that is not there."""
    settings = write_settings(served, tmp_path)
    assert call("run", "--config", str(settings), "--until", "2026-03-02", served=served).returncode == 0

    well = call("verify", "--config", str(settings))
    assert (well.returncode, well.stderr) == (0, "")
    assert "as the manifest says" in well.stdout

    part = min(tmp_path.glob("data/mail_messages/*/*.parquet"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    run_id = part.parent.name
    changed = call("verify", run_id, "--config", str(settings))
    assert changed.returncode == 4, changed.stderr
    assert f"mail_messages  mail_messages/{run_id}/{part.name}  checksum" in changed.stdout

    unknown = call("verify", "20200101T000000Z-0000", "--config", str(settings))
    assert unknown.returncode == 2
    assert "verify" in unknown.stderr


def test_status_clean_says_what_it_removed(served: Served, tmp_path: Path) -> None:
    """Late writes of a process that slept are gone, each with a line; the rest stays."""
    settings = write_settings(served, tmp_path)
    assert call("run", "--config", str(settings), "--until", "2026-03-02", served=served).returncode == 0
    late = tmp_path / "state" / "open" / "run" / "20200101T000000Z-0000" / "seal-0001"
    late.parent.mkdir(parents=True)
    late.write_bytes(b"")

    done = call("status", "--clean", "--config", str(settings), served=served)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "removed: open/run/20200101T000000Z-0000/seal-0001"
    assert not late.exists()


def test_a_dry_run_writes_nothing(served: Served, tmp_path: Path) -> None:
    """It prints the estimate; no part, manifest or watermark appears."""
    settings = write_settings(served, tmp_path)

    done = call("run", "--config", str(settings), "--dry-run", "--until", "2026-03-02", served=served)

    assert done.returncode == 0, done.stderr
    assert "would read" in done.stdout
    assert "sampled with" in done.stdout
    assert list(tmp_path.rglob("*.parquet")) == []
    assert list(tmp_path.rglob("watermarks*")) == []


def test_a_plan_of_half_a_range_is_a_usage_error(served: Served, tmp_path: Path) -> None:
    """Exit 2: a range needs both ends."""
    settings = write_settings(served, tmp_path)

    done = call("plan", "--from", "2026-02-01", "--config", str(settings), served=served)

    assert done.returncode == 2
    assert "--from and --to" in done.stderr


def test_sigterm_ends_with_5_and_the_next_run_continues(served: Served, tmp_path: Path) -> None:
    """What was published stays; the next command takes the open run up and completes it."""
    settings = write_settings(served, tmp_path)
    before = served.requests()
    with subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "run", "--config", str(settings), "--until", "2026-03-02"],
        env={
            **os.environ,
            "M365_EXPORT_SALT": "command-line-salt-0123",
            "M365_EXPORT_CLIENT_SECRET": served.about["secret"],
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        while served.requests() < before + 12:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)

    assert code == 5
    again = call("run", "--config", str(settings), "--until", "2026-03-02", "--log-format", "json", served=served)
    assert again.returncode == 0, again.stderr
    assert '"run_continued"' in again.stderr


@pytest.mark.timeout(120)
def test_a_second_signal_ends_at_once_and_the_next_run_continues(served: Served, tmp_path: Path) -> None:
    """Mail does not answer, and nobody waits until the grace time is over; nothing is lost by it."""
    settings = write_settings(served, tmp_path)
    served.steer("faults", [{"kind": "messages", "effect": "hold"}])
    try:
        with exporter(served, settings) as process:
            wait_for_line(tmp_path / "log", '"units_planned"', process)
            process.send_signal(signal.SIGTERM)
            wait_for_line(tmp_path / "log", '"stop_requested"', process)
            process.send_signal(signal.SIGINT)
            assert process.wait(STOP_GRACE.total_seconds() / 2) == 5
    finally:
        served.steer("faults", [])
        served.steer("release", {})
    with exporter(served, settings) as process:
        assert process.wait(100) == 0
    assert not list(tmp_path.glob("state/open/run/*/*"))


@pytest.mark.timeout(120)
def test_a_deadline_in_the_middle_ends_with_5_and_the_next_run_continues(served: Served, tmp_path: Path) -> None:
    """What was asked for by then is waited for, for the grace time at most; what is whole is published."""
    settings = write_settings(served, tmp_path)
    served.steer("faults", [{"kind": "messages", "effect": "hold"}])
    try:
        with exporter(served, settings, "--deadline", "8s") as process:
            wait_for_line(tmp_path / "log", '"reason": "deadline"', process)
            served.steer("faults", [])
            served.steer("release", {})
            assert process.wait(60) == 5
    finally:
        served.steer("faults", [])
        served.steer("release", {})
    assert list(tmp_path.glob("data/*/*/*.parquet"))
    with exporter(served, settings) as process:
        assert process.wait(100) == 0
    assert '"run_continued"' in (tmp_path / "log").read_text()


def wait_for_line(log: Path, text: str, process: subprocess.Popen[bytes]) -> None:
    """Until the log has it."""

    def has_it() -> bool:
        assert process.poll() is None, log.read_text()
        return log.exists() and text in log.read_text()

    wait_until(has_it)


def test_a_deadline_ends_with_5(served: Served, tmp_path: Path) -> None:
    """A deadline that passes at once stops before anything is read."""
    settings = write_settings(served, tmp_path)

    done = call("run", "--config", str(settings), "--until", "2026-03-02", "--deadline", "0s", served=served)

    assert done.returncode == 5, done.stderr


@pytest.mark.parametrize("text", ["2026-03-02T10:00", "yesterday", "2026-13-01"])
def test_a_bad_instant_is_a_usage_error(served: Served, tmp_path: Path, text: str) -> None:
    """Exit 2 with the option's name."""
    settings = write_settings(served, tmp_path)

    done = call("backfill", "--from", text, "--to", "2026-03-02", "--config", str(settings), served=served)

    assert done.returncode == 2
    assert "--from" in done.stderr


def test_the_environment_wins_over_the_file_and_flags_win_over_both(served: Served, tmp_path: Path) -> None:
    """An override by environment reaches the settings, and is checked like the file."""
    settings = write_settings(served, tmp_path)
    os.environ["M365_EXPORT__PRIVACY__PROFILE"] = "strikt"
    try:
        done = call("run", "--config", str(settings), served=served)
    finally:
        del os.environ["M365_EXPORT__PRIVACY__PROFILE"]

    assert done.returncode == 2
    assert "privacy.profile" in done.stderr


def test_schema_lists_columns_types_and_treatments(tmp_path: Path) -> None:
    """Needs no settings at all."""
    done = call("schema", "mail_messages", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "toRecipients[].emailAddress.address" in done.stdout
    assert "pseudonymize" in done.stdout
