"""Calls and meetings at the emulator are as strict as at the real service: each wrong request fails in its own way."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from connectors.emulator import Emulator, Tenant, TenantProfile
from tests.contract.raw_client import RawClient, connected

NOW = datetime(2026, 3, 5, tzinfo=UTC)  # a Thursday: calls were held and records are being rewritten
RECORDS = "/communications/callRecords"
QUIET = TenantProfile(mailboxes={}, short_pages=0, empty_pages=0)


@pytest.fixture
async def client() -> AsyncIterator[RawClient]:
    tenant = Tenant(users=30, now=NOW, history=timedelta(days=40), profile=QUIET)
    async with Emulator(tenant) as emulator, connected(emulator) as raw:
        yield raw


def since(days: float) -> str:
    return f"$filter=startDateTime%20ge%20{NOW - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}"


class TestCallRecords:
    """A list without relations, and records with one at a time."""

    async def test_pages_of_sixty_lead_to_the_end(self, client: RawClient) -> None:
        """Each record once, none older than 30 days, without sessions and with the old properties empty."""
        first = await client.get(f"{RECORDS}?{since(40)}")
        records = await client.all(f"{RECORDS}?{since(40)}")

        assert len(first.records) == 60
        truth = client.emulator.tenant.truth.call_records(NOW - timedelta(days=40), NOW)
        assert sorted(record["id"] for record in records) == sorted(record["id"] for record in truth)
        assert len({record["id"] for record in records}) == len(records)
        assert all(record["startDateTime"][:10] >= "2026-02-03" for record in records)
        assert all(record["organizer"] is None and record["participants"] == [] for record in records)
        assert all(record["organizer_v2"]["id"] and "sessions" not in record for record in records)

    @pytest.mark.parametrize(
        "query",
        [
            "$top=10",
            "$skip=60",
            "$orderby=startDateTime",
            "$expand=sessions",
            "$filter=endDateTime%20ge%202026-03-01T00:00:00Z",
            "$filter=startDateTime%20eq%202026-03-01T00:00:00Z",
            "$select=nothing",
        ],
    )
    async def test_other_query_options_are_refused(self, client: RawClient, query: str) -> None:
        """Only bounds of startDateTime, and $select."""
        assert (await client.get(f"{RECORDS}?{query}")).status == 400

    async def test_a_record_is_rewritten_with_more_of_those_who_took_part(self, client: RawClient) -> None:
        """The same id later has a higher version, never a lower one, and no fewer participants."""

        async def seen() -> dict[str, tuple[int, int]]:
            truth = client.emulator.tenant.truth.call_records(NOW - timedelta(days=3), NOW)
            return {record["id"]: (record["version"], len(record["participants_v2"])) for record in truth}

        before = await seen()
        client.emulator.tenant.clock.advance(timedelta(days=2))
        after = await seen()

        assert before.keys() <= after.keys()
        assert after.keys() - before.keys()  # came late
        assert all(after[key] >= before[key] for key in before)
        assert any(after[key][0] > before[key][0] and after[key][1] > before[key][1] for key in before)

    async def test_one_relation_is_expanded_at_a_time(self, client: RawClient) -> None:
        """Both together are 400; sessions come with segments only when asked."""
        call = client.emulator.tenant.deliver_call(client.emulator.tenant.user_ids[0], start=NOW - timedelta(hours=5))
        path = f"{RECORDS}/{call}"

        both = await client.get(f"{path}?$expand=sessions($expand=segments),participants_v2")
        bare = await client.get(f"{path}?$expand=sessions")
        deep = await client.get(f"{path}?$expand=sessions($expand=segments)")
        assert (both.status, bare.status, deep.status) == (400, 200, 200)
        assert "segments" not in bare.body["sessions"][0]
        assert deep.body["sessions"][0]["segments"]

    async def test_large_relations_go_on_behind_their_own_links(self, client: RawClient) -> None:
        """60 sessions and 130 participants, then a link; that of sessions may carry a marker that is in no path."""
        tenant, marked = client.emulator.tenant, set()
        for number in range(6):
            start = NOW - timedelta(hours=5 + number)
            call = tenant.deliver_call(tenant.user_ids[number], start=start, guests=200)
            answer = await client.get(f"{RECORDS}/{call}?$expand=sessions($expand=segments)")
            link = answer.body["sessions@odata.nextLink"]
            marked.add("$metadata#" in link)
            rest = await client.all(link.replace("$metadata#", ""))
            assert len(answer.body["sessions"]) == 60
            assert len({session["id"] for session in answer.body["sessions"] + rest}) == 201
            joined = await client.get(f"{RECORDS}/{call}?$expand=participants_v2")
            assert len(joined.body["participants_v2"]) == 130
            assert len(await client.all(joined.body["participants_v2@odata.nextLink"])) == 71
            kinds = {kind for each in joined.body["participants_v2"] for kind, who in each["identity"].items() if who}
            assert kinds >= {"user", "phone", "guest", "acsUser", "azureCommunicationServicesUser"}
        assert marked == {True, False}

    async def test_an_old_or_unknown_record_is_404(self, client: RawClient) -> None:
        """Retention counts for single records, too."""
        tenant = client.emulator.tenant
        old = tenant.deliver_call(tenant.user_ids[0], start=NOW - timedelta(days=31))
        assert (await client.get(f"{RECORDS}/{old}")).status == 404
        assert (await client.get(f"{RECORDS}/00000000-0000-4000-a000-000000000000")).status == 404

    async def test_a_missing_role_is_refused_in_the_words_of_teams(self, client: RawClient) -> None:
        """Roles of the phone logs do not open records; those of records open the logs."""
        logs_only = client.emulator.register(roles=("CallRecord-PstnCalls.Read.All",))
        await client.renew(logs_only)
        denied = await client.get(RECORDS)
        log = await client.get(f"{RECORDS}/getPstnCalls(fromDateTime=2026-03-01,toDateTime=2026-03-02)")
        assert (denied.status, log.status) == (403, 200)
        assert "Missing role permissions" in denied.message

    async def test_the_forty_first_list_in_twenty_seconds_is_too_many(self) -> None:
        """Where the profile enforces rates."""
        profile = TenantProfile(mailboxes={}, teams_rates=True)
        tenant = Tenant(users=3, now=NOW, history=timedelta(days=3), profile=profile)
        async with Emulator(tenant, monotonic=lambda: 0.0) as emulator, connected(emulator) as raw:
            statuses = [(await raw.get(f"{RECORDS}?{since(1)}")).status for _ in range(41)]
        assert statuses == [200] * 40 + [429]


class TestPhoneLogs:
    """Functions with parameters, whose next links name them otherwise."""

    @pytest.mark.parametrize("function", ["getPstnCalls", "getDirectRoutingCalls"])
    async def test_ninety_days_at_most(self, client: RawClient, function: str) -> None:
        """One day more is 400; so are parameters that only next links have, and what is no date."""
        for arguments, status in (
            ("fromDateTime=2025-12-01,toDateTime=2026-03-01", 200),
            ("fromDateTime=2025-12-01,toDateTime=2026-03-02", 400),
            ("from=2026-03-01,to=2026-03-02", 400),
            ("fromDateTime=yesterday,toDateTime=2026-03-02", 400),
        ):
            assert (await client.get(f"{RECORDS}/{function}({arguments})")).status == status, arguments

    async def test_a_thousand_rows_and_a_link_that_looks_otherwise(self) -> None:
        """`$skip=1000`, and parameters named from and to."""
        profile = TenantProfile(mailboxes={}, phone_calls_per_week=500, short_pages=0, empty_pages=0)
        tenant = Tenant(users=20, now=NOW, history=timedelta(days=10), profile=profile)
        async with Emulator(tenant) as emulator, connected(emulator) as raw:
            path = f"{RECORDS}/getPstnCalls(fromDateTime=2026-03-01,toDateTime=2026-03-04)"
            first = await raw.get(path)
            rows = await raw.all(path)
        assert (len(first.records), first.body["@odata.count"]) == (1000, 1000)
        assert re.search(r"getPstnCalls\(from=2026-03-01,to=2026-03-04\)\?\$skip=1000&", first.next_link or "")
        start = datetime(2026, 3, 1, tzinfo=UTC)
        assert (
            len(rows)
            == len({row["id"] for row in rows})
            == len(tenant.truth.pstn_calls(start, NOW - timedelta(days=1)))
        )


class TestMeetings:
    """Found by join link and organizer, never listed."""

    def one(self, client: RawClient) -> tuple[str, str, str]:
        """An organizer, the id and the link of a meeting with reports."""
        tenant = client.emulator.tenant
        return next(
            (user, meeting["id"], meeting["joinWebUrl"])
            for user in tenant.user_ids
            for meeting in tenant.truth.online_meetings(user)
            if "tacv2" not in meeting["joinWebUrl"] and tenant.truth.attendance_reports(user, meeting["id"])
        )

    async def test_a_link_finds_its_meeting_when_encoded_once_more(self, client: RawClient) -> None:
        """The link's own escapes count; decoded it finds nothing, without a filter nothing is listed."""
        user, meeting, link = self.one(client)
        path = f"/users/{user}/onlineMeetings"
        found = await client.get(f"{path}?$filter=JoinWebUrl%20eq%20'{quote(link, safe='')}'")
        unescaped = await client.get(f"{path}?$filter=JoinWebUrl%20eq%20'{link}'")

        assert [each["id"] for each in found.records] == [meeting]
        assert unescaped.status == 404 or unescaped.records == []
        assert (await client.get(path)).status == 400
        assert (await client.get(f"{path}?$filter=subject%20eq%20'x'")).status == 400
        assert (await client.get(f"{path}/{quote(meeting, safe='')}")).body["joinWebUrl"] == link

    async def test_the_path_takes_object_ids_of_those_the_policy_covers(self, client: RawClient) -> None:
        """A sign-in name is 404; a user without policy 403 in words of its own, an attendee may look."""
        user, _, link = self.one(client)
        person = client.emulator.tenant.person(user)
        query = f"onlineMeetings?$filter=JoinWebUrl%20eq%20'{quote(link, safe='')}'"
        assert (await client.get(f"/users/{quote(person.upn)}/{query}")).status == 404
        client.emulator.app.cover_meetings_of()
        denied = await client.get(f"/users/{user}/{query}")
        assert denied.status == 403
        assert "No application access policy found" in denied.message

    async def test_an_expired_meeting_is_not_found(self, client: RawClient) -> None:
        """Sixty days after the last time a meeting on the spot was held."""
        tenant = client.emulator.tenant
        tenant.deliver_call(tenant.user_ids[0], start=NOW - timedelta(days=1), guests=3)
        found = [each for each in tenant.truth.online_meetings(tenant.user_ids[0]) if each["meetingType"] == "meetnow"]
        tenant.clock.advance(timedelta(days=62))
        await client.renew()
        path = f"/users/{tenant.user_ids[0]}/onlineMeetings/{quote(found[0]['id'], safe='')}"
        assert (await client.get(path)).status == 404

    async def test_reports_are_listed_without_and_read_with_those_who_came(self, client: RawClient) -> None:
        """attendanceRecords is empty in the list, and in a single report unless it is expanded."""
        user, meeting, _ = self.one(client)
        path = f"/users/{user}/onlineMeetings/{quote(meeting, safe='')}/attendanceReports"
        listed = await client.get(path)
        truth = client.emulator.tenant.truth.attendance_reports(user, meeting)
        assert [report["id"] for report in listed.records] == [report["id"] for report in truth]
        assert all(report["attendanceRecords"] == [] for report in listed.records)
        bare = await client.get(f"{path}/{truth[0]['id']}")
        whole = await client.get(f"{path}/{truth[0]['id']}?$expand=attendanceRecords")
        assert bare.body["attendanceRecords"] == []
        assert whole.body["attendanceRecords"] == truth[0]["attendanceRecords"] != []

    async def test_a_channels_meetings_show_no_single_report(self) -> None:
        """The list is there, the report by itself is 400."""
        tenant = Tenant(
            users=60, now=NOW, history=timedelta(days=20), profile=TenantProfile(mailboxes={}, calls_per_week=40)
        )
        user, meeting = next(
            (user, meeting["id"])
            for user in tenant.user_ids
            for meeting in tenant.truth.online_meetings(user)
            if "tacv2" in meeting["joinWebUrl"] and tenant.truth.attendance_reports(user, meeting["id"])
        )
        async with Emulator(tenant) as emulator, connected(emulator) as raw:
            path = f"/users/{user}/onlineMeetings/{quote(meeting, safe='')}/attendanceReports"
            (report, *_) = (await raw.get(path)).records
            assert (await raw.get(f"{path}/{report['id']}?$expand=attendanceRecords")).status == 400
