"""A client of the emulated tenant and the sources it reads, without a run around them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.emulator import Emulator, Fault, Tenant
from connectors.graph.auth import Tokens
from connectors.graph.client import GraphClient
from connectors.graph.clock import GraphClock
from connectors.graph.connector import Select
from connectors.graph.credentials import ClientSecret, Credential
from connectors.graph.issuer import MsalIssuer
from connectors.graph.network import Network
from connectors.graph.throttle import Governor
from connectors.options import ConnectorOptions
from connectors.registry import build
from pipeline.errors import UnitReadAgain
from pipeline.model import Principal, PrincipalKind, Unit, Window
from pipeline.ports import Connector, Source
from pipeline.sanitize.rules import built_in_rules

SELECT: Select = {dataset: tuple(rules.select("strict")) for dataset, rules in built_in_rules().items()}
SPEED = 500  # seconds of waiting that pass in one real second
FAST = GraphClock(monotonic=lambda: SPEED * time.monotonic(), sleep=lambda seconds: asyncio.sleep(seconds / SPEED))


@dataclass(frozen=True)
class Line:
    """An open client of one emulator."""

    emulator: Emulator
    client: GraphClient
    governor: Governor

    def connector(self, name: str, **options: Any) -> Connector:
        return build(name, client=self.client, select=SELECT, options=ConnectorOptions(**options))

    def source(self, connector: str, dataset: str, **options: Any) -> Source:
        sources = self.connector(connector, **options).sources
        return next(source for source in sources if source.dataset == dataset)


@asynccontextmanager
async def open_line(
    tenant: Tenant,
    *faults: Fault,
    credential: Credential | None = None,
    client_id: str | None = None,
    continuous_access: bool = False,
    clock: GraphClock = FAST,
) -> AsyncIterator[Line]:
    """Serves the tenant with these faults, and reads it with all roles unless told otherwise."""
    async with Emulator(tenant) as running:
        running.faults.replace(faults)
        governor = Governor(clock=clock)
        network = Network(ca_file=Path(running.ca_file))
        issuer = MsalIssuer(
            credential=credential or ClientSecret(running.client_secret),
            client_id=client_id or running.client_id,
            tenant_id=running.tenant_id,
            authority=running.url,
            scope="https://graph.microsoft.com/.default",
            known_authority=False,
            continuous_access=continuous_access,
            network=network,
        )
        client = GraphClient(graph=running.url, tokens=Tokens(issuer), governor=governor, network=network, clock=clock)
        async with client:
            yield Line(running, client, governor)


async def read_unit(source: Source, principal: Principal, window: Window | None = None) -> list[dict[str, Any]]:
    """All records of a unit, read the way a run reads it."""
    records, _ = await read_with_damage(source, principal, window)
    return records


async def read_with_damage(
    source: Source, principal: Principal, window: Window | None = None
) -> tuple[list[dict[str, Any]], int]:
    """All records of a unit, and how many could not be had."""
    unit = Unit(source.dataset, principal, window)
    while True:
        records: list[dict[str, Any]] = []
        damaged = 0
        try:
            async for page in source.pages(unit):
                records += json.loads(page.records)
                damaged += page.damaged
        except UnitReadAgain:
            continue
        return records, damaged


def user(user_id: str) -> Principal:
    return Principal(PrincipalKind.USER, user_id)


def ids(records: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(record["id"] for record in records)
