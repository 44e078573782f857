"""The client and the connectors against the emulated tenant: TLS, real MSAL, throttling, faults."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.emulator import Effect, Emulator, Fault, MailboxKind, Tenant, TenantProfile
from connectors.graph.auth import Tokens
from connectors.graph.client import GraphClient
from connectors.graph.clock import GraphClock
from connectors.graph.credentials import Assertion, Certificate, ClientSecret
from connectors.graph.issuer import MsalIssuer
from connectors.graph.network import Network
from connectors.graph.throttle import Governor
from connectors.options import ConnectorOptions
from connectors.registry import build
from pipeline.errors import DatasetDenied, FailReason, SkipReason, SourceRefused, UnitFailed, UnitSkipped
from pipeline.model import Principal, PrincipalKind, Unit, Window
from tests.integration.line import SELECT, ids, open_line, read_unit, read_with_damage
from tests.integration.line import user as principal_of

NOW = datetime(2026, 3, 2, tzinfo=UTC)
HISTORY = timedelta(days=20)
WINDOW = Window(NOW - HISTORY, NOW)


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    """Sixty users, every special kind among them, and one large mailbox; tests of this module only read it."""
    profile = replace(TenantProfile.hostile(), large_mailboxes={40: 2_500})
    return Tenant(seed=7, users=60, now=NOW, history=HISTORY, profile=profile)


def _busiest(tenant: Tenant) -> str:
    ordinary = tenant.users_of(MailboxKind.NORMAL)
    return max(ordinary, key=lambda user: len(tenant.truth.messages(user, WINDOW.start, WINDOW.end)))


async def test_users_and_groups_are_complete(tenant: Tenant) -> None:
    """Over all pages, empty ones included; guests are not enumerated."""
    async with open_line(tenant) as line:
        users = await read_unit(line.source("entra-id", "entra_users"), Principal.tenant(tenant.id))
        groups = await read_unit(line.source("entra-id", "entra_groups"), Principal.tenant(tenant.id))
        assert ids(users) == ids(tenant.truth.users())
        assert ids(groups) == ids(tenant.truth.groups())
        source = line.source("entra-id", "entra_group_members")
        for group in groups[:5]:
            members = await read_unit(source, Principal(PrincipalKind.GROUP, group["id"]))
            assert ids(members) == ids(tenant.truth.members(group["id"]))


async def test_mail_of_a_window_is_complete_and_tiles(tenant: Tenant) -> None:
    """Adjacent windows hold each message once."""
    user = _busiest(tenant)
    async with open_line(tenant) as line:
        source = line.source("outlook-mail", "mail_messages")
        whole = await read_unit(source, principal_of(user), WINDOW)
        tiles = [await read_unit(source, principal_of(user), tile) for tile in WINDOW.tiles(timedelta(days=7))]
    expected = ids(tenant.truth.messages(user, WINDOW.start, WINDOW.end))
    assert expected
    assert ids(whole) == expected
    assert ids([record for tile in tiles for record in tile]) == expected
    assert not any("subject" in record for record in whole)


async def test_the_sent_items_of_a_mailbox_can_be_chosen(tenant: Tenant) -> None:
    """A part of the whole mailbox, with the same ids; a folder nobody has holds nothing."""
    user = _busiest(tenant)
    async with open_line(tenant) as line:
        whole = await read_unit(line.source("outlook-mail", "mail_messages"), principal_of(user), WINDOW)
        sent = line.source("outlook-mail", "mail_messages", mail_folders=("SentItems",))
        records = await read_unit(sent, principal_of(user), WINDOW)
    assert records
    assert set(ids(records)) < set(ids(whole))


async def test_events_that_start_in_the_window_are_complete(tenant: Tenant) -> None:
    """What the view adds at the edges belongs to the neighbours."""
    user = _busiest(tenant)
    day = Window(NOW - timedelta(days=6), NOW - timedelta(days=5))
    async with open_line(tenant) as line:
        source = line.source("outlook-calendar", "calendar_events")
        records = await read_unit(source, principal_of(user), WINDOW)
        tiles = [await read_unit(source, principal_of(user), tile) for tile in WINDOW.tiles(timedelta(days=1))]
    assert ids(records) == ids(tenant.truth.events(user, WINDOW.start, WINDOW.end))

    def starting(records: Sequence[dict[str, Any]], window: Window) -> list[str]:
        start, end = window.start.strftime("%Y-%m-%dT%H:%M:%S"), window.end.strftime("%Y-%m-%dT%H:%M:%S")
        return ids([record for record in records if start <= record["start"]["dateTime"][:19] < end])

    of_tiles = [
        identifier
        for tile, window in zip(tiles, WINDOW.tiles(timedelta(days=1)), strict=True)
        for identifier in starting(tile, window)
    ]
    assert sorted(of_tiles) == starting(records, WINDOW)
    assert {record["start"]["timeZone"] for record in records} == {"UTC"}
    assert day.start in WINDOW


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (MailboxKind.NO_MAILBOX, SkipReason.NO_MAILBOX),
        (MailboxKind.GUEST, SkipReason.NO_MAILBOX),
        (MailboxKind.INVALID_USER, SkipReason.NO_MAILBOX),
        (MailboxKind.ACCESS_POLICY, SkipReason.OUT_OF_POLICY),
        (MailboxKind.RBAC_DENIED, SkipReason.OUT_OF_POLICY),
    ],
)
async def test_users_without_mailbox_are_skipped(tenant: Tenant, kind: MailboxKind, reason: SkipReason) -> None:
    """Exchange is asked, and its answer is an expected one."""
    async with open_line(tenant) as line:
        for connector, dataset in (("entra-id", "mailbox_settings"), ("outlook-mail", "mail_messages")):
            source = line.source(connector, dataset)
            window = WINDOW if source.windowed else None
            users = tenant.users_of(kind)
            assert users
            for user in users:
                with pytest.raises(UnitSkipped) as skipped:
                    await read_unit(source, principal_of(user), window)
                assert skipped.value.reason is reason


@pytest.mark.parametrize("kind", [MailboxKind.MOVING, MailboxKind.FAILING])
async def test_mailboxes_that_stay_broken_fail_alone(tenant: Tenant, kind: MailboxKind) -> None:
    """After all retries, with the code and the request-id that Microsoft's support asks for."""
    (user, *_) = tenant.users_of(kind)
    async with open_line(tenant) as line:
        with pytest.raises(UnitFailed) as failed:
            await read_unit(line.source("outlook-mail", "mail_messages"), principal_of(user), WINDOW)
        assert line.client.counters.requests == 6
    assert failed.value.reason is FailReason.SERVICE_ERROR
    assert failed.value.request_id


async def test_never_more_than_four_requests_for_a_mailbox(tenant: Tenant) -> None:
    """However many units of it are read at once; and four there are."""
    user = _busiest(tenant)
    async with open_line(tenant, Fault(effect=Effect.SLOW, seconds=0.01, mailbox=user)) as line:
        mail = line.source("outlook-mail", "mail_messages")
        events = line.source("outlook-calendar", "calendar_events")
        async with asyncio.TaskGroup() as group:
            for tile in WINDOW.tiles(timedelta(days=1)):
                group.create_task(read_unit(mail, principal_of(user), tile))
                group.create_task(read_unit(events, principal_of(user), tile))
        assert line.emulator.counters.max_in_flight[user] == 4
        assert line.client.counters.refusals == {}


async def test_chats_and_messages_are_exported_once(tenant: Tenant) -> None:
    """Over all users: each chat with all its members, each message once, none missing."""
    users = [principal_of(user) for user in tenant.user_ids]
    async with open_line(tenant) as line:
        teams = line.connector("msft-teams")
        prepared = await teams.prepare(users, saved=None)
        by_dataset = {source.dataset: source for source in teams.sources}
        chat_source, message_source = by_dataset["teams_chats"], by_dataset["teams_chat_messages"]
        chats, messages = [], []
        for user in users:
            if ("teams_chats", user) in prepared.failed:
                continue
            chats += await read_unit(chat_source, user, WINDOW)
            row_filter = message_source.filter(Unit("teams_chat_messages", user, WINDOW))
            assert row_filter is not None
            got = await read_unit(message_source, user, WINDOW)
            messages += [record for record in got if row_filter.keeps(record["chatId"])]
    assert all(isinstance(error, UnitSkipped) for error in prepared.failed.values())
    truth = {chat["id"]: chat for chat in tenant.truth.chats()}
    assert len(chats) == len({chat["id"] for chat in chats})
    for chat in chats:
        assert ids(chat["members"]) == ids(truth[chat["id"]]["members"])
    expected = {(m["chatId"], m["id"]) for m in tenant.truth.chat_messages(WINDOW.start, WINDOW.end)}
    exported = [(m["chatId"], m["id"]) for m in messages]
    assert len(exported) == len(set(exported))
    assert expected
    assert expected <= set(exported)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="messages", status=429, code="TooManyRequests", retry_after=0, times=3),
        Fault(kind="messages", status=503, times=3),
        Fault(kind="messages", status=504, code="UnknownError", times=3),
        Fault(kind="messages", status=500, code="", times=3),
        Fault(kind="messages", effect=Effect.RESET, times=3),
        Fault(kind="messages", effect=Effect.RESET_BODY, times=3),
        Fault(kind="messages", effect=Effect.TRUNCATE, times=3),
        Fault(kind="messages", effect=Effect.HTML, times=3),
        Fault(kind="messages", effect=Effect.CONTROL_CHARACTER, times=5),
        Fault(kind="messages", effect=Effect.CLOSE),
        Fault(kind="messages", effect=Effect.EMPTY_PAGE, times=3),
        Fault(kind="messages", status=401, code="InvalidAuthenticationToken", times=1),
        Fault(kind="messages", status=404, code="UnknownError", times=2),
        Fault(kind="messages", status=400, code="Directory_ExpiredPageToken", after=1, times=1),
        Fault(kind="messages", effect=Effect.BROKEN_LINK, times=1),
    ],
    ids=lambda fault: f"{fault.effect}-{fault.status}-{fault.code}",
)
async def test_passing_faults_leave_no_trace_in_the_records(tenant: Tenant, fault: Fault) -> None:
    """Whatever goes wrong for a while, the unit is whole in the end."""
    user = _busiest(tenant)
    async with open_line(tenant, fault) as line:
        records = await read_unit(line.source("outlook-mail", "mail_messages"), principal_of(user), WINDOW)
    assert ids(records) == ids(tenant.truth.messages(user, WINDOW.start, WINDOW.end))


@pytest.mark.parametrize(
    ("connector", "dataset"), [("outlook-mail", "mail_messages"), ("outlook-calendar", "calendar_events")]
)
async def test_a_poisoned_item_is_lost_alone(tenant: Tenant, connector: str, dataset: str) -> None:
    """Exchange answers 500 to every page that would hold it; all others come, and the loss is counted."""
    user, window = _busiest(tenant), WINDOW
    truth = tenant.truth.messages if dataset == "mail_messages" else tenant.truth.events
    expected = ids(truth(user, window.start, window.end))
    poisoned = expected[len(expected) // 3]
    async with open_line(tenant, Fault(effect=Effect.POISON, item=poisoned)) as line:
        records, damaged = await read_with_damage(line.source(connector, dataset), principal_of(user), window)
        assert line.client.counters.requests < 80
    assert damaged == 1
    assert ids(records) == [identifier for identifier in expected if identifier != poisoned]


@pytest.mark.parametrize("bearable", [400, 60, 3])
async def test_pages_that_are_too_heavy_are_read_in_smaller_ones(tenant: Tenant, bearable: int) -> None:
    """The gateway gives up on every page above a size nobody published."""
    user = _busiest(tenant)
    heavy = Fault(kind="messages", status=504, code="UnknownError", page_above=bearable)
    async with open_line(tenant, heavy) as line:
        records = await read_unit(line.source("outlook-mail", "mail_messages"), principal_of(user), WINDOW)
    assert ids(records) == ids(tenant.truth.messages(user, WINDOW.start, WINDOW.end))


async def test_a_claims_challenge_is_answered_with_one_token_request(tenant: Tenant) -> None:
    """It carries what Graph demands; a token asked for without would be challenged again."""
    async with open_line(tenant, continuous_access=True) as line:
        users = line.source("entra-id", "entra_users")
        await read_unit(users, Principal.tenant(tenant.id))
        line.emulator.revoke_tokens()
        assert await read_unit(users, Principal.tenant(tenant.id))
        assert line.emulator.counters.requests["token"] == 2
        assert line.client.counters.refusals == {"401 insufficient_claims": 1}


async def test_a_principal_that_stays_challenged_is_refused(tenant: Tenant) -> None:
    """The application was disabled: one new token, then the source is refused and the remedy says where to look."""
    async with open_line(tenant, continuous_access=True) as line:
        users = line.source("entra-id", "entra_users")
        await read_unit(users, Principal.tenant(tenant.id))
        line.emulator.revoke_tokens(for_good=True)
        with pytest.raises(SourceRefused) as refused:
            await read_unit(users, Principal.tenant(tenant.id))
        assert line.emulator.counters.requests["token"] == 2
    assert refused.value.code == "insufficient_claims"
    assert "disabled" in refused.value.remedy


async def test_without_being_announced_no_challenge_comes(tenant: Tenant) -> None:
    """A plain 401, which a new token heals."""
    async with open_line(tenant) as line:
        users = line.source("entra-id", "entra_users")
        await read_unit(users, Principal.tenant(tenant.id))
        line.emulator.revoke_tokens()
        assert await read_unit(users, Principal.tenant(tenant.id))
        assert line.client.counters.refusals == {"401 InvalidAuthenticationToken": 1}


async def test_nobody_calls_inside_a_fence(tenant: Tenant) -> None:
    """A storm of refusals with Retry-After: the emulator counts who came too early."""
    fault = Fault(kind="messages", status=429, code="ApplicationThrottled", retry_after=1, times=1)
    user = _busiest(tenant)
    async with open_line(tenant, fault, clock=GraphClock()) as line:
        await read_unit(line.source("outlook-mail", "mail_messages"), principal_of(user), WINDOW)
        assert line.emulator.counters.inside_fence == 0
        assert line.governor.waited_s >= 1


async def test_a_foreign_next_link_gets_no_token(tenant: Tenant) -> None:
    """The unit fails, and the other host hears nothing."""
    user = _busiest(tenant)
    async with open_line(tenant, Fault(kind="messages", effect=Effect.FOREIGN_LINK)) as line:
        source = line.source("outlook-mail", "mail_messages")
        with pytest.raises(UnitFailed) as failed:
            await read_unit(source, principal_of(user), WINDOW)
    assert (failed.value.reason, failed.value.code) == (FailReason.BAD_ANSWER, "foreign_next_link")


async def test_a_wrong_secret_is_refused_with_its_code(tenant: Tenant) -> None:
    """And a remedy, without a single request to Graph."""
    async with open_line(tenant, credential=ClientSecret("wrong")) as line:
        with pytest.raises(SourceRefused) as refused:
            await read_unit(line.source("entra-id", "entra_users"), Principal.tenant(tenant.id))
        assert line.client.counters.requests == 0
    assert refused.value.code == "AADSTS7000215"
    assert "auth.client_secret" in refused.value.remedy


async def test_an_unknown_application_is_refused_with_its_code(tenant: Tenant) -> None:
    """The classic mistake: an object id instead of the client id."""
    async with open_line(tenant, client_id="99999999-0000-0000-0000-000000000000") as line:
        with pytest.raises(SourceRefused) as refused:
            await read_unit(line.source("entra-id", "entra_users"), Principal.tenant(tenant.id))
    assert refused.value.code == "AADSTS700016"


@pytest.mark.parametrize("kind", ["certificate", "assertion"])
async def test_certificates_and_federated_assertions_sign_in(tenant: Tenant, kind: str) -> None:
    """No stored secret."""
    async with Emulator(tenant) as running:
        pem, assertion = running.certificate_pem, running.federated_assertion
        credential = Certificate(pem) if kind == "certificate" else Assertion(assertion)
        network = Network(ca_file=Path(running.ca_file))
        issuer = MsalIssuer(
            credential=credential,
            client_id=running.client_id,
            tenant_id=running.tenant_id,
            authority=running.url,
            scope="https://graph.microsoft.com/.default",
            known_authority=False,
            network=network,
        )
        assert await Tokens(issuer).token()


async def test_a_missing_role_denies_the_dataset(tenant: Tenant) -> None:
    """The others go on."""
    async with Emulator(tenant) as running:
        registered = running.register(roles=("User.Read.All",))
        network = Network(ca_file=Path(running.ca_file))
        issuer = MsalIssuer(
            credential=ClientSecret(registered.client_secret),
            client_id=registered.client_id,
            tenant_id=running.tenant_id,
            authority=running.url,
            scope="https://graph.microsoft.com/.default",
            known_authority=False,
            network=network,
        )
        async with GraphClient(
            graph=running.url, tokens=Tokens(issuer), governor=Governor(), network=network
        ) as client:
            entra = build("entra-id", client=client, select=SELECT, options=ConnectorOptions())
            teams = build("msft-teams", client=client, select=SELECT, options=ConnectorOptions())
            users, groups, *_ = entra.sources
            assert await read_unit(users, Principal.tenant(tenant.id))
            with pytest.raises(DatasetDenied) as denied:
                await read_unit(groups, Principal.tenant(tenant.id))
            assert denied.value.needs
            prepared = await teams.prepare([principal_of(user) for user in tenant.user_ids], saved=None)
            assert isinstance(prepared.denied["teams_chats"], DatasetDenied)
