"""Runs to report on: a quiet one with weeks of history, and one where everything went wrong under hostile names."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from pipeline.completeness import Method
from pipeline.facts import AttemptLine, DatasetDays, Facts, SlowUnit, Stage, Wait
from pipeline.journal import RunRecord
from pipeline.manifest import Completeness, DatasetLine, LeftOut, Manifest, PartLine, Range, UnitCounts
from pipeline.model import RunKind
from pipeline.report.evidence import DatasetFields, Evidence, FieldLine

NIGHT = datetime(2026, 3, 5, 2, tzinfo=UTC)  # a Thursday; the window is mostly Wednesday
DAY = timedelta(days=1)
HOSTILE = "<script>alert('x')</script>\u202eevil\u0000&\"" + "long" * 5_000


def manifest(*, rows: int = 1_000, nights_ago: int = 0, datasets: tuple[str, ...] = ("mail_messages",)) -> Manifest:
    """A complete nightly run with so many rows in each dataset."""
    end = NIGHT - nights_ago * DAY
    run_id = f"{end:%Y%m%dT%H%M%SZ}-aaaa"
    return Manifest(
        run_id=run_id,
        kind=RunKind.RUN,
        status="complete",
        window=Range(end - DAY, end),
        started_at=end,
        finished_at=end + timedelta(minutes=42),
        tool_version="1.0.0",
        profile="strict",
        rules_fingerprint="0123456789abcdef",
        salt_fingerprint="fedcba98",
        schema_versions=dict.fromkeys(datasets, 1),
        datasets={dataset: line(dataset, run_id, rows) for dataset in datasets},
        skipped=[],
        failed=[],
    )


def line(dataset: str, run_id: str, rows: int) -> DatasetLine:
    part = PartLine(f"{dataset}/{run_id}/{dataset}-00001.parquet", rows, 40 * rows, "0" * 64, None, None)
    return DatasetLine(
        rows=rows,
        units=UnitCounts(done=10),
        completeness=Completeness(Method.COUNT, rows, rows),
        parts=[part] if rows else [],
    )


def quiet() -> Evidence:
    """A complete night like the thirty before it."""
    datasets = ("entra_users", "mail_messages", "calendar_events")
    return Evidence(
        manifest=manifest(datasets=datasets),
        facts=facts(),
        earlier=[
            manifest(
                rows=400 if (NIGHT - night * DAY).weekday() in (6, 0) else 990, nights_ago=night, datasets=datasets
            )
            for night in range(1, 31)
        ],
    )


def facts(**changes: Any) -> Facts:
    found = Facts(
        run_id="r",
        attempts=[AttemptLine(NIGHT, NIGHT + timedelta(minutes=42), [Stage("reading", 2400.0), Stage("sealing", 3.0)])],
        datasets={
            "mail_messages": DatasetDays({f"{NIGHT - night * DAY:%Y-%m-%d}": 40 * night for night in range(1, 30)}),
            "calendar_events": DatasetDays({f"{NIGHT - night * DAY:%Y-%m-%d}": 9 for night in range(5, 20)}, 3),
        },
        slowest_units=[SlowUnit("mail_messages", "t~slow", 1834.2, 70_000, "done")],
        waits=[
            Wait("service", "outlook", None, NIGHT + timedelta(minutes=5), NIGHT + timedelta(minutes=9), 4),
            Wait("mailbox", "outlook", "t~busy", NIGHT + timedelta(minutes=12), NIGHT + timedelta(minutes=13), 1),
        ],
    )
    return replace(found, **changes)


def hostile(*, skips: int = 10_000) -> Evidence:
    """A partial run with thousands of skips, hundreds of waits and fields, and names that are none."""
    end = NIGHT
    bad = replace(
        manifest(rows=12, datasets=("mail_messages", "teams_chats", HOSTILE)),
        status="partial",
        skipped=[
            LeftOut(f"t~{number:043d}", "mail_messages", "no_mailbox" if number % 3 else HOSTILE)
            for number in range(skips)
        ],
        failed=[
            LeftOut(None, "teams_chats", "permission"),
            LeftOut(HOSTILE, HOSTILE, "egress_guard"),
            *(LeftOut(f"t~{number:043d}", "mail_messages", "incomplete") for number in range(500)),
        ],
    )
    bad.datasets["mail_messages"].completeness.unexplained = 321
    bad.datasets["mail_messages"].rejected["wrong_type"] = 5
    waits = [
        Wait("mailbox", "outlook", f"t~{number % 60:043d}", at, at + timedelta(seconds=7), 1)
        for number in range(300)
        for at in [end + timedelta(seconds=8 * number)]
    ]
    fields = [FieldLine(f"field{number}", "dropped", "unlisted", number, sampled=True) for number in range(600)]
    return Evidence(
        manifest=bad,
        facts=facts(
            datasets={
                name: DatasetDays({f"{end - night * DAY:%Y-%m-%d}": night for night in range(400)})
                for name in ("mail_messages", HOSTILE)
            },
            slowest_units=[SlowUnit(HOSTILE, HOSTILE, 3.0, 1, "failed")] * 20,
            waits=waits,
            waits_left_out=77,
        ),
        fields={name: DatasetFields(10, [*fields, FieldLine(HOSTILE, "kept", "keep", 1)]) for name in bad.datasets},
        earlier=[manifest(rows=1_000, nights_ago=night) for night in range(1, 31)],
        interrupted=[
            RunRecord(
                run_id="20260304T020000Z-bbbb",
                kind=RunKind.BACKFILL,
                started_at=end,
                until=end,
                connectors=(),
                profile="strict",
                scope="all",
                rules_fingerprint="",
                salt_fingerprint="",
                schema_versions={},
            )
        ],
    )
