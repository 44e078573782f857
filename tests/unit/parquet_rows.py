"""Sanitized rows of a made-up dataset with every shape of column there is."""

import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from sinks.parquet.schema import INSTANT, part_schema, stamp

START = datetime(2026, 3, 1, tzinfo=UTC)
EXPORTED_AT = datetime(2026, 11, 19, 2, 0, tzinfo=UTC)
RUN_ID = "20261119T020000Z-1f3a"

COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("start", pa.struct([("timeZone", pa.string()), ("dateTime", INSTANT)])),
        ("receivedDateTime", INSTANT),
        ("day", pa.date32()),
        ("size", pa.int64()),
        ("score", pa.float64()),
        ("isRead", pa.bool_()),
        ("categories", pa.list_(pa.string())),
        (
            "attendees",
            pa.list_(pa.struct([("emailAddress", pa.struct([("address", pa.string())])), ("at", INSTANT)])),
        ),
    ]
)
SCHEMA = part_schema(COLUMNS, dataset="calendar_events", schema_version=3, rules_fingerprint="5eed", profile="strict")


def rows(count: int, *, seed: int = 0) -> pa.Table:
    """Rows in no order, some values null at every level."""
    source = random.Random(seed)

    def maybe(value: object) -> object:
        return None if source.random() < 0.1 else value

    def instant() -> datetime:
        return START + timedelta(microseconds=source.randrange(10**12))

    def attendee() -> object:
        return {
            "emailAddress": maybe({"address": maybe(f"t~{source.randrange(50):08x}")}),
            "at": maybe(instant()),
        }

    columns: dict[str, list[object]] = {
        "id": [f"{seed}-{n}" for n in range(count)],
        "start": [maybe({"timeZone": "UTC", "dateTime": maybe(instant())}) for _ in range(count)],
        "receivedDateTime": [maybe(instant()) for _ in range(count)],
        "day": [maybe(instant().date()) for _ in range(count)],
        "size": [maybe(source.randrange(10**9)) for _ in range(count)],
        "score": [maybe(source.random()) for _ in range(count)],
        "isRead": [maybe(source.random() < 0.5) for _ in range(count)],
        "categories": [
            maybe([maybe(f"c{source.randrange(9)}") for _ in range(source.randrange(4))]) for _ in range(count)
        ],
        "attendees": [maybe([maybe(attendee()) for _ in range(source.randrange(4))]) for _ in range(count)],
    }
    return pa.table(columns, schema=COLUMNS)


def stamped(count: int, *, seed: int = 0) -> pa.Table:
    """The same with metadata columns."""
    return stamp(rows(count, seed=seed), owner=f"t~{seed}", run_id=RUN_ID, exported_at=EXPORTED_AT, schema=SCHEMA)
