"""Teams, channels and what is written there, against the emulated tenant: every night, history, refusals."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from connectors.emulator import ALL_ROLES, Fault, Faults, TeamKind, TenantProfile
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, thread_token, token

DAY = timedelta(days=1)
LOOKBACK = timedelta(days=11)  # longer than the tenant's history
SETTLED = NOW - DAY  # Teams is left alone for a day
COLUMNS = "_owner, channelIdentity.channelId, coalesce(replyToId, ''), id"
Keys = Counter[tuple[str, ...]]
KEYS = {"initial_lookback": "11d"}

REFUSED = [Fault(kind="getAllChannelMessages", status=402, code="PaymentRequired")]


def true_messages(site: Site, start: datetime, end: datetime) -> Keys:
    return Counter(
        (
            token(message["channelIdentity"]["teamId"]),
            thread_token(message["channelIdentity"]["channelId"]),
            message["replyToId"] or "",
            message["id"],
        )
        for message in site.tenant.truth.channel_messages(start, end)
    )


def exported(site: Site, run: str = "*") -> Keys:
    return Counter(site.query("teams_channel_messages", COLUMNS, run=run))


def message_in(site: Site, start: datetime, end: datetime, *, reply: bool) -> dict[str, str]:
    """The ids of some message that an ordinary person wrote in this time."""
    return next(
        {"channel_id": message["channelIdentity"]["channelId"], "message_id": message["id"]}
        for message in site.tenant.truth.channel_messages(start, end)
        if (message["replyToId"] is not None) == reply and message["messageType"] == "message"
        if message["deletedDateTime"] is None
    )


async def test_a_first_run_holds_every_team_channel_and_message(open_site: OpenSite) -> None:
    """Roots and replies, private and shared channels, archived teams; each once."""
    site = await open_site(keys=KEYS)
    manifest = await site.run()
    truth = site.tenant.truth

    assert manifest.status == "complete"
    teams = {token(team["id"]): team for team in truth.teams()}
    rows = site.query("teams_teams", "id, visibility, isArchived, summary.membersCount")
    assert sorted(rows) == sorted(
        (name, team["visibility"], team["isArchived"], team["summary"]["membersCount"]) for name, team in teams.items()
    )
    channels = Counter(
        (token(team["id"]), thread_token(channel["id"]), channel["membershipType"])
        for team in truth.teams()
        for channel in truth.channels(team["id"])
    )
    assert channels == Counter(site.query("teams_channels", "_owner, id, membershipType"))
    assert "shared" in {kind for _, _, kind in channels}
    expected = true_messages(site, SETTLED - LOOKBACK, SETTLED)
    assert expected == exported(site)
    assert {bool(reply_to) for _, _, reply_to, _ in expected} == {False, True}


async def test_a_team_that_cannot_be_opened_is_a_named_skip(open_site: OpenSite) -> None:
    """Listed, and 404 on everything: of all three datasets, by pseudonym; the run is complete."""
    site = await open_site(keys=KEYS)
    (missing,) = site.tenant.teams_of(TeamKind.MISSING)
    manifest = await site.run()

    skips = {(line.dataset, line.reason) for line in manifest.skipped if line.principal == token(missing)}
    assert skips == {
        (dataset, "deleted_principal") for dataset in ("teams_teams", "teams_channels", "teams_channel_messages")
    }
    assert manifest.status == "complete"


@pytest.mark.parametrize("faults", [[], REFUSED], ids=["exported", "listed"])
async def test_the_next_night_brings_what_was_written_or_changed(open_site: OpenSite, faults: Sequence[Fault]) -> None:
    """New roots and replies, edits and reactions of the past, deletions; nothing else, whichever way it is read."""
    site = await open_site(keys=KEYS, faults=Faults(faults))
    tenant = site.tenant
    await site.run()
    old = SETTLED - 7 * DAY
    edited, liked, deleted = (
        message_in(site, old, old + 2 * DAY, reply=False),
        message_in(site, old, old + 2 * DAY, reply=True),
        message_in(site, old + 2 * DAY, old + 4 * DAY, reply=True),
    )
    team = tenant.teams_of(TeamKind.NORMAL)[0]
    tenant.clock.advance(2 * DAY)
    at = SETTLED + timedelta(hours=5)
    tenant.edit_channel_message(**edited, at=at)
    tenant.react_to_channel_message(**liked, at=at)
    tenant.delete_channel_message(**deleted, at=at)
    (root,) = tenant.deliver_channel_messages(team_id=team, at=at)
    tenant.deliver_channel_messages(team_id=team, reply_to=root, count=60, at=at)
    second = await site.run()

    settled = SETTLED + 2 * DAY
    expected = true_messages(site, SETTLED, settled)
    assert expected == exported(site, second.run_id)
    ids = {key[3] for key in expected}
    assert {edited["message_id"], liked["message_id"], deleted["message_id"], root} <= ids
    gone = site.query("teams_channel_messages", "id, deletedDateTime IS NOT NULL", run=second.run_id)
    assert (deleted["message_id"], True) in gone


@pytest.mark.parametrize("faults", [[], REFUSED], ids=["exported", "listed"])
async def test_history_can_be_cut_at_any_instant(open_site: OpenSite, faults: Sequence[Fault]) -> None:
    """Cut at the very instants of a creation and of a change: each side holds what belongs to it, each row once."""
    site = await open_site(keys=KEYS, faults=Faults(faults))
    start, end = NOW - 8 * DAY, NOW - 2 * DAY
    changed = [
        (message["createdDateTime"], message["lastModifiedDateTime"])
        for message in site.tenant.truth.channel_messages(start, end)
        if start.isoformat() < message["createdDateTime"] < message["lastModifiedDateTime"] < end.isoformat()
    ]
    cuts = [datetime.fromisoformat(text) for text in changed[len(changed) // 2]]
    for left, right in pairwise([start, *cuts, end]):
        manifest = await site.backfill(left, right)
        assert true_messages(site, left, right) == exported(site, manifest.run_id)
        site.tenant.clock.advance(timedelta(seconds=2))


@pytest.mark.parametrize("covered", [False, True])
async def test_a_shared_channel_is_exported_once_by_its_host(open_site: OpenSite, covered: bool) -> None:
    """Whether or not the export function covers shared channels, and those of other teams with them."""
    site = await open_site(keys=KEYS, profile=TenantProfile(export_has_shared_channels=covered))
    await site.run()
    expected = true_messages(site, SETTLED - LOOKBACK, SETTLED)
    assert expected == exported(site)
    host = site.tenant.teams_of(TeamKind.NORMAL)[0]
    shared = [channel for channel in site.tenant.truth.channels(host) if channel["membershipType"] == "shared"]
    assert any(key[:2] == (token(host), thread_token(channel["id"])) for key in expected for channel in shared)


async def test_without_the_export_function_channels_are_listed(open_site: OpenSite) -> None:
    """Completely, also where replies do not all come with their root."""
    profile = TenantProfile(threads_per_week=4, expanded_replies=3)
    site = await open_site(keys=KEYS, faults=Faults(REFUSED), profile=profile)
    manifest = await site.run()
    assert manifest.status == "complete"
    assert true_messages(site, SETTLED - LOOKBACK, SETTLED) == exported(site)
    assert site.emulator.counters.requests["replies"] > 0


@pytest.mark.parametrize(
    ("role", "denied"),
    [
        ("Team.ReadBasic.All", {"teams_teams", "teams_channels", "teams_channel_messages"}),
        ("ChannelMessage.Read.All", {"teams_channel_messages"}),
        ("Channel.ReadBasic.All", {"teams_channels", "teams_channel_messages"}),
        ("Chat.Read.All", {"teams_chat_messages"}),
    ],
)
async def test_a_missing_permission_costs_what_needs_it(open_site: OpenSite, role: str, denied: set[str]) -> None:
    """Named as `permission`; every other dataset is exported."""
    site = await open_site(keys=KEYS, users=6)
    app = site.emulator.register(roles=tuple({*ALL_ROLES, "Chat.ReadBasic.All"} - {role}))
    site.keys = {**KEYS, "auth.client_id": app.client_id, "auth.client_secret": "env:OTHER_SECRET"}
    site.environ["OTHER_SECRET"] = app.client_secret
    manifest = await site.run()
    assert {(line.dataset, line.reason, line.principal) for line in manifest.failed} == {
        (dataset, "permission", None) for dataset in denied
    }
    assert manifest.status == "partial"
    if "teams_channel_messages" not in denied:
        assert true_messages(site, SETTLED - LOOKBACK, SETTLED) == exported(site)


async def test_a_team_deleted_since_it_was_listed_is_a_skip_the_next_night(open_site: OpenSite) -> None:
    """And what it had is not exported again."""
    site = await open_site(keys=KEYS, users=6)
    (archived,) = site.tenant.teams_of(TeamKind.ARCHIVED)
    await site.run()
    site.tenant.clock.advance(2 * DAY)
    site.tenant.remove_team(archived)
    second = await site.run()
    assert second.status == "complete"
    assert token(archived) not in {row[0] for row in site.query("teams_teams", "id", run=second.run_id)}
    assert true_messages(site, SETTLED, SETTLED + 2 * DAY) == exported(site, second.run_id)
