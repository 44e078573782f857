"""From the bytes of pages to sanitized Arrow columns to Parquet, in records per CPU second.

    python benchmarks/sanitize.py [--profile psoxy] [--records 20000] [--rounds 5] [--rows]

Side by side in one process, because machines differ and are shared: the compiled engine with Parquet, the two parts of
its floor (the JSON reader alone, the Parquet writer alone), and with `--rows` the row-by-row interpretation of the same
rules. Pages come from the emulated tenant: metadata mail as `$select` leaves it, mail with bodies as a server sends it
that ignores `$select`, events with bodies, chat messages in pages of 50 of which ten are cleaned together.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.json as pj

from connectors.emulator import Tenant
from pipeline.model import Window
from pipeline.sanitize.columnar import ColumnarSanitizer
from pipeline.sanitize.columns import output_schema, read_schema
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.record_rules import RecordRules
from pipeline.sanitize.rules import PROFILES, Profile, built_in_rules
from pipeline.sanitize.treatments import Treatments
from sinks.parquet.part import PartFormat
from sinks.parquet.schema import part_schema

NOW = datetime(2026, 3, 2, tzinfo=UTC)
HISTORY = timedelta(days=60)
WINDOW = Window(NOW - HISTORY, NOW)


@dataclass(frozen=True, slots=True)
class Workload:
    """Pages of one dataset, in the batches in which they are cleaned."""

    name: str
    dataset: str
    batches: list[list[bytes]]
    records: int
    instants: tuple[str, ...]

    @property
    def bytes_per_record(self) -> int:
        return sum(len(page) for batch in self.batches for page in batch) // self.records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", choices=PROFILES, default="psoxy", help="psoxy keeps most, so it costs most")
    parser.add_argument("--records", type=int, default=20_000, help="of each workload, at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", action="store_true", help="also the row-by-row interpretation")
    options = parser.parse_args()
    headings = "".join(f" {heading:>9}" for heading in ("engine", "+Parquet", "read", "Parquet", "rows"))
    print(f"{'records per CPU second':24} {'bytes':>6}{headings}")
    for workload in workloads(options.records, options.profile):
        print(measured(workload, options.profile, rounds=options.rounds, rows=options.rows))


def workloads(limit: int, profile: Profile) -> Iterator[Workload]:
    tenant = Tenant(seed=1, users=60, now=NOW, history=HISTORY)
    mail: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for user in tenant.user_ids:
        if len(mail) < limit:
            mail += tenant.truth.messages(user, WINDOW.start, NOW)
        if len(events) < limit:
            events += tenant.truth.events(user, WINDOW.start, NOW)
    chats = tenant.truth.chat_messages(WINDOW.start, NOW)[:limit]
    selected = {*built_in_rules()["mail_messages"].select(profile), "@odata.type", "@odata.etag"}
    metadata = [{name: value for name, value in message.items() if name in selected} for message in mail]
    received = ("receivedDateTime",)
    changed = ("createdDateTime", "lastModifiedDateTime")
    yield workload("metadata mail", "mail_messages", metadata[:limit], received, page=1000, together=1)
    yield workload("mail with bodies", "mail_messages", mail[:limit], received, page=1000, together=1)
    yield workload("events with bodies", "calendar_events", events[:limit], ("start.dateTime",), page=100, together=5)
    yield workload("chat messages", "teams_chat_messages", chats, changed, page=50, together=10)


def workload(
    name: str, dataset: str, records: Sequence[Any], instants: tuple[str, ...], *, page: int, together: int
) -> Workload:
    pages = [json.dumps(records[start : start + page]).encode() for start in range(0, len(records), page)]
    batches = [pages[start : start + together] for start in range(0, len(pages), together)]
    return Workload(name, dataset, batches, len(records), instants)


def measured(workload: Workload, profile: Profile, *, rounds: int, rows: bool) -> str:
    rules = built_in_rules()[workload.dataset]
    treatments = Treatments(Pseudonymizer(salt="benchmark-salt-0123456789"), group_original=True)
    engine = ColumnarSanitizer(rules, profile=profile, treatments=treatments, instants=workload.instants)
    tables = [engine.clean(batch, window=WINDOW).rows for batch in workload.batches]
    figures = [
        rate(workload, rounds, lambda: clean(engine, workload)),
        rate(workload, rounds, lambda: write(workload.dataset, [engine.whole(clean(engine, workload))])),
        rate(workload, rounds, lambda: read(workload, profile)),
        rate(workload, rounds, lambda: write(workload.dataset, tables)),
    ]
    line = f"{workload.name:24} {workload.bytes_per_record:6,} " + " ".join(f"{figure:9,.0f}" for figure in figures)
    if rows:
        interpretation = RecordRules(rules, profile=profile, treatments=treatments)
        line += f" {rate(workload, 1, lambda: by_rows(interpretation, workload)):8,.0f}"
    return line


def rate(workload: Workload, rounds: int, work: Callable[[], object]) -> float:
    """Median records per CPU second of the process."""
    work()
    seconds = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return workload.records / statistics.median(seconds)


def clean(engine: ColumnarSanitizer, workload: Workload) -> list[pa.Table]:
    return [engine.clean(batch, window=WINDOW).rows for batch in workload.batches]


def read(workload: Workload, profile: Profile) -> None:
    """The floor of any columnar engine: decode what the profile keeps, nothing else."""
    record = read_schema(built_in_rules()[workload.dataset].read_fields(profile))
    options = pj.ParseOptions(
        explicit_schema=pa.schema([("value", pa.list_(record))]), unexpected_field_behavior="ignore"
    )
    for batch in workload.batches:
        text = b"\n".join(b'{"value":' + page + b"}" for page in batch)
        reading = pj.ReadOptions(use_threads=False, block_size=len(text) + 1)
        pj.read_json(pa.BufferReader(text), read_options=reading, parse_options=options)


def write(dataset: str, tables: Sequence[pa.Table]) -> None:
    rules = built_in_rules()[dataset]
    schema = part_schema(
        output_schema(rules), dataset=dataset, schema_version=rules.version, rules_fingerprint="", profile=""
    )
    encoder = PartFormat(schema=schema, run_id="benchmark", exported_at=NOW, sort_by=rules.time).encoder()
    for table in tables:
        encoder.append(table, owner="t~owner")
    encoder.finish()


def by_rows(interpretation: RecordRules, workload: Workload) -> None:
    for batch in workload.batches:
        for page in batch:
            for record in msgspec.json.decode(page, type=list[msgspec.Raw]):
                interpretation.row(bytes(record), window=WINDOW)


if __name__ == "__main__":
    main()
