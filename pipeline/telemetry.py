"""What a run says while it works: one line an event, with keys from a fixed list and no personal data.

An event is a fact in the past tense. A key that is not on the list is dropped and counted, so a new key is added on
purpose or not at all. Principals appear as pseudonyms, values and URLs never.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import structlog

from config.instants import format_instant
from pipeline.manifest import Manifest

LogFormat = Literal["json", "text"]


class Event(StrEnum):
    RUN_STARTED = "run_started"
    RUN_CONTINUED = "run_continued"
    RUN_FINISHED = "run_finished"
    RUN_INTERRUPTED = "run_interrupted"
    MANIFEST_REPLAYED = "manifest_replayed"
    DIRECTORY_READ = "directory_read"
    UNITS_PLANNED = "units_planned"
    UNIT_SKIPPED = "unit_skipped"
    UNIT_FAILED = "unit_failed"
    UNIT_INCOMPLETE = "unit_incomplete"
    UNIT_DIVIDED = "unit_divided"
    DATASET_DENIED = "dataset_denied"
    RECORDS_REJECTED = "records_rejected"
    PART_PUBLISHED = "part_published"
    PROGRESS = "progress"
    STOP_REQUESTED = "stop_requested"
    EMULATOR_STARTED = "emulator_started"


KEYS = frozenset({
    "attempts", "bytes", "ca_file", "changed", "code", "connector", "dataset", "datasets", "dropped_keys", "event",
    "exit_code", "expected", "failed", "kind", "level", "needs", "parts", "path", "planned", "principal", "principals",
    "reason", "rejected", "remedy", "request_id", "rows", "run_id", "scope", "seconds", "seconds_left", "since",
    "skipped", "status", "timestamp", "unexplained", "units", "until", "url", "what",
})  # fmt: skip

_NOISY_LOGGERS = ("aiohttp", "urllib3", "requests", "boto3", "botocore", "google", "asyncio")

Log = structlog.typing.FilteringBoundLogger


def configure_logging(*, format_: LogFormat, level: str) -> Log:
    """Set logging up for the process; lines go to stderr. Libraries may only warn: their lines hold URLs."""
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(default=_as_text)
        if format_ == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            keep_listed_keys,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    log: Log = structlog.get_logger()
    return log


def _as_text(value: object) -> str:
    return format_instant(value) if isinstance(value, datetime) else str(value)


def run_facts(manifest: Manifest) -> dict[str, object]:
    """The canonical line of a finished run."""
    lines = manifest.datasets.values()
    return {
        "run_id": manifest.run_id,
        "kind": manifest.kind,
        "status": manifest.status,
        "since": manifest.window.from_,
        "until": manifest.window.to,
        "seconds": (manifest.finished_at - manifest.started_at).total_seconds(),
        "rows": sum(line.rows for line in lines),
        "parts": sum(len(line.parts) for line in lines),
        "bytes": sum(part.bytes for line in lines for part in line.parts),
        "units": sum(line.units.done for line in lines),
        "rejected": sum(sum(line.rejected.values()) for line in lines),
        "skipped": manifest.skips_by_reason,
        "failed": len(manifest.failed),
        "unexplained": manifest.unexplained,
    }


def keep_listed_keys(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Drop every key that nobody decided about, and say how many."""
    listed = {key: value for key, value in event.items() if key in KEYS}
    if len(listed) < len(event):
        listed["dropped_keys"] = len(event) - len(listed)
    return listed
