"""`demo`: an embedded tenant, a real export of it over HTTPS, and what came out."""

import asyncio
import secrets
import shutil
from datetime import timedelta
from pathlib import Path

from config.load import load_settings
from config.model import CONNECTOR_NAMES, Settings
from config.secrets import SecretReader
from connectors.emulator import Emulator, Tenant
from connectors.graph.budgets import Budgets
from connectors.graph.client import Manners
from pipeline.app import equip, utc_now
from pipeline.cli.console import Globals, out
from pipeline.cli.display import live_progress
from pipeline.cli.report import read_report, write_page
from pipeline.cli.summary import print_outcomes
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit, exit_of_outcomes
from pipeline.model import RunKind
from pipeline.progress import Progress
from pipeline.report.view import Report
from pipeline.run import Outcome, Request, export
from pipeline.telemetry import Log

SEED = 1
EAGER = Manners(budgets=Budgets.unpaced())  # nobody shares the embedded tenant
HISTORY = timedelta(days=14)
PAGE = "report.html"
MARKER = ".m365-export-demo"  # names a folder as ours: nothing else is ever overwritten


def demo(options: Globals, *, users: int, out_dir: Path) -> Exit:
    folder = out_dir.absolute()
    _clear(folder)
    progress = Progress()
    log = options.logger() if options.log_level == "debug" else _quiet(options)
    with live_progress(progress, shown=options.show_progress):
        outcomes, report = asyncio.run(_export(folder, users, log, progress))
    destination = folder / "data"
    print_outcomes(out(), outcomes, destination=f"file://{destination}", progress=progress)
    if report is not None:
        write_page(report, folder / PAGE)
        out().print(f"Read what it did: {folder / PAGE}", markup=False, soft_wrap=True)
    out().print(_look(destination), markup=False, highlight=False, soft_wrap=True)
    return exit_of_outcomes(outcomes)


def _clear(folder: Path) -> None:
    """Make room for a new demonstration; refuses a folder that holds anything else."""
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise ConfigurationError(f"--out: {folder} is not empty and not an earlier demonstration; name another folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()


def _quiet(options: Globals) -> Log:
    return Globals(options.config, options.log_format, "error", options.show_progress).logger()


async def _export(folder: Path, users: int, log: Log, progress: Progress) -> tuple[list[Outcome], Report | None]:
    tenant = Tenant(seed=SEED, users=users, now=utc_now(), history=HISTORY)
    async with Emulator(tenant, host="127.0.0.1", port=0) as emulator:
        settings, reader = _settings(emulator, folder)
        async with equip(
            settings, reader=reader, kind=RunKind.RUN, log=log, progress=progress, manners=EAGER
        ) as equipment:
            outcomes = await export(equipment, Request(kind=RunKind.RUN))
        report, _ = await read_report(settings, reader)
        return outcomes, report


def _settings(emulator: Emulator, folder: Path) -> tuple[Settings, SecretReader]:
    """The settings an operator would write for this tenant, with a salt that is thrown away."""
    environ = {"CLIENT_SECRET": emulator.client_secret, "SALT": secrets.token_urlsafe(24)}
    reader = SecretReader(environ=environ)
    keys: dict[str, object] = {
        "tenant.id": emulator.tenant_id,
        "tenant.authority": emulator.url,
        "tenant.graph": emulator.url,
        "tenant.ca_file": str(emulator.ca_file),
        "auth.method": "client-secret",
        "auth.client_id": emulator.client_id,
        "auth.client_secret": "env:CLIENT_SECRET",
        "connectors": {name: {} for name in CONNECTOR_NAMES},
        "privacy.salt": "env:SALT",
        "destination": f"file://{folder}/data",
        "state": f"file://{folder}/state",
    }
    return load_settings(None, environ={}, overrides=keys, reader=reader), reader


def _look(destination: Path) -> str:
    query = f"SELECT * FROM '{destination}/mail_messages/*/*.parquet' LIMIT 5"  # noqa: S608 - printed, never run
    return f'Look at the data:\n  .venv/bin/python -c "import duckdb; duckdb.sql(\\"{query}\\").show()"'
