"""The views of docs/queries over exports of several nights give what the tenant holds."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from connectors.emulator import Fault, MailboxKind, TeamKind
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, thread_token, token
from tests.integration.test_export import parse_instant_text, readable
from tests.integration.truth import COLUMNS

QUERIES = Path(__file__).parents[2] / "docs" / "queries"
DAY = timedelta(days=1)
LOOKBACK = timedelta(days=30)
SETTLED = NOW - DAY


def current(site: Site, dataset: str, columns: str) -> Counter[tuple[Any, ...]]:
    """Rows of the view `current_<dataset>`, created as the page says."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET VARIABLE export = '{site.folder}/data'")
    connection.execute((QUERIES / "runs.sql").read_text())
    connection.execute((QUERIES / "current" / f"{dataset}.sql").read_text())
    return Counter(connection.execute(f"SELECT {columns} FROM current_{dataset}").fetchall())


def ids(records: Iterable[dict[str, Any]]) -> set[str]:
    return {token(record["id"]) for record in records}


def begin(record: dict[str, Any]) -> datetime:
    start = record["start"]["dateTime"] if "start" in record else record["startDateTime"]
    return parse_instant_text(start)


def true_events(site: Site, start: datetime, end: datetime) -> set[tuple[str, str, datetime]]:
    """What begins in the time, with its begin."""
    return {
        (token(user), token(event["id"]), begin(event))
        for user in readable(site)
        for event in site.tenant.truth.events(user, start, end)
        if start <= begin(event) < end
    }


def current_events(site: Site) -> Counter[tuple[Any, ...]]:
    rows = current(site, "calendar_events", "_owner, id, epoch_us(start.dateTime)")
    epoch = datetime.fromisoformat("1970-01-01T00:00:00Z")
    return Counter({(owner, key, epoch + timedelta(microseconds=at)): n for (owner, key, at), n in rows.items()})


def test_every_dataset_has_a_view() -> None:
    """And there is none of a dataset that is gone."""
    assert sorted(COLUMNS) == sorted(path.stem for path in (QUERIES / "current").glob("*.sql"))


async def test_after_one_run_the_views_are_the_rows(open_site: OpenSite) -> None:
    """Nothing is taken away where nothing happened."""
    site = await open_site(users=8)
    await site.run()
    for dataset, key in COLUMNS.items():
        assert current(site, dataset, key) == Counter(site.query(dataset, key)), dataset


async def test_of_several_rows_the_newest_counts(open_site: OpenSite) -> None:
    """In every dataset, over nights, a backfill and its repetition: at most one row a key, none older than another."""
    site = await open_site(users=8)
    await site.run()
    site.tenant.clock.advance(DAY)
    await site.run()
    for _ in range(2):
        await site.backfill(NOW - 6 * DAY, NOW - 2 * DAY)
        site.tenant.clock.advance(timedelta(seconds=2))
    for dataset, key in COLUMNS.items():
        newest: dict[tuple[Any, ...], str] = {}
        for *columns, run_id in site.query(dataset, f"{key}, _run_id"):
            newest[tuple(columns)] = max(run_id, newest.get(tuple(columns), ""))
        rows = current(site, dataset, f"{key}, _run_id")
        assert set(rows.values()) == {1}, dataset
        assert {(*columns, run_id) for columns, run_id in newest.items()} >= set(rows), dataset
        if dataset in (
            "mail_messages",
            "teams_chats",
            "teams_chat_messages",
            "teams_channel_messages",
            "teams_online_meetings",
            "teams_attendance_reports",
        ):
            assert len(rows) == len(newest), dataset


async def test_the_directory_is_as_the_last_run_found_it(open_site: OpenSite) -> None:
    """Who and what was deleted is gone: users, memberships, settings of mailboxes, teams, channels."""
    site = await open_site(users=12)
    await site.run()
    leaver = site.tenant.users_of(MailboxKind.NORMAL)[-1]
    (archived,) = site.tenant.teams_of(TeamKind.ARCHIVED)
    site.tenant.remove_user(leaver)
    site.tenant.remove_team(archived)
    site.tenant.clock.advance(DAY)
    await site.run()

    truth = site.tenant.truth
    assert set(current(site, "entra_users", "id")) == {(each,) for each in ids(truth.users())}
    assert set(current(site, "entra_groups", "id")) == {(each,) for each in ids(truth.groups())}
    assert set(current(site, "entra_group_members", "_owner, id")) == {
        (token(group["id"]), each) for group in truth.groups() for each in ids(truth.members(group["id"]))
    }
    mailboxes = [user for user in readable(site) if user != leaver]
    assert set(current(site, "mailbox_settings", "_owner")) == {(token(user),) for user in mailboxes}
    assert set(current(site, "teams_teams", "id")) == {(each,) for each in ids(truth.teams())}
    assert set(current(site, "teams_channels", "_owner, id")) == {
        (token(team["id"]), thread_token(channel["id"]))
        for team in truth.teams()
        for channel in truth.channels(team["id"])
    }
    assert token(leaver) in {row[0] for row in site.query("calendar_events", "_owner")}
    assert token(leaver) in {row[0] for row in current(site, "calendar_events", "_owner")}  # history stays


async def test_events_that_were_moved_or_deleted_are_so(open_site: OpenSite) -> None:
    """Within what is read again every night; what happened further back, a backfill tells."""
    site = await open_site(users=8, keys={"connectors": {"outlook-calendar": {}}})
    tenant, user = site.tenant, site.tenant.users_of(MailboxKind.NORMAL)[0]
    moved, removed, old = (
        tenant.deliver_events(user, start=NOW - timedelta(hours=hours))[0] for hours in (30, 31, 9 * 24)
    )
    await site.run()
    assert set(current_events(site)) == true_events(site, NOW - LOOKBACK, NOW)

    tenant.clock.advance(DAY)
    tenant.move_event(user, moved, start=NOW + timedelta(hours=3))
    for event in (removed, old):
        tenant.remove_event(user, event)
    await site.run()
    expected = true_events(site, NOW - LOOKBACK, NOW + DAY)
    assert set(current_events(site)) - expected == {(token(user), token(old), NOW - 9 * DAY)}
    assert expected <= set(current_events(site))

    await site.backfill(NOW - 10 * DAY, NOW - 8 * DAY)
    assert set(current_events(site)) == expected
    assert set(current_events(site).values()) == {1}


@pytest.mark.parametrize("kind", ["failed", "skipped"])
async def test_who_could_not_be_read_keeps_what_was_there(open_site: OpenSite, kind: str) -> None:
    """A mailbox that fails, or is out of reach, is not an empty one; the others' deletions count."""
    site = await open_site(users=8, keys={"connectors": {"outlook-calendar": {}}})
    tenant, (unlucky, other) = site.tenant, site.tenant.users_of(MailboxKind.NORMAL)[:2]
    events = [tenant.deliver_events(user, start=NOW - timedelta(hours=30))[0] for user in (unlucky, other)]
    await site.run()
    status, code = (500, "ErrorInternalServerError") if kind == "failed" else (404, "MailboxNotEnabledForRESTAPI")
    site.emulator.faults.replace([Fault(kind="calendarView", mailbox=unlucky, status=status, code=code)])
    tenant.clock.advance(DAY)
    for user, event in zip((unlucky, other), events, strict=True):
        tenant.remove_event(user, event)
    manifest = await site.run()
    assert token(unlucky) in {line.principal for line in getattr(manifest, kind)}
    rows = {key[:2] for key in current_events(site)}
    assert (token(unlucky), token(events[0])) in rows
    assert (token(other), token(events[1])) not in rows
    assert {key for key in current(site, "calendar_events", "_owner, id") if key[0] == token(unlucky)} == {
        key for key in site.query("calendar_events", "_owner, id") if key[0] == token(unlucky)
    }


@pytest.mark.parametrize("status", [500, 404])
async def test_readable_ids_make_the_views_careful(open_site: OpenSite, status: int) -> None:
    """Profile psoxy: manifests and rows do not join, so a failure, or a calendar without rows, proves nothing."""
    keys: dict[str, object] = {"connectors": {"outlook-calendar": {}}, "privacy.profile": "psoxy"}
    site = await open_site(users=8, keys=keys)
    tenant, (unlucky, other) = site.tenant, site.tenant.users_of(MailboxKind.NORMAL)[:2]
    events = [tenant.deliver_events(user, start=NOW - timedelta(hours=30))[0] for user in (unlucky, other)]
    await site.run()
    code = "ErrorInternalServerError" if status == 500 else "MailboxNotEnabledForRESTAPI"
    site.emulator.faults.replace([Fault(kind="calendarView", mailbox=unlucky, status=status, code=code)])
    tenant.clock.advance(DAY)
    for user, event in zip((unlucky, other), events, strict=True):
        tenant.remove_event(user, event)
    await site.run()
    rows = current(site, "calendar_events", "_owner, id")
    assert (unlucky, events[0]) in rows
    assert ((other, events[1]) in rows) == (status == 500)
    site.emulator.faults.replace([])
    tenant.clock.advance(DAY)
    await site.run()
    rows = current(site, "calendar_events", "_owner, id")
    assert not {(unlucky, events[0]), (other, events[1])} & set(rows)


async def test_an_end_in_the_past_deletes_nothing(open_site: OpenSite) -> None:
    """`--until` before the watermark reads little or nothing: that is neither an empty calendar nor a quiet week."""
    site = await open_site(users=8, keys={"connectors": {"outlook-calendar": {}, "msft-teams": {}}})
    await site.run()
    datasets = ("calendar_events", "teams_call_records", "teams_pstn_calls")
    before = {dataset: current(site, dataset, "id") for dataset in datasets}
    for days in (3, 5.5, 8):
        site.tenant.clock.advance(timedelta(minutes=1))
        await site.run(until=NOW - timedelta(days=days))
        assert {dataset: current(site, dataset, "id") for dataset in datasets} == before


async def test_address_books_are_whole_after_a_backfill(open_site: OpenSite) -> None:
    """Until then what was deleted is still listed, since nobody tells of it."""
    site = await open_site(users=12, keys={"connectors": {"outlook-mail": {}}})
    tenant, truth = site.tenant, site.tenant.truth
    user = max(tenant.users_of(MailboxKind.NORMAL), key=lambda user: len(truth.contacts(user)))
    await site.run()
    removed, edited = (contact["id"] for contact in truth.contacts(user)[:2])
    tenant.clock.advance(DAY)
    tenant.remove_contact(user, removed)
    tenant.edit_contact(user, edited, folder="press", at=NOW + timedelta(hours=2))
    tenant.deliver_contacts(user, count=2, at=NOW + timedelta(hours=3))
    await site.run()

    def expected() -> set[tuple[str, str, str]]:
        return {
            (token(user), token(contact["id"]), token(contact["parentFolderId"]))
            for user in tenant.user_ids
            for contact in truth.contacts(user)
        }

    rows = set(current(site, "mail_contacts", "_owner, id, parentFolderId"))
    assert {row[1] for row in rows - expected()} == {token(removed)}
    await site.backfill(NOW - DAY, NOW + DAY)
    assert set(current(site, "mail_contacts", "_owner, id, parentFolderId")) == expected()
    tenant.clock.advance(timedelta(minutes=1))
    await site.backfill(NOW - 8 * DAY, NOW - 7 * DAY)  # holds only what there was by then
    assert set(current(site, "mail_contacts", "_owner, id, parentFolderId")) == expected()


async def test_mail_that_was_deleted_stays(open_site: OpenSite) -> None:
    """Each message once, as it was when it came."""
    site = await open_site(users=6, keys={"connectors": {"outlook-mail": {}}})
    user = site.tenant.users_of(MailboxKind.NORMAL)[0]
    await site.run()
    before = current(site, "mail_messages", "_owner, id")
    gone = site.tenant.truth.messages(user, NOW - DAY, NOW)[0]["id"]
    site.tenant.remove_message(user, gone)
    site.tenant.clock.advance(DAY)
    await site.run()
    await site.backfill(NOW - 2 * DAY, NOW)
    new = {
        (token(user), token(message["id"]))
        for user in readable(site)
        for message in site.tenant.truth.messages(user, NOW, NOW + DAY)
    }
    assert current(site, "mail_messages", "_owner, id") == before + Counter(new)
    assert (token(user), token(gone)) in before


async def test_messages_are_in_their_last_form(open_site: OpenSite) -> None:
    """Edits and deletions of chat and channel messages show in the newest row; a deleted one has its instant."""
    site = await open_site(users=8, keys={"connectors": {"msft-teams": {}}})
    tenant, truth = site.tenant, site.tenant.truth
    await site.run()
    for nights in (1, 2):
        start = SETTLED - (8 - nights) * DAY
        chat = [m for m in truth.chat_messages(start, start + DAY) if m["messageType"] == "message"]
        channel = [m for m in truth.channel_messages(start, start + DAY) if m["messageType"] == "message"]
        at = SETTLED + (nights - 1) * DAY + timedelta(hours=6)
        tenant.clock.advance(DAY)
        tenant.edit_chat_message(chat[0]["chatId"], chat[0]["id"], at=at)
        tenant.delete_chat_message(chat[1]["chatId"], chat[1]["id"], at=at)
        place = channel[0]["channelIdentity"]["channelId"]
        tenant.delete_channel_message(place, channel[0]["id"], at=at)
        await site.run()
    await site.backfill(SETTLED - 3 * DAY, SETTLED)

    settled = SETTLED + 2 * DAY
    state = "lastEditedDateTime IS NOT NULL, deletedDateTime IS NOT NULL"

    def changed(message: dict[str, Any]) -> tuple[bool, bool]:
        return message["lastEditedDateTime"] is not None, message["deletedDateTime"] is not None

    def is_final(message: dict[str, Any]) -> bool:
        return parse_instant_text(message["lastModifiedDateTime"]) < settled

    in_chats = {(thread_token(m["chatId"]), m["id"]): m for m in truth.chat_messages(SETTLED - LOOKBACK, settled)}
    rows = current(site, "teams_chat_messages", f"chatId, id, {state}")
    assert {row[:2] for row in rows} == set(in_chats)
    assert {row for row in rows if is_final(in_chats[row[:2]])} == {
        (*key, *changed(message)) for key, message in in_chats.items() if is_final(message)
    }
    in_channels = {
        (thread_token(m["channelIdentity"]["channelId"]), m["replyToId"], m["id"]): m
        for m in truth.channel_messages(SETTLED - LOOKBACK, settled)
    }
    rows = current(site, "teams_channel_messages", f"channelIdentity.channelId, replyToId, id, {state}")
    assert {row[:3] for row in rows} == set(in_channels)
    assert {row for row in rows if is_final(in_channels[row[:3]])} == {
        (*key, *changed(message)) for key, message in in_channels.items() if is_final(message)
    }
    chats = current(site, "teams_chats", "id, len(members)")
    assert set(chats) == {(thread_token(each["id"]), len(each["members"])) for each in truth.chats()}


async def test_calls_are_in_their_highest_version(open_site: OpenSite) -> None:
    """Over three nights and a backfill older than Graph remembers, which deletes nothing."""
    site = await open_site(users=12, keys={"connectors": {"msft-teams": {}}})
    await site.run()
    for _ in range(2):
        site.tenant.clock.advance(DAY)
        await site.run()
    settled = SETTLED + 2 * DAY
    truth = site.tenant.truth
    records = {(token(record["id"]), record["version"]) for record in truth.call_records(SETTLED - LOOKBACK, settled)}
    assert set(current(site, "teams_call_records", "id, version")) == records
    for dataset, calls in (
        ("teams_pstn_calls", truth.pstn_calls(SETTLED - LOOKBACK, settled)),
        ("teams_direct_routing_calls", truth.direct_routing_calls(SETTLED - LOOKBACK, settled)),
    ):
        assert set(current(site, dataset, "id")) == {(each,) for each in ids(calls)}
    site.tenant.clock.advance(35 * DAY)
    await site.backfill(NOW - 10 * DAY, NOW - 2 * DAY)  # none of it is served any more
    assert {row[0] for row in current(site, "teams_call_records", "id")} == {key for key, _ in records}
