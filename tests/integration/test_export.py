"""The whole product against an emulated tenant over HTTPS with real msal tokens, compared with the tenant's truth."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import duckdb
import pandas as pd
import polars as pl
import pytest

from connectors.emulator import MailboxKind, TenantProfile
from pipeline.errors import SourceRefused
from pipeline.exits import Exit, exit_of_error
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, thread_token, token
from tests.integration.truth import COLUMNS

LOOKBACK = timedelta(days=30)
SETTLED = NOW - timedelta(hours=24)  # Teams is left alone for a day
MAILBOXES = (
    MailboxKind.NORMAL,
    MailboxKind.DISABLED,
    MailboxKind.OVER_QUOTA,
    MailboxKind.NO_USER_TYPE,
    MailboxKind.SHARED,
    MailboxKind.ROOM,
)


def parse_instant_text(text: str) -> datetime:
    """Graph's text, cut to the microsecond."""
    return datetime.fromisoformat(text[:26].removesuffix("Z")).replace(tzinfo=UTC)


def readable(site: Site) -> list[str]:
    return [user for kind in MAILBOXES for user in site.tenant.users_of(kind)]


def true_messages(site: Site, start: datetime, end: datetime) -> set[tuple[str, str]]:
    return {
        (token(user), token(message["id"]))
        for user in readable(site)
        for message in site.tenant.truth.messages(user, start, end)
    }


def true_chat_messages(site: Site, start: datetime, end: datetime) -> set[tuple[str, str]]:
    return {(thread_token(message["chatId"]), message["id"]) for message in site.tenant.truth.chat_messages(start, end)}


def true_events(site: Site, start: datetime, end: datetime) -> set[tuple[str, str]]:
    return {
        (token(user), token(event["id"]))
        for user in readable(site)
        for event in site.tenant.truth.events(user, start, end)
        if start <= parse_instant_text(event["start"]["dateTime"]) < end
    }


def exported(site: Site, dataset: str, columns: str, run: str = "*") -> set[tuple[str, str]]:
    return {(row[0], row[1]) for row in site.query(dataset, columns, run=run)}


async def test_a_first_run_holds_exactly_what_the_tenant_holds(open_site: OpenSite) -> None:
    """Every dataset equals the emulator's truth, no row twice within the run."""
    site = await open_site()
    manifest = await site.run()
    truth = site.tenant.truth

    assert manifest.failed == []
    assert manifest.status == "complete"
    assert true_messages(site, NOW - LOOKBACK, NOW) == exported(site, "mail_messages", "_owner, id")
    assert true_chat_messages(site, SETTLED - LOOKBACK, SETTLED) == exported(site, "teams_chat_messages", "chatId, id")
    assert {token(user["id"]) for user in truth.users()} == {row[0] for row in site.query("entra_users", "id")}
    assert {token(group["id"]) for group in truth.groups()} == {row[0] for row in site.query("entra_groups", "id")}
    types = {user["id"]: user["userType"] for user in truth.users()}
    members = {
        (token(group["id"]), token(member["id"]), types.get(member["id"]))
        for group in truth.groups()
        for member in truth.members(group["id"])
    }
    assert members == set(site.query("entra_group_members", "_owner, id, userType"))
    assert {token(user) for user in readable(site)} == {row[0] for row in site.query("mailbox_settings", "_owner")}
    for dataset, key in COLUMNS.items():
        assert site.duplicates(dataset, key) == []


async def test_events_belong_to_the_window_in_which_they_start(open_site: OpenSite) -> None:
    """Calendar view shows what overlaps; exported is what starts in the window, once for each mailbox."""
    site = await open_site()
    await site.run()

    assert true_events(site, NOW - LOOKBACK, NOW) == exported(site, "calendar_events", "_owner, id")


@pytest.mark.parametrize("members", ["direct", "transitive"])
async def test_members_of_groups_in_groups_are_exported_by_choice(open_site: OpenSite, members: str) -> None:
    """Direct members with their nesting, or everybody below a group as well; rings of groups end."""
    keys: dict[str, object] = {"connectors": {"entra-id": {"members": members}}}
    site = await open_site(keys=keys)
    manifest = await site.run()
    assert manifest.status == "complete"
    truth = site.tenant.truth
    of_group = truth.members if members == "direct" else truth.transitive_members
    expected = {(token(group["id"]), token(each["id"])) for group in truth.groups() for each in of_group(group["id"])}
    rows = site.query("entra_group_members", "_owner, id")
    assert expected == set(rows)
    assert len(rows) == len(expected)
    nested = {token(group["id"]) for group in truth.groups()} & {row[1] for row in rows}
    assert nested


async def test_chats_carry_all_their_members(open_site: OpenSite) -> None:
    """Each chat once, with every member although Graph cuts expanded members off."""
    site = await open_site()
    await site.run()

    expected = {thread_token(chat["id"]): len(chat["members"]) for chat in site.tenant.truth.chats()}
    rows = site.query("teams_chats", "id, len(members)")
    assert expected == {row[0]: row[1] for row in rows}
    assert len(rows) == len(expected)


async def test_the_next_night_brings_exactly_the_new_items(open_site: OpenSite) -> None:
    """New mail and chat messages, each once; what the first run had is not repeated."""
    site = await open_site(users=8)
    first = await site.run()
    user = site.tenant.users_of(MailboxKind.NORMAL)[0]
    site.tenant.clock.advance(timedelta(days=1))
    site.tenant.deliver_messages(user, count=5)
    later = site.tenant.clock.now
    second = await site.run()

    assert true_messages(site, NOW, later) == exported(site, "mail_messages", "_owner, id", second.run_id)
    settled = later - timedelta(hours=24)
    assert true_chat_messages(site, SETTLED, settled) == exported(
        site, "teams_chat_messages", "chatId, id", second.run_id
    )
    both = Counter(site.query("mail_messages", "_owner, id"))
    assert set(both.values()) == {1}
    assert first.run_id < second.run_id


async def test_chosen_folders_are_exported_alone(open_site: OpenSite) -> None:
    """By well-known name and by the path that people see."""
    clients, contracts = "Clients planted-vole-folder-01", "Contracts planted-vole-folder-02"
    folders = ["sentitems", f"{clients}/{contracts}"]
    site = await open_site(users=8, keys={"connectors": {"outlook-mail": {"folders": folders}}})
    await site.run()

    chosen = {
        site.tenant.mailboxes.folder_id(site.tenant.person(user), name)
        for user in readable(site)
        for name in ("sentitems", "contracts")
    }
    expected = {
        (token(user), token(message["id"]))
        for user in readable(site)
        for message in site.tenant.truth.messages(user, NOW - LOOKBACK, NOW)
        if message["parentFolderId"] in chosen
    }
    assert expected == exported(site, "mail_messages", "_owner, id")


async def test_a_folder_that_nobody_has_stops_the_run(open_site: OpenSite) -> None:
    """As a mistake in the settings, by its name."""
    site = await open_site(users=4, keys={"connectors": {"outlook-mail": {"folders": ["SentItem"]}}})
    with pytest.raises(BaseException) as caught:
        await site.run()
    code, mistake = exit_of_error(caught.value)
    assert code is Exit.USAGE
    assert "SentItem; did you mean sentitems?" in str(mistake)


async def test_users_without_mailbox_are_named_skips(open_site: OpenSite) -> None:
    """Each kind of unreadable mailbox has its reason, by pseudonym, and the run stays complete."""
    site = await open_site(users=30)
    manifest = await site.run()

    skipped = {(line.principal, line.reason) for line in manifest.skipped if line.dataset == "mail_messages"}
    for kind, reason in (
        (MailboxKind.NO_MAILBOX, "no_mailbox"),
        (MailboxKind.INVALID_USER, "no_mailbox"),
        (MailboxKind.ACCESS_POLICY, "out_of_policy"),
    ):
        users = site.tenant.users_of(kind)
        assert users
        assert {(token(user), reason) for user in users} <= skipped
    assert manifest.status == "complete"


async def test_no_licence_is_a_skip_and_a_full_mailbox_is_none(open_site: OpenSite) -> None:
    """The 401 of an unlicensed user is not taken for a bad token; a quota that stops delta queries stops no windows."""
    kinds = {MailboxKind.UNLICENSED: 1, MailboxKind.OVER_QUOTA: 1}
    site = await open_site(users=8, profile=TenantProfile(mailboxes=kinds))
    (unlicensed,), (full,) = (site.tenant.users_of(kind) for kind in kinds)
    manifest = await site.run()

    skipped = {(line.principal, line.reason) for line in manifest.skipped if line.dataset == "mail_messages"}
    assert skipped == {(token(unlicensed), "no_mailbox")}
    assert full in readable(site)
    assert manifest.status == "complete"
    assert true_messages(site, NOW - LOOKBACK, NOW) == exported(site, "mail_messages", "_owner, id")


async def test_one_mailbox_that_fails_for_ever_costs_that_mailbox_only(open_site: OpenSite) -> None:
    """The run is partial and names the mailbox by pseudonym and reason; everybody else is exported."""
    site = await open_site(users=20, profile=TenantProfile(mailboxes={MailboxKind.FAILING: 1}))
    (broken,) = site.tenant.users_of(MailboxKind.FAILING)
    manifest = await site.run()

    assert manifest.status == "partial"
    failed = {(line.principal, line.dataset, line.reason) for line in manifest.failed}
    assert (token(broken), "mail_messages", "service_error") in failed
    assert {principal for principal, _, _ in failed} == {token(broken)}
    assert true_messages(site, NOW - LOOKBACK, NOW) == exported(site, "mail_messages", "_owner, id")


async def test_a_wrong_client_secret_is_refused_with_code_and_remedy(open_site: OpenSite) -> None:
    """Nothing can be read: the AADSTS code and what to do."""
    site = await open_site(users=3, keys={"auth.client_secret": "env:SALT"})

    with pytest.raises(BaseException) as caught:
        await site.run()

    code, refusal = exit_of_error(caught.value)
    assert code is Exit.REFUSED
    assert isinstance(refusal, SourceRefused)
    assert "7000215" in (refusal.code or "")
    assert refusal.remedy


async def test_every_engine_counts_the_same(open_site: OpenSite) -> None:
    """DuckDB, pandas and polars open the Parquet and count as many rows as the manifest."""
    site = await open_site(users=6)
    manifest = await site.run()

    for line in manifest.datasets.values():
        files = [str(site.folder / "data" / part.path) for part in line.parts]
        if not files:
            continue
        assert line.rows == duckdb.connect().execute(f"SELECT count(*) FROM read_parquet({files!r})").fetchall()[0][0]
        assert line.rows == sum(len(pd.read_parquet(file)) for file in files)
        assert line.rows == sum(pl.read_parquet(file).height for file in files)


async def test_requests_keep_to_four_a_mailbox_and_always_select(open_site: OpenSite) -> None:
    """The emulator saw at most four requests at once in a mailbox, none refused, none without $select."""
    site = await open_site(users=20)
    await site.run()
    counters = site.emulator.counters

    assert max(counters.max_in_flight.values()) <= 4
    assert not any("429" in refusal for refusal in counters.refusals)
    assert not set(counters.without_select) & {"messages", "calendarView", "users", "groups"}


async def test_the_manifest_is_the_contract(open_site: OpenSite) -> None:
    """Field names and shapes of the published manifest are those other programs rely on."""
    site = await open_site(users=4)
    manifest = await site.run()
    document = json.loads((site.folder / "data" / "_manifests" / f"{manifest.run_id}.json").read_text())

    assert set(document) == {
        "manifest_version", "run_id", "kind", "status", "window", "started_at", "finished_at", "tool_version",
        "profile", "rules_fingerprint", "salt_fingerprint", "schema_versions", "datasets", "skipped", "failed",
    }  # fmt: skip
    line = document["datasets"]["mail_messages"]
    assert set(line) == {"rows", "rejected", "units", "completeness", "parts"}
    assert set(line["parts"][0]) == {"path", "rows", "bytes", "sha256", "min_time", "max_time"}
    assert document["window"]["to"].endswith("Z")
    assert line["parts"][0]["path"].endswith("-20260302.parquet")
