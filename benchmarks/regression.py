"""Fails when the export of metadata mail has become slower, by a ratio that does not depend on the machine.

    python -m benchmarks.regression [--write]

What a record costs the whole exporter, divided by what decoding it alone costs (the Arrow JSON reader on the same
pages, the floor of any columnar export), both measured in the same minute. `baseline.json` has the ratio to compare
with; `--write` replaces it.
"""

import argparse
import json
import statistics
import time
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj

from benchmarks.end_to_end import measured
from benchmarks.workloads import WORKLOADS, page_texts
from pipeline.sanitize.columns import read_schema
from pipeline.sanitize.rules import built_in_rules

BASELINE = Path(__file__).with_name("baseline.json")
WORST = 1.3  # times the baseline
ROUNDS = 3
PAGES = 20
METADATA_MAIL = WORKLOADS[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="make this run's ratio the baseline")
    options = parser.parse_args()
    pages = list(islice(page_texts(METADATA_MAIL, stock=PAGES), PAGES))
    ratio = statistics.median(_ratio(pages) for _ in range(ROUNDS))
    if options.write:
        BASELINE.write_text(json.dumps({METADATA_MAIL.name: round(ratio, 2)}, indent=1) + "\n", encoding="utf-8")
    baseline = json.loads(BASELINE.read_text(encoding="utf-8"))[METADATA_MAIL.name]
    print(f"{METADATA_MAIL.name}: {ratio:.2f} times the decode-only floor; baseline {baseline:.2f}")
    if ratio > baseline * WORST:
        raise SystemExit(f"slower than {WORST:.0%} of the baseline")


def _ratio(pages: list[bytes]) -> float:
    """The floor is taken before and after, because machines change their pace."""
    before = _floor_s(pages)
    options = argparse.Namespace(mailboxes=40, pages=5, memory_mib=300, in_flight=32, log_level="error")
    figures, _ = measured(METADATA_MAIL, options)
    floor_s = (before + _floor_s(pages)) / 2
    whole_s: float = figures["cpu_s"] / figures["rows"]
    return whole_s / floor_s


def _floor_s(pages: list[bytes]) -> float:
    """CPU seconds to decode one record."""
    record = read_schema(built_in_rules()[METADATA_MAIL.dataset].read_fields("strict"))
    schema = pa.schema([("value", pa.list_(record))])
    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    started = time.process_time()
    for page in pages:
        text = b'{"value":' + page + b"}"
        reading = pj.ReadOptions(use_threads=False, block_size=len(text) + 1)
        pj.read_json(pa.BufferReader(text), read_options=reading, parse_options=options)
    return (time.process_time() - started) / (len(pages) * METADATA_MAIL.page_items)


if __name__ == "__main__":
    main()
