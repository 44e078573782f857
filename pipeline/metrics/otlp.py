"""Metrics to an OpenTelemetry collector, as protobuf over HTTP. Needs the extra `otlp`, and imports it when used.

https://opentelemetry.io/docs/specs/otlp/#otlphttp-request (checked 2026-11): metrics go to <endpoint>/v1/metrics.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigurationError
from pipeline.metrics.table import METRICS, Metric, Sample

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData

EVERY_S = 60.0
WITHIN_S = 5.0  # of one push, retries included; the last one must leave a stop its time
PATH = "/v1/metrics"


@asynccontextmanager
async def push(
    endpoint: str, take: Callable[[], Sequence[Sample]], *, version: str, missed: Callable[[], None]
) -> AsyncIterator[None]:
    """Push what `take` gives every minute and at the end; `missed` is told of each push that did not arrive.

    Raises:
        ConfigurationError: the extra is not installed.
    """
    line = _Line(endpoint, version=version)

    async def once() -> None:
        line.samples = take()  # on the loop: what counts is not read from another thread
        if not await asyncio.to_thread(line.flush):
            missed()

    async def keep() -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await once()

    async with asyncio.TaskGroup() as tasks:
        beside = tasks.create_task(keep())
        try:
            yield
        finally:
            beside.cancel()
            await once()
            await asyncio.to_thread(line.close)


class _Line:
    """An exporter that sends `samples` when told to; not by itself, and not from its own idea of time."""

    def __init__(self, endpoint: str, *, version: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415 - an extra
                OTLPMetricExporter,
            )
            from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - an extra
            from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415 - an extra
                MetricExportResult,
                PeriodicExportingMetricReader,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            raise ConfigurationError(
                "telemetry.otlp_endpoint: needs an extra that is not installed; pip install 'm365-export[otlp]'"
            ) from None

        arrived: list[bool] = []

        class Noted(OTLPMetricExporter):
            def export(
                self, metrics_data: "MetricsData", timeout_millis: float | None = 10_000, **kwargs: Any
            ) -> "MetricExportResult":
                result = super().export(metrics_data, timeout_millis, **kwargs)
                arrived.append(result is MetricExportResult.SUCCESS)
                return result

        self.samples: Sequence[Sample] = ()
        self._arrived = arrived
        reader = PeriodicExportingMetricReader(
            Noted(endpoint=endpoint.removesuffix(PATH) + PATH, timeout=WITHIN_S),
            export_interval_millis=math.inf,
            export_timeout_millis=WITHIN_S * 1000,
        )
        self._provider = MeterProvider(
            [reader],
            resource=Resource.create({"service.name": "m365-export", "service.version": version}),
            shutdown_on_exit=False,
        )
        meter = self._provider.get_meter("m365-export", version)
        for metric in METRICS:
            create = meter.create_observable_counter if metric.type == "counter" else meter.create_observable_gauge
            create(metric.name, [self._observer(metric)], unit=metric.unit, description=metric.meaning)

    def flush(self) -> bool:
        """Whether the samples arrived. Blocks."""
        self._arrived.clear()
        self._provider.force_flush(WITHIN_S * 1000)
        return any(self._arrived)

    def close(self) -> None:
        self._provider.shutdown(WITHIN_S * 1000)

    def _observer(self, metric: Metric) -> "Callable[[CallbackOptions], Iterable[Observation]]":
        from opentelemetry.metrics import Observation  # noqa: PLC0415 - an extra

        def observe(_options: "CallbackOptions") -> "Iterable[Observation]":
            for sample in self.samples:
                if sample.metric is metric:
                    yield Observation(sample.value, dict(sample.labels))

        return observe
