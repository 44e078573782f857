"""Mail that is counted and does not come, comes while it is read, or goes: what Graph's counts find, over HTTPS."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from connectors.emulator import Effect, Fault, MailboxKind
from pipeline.completeness import Method
from pipeline.exits import Exit, exit_of_outcomes
from pipeline.manifest import Completeness, Manifest
from pipeline.model import RunKind
from pipeline.run import Request
from pipeline.telemetry import Event
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, token

MAIL = "mail_messages"
PAGE = 3
DAYS = timedelta(days=3)
KEYS: dict[str, object] = {"connectors": {"outlook-mail": {}}, "initial_lookback": "3d"}


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pages a mailbox without thousands of messages."""
    monkeypatch.setattr("connectors.outlook_mail.MESSAGES_PAGE_ITEMS", PAGE)


async def opened(open_site: OpenSite, **changes: Any) -> Site:
    return await open_site(users=8, history=DAYS, keys=KEYS | changes)


def mailbox_of(site: Site) -> str:
    """The mailbox of a user with several pages of mail."""
    return next(user for user in site.tenant.users_of(MailboxKind.NORMAL) if len(mail_of(site, user)) > 3 * PAGE)


def mail_of(site: Site, user: str) -> list[dict[str, Any]]:
    return site.tenant.truth.messages(user, NOW - DAYS, NOW)


def exported(site: Site, user: str, run: str = "*") -> list[str]:
    return sorted(row[0] for row in site.query(MAIL, "id, _owner", run=run) if row[1] == token(user))


def true_ids(site: Site, user: str) -> list[str]:
    return sorted(token(message["id"]) for message in mail_of(site, user))


def found(manifest: Manifest) -> Completeness:
    return manifest.datasets[MAIL].completeness


def incomplete(manifest: Manifest) -> list[tuple[str | None, str]]:
    return [(line.principal, line.dataset) for line in manifest.failed if line.reason == "incomplete"]


async def run_while(site: Site, user: str, change: Callable[[], object]) -> Manifest:
    """A run in which `change` happens after the first page of the user's mail was read."""
    second_page = Fault(kind="messages", mailbox=user, effect=Effect.HOLD, after=1, times=1)
    site.emulator.faults.replace([second_page])
    running = asyncio.create_task(site.run())
    await asyncio.wait_for(site.emulator.until_held(1), 60)
    change()
    site.emulator.release()
    return await running


async def test_every_message_was_counted(open_site: OpenSite) -> None:
    """Without a difference no request is made but those for the pages, and the numbers are the truth's."""
    site = await opened(open_site)
    manifest = await site.run()

    rows = manifest.datasets[MAIL].rows
    assert found(manifest) == Completeness(Method.COUNT, rows, rows)
    assert manifest.datasets["mailbox_settings"].completeness.method is Method.ENUMERATION
    assert manifest.datasets["entra_users"].completeness.method is Method.NONE
    pages = sum(max(1, -(-len(mail_of(site, user)) // PAGE)) for user in site.tenant.user_ids if mail_of(site, user))
    assert pages <= site.emulator.counters.requests["messages"] <= pages + len(site.tenant.user_ids)


async def test_a_next_link_that_is_lost_once_is_found_and_healed(open_site: OpenSite) -> None:
    """The unit is read once more, and nothing is missing or there twice."""
    site = await opened(open_site)
    user = mailbox_of(site)
    site.emulator.faults.replace([Fault(kind="messages", mailbox=user, after=1, times=1, effect=Effect.LOST_LINK)])
    [outcome] = await site.export(Request(kind=RunKind.RUN))

    assert outcome.manifest is not None
    assert exit_of_outcomes([outcome]) is Exit.COMPLETE
    rows = outcome.manifest.datasets[MAIL].rows
    assert found(outcome.manifest) == Completeness(Method.COUNT, rows, rows)
    assert exported(site, user) == true_ids(site, user)


async def test_next_links_that_stay_lost_make_the_run_partial_and_the_next_one_catches_up(open_site: OpenSite) -> None:
    """What came is published, whose mail is short is named, and no row is twice in a run."""
    site = await opened(open_site)
    user = mailbox_of(site)
    total = len(mail_of(site, user))
    site.emulator.faults.replace([Fault(kind="messages", mailbox=user, effect=Effect.LOST_LINK)])
    [outcome] = await site.export(Request(kind=RunKind.RUN))

    first = outcome.manifest
    assert first is not None
    assert exit_of_outcomes([outcome]) is Exit.PARTIAL
    assert (found(first).unexplained, found(first).changed_while_reading) == (total - PAGE, 0)
    assert (found(first).expected or 0) - found(first).exported == total - PAGE
    assert incomplete(first) == [(token(user), MAIL)]
    assert len(exported(site, user, first.run_id)) == PAGE

    site.emulator.faults.clear()
    site.tenant.clock.advance(timedelta(hours=3))
    second = await site.run()
    assert second.status == "complete"
    assert set(true_ids(site, user)) <= set(exported(site, user, second.run_id))
    assert site.duplicates(MAIL, "_owner, id") == []


async def test_mail_that_arrives_while_it_is_read_is_no_unexplained_difference(open_site: OpenSite) -> None:
    """A message slips in behind the page that is being read: between the two counts, and exported."""
    site = await opened(open_site)
    user = mailbox_of(site)
    last = datetime.fromisoformat(mail_of(site, user)[-1]["receivedDateTime"][:19]).replace(tzinfo=UTC)
    manifest = await run_while(
        site, user, lambda: site.tenant.deliver_messages(user, count=1, at=last + timedelta(seconds=1))
    )

    assert manifest.status == "complete"
    assert (found(manifest).changed_while_reading, found(manifest).unexplained) == (1, 0)
    assert found(manifest).exported == (found(manifest).expected or 0) + 1
    assert exported(site, user) == true_ids(site, user)


async def test_mail_deleted_while_it_is_read_hides_no_other(open_site: OpenSite) -> None:
    """Pages move up by one, so a message falls between two of them; the second reading has it."""
    site = await opened(open_site)
    user = mailbox_of(site)
    gone = mail_of(site, user)[0]["id"]
    manifest = await run_while(site, user, lambda: site.tenant.remove_message(user, gone))

    assert manifest.status == "complete"
    assert (found(manifest).changed_while_reading, found(manifest).unexplained) == (1, 0)
    assert exported(site, user) == true_ids(site, user)
    assert token(gone) not in exported(site, user)


async def test_each_chosen_folder_is_counted(open_site: OpenSite) -> None:
    """A link lost in the second folder is found as well; a folder named twice is one folder."""
    folders = ["sentitems", "inbox", "SentItems"]
    site = await opened(open_site, connectors={"outlook-mail": {"folders": folders}})
    complete = await site.run()
    rows = complete.datasets[MAIL].rows
    assert found(complete) == Completeness(Method.COUNT, rows, rows)

    user = mailbox_of(site)
    fault = Fault(kind="messages", mailbox=user, path="*/inbox/*", effect=Effect.LOST_LINK)
    site.emulator.faults.replace([fault])
    backfill = await site.backfill(NOW - DAYS, NOW)
    assert backfill.status == "partial"
    assert found(backfill).unexplained > 0
    assert incomplete(backfill) == [(token(user), MAIL)]


async def test_a_damaged_message_is_accounted_for(open_site: OpenSite) -> None:
    """Graph counts it and cannot read it: it is rejected, which is no difference."""
    site = await opened(open_site)
    user = mailbox_of(site)
    damaged = mail_of(site, user)[PAGE + 1]["id"]
    site.emulator.faults.replace([Fault(kind="messages", mailbox=user, item=damaged, effect=Effect.POISON)])
    manifest = await site.run()

    line = manifest.datasets[MAIL]
    assert line.rejected == {"damaged_at_source": 1}
    assert line.completeness == Completeness(Method.COUNT, line.rows + 1, line.rows)
    assert incomplete(manifest) == []


async def test_the_log_says_whose_mail_is_short(open_site: OpenSite) -> None:
    """Numbers and a pseudonym."""
    site = await opened(open_site)
    user = mailbox_of(site)
    total = len(mail_of(site, user))
    site.emulator.faults.replace([Fault(kind="messages", mailbox=user, effect=Effect.LOST_LINK)])
    with capture_logs() as lines:
        await site.run()

    assert [line for line in lines if line["event"] == Event.UNIT_INCOMPLETE] == [
        {
            "event": Event.UNIT_INCOMPLETE,
            "log_level": "error",
            "dataset": MAIL,
            "principal": token(user),
            "expected": total,
            "rows": PAGE,
            "changed": 0,
            "unexplained": total - PAGE,
        }
    ]
    (finished,) = [line for line in lines if line["event"] == Event.RUN_FINISHED]
    assert finished["unexplained"] == total - PAGE
