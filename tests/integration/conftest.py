"""A tenant for each test, over HTTPS."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.emulator import Emulator, Tenant, TenantProfile
from connectors.graph.client import Manners
from tests.graph_server import JumpingClock
from tests.integration.site import Site

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
OpenSite = Callable[..., Awaitable[Site]]


@pytest.fixture
async def open_site(tmp_path: Path) -> AsyncIterator[OpenSite]:
    """Opens sites: `await open_site(users=…, profile=…, keys={…})`."""
    async with AsyncExitStack() as stack:

        async def open_(
            *,
            users: int = 12,
            seed: int = 7,
            history: timedelta = timedelta(days=10),
            profile: TenantProfile | None = None,
            keys: dict[str, object] | None = None,
            **emulator: Any,
        ) -> Site:
            tenant = Tenant(seed=seed, users=users, now=NOW, history=history, profile=profile or TenantProfile())
            served = await stack.enter_async_context(Emulator(tenant, host="127.0.0.1", port=0, **emulator))
            served.app.grant("Calendars.Read")  # so that what is not to leave could come, if it were asked for
            # The emulator holds nobody to a rate unless it is asked to, so there is nothing to wait for.
            return Site(tenant, served, tmp_path, keys or {}, manners=Manners(clock=JumpingClock().graph_clock()))

        yield open_
