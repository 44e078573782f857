"""What a run does about a unit of which something may be missing: published, listed, and read again by the next run."""

from datetime import timedelta
from io import StringIO

import pytest
from rich.console import Console

from pipeline.cli.summary import print_manifest
from pipeline.completeness import Method
from pipeline.execution import TRIES_OF_A_DIFFERENCE
from pipeline.exits import Exit, exit_of_outcomes
from pipeline.manifest import Completeness, Manifest
from pipeline.model import RunKind
from pipeline.run import Request, export
from tests.harness import NOW, Harness, SmallTenant
from tests.unit.test_run import RUN, run_once

MAIL = "mail_messages"
EVER = 1_000


def incomplete(manifest: Manifest) -> list[tuple[str, str | None]]:
    return [(line.dataset, line.principal) for line in manifest.failed if line.reason == "incomplete"]


async def night(harness: Harness, number: int) -> Manifest:
    harness.now = NOW + timedelta(days=number)
    return await run_once(harness)


async def test_units_that_agree_cost_no_request() -> None:
    """Count and enumeration by dataset; the directory, of which nobody knows, says so."""
    harness = Harness(SmallTenant.with_mail(users=3, messages=7))
    manifest = await run_once(harness)

    assert manifest.datasets[MAIL].completeness == Completeness(Method.COUNT, 21, 21)
    assert manifest.datasets["mailbox_settings"].completeness == Completeness(Method.ENUMERATION, 3, 3)
    assert manifest.datasets["entra_users"].completeness == Completeness(Method.NONE, None, 3)
    assert harness.tenant.requests[f"{MAIL}/$count"] == 0


async def test_a_difference_that_heals_is_none() -> None:
    """The second reading replaces the first: every message once."""
    tenant = SmallTenant.with_mail(users=2, messages=7)
    tenant.withheld[tenant.users[0]] = [0] * 14 + [4]  # the last of the windows of two days in thirty
    harness = Harness(tenant)
    manifest = await run_once(harness)

    assert manifest.status == "complete"
    assert manifest.datasets[MAIL].completeness == Completeness(Method.COUNT, 14, 14)
    assert harness.message_tokens() == {row["id"] for row in harness.rows(MAIL)}
    assert set(harness.keys(MAIL).values()) == {1}
    assert tenant.requests[f"{MAIL}/$count"] == 1


async def test_a_difference_that_stays_makes_the_run_partial_and_is_caught_up() -> None:
    """What came is published; the others' watermarks move, this one's stays, and the next run lacks nothing."""
    tenant = SmallTenant.with_mail(users=2, messages=7)
    short, other = tenant.users
    tenant.withheld[short] = [4] * EVER
    harness = Harness(tenant)
    [outcome] = await export(harness.equip(), RUN)
    manifest = outcome.manifest
    assert manifest is not None

    assert exit_of_outcomes([outcome]) is Exit.PARTIAL
    assert manifest.datasets[MAIL].completeness == Completeness(Method.COUNT, 14, 10, 0, 4)
    assert manifest.datasets[MAIL].rows == 10
    assert [dataset for dataset, _ in incomplete(manifest)] == [MAIL]

    tenant.withheld.clear()
    tenant.deliver(other, "new", NOW)
    second = await night(harness, 1)
    assert second.status == "complete"
    assert second.datasets[MAIL].rows == 7 + 1
    assert harness.message_tokens() == {row["id"] for row in harness.rows(MAIL)}
    assert set(harness.keys(MAIL).values()) == {1}


async def test_a_difference_that_never_ends_is_left_after_some_runs() -> None:
    """Otherwise one mailbox would be read from the same day on for ever."""
    tenant = SmallTenant.with_mail(users=1, messages=7)
    tenant.withheld[tenant.users[0]] = [1] * EVER
    harness = Harness(tenant)
    for number in range(TRIES_OF_A_DIFFERENCE):
        assert (await night(harness, number)).datasets[MAIL].rows == 6
    after = await night(harness, TRIES_OF_A_DIFFERENCE)
    assert (after.status, after.datasets[MAIL].rows) == ("complete", 0)


async def test_backfills_between_do_not_count_as_tries() -> None:
    """Only a run would move the watermark."""
    tenant = SmallTenant.with_mail(users=1, messages=7)
    tenant.withheld[tenant.users[0]] = [1] * EVER
    harness = Harness(tenant)
    for number in range(TRIES_OF_A_DIFFERENCE):
        harness.now = NOW + timedelta(hours=number)
        await run_once(harness, Request(kind=RunKind.BACKFILL, since=NOW - timedelta(days=1), until=NOW))
    await night(harness, 1)
    assert (await night(harness, 2)).datasets[MAIL].rows == 6


async def test_an_interrupted_run_keeps_what_it_found() -> None:
    """Findings of units that an earlier attempt published count in the manifest of the attempt that seals."""
    tenant = SmallTenant.with_mail(users=6, messages=10)
    tenant.withheld = {user: [2] * EVER for user in tenant.users}
    harness = Harness(tenant, part_size_bytes=1)
    equipment = harness.equip()
    published: list[int] = []

    class StopAfterTwoParts:
        def __init__(self) -> None:
            self._log = equipment.log

        def info(self, event: str, **facts: object) -> None:
            if event == "part_published" and facts["dataset"] == MAIL:
                published.append(1)
                if len(published) == 2:
                    equipment.stop.set()

        warning = error = info

    object.__setattr__(equipment, "log", StopAfterTwoParts())
    [stopped] = await export(equipment, RUN)
    assert stopped.interrupted
    tenant.withheld.clear()
    manifest = await run_once(harness)

    found = manifest.datasets[MAIL].completeness
    assert (found.method, found.expected) == ("count", 60)
    assert 0 < found.unexplained == 60 - found.exported < 12
    assert len(incomplete(manifest)) * 2 == found.unexplained
    assert manifest.status == "partial"
    assert set(harness.keys(MAIL).values()) == {1}


async def test_each_half_of_a_divided_window_is_counted_for_itself() -> None:
    """The counts of the halves add up to the whole."""
    harness = Harness(SmallTenant.with_mail(users=1, messages=40), memory_bytes=24_000)
    manifest = await run_once(harness)
    assert manifest.datasets[MAIL].units.done > 15
    assert manifest.datasets[MAIL].completeness == Completeness(Method.COUNT, 40, 40)


@pytest.mark.parametrize("method", ["count", "enumeration", "none"])
async def test_the_manifest_spells_the_methods_as_promised(method: str) -> None:
    """A public contract."""
    harness = Harness(SmallTenant.with_mail(users=1, messages=1))
    manifest = await run_once(harness)
    text = harness.bucket.objects[f"_manifests/{manifest.run_id}.json"].decode()
    assert f'"method": "{method}"' in text


async def test_a_first_run_that_lacks_something_is_repeated_from_where_it_began() -> None:
    """Not from the lookback of the next run, which begins later: the oldest message is the one that did not come."""
    tenant = SmallTenant.with_mail(users=1, messages=0)
    user = tenant.users[0]
    tenant.deliver(user, "oldest", NOW - timedelta(days=30))
    tenant.withheld[user] = [1] * 2
    harness = Harness(tenant)
    assert (await night(harness, 0)).datasets[MAIL].rows == 0
    assert (await night(harness, 1)).datasets[MAIL].rows == 1


async def test_the_operator_is_told_how_much_is_unaccounted_for() -> None:
    """In the summary of the command, whatever else it says."""
    tenant = SmallTenant.with_mail(users=1, messages=7)
    tenant.withheld[tenant.users[0]] = [4] * EVER
    shown = Console(file=StringIO(), width=200)
    print_manifest(shown, await run_once(Harness(tenant)), destination="memory://")
    assert isinstance(shown.file, StringIO)
    assert "mail_messages: 4 of 7 records are unaccounted for" in shown.file.getvalue()
    assert "incomplete 1" in shown.file.getvalue()
