"""Metrics for those who ask: an endpoint, a file, a collector."""

import asyncio
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer, unused_port
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from structlog.testing import capture_logs

from config.model import Telemetry
from pipeline.errors import ConfigurationError
from pipeline.metrics.publish import metrics_published
from pipeline.metrics.table import METRICS, samples
from pipeline.metrics.text import exposition, write_textfile
from pipeline.ports import Fence
from pipeline.progress import Progress, Usage

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def _progress(*, kind: str = "run", rows: int = 1_200, last_success: datetime | None = NOW) -> Progress:
    """A run in which everything that is counted has happened."""
    usage = Usage({("outlook", "200"): 40, ("outlook", "429"): 2, ("directory", "none"): 1}, 5_000, 12.5)
    progress = Progress(kind=kind, now=lambda: NOW, own_usage=lambda: usage, last_success=last_success)
    for _ in range(4):
        progress.planned("mail_messages")
    progress.finished("mail_messages", rows=rows, rejected=3)
    progress.skipped("mail_messages", "no_mailbox")
    progress.failed("mail_messages")
    progress.published("mail_messages", size_bytes=900)
    progress.note_fence(
        Fence(scope="mailbox", service="outlook", principal="t~secret", since=NOW, until=NOW + timedelta(seconds=9))
    )
    progress.exit_code = 4
    return progress


async def _publish(telemetry: Telemetry, progress: Progress) -> None:
    async with metrics_published(telemetry, progress, log=structlog.get_logger(), version="0"):
        pass


def test_every_metric_of_the_table_has_a_sample() -> None:
    """In a run in which everything that is counted has happened."""
    assert {sample.metric.name for sample in samples(_progress())} == {metric.name for metric in METRICS}


def test_names_and_labels_follow_the_rules() -> None:
    """What only grows ends in _total and nothing else does; labels name no principal."""
    for metric in METRICS:
        assert re.fullmatch(r"m365_export_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert set(metric.labels) <= {"dataset", "outcome", "reason", "service", "status", "scope"}
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert "secret" not in exposition(samples(_progress()))


def test_the_text_is_what_a_scraper_reads() -> None:
    """HELP and TYPE once, then the samples of the metric."""
    lines = exposition(samples(_progress())).splitlines()
    at = lines.index("# TYPE m365_export_units_total counter")
    assert lines[at - 1].startswith("# HELP m365_export_units_total ")
    assert lines[at + 1 : at + 4] == [
        'm365_export_units_total{kind="run",dataset="mail_messages",outcome="done"} 1',
        'm365_export_units_total{kind="run",dataset="mail_messages",outcome="skipped"} 1',
        'm365_export_units_total{kind="run",dataset="mail_messages",outcome="failed"} 1',
    ]
    assert 'm365_export_requests_total{kind="run",service="outlook",status="429"} 2' in lines
    assert 'm365_export_wait_seconds_total{kind="run"} 12.5' in lines
    assert f'm365_export_last_success_timestamp_seconds{{kind="run"}} {NOW.timestamp():.15g}' in lines
    assert sum(line.startswith("# TYPE m365_export_units_total") for line in lines) == 1


async def test_the_endpoint_serves_the_numbers_of_the_moment() -> None:
    """While the command works, and nothing but /metrics."""
    port, progress = unused_port(), _progress(rows=1)
    url = f"http://127.0.0.1:{port}"
    async with (
        metrics_published(Telemetry(prometheus_port=port), progress, log=structlog.get_logger(), version="0"),
        ClientSession() as session,
    ):
        first = await (await session.get(f"{url}/metrics")).text()
        progress.finished("mail_messages", rows=41)
        answer = await session.get(f"{url}/metrics?x=1")
        second = await answer.text()
        elsewhere = await session.get(f"{url}/")
        written = await session.post(f"{url}/metrics", data=b"x")
        only_head = await session.head(f"{url}/metrics")
    assert 'm365_export_rows_total{kind="run",dataset="mail_messages"} 1\n' in first
    assert 'm365_export_rows_total{kind="run",dataset="mail_messages"} 42\n' in second
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert (elsewhere.status, written.status, only_head.status) == (404, 405, 200)


async def test_a_port_that_is_taken_is_a_fault_of_the_settings() -> None:
    """Exit 2 before anything is read."""
    port = unused_port()
    telemetry = Telemetry(prometheus_port=port)
    async with metrics_published(telemetry, _progress(), log=structlog.get_logger(), version="0"):
        with pytest.raises(ConfigurationError, match=rf"telemetry.prometheus_port: {port} cannot be listened on"):
            await _publish(telemetry, _progress())


async def test_the_file_appears_whole_and_readable_at_the_end(tmp_path: Path) -> None:
    """By rename, so that a collector never reads half of it; nothing else is left in the folder."""
    path = tmp_path / "m365.prom"
    async with metrics_published(Telemetry(textfile=path), _progress(), log=structlog.get_logger(), version="0"):
        assert not path.exists()
    assert path.read_text(encoding="utf-8").count("m365_export_exit_code{") == 1
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["m365.prom"]


def test_a_failed_run_does_not_forget_the_last_success(tmp_path: Path) -> None:
    """Its age is what one alerts on; the rest is of the failed run."""
    path = tmp_path / "m365.prom"
    write_textfile(path, samples(_progress(rows=7)), kind="run")
    write_textfile(path, samples(_progress(rows=0, last_success=None)), kind="run")
    text = path.read_text(encoding="utf-8")
    assert f'm365_export_last_success_timestamp_seconds{{kind="run"}} {NOW.timestamp():.15g}\n' in text
    assert 'm365_export_rows_total{kind="run",dataset="mail_messages"} 0\n' in text
    assert 'dataset="mail_messages"} 7\n' not in text


def test_a_backfill_leaves_what_the_file_says_of_the_nightly_run(tmp_path: Path) -> None:
    """Both kinds stand in one file, the samples of a metric together."""
    path = tmp_path / "m365.prom"
    write_textfile(path, samples(_progress(rows=7)), kind="run")
    write_textfile(path, samples(_progress(kind="backfill", rows=8)), kind="backfill")
    text = path.read_text(encoding="utf-8")
    assert (
        'm365_export_rows_total{kind="run",dataset="mail_messages"} 7\n'
        'm365_export_rows_total{kind="backfill",dataset="mail_messages"} 8\n'
    ) in text
    assert text.count("# TYPE m365_export_rows_total") == 1


async def test_a_folder_that_is_not_there_is_a_fault_of_the_settings(tmp_path: Path) -> None:
    """Exit 2 before anything is read."""
    with pytest.raises(ConfigurationError, match=r"telemetry\.textfile: there is no folder"):
        await _publish(Telemetry(textfile=tmp_path / "missing" / "m365.prom"), _progress())


async def test_a_file_that_cannot_be_written_costs_the_run_nothing(tmp_path: Path) -> None:
    """It is said in the log."""
    folder = tmp_path / "m365.prom"
    folder.mkdir()
    with capture_logs() as lines:
        await _publish(Telemetry(textfile=folder), _progress())
    assert [(line["event"], line["what"]) for line in lines] == [("metrics_not_written", "telemetry.textfile")]


async def test_a_collector_gets_every_metric() -> None:
    """As protobuf over HTTP, at the path of the protocol, with our names and labels."""
    received: list[ExportMetricsServiceRequest] = []

    async def collect(request: web.Request) -> web.Response:
        received.append(ExportMetricsServiceRequest.FromString(await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/metrics", collect)
    async with TestServer(app) as collector:
        await _publish(Telemetry(otlp_endpoint=str(collector.make_url("/")).rstrip("/")), _progress())

    found = {
        metric.name: metric
        for request in received
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert found.keys() == {metric.name for metric in METRICS}
    (point,) = found["m365_export_rows_total"].sum.data_points
    assert (point.as_double or point.as_int) == 1_200
    assert {attribute.key: attribute.value.string_value for attribute in point.attributes} == {
        "kind": "run",
        "dataset": "mail_messages",
    }


async def test_a_collector_that_refuses_costs_the_run_nothing() -> None:
    """It is said in the log."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=400)

    app = web.Application()
    app.router.add_post("/v1/metrics", refuse)
    async with TestServer(app) as collector:
        with capture_logs() as lines:
            await _publish(Telemetry(otlp_endpoint=str(collector.make_url("/")).rstrip("/")), _progress())
    assert [(line["event"], line["what"]) for line in lines] == [("metrics_not_written", "telemetry.otlp_endpoint")]


async def test_without_the_extra_the_setting_is_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2; the SDK is imported only when used."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'm365-export\[otlp\]'"):
        await _publish(Telemetry(otlp_endpoint="http://127.0.0.1:9"), _progress())


async def test_nobody_asked_for_nothing_happens() -> None:
    """No port, no file, no thread."""
    before = len(asyncio.all_tasks())
    async with metrics_published(Telemetry(), _progress(), log=structlog.get_logger(), version="0"):
        assert len(asyncio.all_tasks()) == before
    assert not Telemetry().is_asked_for
    assert Telemetry(prometheus_port=9_100).is_asked_for
