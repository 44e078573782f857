"""From the bytes of pages to sanitized Arrow columns to Parquet, in one process and without a network.

Side by side, because machines differ and are shared: the compiled engine, the engine with Parquet, the two parts of its
floor (the JSON reader alone, the Parquet writer alone), and the row-by-row interpretation of the same rules.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import msgspec
import pyarrow as pa
import pyarrow.json as pj

from benchmarks.results import Answer, Line, line
from benchmarks.workloads import CHATS, EVENTS, MAIL_WITH_BODIES, METADATA_MAIL, NOW, WINDOW, Workload, page_texts
from pipeline.sanitize.columnar import ColumnarSanitizer
from pipeline.sanitize.columns import output_schema, read_schema
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.record_rules import RecordRules
from pipeline.sanitize.rules import Profile, built_in_rules
from pipeline.sanitize.treatments import Treatments
from sinks.parquet.part import PartFormat
from sinks.parquet.schema import part_schema

PROFILE: Profile = "psoxy"  # keeps most, so it costs most
TOGETHER = {METADATA_MAIL: 1, MAIL_WITH_BODIES: 1, EVENTS: 5, CHATS: 10}  # pages that are cleaned in one call
PAGES = {METADATA_MAIL: 20, MAIL_WITH_BODIES: 5, EVENTS: 40, CHATS: 80}
ROUNDS = 5

Batches = Sequence[Sequence[bytes]]


def measure(*, quick: bool) -> Answer:
    """Every dataset."""
    return Answer(
        question="Sanitizing alone",
        text=f"Records per CPU second of one core, profile `{PROFILE}`, no network. *read* is the JSON reader alone, "
        "the floor of any columnar engine; *rows* the row-by-row interpretation of the same rules.",
        lines=[_line(workload, quick=quick) for workload in TOGETHER],
    )


def _line(workload: Workload, *, quick: bool) -> Line:
    together, pages = TOGETHER[workload], 2 if quick else PAGES[workload]
    workload = workload.resized(stock=pages, **({"page_items": 5, "users": 20} if quick else {}))
    texts = list(page_texts(workload))
    batches = [texts[start : start + together] for start in range(0, pages, together)]
    records = pages * workload.page_items
    rules = built_in_rules()[workload.dataset]
    treatments = Treatments(Pseudonymizer(salt="benchmark-salt-0123456789"), group_original=True)
    engine = ColumnarSanitizer(rules, profile=PROFILE, treatments=treatments, instants=workload.times)
    interpretation = RecordRules(rules, profile=PROFILE, treatments=treatments, instants=workload.times)
    tables = _cleaned(engine, batches)
    if sum(map(len, tables)) != records:
        raise RuntimeError(f"{workload.name}: {sum(map(len, tables))} rows of {records}")
    works: Mapping[str, Callable[[], object]] = {
        "engine": lambda: _cleaned(engine, batches),
        "engine, Parquet": lambda: _write(workload, [engine.whole(_cleaned(engine, batches))]),
        "read": lambda: _read(workload, batches),
        "Parquet": lambda: _write(workload, tables),
        "rows": lambda: _interpret(interpretation, texts),
    }
    rounds = [{name: records / _seconds(work) for name, work in works.items()} for _ in range(1 if quick else ROUNDS)]
    return line(f"{workload.name}, {sum(map(len, texts)) // records:,} bytes each", rounds)


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()  # other programs on the machine do not count
    work()
    return time.process_time() - started


def _cleaned(engine: ColumnarSanitizer, batches: Batches) -> list[pa.Table]:
    return [engine.clean(batch, window=WINDOW).rows for batch in batches]


def _read(workload: Workload, batches: Batches) -> None:
    """Decode what the profile keeps, nothing else."""
    for batch in batches:
        decode(workload, batch, profile=PROFILE)


def decode(workload: Workload, pages: Sequence[bytes], *, profile: Profile) -> None:
    """The least that any columnar export does with pages: Arrow's JSON reader, for what the profile keeps."""
    record = read_schema(built_in_rules()[workload.dataset].read_fields(profile))
    schema = pa.schema([("value", pa.list_(record))])
    text = b"\n".join(b'{"value":' + page + b"}" for page in pages)
    pj.read_json(
        pa.BufferReader(text),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
        parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
    )


def _write(workload: Workload, tables: Sequence[pa.Table]) -> None:
    rules = built_in_rules()[workload.dataset]
    schema = part_schema(
        output_schema(rules), dataset=workload.dataset, schema_version=rules.version, rules_fingerprint="", profile=""
    )
    encoder = PartFormat(schema=schema, run_id="benchmark", exported_at=NOW, sort_by=rules.time).encoder()
    for table in tables:
        encoder.append(table, owner="t~owner")
    encoder.finish()


def _interpret(interpretation: RecordRules, pages: Sequence[bytes]) -> None:
    for page in pages:
        for record in msgspec.json.decode(page, type=list[msgspec.Raw]):
            interpretation.row(bytes(record), window=WINDOW)
