"""The same job by the exporter, by dlt in two ways and by a plain script, side by side against one server.

Everybody reads the same mailboxes and writes the same rows in the same columns, those of the exporter's own files, and
compresses them alike. That is asserted of what each wrote. The others run in `.venv-bench`, which `make bench` makes;
where it is missing, they are left out.
"""

import base64
import json
import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.answers import Scene
from benchmarks.exporter import SALT
from benchmarks.exporting import exported, rates
from benchmarks.measuring import ROOT, started
from benchmarks.page_server import Site, served
from benchmarks.results import Answer, Claim, Line, line
from benchmarks.workloads import METADATA_MAIL, NOW, WINDOW
from config.instants import format_instant

PYTHON = ROOT / ".venv-bench" / "bin" / "python"
OURS = "m365-export"
PLAIN = "script: aiohttp, orjson, pyarrow"
DLT = "dlt, `rest_api` source as documented"
DLT_ARROW = "dlt, one Arrow table a page"
RIVALS = {PLAIN: "plain", DLT_ARROW: "dlt_arrow", DLT: "dlt_rest_api"}
IN_FLIGHT = 32
TIMES_DLT, TIMES_DLT_ARROW = 15, 4


def measure(*, quick: bool) -> Answer:
    """Each contender in turn, so that a change of the machine's pace meets all of them."""
    sizes = {"page_items": 20, "stock": 5, "users": 20} if quick else {}
    scene = Scene(workload=METADATA_MAIL.name, mailboxes=4 if quick else 20, sizes=sizes)
    rivals = RIVALS if PYTHON.exists() else {}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in (OURS, *rivals)}
    with tempfile.TemporaryDirectory(prefix="m365-benchmark-") as folder, served(scene) as (site, _):
        for number in range(1 if quick else 3):
            own = Path(folder) / f"own-{number}"
            rounds[OURS].append(rates(exported(scene, site, own, in_flight=IN_FLIGHT), rows=scene.rows))
            ours = _written(own / "data" / "mail_messages", rows=scene.rows)
            for name, module in rivals.items():
                place = Path(folder) / f"{module}-{number}"
                rounds[name].append(_rival(module, place, scene, site, ours))
    lines = [line(name, each) for name, each in rounds.items()]
    return Answer(
        question="The same job with other tools",
        text=f"{scene.rows:,} messages of {scene.mailboxes} mailboxes, metadata, pages of "
        f"{scene.content.page_items:,}, over HTTPS with gzip from one server; same columns, zstd, same settings of the "
        "collector. The exporter also journals, guards and counts, the others do not.",
        lines=lines,
        claims=_claims({each.name: each for each in lines}),
    )


def _rival(module: str, folder: Path, scene: Scene, site: Site, ours: pa.Table) -> dict[str, float]:
    """What a contender took, once it is certain that it did the whole job."""
    folder.mkdir()
    start, end = format_instant(WINDOW.start), format_instant(WINDOW.end)
    job = {
        "url": site.url,
        "tenant": site.tenant,
        "client": site.client,
        "secret": site.secret,
        "ca_file": site.ca_file,
        "folder": str(folder / "data"),
        "schema": base64.b64encode(ours.schema.remove_metadata().serialize().to_pybytes()).decode(),
        "filter": f"receivedDateTime ge {start} and receivedDateTime lt {end}",
        "page_items": scene.content.page_items,
        "in_flight": IN_FLIGHT,
        "salt": SALT,
        "run_id": "20260302T000000Z-0000",
        "exported_at": format_instant(NOW),
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    environ = {
        **os.environ,
        "DLT_PROJECT_DIR": str(ROOT / "benchmarks" / "rivals"),  # has the configuration
        "DLT_DATA_DIR": str(folder / "dlt"),
        "REQUESTS_CA_BUNDLE": site.ca_file,
    }
    command = [str(PYTHON), "-m", f"benchmarks.rivals.{module}", str(folder / "job.json")]
    with started(command, environ) as rival:
        figures = rival.told()
    _compare(module, _written(folder / "data", rows=scene.rows), ours)
    return rates(figures, rows=scene.rows)


def _written(folder: Path, *, rows: int) -> pa.Table:
    """All rows of the Parquet files below a folder, which are as many as they should be, compressed by zstd."""
    files = [pq.ParquetFile(path) for path in sorted(folder.rglob("*.parquet")) if "_dlt" not in path.parent.name]
    found = sum(file.metadata.num_rows for file in files)
    if found != rows:
        raise RuntimeError(f"{folder}: {found} rows of {rows}")
    for file in files:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            if {group.column(index).compression for index in range(group.num_columns)} != {"ZSTD"}:
                raise RuntimeError(f"{folder}: not compressed by zstd")
    return pa.concat_tables(file.read() for file in files)


def _compare(module: str, theirs: pa.Table, ours: pa.Table) -> None:
    """The same columns, besides dlt's own, and the same texts in them: ids and owners, all of them pseudonyms.

    Nested values are JSON text where a contender cannot write them otherwise.
    """
    names = [name for name in theirs.column_names if not name.startswith("_dlt_")]
    if sorted(names) != sorted(ours.column_names):
        raise RuntimeError(f"{module}: other columns: {sorted(set(names) ^ set(ours.column_names))}")
    texts = [field.name for field in ours.schema if pa.types.is_string(field.type) and field.name != "_run_id"]
    order = [("_owner", "ascending"), ("id", "ascending")]
    left, right = (table.select(texts).sort_by(order).to_pydict() for table in (theirs, ours))
    if left != right:
        raise RuntimeError(f"{module}: other values in {[name for name in texts if left[name] != right[name]]}")


def _claims(lines: dict[str, Line]) -> list[Claim]:
    bounds = {DLT: TIMES_DLT, DLT_ARROW: TIMES_DLT_ARROW}
    return [
        Claim(f"at least {times} times {name}", f"{factor:.1f} times", factor >= times)
        for name, times in bounds.items()
        if name in lines
        for factor in (lines[OURS]["rows / CPU s"] / lines[name]["rows / CPU s"],)
    ]
