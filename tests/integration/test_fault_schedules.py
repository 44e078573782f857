"""Fault schedules: whatever goes wrong and in whichever order, an export is exact or says exactly what it lacks."""

from datetime import timedelta
from pathlib import Path

import pytest

from connectors.emulator import Emulator, Fault, Tenant, TenantProfile
from pipeline.errors import SourceRefused
from pipeline.manifest import Manifest
from pipeline.tally import UNIFORM_FAILURES
from tests.chaos_proxy import ChaosProxy
from tests.integration.conftest import NOW
from tests.integration.schedules import CONNECTORS, MANNERS, made_from, verdict
from tests.integration.site import Site
from tests.integration.truth import SETTLE, Truth

# What requests leaves of a connection that breaks in its TLS handshake is closed by the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

LOOKBACK = timedelta(days=3)
# Of everything something, and of nothing much.
LITTLE = TenantProfile(mail_per_week=40, one_on_one_chats=1, group_chats=1, meeting_chats=1, calls_per_week=8)
SEEDS, BATCH = 50, 10
KEYS: dict[str, object] = {"connectors": CONNECTORS, "initial_lookback": "3d"}


@pytest.fixture
def small_and_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collections of several pages without thousands of records; a silent token service costs no half minute."""
    monkeypatch.setattr("connectors.graph.issuer.CONNECT_S", 0.3)
    monkeypatch.setattr("connectors.graph.issuer.READ_S", 0.3)
    monkeypatch.setattr("connectors.outlook_mail.MESSAGES_PAGE_ITEMS", 12)
    monkeypatch.setattr("connectors.outlook_calendar.CALENDAR_VIEW_PAGE_ITEMS", 7)
    monkeypatch.setattr("connectors.msft_teams.chat_lists.CHATS_PAGE_ITEMS", 3)
    monkeypatch.setattr("connectors.msft_teams.export_function.EXPORTED_MESSAGES_PAGE_ITEMS", 5)


async def run_schedules(seeds: range, folder: Path) -> dict[str, int]:
    """How many ended complete, partial and refused. Fails with the seed of the first that ended wrongly."""
    tenant = Tenant(seed=3, users=6, now=NOW, history=LOOKBACK + SETTLE, profile=LITTLE)
    truth = Truth.of_first_run(tenant, NOW - LOOKBACK, NOW)
    assert all(truth.rows.values())
    ends = {"complete": 0, "partial": 0, "refused": 0}
    async with ChaosProxy() as proxy, Emulator(tenant, public_url=proxy.url) as emulator:
        proxy.upstream = emulator.port
        for seed in seeds:
            schedule = made_from(seed, tenant, truth)
            site = Site(tenant, emulator, folder / str(seed), KEYS, manners=MANNERS)
            site.folder.mkdir()
            emulator.faults.replace(schedule.faults)
            proxy.schedule(schedule.fates)
            manifest = await _run_or_refused(site)
            if manifest is not None:
                ends[manifest.status] += 1
                assert verdict(site, manifest, truth, schedule.poisoned) == [], f"schedule {seed}"
                continue
            ends["refused"] += 1
            assert not [path for path in site.written_bytes() if path.suffix == ".parquet"], f"schedule {seed}"
            emulator.faults.clear()
            proxy.schedule(())
            manifest = await site.run()  # the next night takes up what this one left, and lacks nothing
            assert manifest.status == "complete", f"schedule {seed}"
            assert verdict(site, manifest, truth) == [], f"schedule {seed}"
    return ends


async def _run_or_refused(site: Site) -> Manifest | None:
    """The manifest; None where not even the users could be listed, which is exit 3."""
    try:
        manifest = await site.run()
    except* SourceRefused:
        manifest = None
    return manifest


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
@pytest.mark.usefixtures("small_and_quick")
async def test_every_schedule_ends_exact_or_names_what_is_missing(first: int, tmp_path: Path) -> None:
    """Refusals, broken answers and broken connections, through a TCP proxy; most exports come through whole."""
    ends = await run_schedules(range(first, first + BATCH), tmp_path)
    assert sum(ends.values()) == BATCH
    assert ends["complete"] > 0


async def test_a_dataset_that_fails_everywhere_is_given_up(tmp_path: Path) -> None:
    """One cause for the first twenty mailboxes: the others are not asked, and the manifest has one line for all."""
    tenant = Tenant(seed=3, users=60, now=NOW, history=LOOKBACK, profile=TenantProfile.quiet())
    async with Emulator(tenant) as emulator:
        emulator.faults.replace([Fault(kind="messages", status=500, code="generalException")])
        site = Site(tenant, emulator, tmp_path, {**KEYS, "limits.mailboxes_in_flight": 8}, manners=MANNERS)
        manifest = await site.run()
        asked = emulator.counters.requests["messages"]
    failed = [(each.principal, each.dataset, each.reason) for each in manifest.failed]
    assert failed == [(None, "mail_messages", "service_error")]
    assert manifest.status == "partial"
    assert asked <= 6 * (UNIFORM_FAILURES + 8)
    assert manifest.datasets["mail_messages"].units.failed == 60
    assert manifest.datasets["calendar_events"].units.done == 60


async def test_a_tenant_whose_users_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    """Whatever Graph calls it: without the users nothing can be read, and nothing is written."""
    tenant = Tenant(seed=3, users=6, now=NOW, history=LOOKBACK)
    async with Emulator(tenant) as emulator:
        emulator.faults.replace([Fault(kind="users", status=403, code="ErrorAccessDenied")])
        site = Site(tenant, emulator, tmp_path, KEYS, manners=MANNERS)
        assert await _run_or_refused(site) is None
        assert not [path for path in site.written_bytes() if path.suffix == ".parquet"]
