"""A whole export over loopback HTTPS with gzip: records per second, peak memory, and where the time went.

    python -m benchmarks.end_to_end [--workload "metadata mail"]... [--mailboxes 200] [--pages 5] [--memory-mib 300]

Server and exporter are processes of their own (`page_server`, `exporter`); the exporter is the product with the
settings an operator would write, but for Microsoft's limits, which a server of one's own does not have.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from benchmarks.workloads import WORKLOADS, Workload


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [each.name for each in WORKLOADS]
    parser.add_argument("--workload", choices=names, action="append", help="all where none is named")
    parser.add_argument("--mailboxes", type=int)
    parser.add_argument("--pages", type=int, help="of each mailbox")
    parser.add_argument("--memory-mib", type=int, default=300)
    parser.add_argument("--in-flight", type=int, default=32, help="mailboxes")
    parser.add_argument("--log-level", default="warning")
    options = parser.parse_args()
    headings = ("rows", "wall s", "rows/s", "rows/CPU s", "base MiB", "peak MiB", "group rows", "server CPU s")
    print(f"{'':18}" + "".join(f" {heading:>12}" for heading in headings))
    for workload in WORKLOADS:
        if workload.name in (options.workload or names):
            print_figures(workload, *measured(workload, options))


def measured(workload: Workload, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """What exporter and server took."""
    mailboxes, pages = options.mailboxes or workload.mailboxes, options.pages or workload.pages
    arguments = ("--workload", workload.name, "--mailboxes", str(mailboxes), "--pages", str(pages))
    with (
        tempfile.TemporaryDirectory(prefix="m365-benchmark-") as folder,
        started("benchmarks.page_server", *arguments) as server,
    ):
        facts = told(server)
        settings = Path(folder) / "m365-export.yaml"
        settings.write_text(yaml.safe_dump(settings_for(workload, facts, Path(folder), options)))
        secrets = {"CLIENT_SECRET": facts["secret"], "SALT": "benchmark-salt-0123456789"}
        with started("benchmarks.exporter", str(settings), "--log-level", options.log_level, **secrets) as exporter:
            figures = told(exporter)
        figures["group_rows"] = full_group_rows(Path(folder) / "data" / workload.dataset)
        server.send_signal(signal.SIGTERM)
        return figures, told(server)


def settings_for(
    workload: Workload, facts: dict[str, str], folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    return {
        "tenant": {
            "id": facts["tenant"],
            "authority": facts["url"],
            "graph": facts["url"],
            "ca_file": facts["ca_file"],
        },
        "auth": {"method": "client-secret", "client_id": facts["client"], "client_secret": "env:CLIENT_SECRET"},
        "connectors": {workload.connector: {}},
        "privacy": {"salt": "env:SALT", "profile": workload.profile, "groups": False},
        "destination": f"file://{folder}/data",
        "state": f"file://{folder}/state",
        "limits": {"memory_mib": options.memory_mib, "mailboxes_in_flight": options.in_flight, "backfill_share": 1.0},
    }


def full_group_rows(folder: Path) -> int:
    """The rows of the usual row group; the last of each part is smaller."""
    files = [pq.ParquetFile(path).metadata for path in folder.rglob("*.parquet")]
    return statistics.median_high([each.row_group(0).num_rows for each in files])


@contextmanager
def started(module: str, *arguments: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A process of our interpreter; ended with the context."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}) as process:
        try:
            yield process
        finally:
            process.terminate()


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of JSON a process prints."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{process.args}: ended without figures")
    facts: dict[str, Any] = json.loads(line)
    return facts


def print_figures(workload: Workload, figures: dict[str, Any], server: dict[str, Any]) -> None:
    rows, wall, cpu = figures["rows"], figures["wall_s"], figures["cpu_s"]
    cells = (
        f"{rows:,}", f"{wall:.1f}", f"{rows / wall:,.0f}", f"{rows / cpu:,.0f}",
        f"{figures['started_mib']:.0f}", f"{figures['peak_mib']:.0f}",
        f"{figures['group_rows']:,}", f"{server['cpu_s']:.1f}",
    )  # fmt: skip
    print(f"{workload.name:18}" + "".join(f" {cell:>12}" for cell in cells))
    shares = sorted(figures["shares"].items(), key=lambda share: -share[1])
    print("    " + " · ".join(f"{name} {seconds / cpu:.0%}" for name, seconds in shares), flush=True)


if __name__ == "__main__":
    main()
