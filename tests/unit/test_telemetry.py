"""A log line holds listed keys only."""

import json

import pytest

from pipeline.telemetry import Event, configure_logging


def test_a_key_nobody_decided_about_is_dropped_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A new key is added on purpose or not at all."""
    log = configure_logging(format_="json", level="info")
    log.info(Event.UNIT_SKIPPED, dataset="mail_messages", reason="no_mailbox", user="dana@example.org", url="x")

    line = json.loads(capsys.readouterr().err)

    assert line["event"] == "unit_skipped"
    assert line["dataset"] == "mail_messages"
    assert line["dropped_keys"] == 2
    assert "dana" not in json.dumps(line)


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """`--log-level error` is quiet about skips."""
    configure_logging(format_="json", level="error").info(Event.UNIT_SKIPPED, dataset="mail_messages")

    assert capsys.readouterr().err == ""
