"""The storm at the size of a small organisation: 200 mailboxes, 50,000 messages."""

import json
from pathlib import Path

import pytest

from connectors.emulator import Emulator
from tests.integration.schedules import verdict
from tests.integration.site import Site
from tests.integration.storm import KEYS, Pace, sail, stormy_tenant
from tests.integration.test_storm import times_without_and_beside_a_throttled_mailbox

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


async def test_a_storm_over_two_hundred_mailboxes(tmp_path: Path) -> None:
    """Exact, never inside a fence, never five requests in a mailbox, busy, and half as long again at most."""
    tenant = stormy_tenant(users=200, mail_per_week=70)
    async with Emulator(tenant, token_lifetime_s=60) as emulator:
        site = Site(tenant, emulator, tmp_path, KEYS)
        voyage = await sail(site, Pace())
        print(json.dumps(voyage.figures(site), indent=2))
        assert len(voyage.truth.messages) >= 50_000
        assert voyage.manifest.status == "complete"
        assert verdict(site, voyage.manifest, voyage.truth) == []
    counters = emulator.counters
    assert counters.inside_fence == 0
    assert max(counters.max_in_flight.values()) <= 4
    assert counters.median_in_flight >= 8
    assert counters.requests["token"] >= 2
    assert voyage.took_s <= 1.5 * max(voyage.demanded_s, voyage.computed_s)


async def test_the_others_take_no_longer_beside_a_throttled_mailbox() -> None:
    """As long beside it as without it, within half as long again."""
    without_s, beside_s, is_waiting = await times_without_and_beside_a_throttled_mailbox()
    print({"without": f"{without_s:.2f} s", "beside a throttled mailbox": f"{beside_s:.2f} s"})
    assert is_waiting
    assert beside_s < 1.5 * without_s + 0.2
