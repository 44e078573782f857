"""An emulated tenant and an export of it, as an operator would set both up."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import structlog

from config.load import load_settings
from config.model import Settings
from config.secrets import SecretReader
from connectors.emulator import Emulator, Tenant
from connectors.graph.budgets import Budgets
from connectors.graph.client import Manners
from pipeline.app import equip
from pipeline.equipment import Equipment
from pipeline.manifest import Manifest
from pipeline.model import RunKind
from pipeline.run import Outcome, Request, export
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.thread_ids import treat_thread_id

SALT = "integration-salt-0123456789"
CONNECTORS = ("entra-id", "outlook-mail", "outlook-calendar", "msft-teams")


@dataclass(slots=True)
class Site:
    """One tenant, one destination, one state location."""

    tenant: Tenant
    emulator: Emulator
    folder: Path
    keys: dict[str, object] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    manners: Manners | None = field(default_factory=lambda: Manners(budgets=Budgets.unpaced()))

    def settings(self) -> tuple[Settings, SecretReader]:
        environ = {"CLIENT_SECRET": self.emulator.client_secret, "SALT": SALT, **self.environ}
        reader = SecretReader(environ=environ)
        return load_settings(None, environ={}, overrides=self.overrides(), reader=reader), reader

    def overrides(self) -> dict[str, object]:
        return {
            "tenant.id": self.emulator.tenant_id,
            "tenant.authority": self.emulator.url,
            "tenant.graph": self.emulator.url,
            "tenant.ca_file": str(self.emulator.ca_file),
            "auth.method": "client-secret",
            "auth.client_id": self.emulator.client_id,
            "auth.client_secret": "env:CLIENT_SECRET",
            "connectors": {name: {} for name in CONNECTORS},
            "privacy.salt": "env:SALT",
            "destination": f"file://{self.folder}/data",
            "state": f"file://{self.folder}/state",
            **self.keys,
        }

    @asynccontextmanager
    async def equipment(self, kind: RunKind, *, stop: asyncio.Event | None = None) -> AsyncIterator[Equipment]:
        settings, reader = self.settings()
        async with equip(
            settings,
            reader=reader,
            kind=kind,
            log=structlog.get_logger(),
            clock=lambda: self.tenant.clock.now,
            environ={},
            stop=stop,
            manners=self.manners,
        ) as equipment:
            yield equipment

    async def export(self, request: Request) -> list[Outcome]:
        async with self.equipment(request.kind) as equipment:
            return await export(equipment, request)

    async def run(self, *, until: datetime | None = None, accept_new_pseudonyms: bool = False) -> Manifest:
        return self._only(
            await self.export(Request(kind=RunKind.RUN, until=until, accept_new_pseudonyms=accept_new_pseudonyms))
        )

    async def backfill(self, since: datetime, until: datetime) -> Manifest:
        return self._only(await self.export(Request(kind=RunKind.BACKFILL, since=since, until=until)))

    def _only(self, outcomes: Sequence[Outcome]) -> Manifest:
        assert len(outcomes) == 1
        manifest = outcomes[0].manifest
        assert manifest is not None
        return manifest

    def query(self, dataset: str, columns: str, *, run: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
        """Rows over all files of a dataset, as any engine would read them."""
        files = f"{self.folder}/data/{dataset}/{run}/*.parquet"
        return duckdb.connect().execute(f"SELECT {columns} FROM read_parquet('{files}') WHERE {where}").fetchall()

    def duplicates(self, dataset: str, key: str) -> list[tuple[Any, ...]]:
        """Keys that occur more than once within a run."""
        files = f"{self.folder}/data/{dataset}/*/*.parquet"
        return (
            duckdb.connect()
            .execute(f"SELECT _run_id, {key}, count(*) FROM read_parquet('{files}') GROUP BY ALL HAVING count(*) > 1")
            .fetchall()
        )

    def written_bytes(self) -> Mapping[Path, bytes]:
        """Everything the export left behind: Parquet, manifests, state."""
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


def token(value: str) -> str:
    return Pseudonymizer(salt=SALT).token(value) or ""


def thread_token(value: str) -> str:
    return treat_thread_id(value, Pseudonymizer(salt=SALT).token) or ""
