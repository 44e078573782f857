"""Calls against the emulated tenant: every record once, in its highest version, to the very edges of the window."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from connectors.emulator import Fault, TenantProfile
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, token
from tests.integration.test_export import parse_instant_text

LOOKBACK = timedelta(days=30)
SETTLED = NOW - timedelta(hours=24)
OVERLAP = timedelta(days=5)
CALLS_ONLY = TenantProfile(one_on_one_chats=0, group_chats=0, meeting_chats=0)  # chats cost time and are not looked at
TEAMS_ONLY: dict[str, object] = {"connectors": {"msft-teams": {}}}


def true_records(site: Site, start: datetime, end: datetime) -> dict[str, dict[str, Any]]:
    return {token(record["id"]): record for record in site.tenant.truth.call_records(start, end)}


def exported_records(site: Site, run: str = "*") -> dict[str, tuple[int, int, int]]:
    """Version, participants and sessions by record."""
    rows = site.query("teams_call_records", "id, version, len(participants_v2), len(sessions)", run=run)
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows}


def expected(records: Mapping[str, dict[str, Any]]) -> dict[str, tuple[int, int, int]]:
    return {
        key: (record["version"], len(record["participants_v2"]), len(record["sessions"]))
        for key, record in records.items()
    }


def begin(record: Mapping[str, Any]) -> datetime:
    return parse_instant_text(record["startDateTime"])


def ids(records: Iterable[Mapping[str, Any]]) -> set[str]:
    return {token(record["id"]) for record in records}


def exported_ids(site: Site, dataset: str, run: str = "*") -> list[str]:
    return sorted(row[0] for row in site.query(dataset, "id", run=run))


async def test_a_first_run_holds_every_call_of_the_window(open_site: OpenSite) -> None:
    """Records with all participants, sessions and segments, and both logs, equal the tenant's truth."""
    site = await open_site(profile=CALLS_ONLY, keys=TEAMS_ONLY)
    manifest = await site.run()
    truth, start = site.tenant.truth, SETTLED - LOOKBACK

    assert (manifest.failed, manifest.status) == ([], "complete")
    records = true_records(site, start, SETTLED)
    assert len(records) > 20
    assert exported_records(site) == expected(records)
    segments = site.query("teams_call_records", "id, list_sum(list_transform(sessions, lambda x: len(x.segments)))")
    assert dict(segments) == {
        key: sum(len(session["segments"]) for session in record["sessions"]) for key, record in records.items()
    }
    assert exported_ids(site, "teams_pstn_calls") == sorted(ids(truth.pstn_calls(start, SETTLED)))
    assert exported_ids(site, "teams_direct_routing_calls") == sorted(ids(truth.direct_routing_calls(start, SETTLED)))
    assert not manifest.datasets["teams_call_records"].rejected


async def test_the_next_nights_bring_the_rewritten_records(open_site: OpenSite) -> None:
    """The overlap is read again: a higher version of a known record, a record that came late, each in its last form."""
    site = await open_site(users=30, profile=CALLS_ONLY, keys=TEAMS_ONLY)
    site.tenant.clock.advance(timedelta(days=3))  # to a Thursday: the days before it were busy
    settled = SETTLED + timedelta(days=3)
    first = await site.run()
    before = exported_records(site, first.run_id)
    assert before == expected(true_records(site, settled - LOOKBACK, settled))
    site.tenant.clock.advance(timedelta(days=1))
    second = await site.run()
    after = exported_records(site, second.run_id)

    again = true_records(site, settled - OVERLAP, settled)
    assert after == expected(true_records(site, settled - OVERLAP, settled + timedelta(days=1)))
    assert [key for key in before.keys() & again.keys() if after[key][0] > before[key][0]]
    assert again.keys() - before.keys()  # came late
    assert (before | after).items() >= expected(again).items()
    logs = site.tenant.truth.pstn_calls(settled - OVERLAP, settled + timedelta(days=1))
    assert exported_ids(site, "teams_pstn_calls", second.run_id) == sorted(ids(logs))


async def test_backfills_cut_at_a_calls_own_instant_hold_it_once(open_site: OpenSite) -> None:
    """The pieces together are the truth and share nothing, for records and for both logs."""
    site = await open_site(users=14, profile=CALLS_ONLY, keys=TEAMS_ONLY)
    truth = site.tenant.truth
    start, end = NOW - timedelta(days=6, hours=5, minutes=7), NOW - timedelta(days=2, microseconds=1)
    rows = {
        "teams_call_records": truth.call_records(start, end),
        "teams_pstn_calls": truth.pstn_calls(start, end),
        "teams_direct_routing_calls": truth.direct_routing_calls(start, end),
    }
    middles = {dataset: sorted(calls, key=begin)[len(calls) // 2] for dataset, calls in rows.items()}
    edges = sorted([start, *map(begin, middles.values()), end])
    for since, until in pairwise(edges):
        await site.backfill(since, until)
        site.tenant.clock.advance(timedelta(seconds=1))

    for dataset, calls in rows.items():
        assert exported_ids(site, dataset) == sorted(ids(calls))


async def test_large_calls_and_long_logs_come_to_their_end(open_site: OpenSite) -> None:
    """More than 60 sessions, 130 participants and 1,000 rows: every next link is followed, whatever it looks like."""
    profile = replace(CALLS_ONLY, phone_calls_per_week=800, mailboxes={})
    site = await open_site(users=14, profile=profile, keys=TEAMS_ONLY)
    large = [
        site.tenant.deliver_call(user, start=NOW - timedelta(days=3), guests=300) for user in site.tenant.user_ids[:4]
    ]
    manifest = await site.backfill(NOW - timedelta(days=4), NOW - timedelta(days=1))

    assert manifest.status == "complete"
    records = exported_records(site)
    assert [records[token(call)][1:] for call in large] == [(301, 301)] * 4
    assert site.emulator.counters.requests["callSessions"] >= 4 * 5
    assert site.emulator.counters.requests["callParticipants"] >= 4 * 2
    rows = site.tenant.truth.pstn_calls(NOW - timedelta(days=4), NOW - timedelta(days=1))
    assert len(rows) > 2_000
    assert exported_ids(site, "teams_pstn_calls") == sorted(ids(rows))


async def test_records_older_than_a_month_are_nowhere_any_more(open_site: OpenSite) -> None:
    """A backfill beyond Graph's 30 days holds the part that is left, without an error."""
    site = await open_site(users=12, history=timedelta(days=50), profile=CALLS_ONLY, keys=TEAMS_ONLY)
    manifest = await site.backfill(NOW - timedelta(days=45), NOW - timedelta(days=25))

    assert manifest.status == "complete"
    assert exported_records(site) == expected(true_records(site, NOW - timedelta(days=45), NOW - timedelta(days=25)))
    rows = site.tenant.truth.pstn_calls(NOW - timedelta(days=45), NOW - timedelta(days=25))
    assert exported_ids(site, "teams_pstn_calls") == sorted(ids(rows))


async def test_a_missing_role_costs_its_datasets_only(open_site: OpenSite) -> None:
    """Without CallRecords.Read.All the records are denied; the logs have a role of their own and are read."""
    site = await open_site(profile=CALLS_ONLY, keys=TEAMS_ONLY)
    site.emulator.app.revoke("CallRecords.Read.All")
    site.emulator.app.grant("CallRecord-PstnCalls.Read.All")
    manifest = await site.run()

    assert manifest.status == "partial"
    assert [(line.dataset, line.reason) for line in manifest.failed] == [("teams_call_records", "permission")]
    assert manifest.datasets["teams_pstn_calls"].rows > 0


async def test_a_record_that_vanishes_between_list_and_reading_is_left_out(open_site: OpenSite) -> None:
    """Graph forgets records after 30 days: a 404 for one costs that one."""
    site = await open_site(profile=CALLS_ONLY, keys=TEAMS_ONLY)
    site.emulator.faults.replace([Fault(kind="callRecord", status=404, code="NotFound", after=4, times=1)])
    manifest = await site.run()

    assert manifest.status == "complete"
    records = true_records(site, SETTLED - LOOKBACK, SETTLED)
    assert len(exported_records(site)) == len(records) - 1
    assert exported_records(site).keys() < records.keys()
