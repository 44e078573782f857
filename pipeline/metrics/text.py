"""Samples in Prometheus' text format, and a file of them that several kinds of command share.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format (checked 2026-11)
https://github.com/prometheus/node_exporter#textfile-collector (checked 2026-11): files end in .prom, appear by rename.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.metrics.table import METRICS, Metric, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
READABLE = 0o644  # node_exporter runs as somebody else
_LINE = re.compile(r'(?P<name>\w+)\{kind="(?P<kind>\w*)"[^}]*\} \S+')


def exposition(samples: Sequence[Sample]) -> str:
    """Everything a scraper asks for."""
    return _page([(sample.metric.name, _line(sample)) for sample in samples])


def write_textfile(path: Path, samples: Sequence[Sample], *, kind: str) -> None:
    """Replace what the file says of `kind`, at once; what it says of the other kind stays.

    A last success that these samples do not know stays too: a command that fails must not make it forgotten.

    Raises:
        OSError: the folder cannot be written.
    """
    told = {sample.metric.name for sample in samples}
    kept = {metric.name for metric in METRICS if metric.outlives_the_command} - told
    before = [(name, line) for name, of_kind, line in _earlier(path) if of_kind != kind or name in kept]
    text = _page([*before, *((sample.metric.name, _line(sample)) for sample in samples)])
    fresh = path.with_name(f".{path.name}.{os.getpid()}")  # not .prom: nobody reads it half-written
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.chmod(READABLE)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _earlier(path: Path) -> Iterable[tuple[str, str, str]]:
    """Name, kind and text of each sample that the file has; foreign lines are forgotten."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is not None:
            yield match["name"], match["kind"], line


def _page(lines: Sequence[tuple[str, str]]) -> str:
    """Samples of one metric stand together, below what it is."""
    parts = []
    for metric in METRICS:
        own = [line for name, line in lines if name == metric.name]
        if own:
            parts += [*_head(metric), *own]
    return "".join(f"{part}\n" for part in parts)


def _head(metric: Metric) -> list[str]:
    return [f"# HELP {metric.name} {metric.meaning}", f"# TYPE {metric.name} {metric.type}"]


def _line(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
    return f"{sample.metric.name}{{{labels}}} {sample.value:.15g}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
