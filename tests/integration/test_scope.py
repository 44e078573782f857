"""Whose data is read: groups, names, shared mailboxes, against the emulated tenant's truth and its own counters."""

import asyncio
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from connectors.emulator import Effect, Fault, MailboxKind, TenantProfile
from connectors.emulator.people import Person
from pipeline.cli.summary import print_outcomes
from pipeline.errors import ConfigurationError, SourceRefused
from pipeline.exits import Exit, exit_of_error, exit_of_outcomes
from pipeline.model import RunKind, Unit
from pipeline.parts import UnitResult
from pipeline.run import Request, export, look_ahead
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, token
from tests.integration.test_export import LOOKBACK, exported

MAILBOX_DATASETS = ("mail_messages", "mail_contacts", "calendar_events")
ONE_BY_ONE: dict[str, object] = {  # so that a stop leaves something to do
    "output.part_size": "1KiB",
    "limits.mailboxes_in_flight": 1,
    "limits.per_mailbox_in_flight": 1,
}


async def ignore(_unit: Unit, _result: UnitResult) -> None:
    """The rows of the directory do not matter here."""


def ring(site: Site) -> tuple[str, set[str]]:
    """A group that nests another, and so on around to itself, with everybody in the ring."""
    group, members = site.tenant.groups.group(1), people_in(site, 1)
    direct = {member["id"] for member in site.tenant.truth.members(group.id)}
    assert members - direct
    return group.id, members


def people_in(site: Site, number: int) -> set[str]:
    """Who is a member of a group, or of a group in it."""
    groups = site.tenant.groups
    return {member.id for member in groups.reached_from(groups.group(number)) if isinstance(member, Person)}


def asked_about(site: Site) -> set[str]:
    return {user for user, count in site.emulator.counters.users.items() if count}


def owners(site: Site, run: str = "*") -> set[str]:
    """Whose rows there are."""
    folders = {path.parent.parent.name for path in (site.folder / "data").glob(f"*/{run}/*.parquet")}
    datasets = folders & {"mailbox_settings", *MAILBOX_DATASETS}
    return {row[0] for dataset in datasets for row in site.query(dataset, "_owner", run=run)}


def users_of(call: dict[str, Any]) -> set[str]:
    """Who organized a call or took part in it."""
    identities = [each["identity"] for each in (call["organizer_v2"], *call["participants_v2"]) if each]
    return {identity["user"]["id"] for identity in identities if identity and identity.get("user")}


def true_messages(site: Site, users: set[str]) -> set[tuple[str, str]]:
    return {
        (token(user), token(message["id"]))
        for user in users
        for message in site.tenant.truth.messages(user, NOW - LOOKBACK, NOW)
    }


async def test_only_members_of_the_included_groups_are_read(open_site: OpenSite) -> None:
    """Nested groups count, rings end; of everybody else nothing is asked, and there is no row."""
    site = await open_site(users=24, history=timedelta(days=4), profile=TenantProfile.quiet())
    group, members = ring(site)
    everybody = set(site.tenant.user_ids)
    assert members < everybody
    site.keys = {"scope.include_groups": [group]}
    manifest = await site.run()

    assert manifest.status == "complete"
    assert asked_about(site) == members
    assert exported(site, "mail_messages", "_owner, id") == true_messages(site, members)
    tokens = {token(user) for user in members}
    assert {row[0] for row in site.query("entra_users", "id")} == tokens
    assert owners(site) == tokens
    rows = {row[0] for row in site.query("entra_group_members", "id")}
    assert rows & {token(user) for user in everybody} == tokens
    assert {token(each.id) for each in site.tenant.groups} & rows  # a group in a group is nobody's membership
    assert "out_of_scope" not in manifest.skips_by_reason


async def test_excluded_people_are_never_asked_about_and_named_once_for_each_dataset(open_site: OpenSite) -> None:
    """By group and by name; the chats, calls and teams of others stay."""
    site = await open_site(users=24, history=timedelta(days=4), profile=TenantProfile.quiet())
    whole = await site.run()
    group, members = ring(site)
    named = next(user for user in site.tenant.user_ids if user not in members)
    excluded = {*members, named}
    site.emulator.counters.reset()
    site.keys = {
        "scope.exclude_groups": [group],
        "scope.exclude_users": [site.tenant.person(named).upn.upper()],
        "state": f"file://{site.folder}/other",
    }
    manifest = await site.run()

    assert manifest.status == "complete"
    assert asked_about(site) == set(site.tenant.user_ids) - excluded
    assert not owners(site, f"*{manifest.run_id}*") & {token(user) for user in excluded}
    skipped = [(line.principal, line.dataset) for line in manifest.skipped if line.reason == "out_of_scope"]
    assert len(skipped) == len(set(skipped))
    assert set(skipped) >= {
        (token(user), dataset)
        for user in excluded
        for dataset in ("mailbox_settings", *MAILBOX_DATASETS, "teams_chats", "teams_chat_messages")
    }
    assert manifest.datasets["mail_messages"].units.skipped == len(excluded)

    inside = set(site.tenant.user_ids) - excluded
    chats = [chat for chat in site.tenant.truth.chats() if {each.get("userId") for each in chat["members"]} & inside]
    assert manifest.datasets["teams_chats"].rows == len(chats) < whole.datasets["teams_chats"].rows
    ids = {row[0] for row in site.query("teams_call_records", "id", run=f"*{manifest.run_id}*")}
    settled = NOW - timedelta(hours=24)
    calls = site.tenant.truth.call_records(settled - timedelta(days=30), settled)
    assert ids == {token(call["id"]) for call in calls if users_of(call) & inside}
    assert len(ids) < len(calls)
    teams = {row[0] for row in site.query("teams_teams", "id", run=f"*{manifest.run_id}*")}
    assert teams == {
        token(team["id"])
        for team in site.tenant.truth.teams()
        if people_in(site, site.tenant.groups.ids.index(team["id"])) & inside
    }
    for dataset in ("teams_pstn_calls", "teams_direct_routing_calls"):
        users = {row[0] for row in site.query(dataset, "userId", run=f"*{manifest.run_id}*")}
        assert users <= {token(user) for user in inside}


async def test_a_group_is_found_by_its_address_too(open_site: OpenSite) -> None:
    """In the members it has, as by its id."""
    site = await open_site(users=16, history=timedelta(days=2), profile=TenantProfile.quiet())
    group = next(each for each in site.tenant.groups if each.number == 3 and each.mail)
    members = people_in(site, group.number)
    site.keys = {"connectors": {"entra-id": {}}, "scope.include_groups": [group.mail]}
    await site.run()
    assert {row[0] for row in site.query("entra_users", "id")} == {token(user) for user in members}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("scope.exclude_groups", "00000000-1111-4222-8333-444444444444"),
        ("scope.include_groups", "nobody@alderbrook.example"),
        ("scope.exclude_users", "nobody@alderbrook.example"),
    ],
)
async def test_a_name_that_nobody_has_stops_the_run(open_site: OpenSite, key: str, name: str) -> None:
    """With exit 2, before anything is read of anybody; the fault names key and place only."""
    site = await open_site(users=4, history=timedelta(days=1), keys={key: [name]})
    with pytest.raises(BaseException) as caught:
        await site.run()
    code, fault = exit_of_error(caught.value)
    assert code is Exit.USAGE
    assert isinstance(fault, ConfigurationError)
    assert [each.partition(":")[0] for each in fault.faults] == [f"{key}[0]"]
    assert name not in str(fault)
    assert asked_about(site) == set()
    assert not list((site.folder / "data").rglob("*.parquet"))


async def test_members_that_may_not_be_read_stop_the_run(open_site: OpenSite) -> None:
    """With exit 3 and the role to grant: an exclusion that cannot be known would be none."""
    site = await open_site(users=4, history=timedelta(days=1))
    site.keys = {"scope.exclude_groups": [site.tenant.groups.group(1).id]}
    site.emulator.faults.replace([Fault(kind="transitiveMembers", status=403, code="Authorization_RequestDenied")])
    with pytest.raises(BaseException) as caught:
        await site.run()
    code, refusal = exit_of_error(caught.value)
    assert code is Exit.REFUSED
    assert isinstance(refusal, SourceRefused)
    assert "GroupMember.ReadBasic.All" in refusal.remedy


async def test_shared_mailboxes_are_left_out_where_they_are_not_wanted(open_site: OpenSite) -> None:
    """Shared ones and rooms, by what the mailbox says it is for; their settings and chats are still read."""
    kinds = {MailboxKind.SHARED: 2, MailboxKind.ROOM: 2, MailboxKind.DISABLED: 1, MailboxKind.NO_MAILBOX: 1}
    site = await open_site(users=16, history=timedelta(days=3), profile=TenantProfile(mailboxes=kinds))
    site.keys = {"scope.include_shared": False}
    manifest = await site.run()

    shared = {*site.tenant.users_of(MailboxKind.SHARED), *site.tenant.users_of(MailboxKind.ROOM)}
    assert len(shared) == 4
    assert manifest.status == "complete"
    personal = set(site.tenant.user_ids) - shared - set(site.tenant.users_of(MailboxKind.NO_MAILBOX))
    assert exported(site, "mail_messages", "_owner, id") == true_messages(site, personal)
    assert not {row[0] for row in site.query("calendar_events", "_owner")} & {token(user) for user in shared}
    assert {row[0] for row in site.query("mailbox_settings", "_owner")} == {token(user) for user in personal | shared}
    skipped = {(line.principal, line.dataset) for line in manifest.skipped if line.reason == "out_of_scope"}
    assert skipped == {(token(user), dataset) for user in shared for dataset in MAILBOX_DATASETS}


async def test_who_comes_back_into_scope_is_caught_up(open_site: OpenSite) -> None:
    """From where he was left, as a mailbox that failed for some nights would be."""
    site = await open_site(users=8, history=timedelta(days=5), profile=TenantProfile.quiet())
    user = site.tenant.user_ids[0]
    site.keys = {"connectors": {"outlook-mail": {}}}
    await site.run()
    site.tenant.clock.advance(timedelta(days=1))
    site.keys |= {"scope.exclude_users": [user]}
    second = await site.run()
    assert token(user) not in owners(site, f"*{second.run_id}*")
    site.tenant.clock.advance(timedelta(days=1))
    del site.keys["scope.exclude_users"]
    await site.run()

    expected = {
        token(message["id"]) for message in site.tenant.truth.messages(user, NOW - LOOKBACK, NOW + timedelta(days=2))
    }
    found = [row[1] for row in site.query("mail_messages", "_owner, id") if row[0] == token(user)]
    assert set(found) == expected
    assert len(found) == len(expected)


async def _interrupted(site: Site) -> None:
    """A run that is stopped when some mailboxes have been read."""
    stop = asyncio.Event()
    site.emulator.faults.replace([Fault(kind="messages", after=3, times=1, effect=Effect.HOLD)])
    async with site.equipment(RunKind.RUN, stop=stop) as equipment:
        running = asyncio.ensure_future(export(equipment, Request(kind=RunKind.RUN)))
        await site.emulator.until_held(1)
        stop.set()
        site.emulator.release()
        (outcome,) = await running
        assert outcome.interrupted


async def test_a_resumed_run_keeps_to_the_scope_it_began_with(open_site: OpenSite) -> None:
    """Memberships are read once; who joins the excluded group meanwhile is excluded tomorrow."""
    site = await open_site(users=10, history=timedelta(days=3), profile=TenantProfile.quiet())
    group, members = ring(site)
    joins = next(user for user in site.tenant.user_ids if user not in members)
    leaves = next(iter(members))
    site.keys = {"connectors": {"outlook-mail": {}}, "scope.exclude_groups": [group], **ONE_BY_ONE}
    await _interrupted(site)
    site.tenant.join_group(joins, group)
    for number in (1, 2, 3):
        site.tenant.leave_group(leaves, site.tenant.groups.group(number).id)
    site.emulator.counters.reset()
    await site.run()
    assert site.emulator.counters.requests["transitiveMembers"] == 0
    assert owners(site) == {token(user) for user in set(site.tenant.user_ids) - members}

    site.tenant.clock.advance(timedelta(days=1))
    tomorrow = await site.run()
    assert owners(site, f"*{tomorrow.run_id}*") == {
        token(user) for user in (set(site.tenant.user_ids) - members - {joins}) | {leaves}
    }


async def test_another_scope_is_other_work(open_site: OpenSite) -> None:
    """The interrupted run is sealed as it is, partial, which the operator is told; the new one reads whom it should."""
    site = await open_site(users=8, history=timedelta(days=3), profile=TenantProfile.quiet())
    first, last = site.tenant.user_ids[0], site.tenant.user_ids[-1]
    site.keys = {"connectors": {"outlook-mail": {}}, "scope.exclude_users": [first], **ONE_BY_ONE}
    await _interrupted(site)
    site.tenant.clock.advance(timedelta(minutes=5))
    site.keys |= {"scope.exclude_users": [last]}
    outcomes = await site.export(Request(kind=RunKind.RUN))

    abandoned, manifest = (outcome.manifest for outcome in outcomes)
    assert abandoned is not None
    assert manifest is not None
    assert (abandoned.status, manifest.status) == ("partial", "complete")
    assert exit_of_outcomes(outcomes) is Exit.PARTIAL
    console = Console(file=StringIO(), width=200)
    print_outcomes(console, outcomes, destination="somewhere")
    assert isinstance(console.file, StringIO)
    assert "it was interrupted and is sealed as it was" in console.file.getvalue()
    assert len(list((site.folder / "data" / "_manifests").glob("*Z-????.json"))) == 2
    assert owners(site, f"*{manifest.run_id}*") == {token(user) for user in site.tenant.user_ids if user != last}


async def test_a_plan_knows_the_scope(open_site: OpenSite) -> None:
    """Units of those in scope only, found out the same way."""
    site = await open_site(users=16, history=timedelta(days=2), profile=TenantProfile.quiet())
    group, members = ring(site)
    site.keys = {"scope.include_groups": [group]}
    async with site.equipment(RunKind.RUN) as equipment:
        survey = await look_ahead(equipment, Request(kind=RunKind.RUN), take=ignore, see=lambda _unit, _page: None)
        groups = survey.plan({}, done=())
    planned = {unit.principal.id for units in groups for unit in units if unit.principal.kind == "user"}
    assert planned == members


async def test_suppressed_chats_still_join_with_their_messages(open_site: OpenSite) -> None:
    """One-on-one chats with an excluded person get another id, the same one in both datasets."""
    site = await open_site(users=8, history=timedelta(days=4), profile=TenantProfile.quiet())
    excluded = site.tenant.user_ids[0]
    site.keys = {"connectors": {"msft-teams": {}}, "scope.exclude_users": [excluded], "scope.suppress": True}
    await site.run()
    chats = [row[0] for row in site.query("teams_chats", "id")]
    assert len(chats) == len(set(chats))
    assert {row[0] for row in site.query("teams_chat_messages", "chatId")} <= set(chats)
    with_excluded = [chat for chat in site.tenant.truth.chats() if excluded in chat["id"]]
    assert with_excluded
    senders = site.query("teams_chat_messages", '"from".user.id', run="*")
    assert token(excluded) not in {row[0] for row in senders}
