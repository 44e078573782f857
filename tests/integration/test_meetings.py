"""Online meetings and attendance against the emulated tenant: found through others' join links, each exactly once."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest

from connectors.emulator import Effect, Fault, MailboxKind, TenantProfile
from pipeline.model import RunKind
from pipeline.run import Request, export
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, token
from tests.integration.test_export import parse_instant_text, readable

LOOKBACK = timedelta(days=30)
SETTLED = NOW - timedelta(hours=24)
OVERLAP_CALLS, OVERLAP_CALENDAR = timedelta(days=5), timedelta(days=7)
FEW_CHATS = TenantProfile(one_on_one_chats=0, group_chats=0, meeting_chats=1)
READERS: dict[str, object] = {"connectors": {"outlook-calendar": {}, "msft-teams": {}}}
ONE_BY_ONE: dict[str, object] = {  # so that a stop leaves something to do
    **READERS,
    "output.part_size": "1KiB",
    "limits.mailboxes_in_flight": 1,
    "limits.per_mailbox_in_flight": 1,
}
CHANNEL = "@thread.tacv2"

Meetings = dict[str, list[dict[str, Any]]]


def organizers(site: Site) -> list[str]:
    """Everybody whose data is read: all but guests."""
    guests = site.tenant.users_of(MailboxKind.GUEST)
    return [user for user in site.tenant.user_ids if user not in guests]


def links_in(
    site: Site, *, events: tuple[datetime, datetime], calls: tuple[datetime, datetime], chats: bool
) -> set[str]:
    """The join links that the export meets."""
    truth = site.tenant.truth
    found = {call["joinWebUrl"] for call in truth.call_records(*calls)}
    for user in readable(site):
        found |= {event["onlineMeeting"]["joinUrl"] for event in truth.events(user, *events) if event["onlineMeeting"]}
    if chats:
        found |= {chat["onlineMeetingInfo"]["joinWebUrl"] for chat in truth.chats() if chat["onlineMeetingInfo"]}
    return found


def true_meetings(site: Site, links: set[str]) -> Meetings:
    """The meetings behind links, by organizer."""
    return {
        user: [each for each in site.tenant.truth.online_meetings(user) if each["joinWebUrl"] in links]
        for user in organizers(site)
    }


def true_reports(site: Site, meetings: Meetings, start: datetime, end: datetime) -> dict[tuple[str, str], int]:
    """Meeting and report, with the number of those who attended."""
    return {
        (token(meeting["id"]), token(report["id"])): len(report["attendanceRecords"])
        for user, found in meetings.items()
        for meeting in found
        if CHANNEL not in meeting["chatInfo"]["threadId"]
        for report in site.tenant.truth.attendance_reports(user, meeting["id"])[:50]
        if start <= parse_instant_text(report["meetingStartDateTime"]) < end
    }


def meeting_ids(meetings: Meetings) -> list[str]:
    return sorted(token(each["id"]) for found in meetings.values() for each in found)


def exported_meetings(site: Site, run: str = "*") -> list[str]:
    return sorted(row[0] for row in site.query("teams_online_meetings", "id", run=run))


def exported_reports(site: Site, run: str = "*") -> dict[tuple[str, str], int]:
    rows = site.query("teams_attendance_reports", "meetingId, id, len(attendanceRecords)", run=run)
    assert len({row[:2] for row in rows}) == len(rows)
    return {(row[0], row[1]): row[2] for row in rows}


async def test_a_first_run_finds_every_meeting_that_others_point_to(open_site: OpenSite) -> None:
    """By its organizer, each looked up once, with the reports of the window; links leave as pseudonyms only."""
    site = await open_site(users=16, profile=FEW_CHATS, keys=READERS)
    manifest = await site.run()

    assert (manifest.failed, manifest.status) == ([], "complete")
    links = links_in(site, events=(NOW - LOOKBACK, NOW), calls=(SETTLED - LOOKBACK, SETTLED), chats=True)
    meetings = true_meetings(site, links)
    assert len(meeting_ids(meetings)) > 30
    assert exported_meetings(site) == meeting_ids(meetings)
    reports = true_reports(site, meetings, SETTLED - LOOKBACK, SETTLED)
    assert len(reports) > 10
    assert exported_reports(site) == reports
    assert site.emulator.counters.requests["onlineMeetings"] <= len(links)
    joined = {row[0] for row in site.query("teams_online_meetings", "joinWebUrl")}
    assert all("t~" in link and "context" not in link for link in joined)
    assert joined & {row[0] for row in site.query("teams_call_records", "joinWebUrl")}
    assert joined & {row[0] for row in site.query("calendar_events", "onlineMeeting.joinUrl")}


async def test_the_next_night_reads_the_meetings_and_reports_of_its_windows(open_site: OpenSite) -> None:
    """What the overlap points to, again; a report that came since, for the first time."""
    site = await open_site(users=8, profile=FEW_CHATS, keys=READERS)
    site.tenant.clock.advance(timedelta(days=2))  # to a Wednesday
    now, settled = NOW + timedelta(days=2), SETTLED + timedelta(days=2)
    await site.run()
    site.tenant.clock.advance(timedelta(days=1))
    second = await site.run()

    night = timedelta(days=1)
    calls = (settled - OVERLAP_CALLS, settled + night)
    links = links_in(site, events=(now - OVERLAP_CALENDAR, now + night), calls=calls, chats=False)
    meetings = true_meetings(site, links)
    assert exported_meetings(site, second.run_id) == meeting_ids(meetings)
    reports = true_reports(site, meetings, *calls)
    new = true_reports(site, meetings, settled, settled + night)
    assert new
    assert exported_reports(site, second.run_id) == reports


async def test_backfills_cut_at_a_reports_own_instant_hold_it_once(open_site: OpenSite) -> None:
    """The pieces share no report and miss none, although each finds meetings by its own events and calls only."""
    site = await open_site(users=8, profile=FEW_CHATS, keys=READERS)
    start, end = NOW - timedelta(days=6, hours=3), NOW - timedelta(days=2)
    everything: Meetings = {user: list(site.tenant.truth.online_meetings(user)) for user in organizers(site)}
    expected = true_reports(site, everything, start, end)
    begins = sorted(
        parse_instant_text(report["meetingStartDateTime"])
        for user, found in everything.items()
        for meeting in found
        for report in site.tenant.truth.attendance_reports(user, meeting["id"])
    )
    inside = [begin for begin in begins if start < begin < end]
    cut = inside[len(inside) // 2]
    left = await site.backfill(start, cut)
    site.tenant.clock.advance(timedelta(seconds=1))
    right = await site.backfill(cut, end)

    pieces = [exported_reports(site, run.run_id) for run in (left, right)]
    assert pieces[0].keys().isdisjoint(pieces[1].keys())
    assert pieces[0] | pieces[1] == expected
    for run in (left, right):
        assert not [row for row, count in Counter(exported_meetings(site, run.run_id)).items() if count > 1]


@pytest.mark.parametrize("profile", ["psoxy", "psoxy-no-app-ids"])
async def test_every_profile_lets_calls_and_meetings_leave(open_site: OpenSite, profile: str) -> None:
    """The egress guard has nothing against them, and no record is rejected."""
    site = await open_site(users=8, profile=FEW_CHATS, keys={**READERS, "privacy.profile": profile})
    manifest = await site.run()

    assert (manifest.failed, manifest.status) == ([], "complete")
    for dataset in (
        "teams_call_records",
        "teams_pstn_calls",
        "teams_direct_routing_calls",
        "teams_online_meetings",
        "teams_attendance_reports",
    ):
        assert manifest.datasets[dataset].rows > 0
        assert not manifest.datasets[dataset].rejected


async def test_an_organizer_without_access_policy_is_left_out_by_reason(open_site: OpenSite) -> None:
    """The others' meetings are read; the run stays complete."""
    site = await open_site(users=8, profile=FEW_CHATS, keys=READERS)
    uncovered = site.tenant.users_of(MailboxKind.NORMAL)[0]
    site.emulator.app.cover_meetings_of(*(user for user in site.tenant.user_ids if user != uncovered))
    manifest = await site.run()

    assert manifest.status == "complete"
    skipped = {(line.principal, line.dataset) for line in manifest.skipped if line.reason == "out_of_policy"}
    assert {(token(uncovered), "teams_online_meetings"), (token(uncovered), "teams_attendance_reports")} <= skipped
    links = links_in(site, events=(NOW - LOOKBACK, NOW), calls=(SETTLED - LOOKBACK, SETTLED), chats=True)
    meetings = {**true_meetings(site, links), uncovered: []}
    assert exported_meetings(site) == meeting_ids(meetings)


async def test_a_policy_that_covers_nobody_is_a_missing_permission(open_site: OpenSite) -> None:
    """Left out everywhere for one reason: the datasets fail, the others are complete."""
    site = await open_site(users=6, profile=FEW_CHATS, keys=READERS)
    site.emulator.app.cover_meetings_of()
    manifest = await site.run()

    assert manifest.status == "partial"
    assert [(line.principal, line.dataset, line.reason) for line in manifest.failed] == [
        (None, "teams_attendance_reports", "permission"),
        (None, "teams_online_meetings", "permission"),
    ]
    assert manifest.datasets["calendar_events"].rows > 0


@pytest.mark.parametrize("kind", ["onlineMeetings", "callRecord"])
async def test_a_resumed_run_finds_what_its_first_attempt_had_learnt(open_site: OpenSite, kind: str) -> None:
    """Units that are done are not read again, yet the meetings they pointed to are looked up."""
    site = await open_site(users=6, profile=FEW_CHATS, keys=ONE_BY_ONE)
    stop = asyncio.Event()
    site.emulator.faults.replace([Fault(kind=kind, effect=Effect.HOLD, times=1)])
    async with site.equipment(RunKind.RUN, stop=stop) as equipment:
        running = asyncio.ensure_future(export(equipment, Request(kind=RunKind.RUN)))
        await site.emulator.until_held(1)
        stop.set()
        site.emulator.release()
        (outcome,) = await running
    assert outcome.interrupted
    assert [path for path in site.written_bytes() if path.name.startswith("learnt-")]
    read_before = site.emulator.counters.requests["calendarView"]
    manifest = await site.run()

    assert manifest.run_id == outcome.run_id
    assert manifest.status == "complete"
    assert site.emulator.counters.requests["calendarView"] < 2 * read_before
    links = links_in(site, events=(NOW - LOOKBACK, NOW), calls=(SETTLED - LOOKBACK, SETTLED), chats=True)
    meetings = true_meetings(site, links)
    assert exported_meetings(site) == meeting_ids(meetings)
    assert exported_reports(site) == true_reports(site, meetings, SETTLED - LOOKBACK, SETTLED)


async def test_no_join_link_is_in_the_state_of_an_open_run(open_site: OpenSite) -> None:
    """What was learnt is kept encrypted; manifest, log and state show no link and no thread."""
    site = await open_site(users=6, profile=FEW_CHATS, keys=ONE_BY_ONE)
    stop = asyncio.Event()
    site.emulator.faults.replace([Fault(kind="onlineMeetings", effect=Effect.HOLD, times=1)])
    async with site.equipment(RunKind.RUN, stop=stop) as equipment:
        running = asyncio.ensure_future(export(equipment, Request(kind=RunKind.RUN)))
        await site.emulator.until_held(1)
        stop.set()
        site.emulator.release()
        await running
    kept = {path: data for path, data in site.written_bytes().items() if path.suffix != ".parquet"}
    assert [path for path in kept if path.name.startswith("learnt-")]
    assert not [path for path, data in kept.items() if b"meetup-join" in data or b"thread.v2" in data]
