"""What failed last night is read tonight, from where that principal's own watermark stands."""

from datetime import datetime, timedelta

import pytest

from connectors.emulator import Fault, MailboxKind
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, token
from tests.integration.test_export import exported, parse_instant_text, readable, true_messages

DAY = timedelta(days=1)
MAIL_ONLY: dict[str, object] = {"connectors": {"outlook-mail": {}}}


def true_mail_of(site: Site, user: str, start: datetime, end: datetime) -> set[tuple[str, str]]:
    return {(token(user), token(message["id"])) for message in site.tenant.truth.messages(user, start, end)}


def broken(kind: str, user: str) -> Fault:
    return Fault(kind=kind, mailbox=user, status=500, code="ErrorInternalServerError")


async def test_a_mailbox_that_failed_is_caught_up_from_its_own_watermark(open_site: OpenSite) -> None:
    """Two nights' mail of the one, one night's mail of all others; contacts, which did not fail, are not repeated."""
    site = await open_site(users=8, keys=MAIL_ONLY)
    unlucky = site.tenant.users_of(MailboxKind.NORMAL)[0]
    await site.run()
    site.tenant.clock.advance(DAY)
    site.emulator.faults.replace([broken("messages", unlucky)])
    second = await site.run()
    assert second.status == "partial"
    assert [(line.principal, line.dataset) for line in second.failed] == [(token(unlucky), "mail_messages")]
    missed = true_mail_of(site, unlucky, NOW, NOW + DAY)
    assert missed
    assert exported(site, "mail_messages", "_owner, id", second.run_id) == true_messages(site, NOW, NOW + DAY) - missed

    site.emulator.faults.replace([])
    site.tenant.clock.advance(DAY)
    third = await site.run()
    assert third.status == "complete"
    tonight = true_messages(site, NOW + DAY, NOW + 2 * DAY)
    assert exported(site, "mail_messages", "_owner, id", third.run_id) == tonight | missed
    assert site.duplicates("mail_messages", "_owner, id") == []


async def test_a_failed_calendar_keeps_its_overlap_when_it_is_caught_up(open_site: OpenSite) -> None:
    """Its window begins an overlap before its own watermark, that of the others before theirs."""
    site = await open_site(users=6, keys={"connectors": {"outlook-calendar": {}}})
    unlucky = site.tenant.users_of(MailboxKind.NORMAL)[0]
    await site.run()
    site.emulator.faults.replace([broken("calendarView", unlucky)])
    site.tenant.clock.advance(3 * DAY)
    await site.run()
    site.emulator.faults.replace([])
    site.tenant.clock.advance(DAY)
    third = await site.run()

    end = NOW + 4 * DAY
    expected = set()
    for user in readable(site):
        start = (NOW if user == unlucky else NOW + 3 * DAY) - timedelta(days=7)
        expected |= {
            (token(user), token(event["id"]))
            for event in site.tenant.truth.events(user, start, end)
            if start <= parse_instant_text(event["start"]["dateTime"]) < end
        }
    assert exported(site, "calendar_events", "_owner, id", third.run_id) == expected


@pytest.mark.parametrize("nights", [1, 40])
async def test_a_mailbox_that_failed_for_long_misses_nothing(open_site: OpenSite, nights: int) -> None:
    """However long ago its watermark is: also where that is more than one window of a unit, or the first lookback."""
    site = await open_site(users=3, keys=MAIL_ONLY)
    unlucky = site.tenant.users_of(MailboxKind.NORMAL)[0]
    await site.run()
    site.emulator.faults.replace([broken("messages", unlucky)])
    site.tenant.clock.advance(nights * DAY)
    await site.run()
    site.emulator.faults.replace([])
    third = await site.run(until=site.tenant.clock.now)
    caught_up = {row for row in exported(site, "mail_messages", "_owner, id", third.run_id) if row[0] == token(unlucky)}
    assert caught_up == true_mail_of(site, unlucky, NOW, NOW + nights * DAY)
