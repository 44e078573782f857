"""Starts the exporter for a measurement, and turns what it took into the figures that are shown."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.answers import Scene
from benchmarks.exporter import Job, leave_nights_before
from benchmarks.measuring import own, started
from benchmarks.page_server import Site


def exported(scene: Scene, site: Site, folder: Path, *, rows: int | None = None, **options: Any) -> dict[str, Any]:
    """What one export takes. `folder` is its own; `options` are those of a `Job`.

    Raises:
        RuntimeError: it did not export as many rows as it should: all of the scene, unless `rows` says how many.
    """
    folder.mkdir()
    job = folder / "job.json"
    wanted = Job(site=site, scene=scene, folder=str(folder), **options)
    job.write_bytes(msgspec.json.encode(wanted))
    if wanted.is_nightly:
        asyncio.run(leave_nights_before(wanted))
    with started(own("benchmarks.exporter", str(job))) as exporter:
        figures = exporter.told()
    expected = scene.rows if rows is None else rows
    if figures["rows"] != expected:
        raise RuntimeError(f"{figures['rows']} rows of {expected}")
    return figures


def rates(figures: Mapping[str, float], *, rows: int) -> dict[str, float]:
    """The figures of whoever reads so many rows."""
    return {
        "rows / CPU s": rows / figures["cpu_s"],
        "rows / s": rows / figures["wall_s"],
        "base MiB": figures["base_mib"],
        "peak MiB": figures["peak_mib"],
    }
