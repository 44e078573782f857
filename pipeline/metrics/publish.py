"""Hands the metrics of a command to whoever the settings name, while it works and when it ends."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from config.model import Telemetry
from pipeline.errors import ConfigurationError
from pipeline.metrics.endpoint import serve
from pipeline.metrics.otlp import push
from pipeline.metrics.table import samples
from pipeline.metrics.text import exposition, write_textfile
from pipeline.progress import Progress
from pipeline.telemetry import Event, Log


@asynccontextmanager
async def metrics_published(telemetry: Telemetry, progress: Progress, *, log: Log, version: str) -> AsyncIterator[None]:
    """As long as the context lasts, and a last time at its end; then `progress` has the exit code.

    Raises:
        ConfigurationError: a port, file or extra is not there. Later trouble is logged and costs the run nothing.
    """
    async with AsyncExitStack() as stack:
        if telemetry.textfile is not None:
            _check_folder(telemetry.textfile)
            stack.callback(_write, telemetry.textfile, progress, log)
        if telemetry.prometheus_port is not None:
            await stack.enter_async_context(serve(telemetry.prometheus_port, lambda: exposition(samples(progress))))
        if telemetry.otlp_endpoint is not None:
            await stack.enter_async_context(
                push(
                    telemetry.otlp_endpoint,
                    lambda: samples(progress),
                    version=version,
                    missed=lambda: log.warning(Event.METRICS_NOT_WRITTEN, what="telemetry.otlp_endpoint"),
                )
            )
        yield


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise ConfigurationError(f"telemetry.textfile: there is no folder {path.parent}; create it, or name another")


def _write(path: Path, progress: Progress, log: Log) -> None:
    try:
        write_textfile(path, samples(progress), kind=progress.kind)
    except OSError as error:
        log.warning(Event.METRICS_NOT_WRITTEN, what="telemetry.textfile", reason=error.strerror)
