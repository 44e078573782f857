"""What a run says while it works: one line an event, with keys from a fixed list and no personal data.

An event is a fact in the past tense. A key that is not on the list is dropped and counted, so a new key is added on
purpose or not at all. Principals appear as pseudonyms, values and URLs never.
"""

import logging
import sys
from collections import Counter
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import structlog

from config.instants import format_instant
from pipeline.manifest import Manifest
from pipeline.ports import Fence
from pipeline.progress import Usage

LogFormat = Literal["json", "text"]


class Event(StrEnum):
    RUN_STARTED = "run_started"
    RUN_CONTINUED = "run_continued"
    RUN_ABANDONED = "run_abandoned"
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
    ROWS_WITHHELD = "rows_withheld"
    PART_PUBLISHED = "part_published"
    FENCE_RAISED = "fence_raised"
    PROGRESS = "progress"
    MEMORY_SHORT = "memory_short"
    DEBTS_DROPPED = "debts_dropped"
    WORKERS_CHANGED = "workers_changed"
    STOP_REQUESTED = "stop_requested"
    METRICS_NOT_WRITTEN = "metrics_not_written"


EVENTS: Mapping[Event, str] = {
    Event.RUN_STARTED: "A run begins, with the end of its window.",
    Event.RUN_CONTINUED: "A run that was interrupted is taken up under its own id.",
    Event.RUN_ABANDONED: "An interrupted run is sealed as `partial` as it is: other work than it was is wanted now.",
    Event.RUN_FINISHED: "The canonical line of a run: its manifest is published. What was asked of Graph is told of "
    "this process only; everything else of the whole run.",
    Event.RUN_INTERRUPTED: "The run was stopped; what is published is safe, the next command of its kind continues.",
    Event.MANIFEST_REPLAYED: "An earlier process had decided how a run ends and died; that is done now.",
    Event.DIRECTORY_READ: "The directory is read; `principals` were found in it.",
    Event.UNITS_PLANNED: "How many units are to be read, for how many principals.",
    Event.UNIT_SKIPPED: "A unit is left out for an expected reason.",
    Event.UNIT_FAILED: "A unit could not be read; its watermark stays and the next run tries again.",
    Event.UNIT_INCOMPLETE: "Records of a unit are missing, or too many, and nothing explains it.",
    Event.UNIT_DIVIDED: "A unit was too large and is read as two halves.",
    Event.DATASET_DENIED: "A whole dataset cannot be read; `needs` names the permissions that would do.",
    Event.RECORDS_REJECTED: "Records of a unit were left out because they fit no schema or rule, by reason.",
    Event.ROWS_WITHHELD: "So many rows of a unit lack what Graph keeps to itself (members of others' chats).",
    Event.PART_PUBLISHED: "A Parquet file can be seen at the destination.",
    Event.FENCE_RAISED: "Microsoft refused: nobody calls in the scope before `until`. At level debug for single "
    "mailboxes and chats.",
    Event.PROGRESS: "Once a minute: how far the run has come.",
    Event.MEMORY_SHORT: "The process alone takes so much that limits.memory_mib leaves little for rows; it is kept "
    "less closely then.",
    Event.DEBTS_DROPPED: "More chats or meetings failed than can be kept in mind for the next run; a backfill of the "
    "run's window reads them.",
    Event.WORKERS_CHANGED: "Workers joined, or one was lost: its units are read by others.",
    Event.STOP_REQUESTED: "A signal or the deadline asks for a stop.",
    Event.METRICS_NOT_WRITTEN: "The metrics file or endpoint of telemetry could not be served; the run goes on.",
}
"""What each event says."""

KEYS: Mapping[str, str] = {
    "bytes": "size of published parts",
    "changed": "records that changed while the unit was read",
    "code": "Microsoft's error code, or our word where an answer had none",
    "counted_mib": "most MiB of answers and rows that were held at once",
    "dataset": "the dataset",
    "debts_dropped": "chats or meetings that failed and that no later run is reminded of",
    "dropped_keys": "keys that are not on this list and were left out of the line",
    "event": "what happened",
    "expected": "records that Graph counted",
    "failed": "principals' datasets that failed",
    "kind": "`run` or `backfill`",
    "level": "debug, info, warning or error",
    "loop_lag_ms": "milliseconds the event loop was late at worst, until all was read",
    "memory_mib": "limits.memory_mib",
    "needed_mib": "what it would take at least",
    "needs": "application permissions of which one is missing",
    "parts": "published parts",
    "planned": "units planned so far",
    "principal": "pseudonym of a user, group, team or chat",
    "principals": "how many principals",
    "reason": "why something was left out; docs/operators.md lists all; with `stop_requested` and "
    "`metrics_not_written`: what asked for it, or what the system said",
    "received_bytes": "size of Graph's answers, decompressed",
    "rejected": "records left out; by reason where it is of one unit",
    "request_id": "Microsoft's id of the refused request, for a support case",
    "requests": "requests to Graph by status; `none` where there was no answer",
    "rows": "rows",
    "run_id": "the run",
    "scope": "whom a refusal concerns: app, service, mailbox or chat",
    "seconds": "seconds from begin to end",
    "seconds_left": "seconds until the slowest dataset is settled, at its rate so far",
    "service": "the service that refused: outlook, directory, teams, calls or meetings",
    "since": "begin of a window, inclusive (UTC)",
    "skipped": "principals' datasets left out, by reason",
    "status": "`complete` or `partial`",
    "timestamp": "when the line was written (UTC)",
    "unexplained": "records missing or too many for no known reason",
    "units": "units finished; in `progress` also skipped and failed ones",
    "until": "end of a window, exclusive, or of a wait (UTC)",
    "waited_seconds": "seconds that requests spent waiting for Microsoft's limits, all together",
    "waits": "scopes that wait now",
    "what": "in words",
    "workers": "how many workers do the work of the run",
}
"""The keys a line may have, and what each means; every other key is dropped."""

_NOISY_LOGGERS = ("aiohttp", "urllib3", "requests", "boto3", "botocore", "google", "asyncio")

Log = structlog.typing.FilteringBoundLogger


def configure_logging(*, format_: LogFormat, level: str) -> Log:
    """Set logging up for the process; lines go to stderr. Libraries may only warn: their lines hold URLs."""
    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a push that fails is told as an event of ours
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


def log_fence(log: Log, fence: Fence) -> None:
    """Who waits until when; single mailboxes and chats for those who want to know it all."""
    level = logging.INFO if fence.principal is None else logging.DEBUG
    log.log(
        level,
        Event.FENCE_RAISED,
        scope=fence.scope,
        service=fence.service,
        principal=fence.principal,
        until=fence.until,
    )


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


def usage_facts(usage: Usage) -> dict[str, object]:
    """What was asked of Graph."""
    requests: Counter[str] = Counter()
    for (_, status), count in usage.requests.items():
        requests[status] += count
    return {"requests": dict(requests), "received_bytes": usage.bytes, "waited_seconds": round(usage.waited_s, 1)}


def keep_listed_keys(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Drop every key that nobody decided about, and say how many."""
    listed = {key: value for key, value in event.items() if key in KEYS}
    if len(listed) < len(event):
        listed["dropped_keys"] = len(event) - len(listed)
    return listed
