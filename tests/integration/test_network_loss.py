"""The network to Microsoft goes away in the middle of an export, for everybody at once, and returns in time or not.

Waiting is 500 times as fast as it says, so what takes minutes at night takes a second here.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.emulator import Effect, Emulator, Fault, Tenant, TenantProfile
from pipeline.errors import ADVICE, FailReason
from pipeline.exits import Exit, exit_of_error, exit_of_outcomes
from pipeline.model import RunKind
from pipeline.run import Outcome, Request
from tests.chaos_proxy import ChaosProxy
from tests.integration.conftest import NOW
from tests.integration.schedules import CONNECTORS, MANNERS, verdict
from tests.integration.site import Site
from tests.integration.truth import COLUMNS, SETTLE, Truth

# What requests leaves of a connection that breaks in its TLS handshake is closed by the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LOOKBACK = timedelta(days=3)
LITTLE = TenantProfile(mail_per_week=40, one_on_one_chats=1, group_chats=1, meeting_chats=1, calls_per_week=8)
KEYS: dict[str, object] = {"connectors": CONNECTORS, "initial_lookback": "3d", "limits.mailboxes_in_flight": 2}
NOT_REWRITTEN = ("mail_messages", "teams_chat_messages", "teams_channel_messages")  # others are read again every run


@dataclass(frozen=True, slots=True)
class Line:
    """A tenant behind a line that can be cut, and what an undisturbed export of it carries."""

    proxy: ChaosProxy
    emulator: Emulator
    tenant: Tenant
    truth: Truth
    answers_bytes: int

    def site(self, folder: Path) -> Site:
        folder.mkdir()
        return Site(self.tenant, self.emulator, folder, KEYS, manners=MANNERS)


@asynccontextmanager
async def line(folder: Path) -> AsyncIterator[Line]:
    tenant = Tenant(seed=3, users=6, now=NOW, history=LOOKBACK + SETTLE, profile=LITTLE)
    async with ChaosProxy() as proxy, Emulator(tenant, public_url=proxy.url) as emulator:
        proxy.upstream = emulator.port
        truth = Truth.of_first_run(tenant, NOW - LOOKBACK, NOW)
        here = Line(proxy, emulator, tenant, truth, 0)
        calm = here.site(folder / "calm")
        assert verdict(calm, await calm.run(), truth) == []
        yield Line(proxy, emulator, tenant, truth, proxy.carried)


async def run(site: Site) -> Outcome:
    (outcome,) = await site.export(Request(kind=RunKind.RUN))
    return outcome


@pytest.mark.parametrize("tenths", [2, 5, 8])
async def test_a_network_that_returns_in_time_costs_nothing(tmp_path: Path, tenths: int) -> None:
    """Every connection is reset and some attempts at new ones fail: the run is complete and exact."""
    async with line(tmp_path) as here:
        site = here.site(tmp_path / "cut")
        here.proxy.cut(after=here.answers_bytes * tenths // 10, refuse=12)
        outcome = await run(site)
        assert here.proxy.refused == 12
    assert exit_of_outcomes([outcome]) is Exit.COMPLETE
    assert outcome.manifest is not None
    assert verdict(site, outcome.manifest, here.truth) == []


@pytest.mark.parametrize("tenths", [3, 6])
async def test_a_network_that_does_not_return_ends_the_run(tmp_path: Path, tenths: int) -> None:
    """Exit 4, what is missing is named with its reason `network`; the next run makes up for all of it."""
    async with line(tmp_path) as here:
        site = here.site(tmp_path / "cut")
        here.proxy.cut(after=here.answers_bytes * tenths // 10, refuse=None)
        outcome = await run(site)
        assert exit_of_outcomes([outcome]) is Exit.PARTIAL
        assert outcome.manifest is not None
        assert verdict(site, outcome.manifest, here.truth) == []
        assert {each.reason for each in outcome.manifest.failed} == {"network"}

        here.proxy.restore()
        assert exit_of_outcomes([await run(site)]) is Exit.COMPLETE
    for dataset, expected in here.truth.rows.items():
        found = set(site.query(dataset, COLUMNS[dataset]))
        assert found >= expected.keys(), dataset
        assert found == expected.keys() or dataset not in NOT_REWRITTEN, dataset
    mail = site.query("mail_messages", COLUMNS["mail_messages"])
    assert len(mail) == len(set(mail)), "what the first run had of a mailbox, the next one read again"


async def test_a_network_that_breaks_off_before_the_users_are_known_is_named(tmp_path: Path) -> None:
    """Exit 3: nothing can be read of anybody. What is asked for is a connection, not a permission."""
    tenant = Tenant(seed=3, users=2, now=NOW, history=LOOKBACK)
    async with Emulator(tenant) as emulator:
        emulator.faults.replace([Fault(kind="users", effect=Effect.RESET)])
        with pytest.raises(ExceptionGroup) as broken:
            await run(Site(tenant, emulator, tmp_path, KEYS, manners=MANNERS))
    code, cause = exit_of_error(broken.value)
    assert code is Exit.REFUSED
    assert ADVICE[FailReason.NETWORK].remedy in str(cause)
