"""`plan` against the emulated tenant: what it foresees is what the run then takes, for few requests of its own."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.emulator import MailboxKind, TenantProfile
from connectors.graph.budgets import Budgets
from connectors.graph.pacing import BudgetPacing
from pipeline.estimate import FEWEST_REQUESTS
from pipeline.forecast import Forecast, forecast
from pipeline.model import RunKind
from pipeline.run import Request
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site

# A few mailboxes hold most of the mail, as they do.
SKEWED = TenantProfile(large_mailboxes={number: 1_200 * (1 + number % 5) for number in range(0, 400, 13)})
CALM = replace(SKEWED, calls_per_week=1, meetings_per_week=6, chat_messages_per_week=2, one_on_one_chats=2)
MAIL_AND_CALENDAR: dict[str, object] = {"connectors": {"entra-id": {}, "outlook-mail": {}, "outlook-calendar": {}}}
SINCE, UNTIL = NOW - timedelta(days=24), NOW - timedelta(days=1)


async def foresee(site: Site, request: Request) -> tuple[Forecast, int]:
    """The forecast, and how many requests Graph had for it."""
    assert site.manners is not None
    assert site.manners.clock is not None
    site.manners = replace(site.manners, clock=replace(site.manners.clock, now=lambda: site.tenant.clock.now))
    before = graph_requests(site)
    async with site.equipment(request.kind) as equipment:
        found = await forecast(equipment, request, pacing=BudgetPacing(Budgets(), lanes=128))
    return found, graph_requests(site) - before


def graph_requests(site: Site) -> int:
    requests = site.emulator.counters.requests
    return requests.total() - requests["token"] - requests["discovery"]


async def hold_to_its_word(site: Site) -> Forecast:
    """Plan a backfill, make it, and compare."""
    found, spent = await foresee(site, Request(kind=RunKind.BACKFILL, since=SINCE, until=UNTIL))
    before = graph_requests(site)
    await site.backfill(SINCE, UNTIL)
    made = graph_requests(site) - before

    assert abs(found.requests.central - made) <= 0.2 * made
    assert found.requests.low <= made <= found.requests.high
    assert found.sample_requests <= max(FEWEST_REQUESTS, 0.02 * made)
    assert spent == found.sample_requests + found.directory_requests
    return found


async def test_a_backfill_takes_what_its_plan_says(open_site: OpenSite) -> None:
    """Over skewed mailboxes: within a fifth of the requests, for at most a fiftieth of them beside the directory."""
    site = await open_site(users=120, history=timedelta(days=25), profile=SKEWED, keys=MAIL_AND_CALENDAR)
    found = await hold_to_its_word(site)

    events = next(line.rows for line in found.datasets if line.dataset == "calendar_events")
    assert events.low <= len(site.query("calendar_events", "1")) <= events.high


async def test_mailboxes_are_asked_for_the_sample_only(open_site: OpenSite) -> None:
    """Without shared ones the run asks every mailbox; its plan does not, and says so much of it as well."""
    keys = {**MAIL_AND_CALENDAR, "scope.include_shared": False}
    site = await open_site(users=120, history=timedelta(days=25), profile=SKEWED, keys=keys)
    found = await hold_to_its_word(site)
    assert found.directory_requests < len(site.tenant.user_ids) / 4


async def test_teams_are_asked_for_the_sample_only(open_site: OpenSite) -> None:
    """Where the scope names groups the run asks each team for its members; its plan does not, and knows how many do."""
    profile = replace(CALM, groups=240, threads_per_week=2, one_on_one_chats=0, group_chats=0, meeting_chats=0)
    site = await open_site(users=40, history=timedelta(days=25), profile=profile)
    members = {group["id"]: site.tenant.truth.members(group["id"]) for group in site.tenant.truth.groups()}
    some = next(group for group, found in members.items() if len(found) == 8)
    site.keys = {"connectors": {"msft-teams": {}}, "scope.include_groups": [some]}
    found = await hold_to_its_word(site)
    assert found.directory_requests < len(site.tenant.groups.ids) / 8
    read = {row[0] for row in site.query("teams_teams", "id")}
    assert 0 < len(read) < len(site.tenant.truth.teams())


@pytest.mark.long
async def test_a_backfill_of_everything_takes_what_its_plan_says(open_site: OpenSite) -> None:
    """With Teams: chats that have one reader each, calls, and meetings that others lead to."""
    await hold_to_its_word(await open_site(users=400, history=timedelta(days=25), profile=CALM))


async def test_the_plan_of_a_night_knows_what_was_exported(open_site: OpenSite) -> None:
    """Without a range it is the next run's: one new day after a run; a small tenant costs a handful of requests."""
    site = await open_site(users=8, keys=MAIL_AND_CALENDAR)
    before_any, _ = await foresee(site, Request(kind=RunKind.RUN))
    await site.run()
    site.tenant.clock.advance(timedelta(days=1))
    files = site.written_bytes().keys()
    found, spent = await foresee(site, Request(kind=RunKind.RUN))
    assert site.written_bytes().keys() == files

    before = graph_requests(site)
    await site.run()
    made = graph_requests(site) - before
    assert spent <= FEWEST_REQUESTS + found.directory_requests
    assert abs(found.requests.central - made) <= 0.2 * made
    mail = [next(line for line in each.datasets if line.dataset == "mail_messages") for each in (before_any, found)]
    assert mail[1].rows.central < mail[0].rows.central / 4


async def test_a_dataset_without_permission_takes_nothing(open_site: OpenSite) -> None:
    """It is named with the reason, the others are estimated."""
    site = await open_site(users=8, keys=MAIL_AND_CALENDAR)
    site.emulator.app.roles[:] = [role for role in site.emulator.app.roles if not role.startswith("Group")]
    site.emulator.app.grant("Group.ReadBasic.All")
    found, _ = await foresee(site, Request(kind=RunKind.RUN))

    lines = {line.dataset: line for line in found.datasets}
    assert lines["entra_groups"].rows.central > 0
    assert (lines["entra_group_members"].limit, lines["entra_group_members"].requests.central) == ("permission", 0)
    assert lines["mail_messages"].requests.central >= len(site.tenant.users_of(MailboxKind.NORMAL))
