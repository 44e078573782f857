"""A storm of refusals, breaks and heavy pages: the export is exact, polite, and as quick as it may be."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

from connectors.emulator import Body, Effect, Emulator, Fault, MailboxKind, Tenant, TenantProfile
from connectors.graph.clock import GraphClock
from pipeline.model import Window
from tests.integration.conftest import NOW
from tests.integration.line import ids, open_line, read_unit, user
from tests.integration.schedules import LEARNT, verdict
from tests.integration.site import Site
from tests.integration.storm import HISTORY, KEYS, Pace, sail, stormy_tenant
from tests.integration.truth import COLUMNS, Truth

TEAMS_ONLY = TenantProfile(mail_per_week=1, one_on_one_chats=1, group_chats=1, meeting_chats=1)


async def test_a_storm_over_twenty_mailboxes(tmp_path: Path) -> None:
    """Every fifth request refused, 503 without a word, resets, 504 on big pages, tokens of a minute.

    How long it takes is measured over a larger tenant, in `tests/long`, where nothing else runs beside it.
    """
    tenant = stormy_tenant(users=20, mail_per_week=60)
    async with Emulator(tenant, token_lifetime_s=60) as emulator:
        site = Site(tenant, emulator, tmp_path, KEYS)
        voyage = await sail(site, Pace(latency_s=0.1, retry_after_s=0.4, back_off_s=0.4))
        print(voyage.figures(site))
        assert voyage.manifest.status == "complete"
        assert verdict(site, voyage.manifest, voyage.truth) == []
    counters = emulator.counters
    assert counters.inside_fence == 0
    assert max(counters.max_in_flight.values()) <= 4


async def test_a_storm_over_teams_and_calls(tmp_path: Path) -> None:
    """Every sixth request refused, 503 without a word, resets: everything is there once, and nothing else."""
    tenant = Tenant(seed=3, users=6, now=NOW, history=timedelta(days=4), profile=TEAMS_ONLY)
    async with Emulator(tenant) as emulator:
        emulator.faults.replace(
            [
                Fault(path="/v1.0/*", every=6, status=429, code="TooManyRequests", retry_after=0.3),
                Fault(path="/v1.0/*", every=17, status=503, body=Body.EMPTY),
                Fault(path="/v1.0/*", every=23, effect=Effect.RESET),
                Fault(path="/v1.0/*", every=29, effect=Effect.RESET_BODY),
            ]
        )
        keys: dict[str, object] = {"connectors": {"msft-teams": {}}, "initial_lookback": "3d"}
        site = Site(tenant, emulator, tmp_path, keys, manners=Pace(back_off_s=0.2).manners)
        manifest = await site.run()
        teams = [name for name in COLUMNS if name.startswith("teams_") and name not in LEARNT]
        truth = Truth.of_first_run(tenant, manifest.window.from_, manifest.window.to).of_datasets(*teams)
        assert manifest.status == "complete"
        assert verdict(site, manifest, truth) == []
        assert site.query("teams_online_meetings", "id")
    assert emulator.counters.refusals.total() > 20


async def test_one_throttled_mailbox_does_not_slow_the_others() -> None:
    """All others are read while it still waits behind its fence of half a minute; the figures are printed."""
    without_s, beside_s, is_waiting = await times_without_and_beside_a_throttled_mailbox()
    print({"without": f"{without_s:.2f} s", "beside a throttled mailbox": f"{beside_s:.2f} s"})
    assert is_waiting


async def times_without_and_beside_a_throttled_mailbox() -> tuple[float, float, bool]:
    """Seconds to read all others, both ways, and whether the throttled one was still waiting when they were read."""
    tenant = Tenant(seed=11, users=20, now=NOW, history=HISTORY)
    readable = tenant.users_of(MailboxKind.NORMAL)
    slow, *rest = readable
    expected = [ids(tenant.truth.messages(each, NOW - HISTORY, NOW)) for each in rest]

    async def read_all(*faults: Fault) -> tuple[float, bool]:
        window = Window(NOW - HISTORY, NOW)
        async with open_line(tenant, *faults, clock=GraphClock()) as line:
            source = line.source("outlook-mail", "mail_messages")
            started_s = time.monotonic()
            throttled = asyncio.ensure_future(read_unit(source, user(slow), window))
            others = [read_unit(source, user(each), window) for each in rest]
            found = await asyncio.gather(*others)
            took_s, is_waiting = time.monotonic() - started_s, not throttled.done()
            throttled.cancel()
            await asyncio.gather(throttled, return_exceptions=True)
        assert [ids(records) for records in found] == expected
        return took_s, is_waiting

    latency = Fault(effect=Effect.SLOW, seconds=0.1)
    fence = Fault(mailbox=slow, status=429, code="ApplicationThrottled", retry_after=30)
    without_s, _ = await read_all(latency)
    beside_s, is_waiting = await read_all(fence, latency)
    return without_s, beside_s, is_waiting
