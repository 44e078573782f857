"""A log line holds listed keys only."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.ports import Fence
from pipeline.progress import Usage
from pipeline.telemetry import Event, configure_logging, log_fence, usage_facts


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


def test_a_fence_of_many_is_told_and_one_of_a_mailbox_only_to_who_asks(capsys: pytest.CaptureFixture[str]) -> None:
    """A storm over all mailboxes must not fill the log of a night."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    service = Fence(scope="service", service="teams", since=now, until=now + timedelta(seconds=30))
    mailbox = Fence(scope="mailbox", service="outlook", principal="t~a", since=now, until=now + timedelta(seconds=40))

    def told(level: str) -> list[dict[str, object]]:
        log = configure_logging(format_="json", level=level)
        for fence in (service, mailbox):
            log_fence(log, fence)
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    (line,) = told("info")
    assert (line["event"], line["scope"], line["service"]) == ("fence_raised", "service", "teams")
    assert line["until"] == "2026-03-02T00:00:30Z"
    assert [each["principal"] for each in told("debug")] == [None, "t~a"]


def test_the_last_line_counts_requests_by_status() -> None:
    """Over all services; `none` is a request without an answer."""
    usage = Usage({("outlook", "200"): 3, ("teams", "200"): 4, ("teams", "none"): 1}, 99, 1.26)
    assert usage_facts(usage) == {"requests": {"200": 7, "none": 1}, "received_bytes": 99, "waited_seconds": 1.3}
