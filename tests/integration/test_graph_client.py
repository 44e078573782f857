"""The client and the connectors against the emulated tenant: TLS, real MSAL, throttling, faults."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.emulator import Effect, Emulator, Fault, MailboxKind, Tenant, TenantProfile
from connectors.graph.auth import Tokens
from connectors.graph.client import GraphClient
from connectors.graph.clock import GraphClock
from connectors.graph.connector import Select
from connectors.graph.credentials import Assertion, Certificate, ClientSecret, Credential
from connectors.graph.network import Network
from connectors.graph.throttle import Governor
from connectors.options import ConnectorOptions
from connectors.registry import build
from pipeline.errors import DatasetDenied, FailReason, SkipReason, SourceRefused, UnitFailed, UnitReadAgain, UnitSkipped
from pipeline.model import Principal, PrincipalKind, Unit, Window
from pipeline.ports import Connector, Source

NOW = datetime(2026, 3, 2, tzinfo=UTC)
HISTORY = timedelta(days=20)
WINDOW = Window(NOW - HISTORY, NOW)
SELECT: Select = {
    "entra_users": ("id", "department"),
    "entra_groups": ("id", "mail"),
    "entra_group_members": ("id",),
    "mailbox_settings": ("timeZone", "userPurpose"),
    "mail_messages": ("id", "receivedDateTime", "from", "toRecipients", "isRead"),
    "calendar_events": ("id", "iCalUId", "start", "end", "organizer", "attendees", "createdDateTime"),
    "teams_chats": ("id", "chatType", "createdDateTime", "lastUpdatedDateTime", "members"),
    "teams_chat_messages": ("id", "chatId", "createdDateTime", "lastModifiedDateTime"),
}
SPEED = 500  # seconds of waiting that pass in one real second
FAST = GraphClock(monotonic=lambda: SPEED * time.monotonic(), sleep=lambda seconds: asyncio.sleep(seconds / SPEED))


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    """Sixty users, every special kind among them, and one large mailbox; tests of this module only read it."""
    profile = replace(TenantProfile.hostile(), large_mailboxes={40: 2_500})
    return Tenant(seed=7, users=60, now=NOW, history=HISTORY, profile=profile)


@dataclass(frozen=True)
class Line:
    """An open client of one emulator."""

    emulator: Emulator
    client: GraphClient
    governor: Governor

    def connector(self, name: str, **options: Any) -> Connector:
        return build(name, client=self.client, select=SELECT, options=ConnectorOptions(**options))

    def source(self, connector: str, dataset: str, **options: Any) -> Source:
        sources = self.connector(connector, **options).sources
        return next(source for source in sources if source.dataset == dataset)


@asynccontextmanager
async def _line(
    tenant: Tenant,
    *faults: Fault,
    credential: Credential | None = None,
    client_id: str | None = None,
    clock: GraphClock = FAST,
) -> AsyncIterator[Line]:
    async with Emulator(tenant) as running:
        running.faults.replace(faults)
        governor = Governor(clock=clock)
        network = Network(ca_file=Path(running.ca_file))
        tokens = Tokens(
            credential=credential or ClientSecret(running.client_secret),
            client_id=client_id or running.client_id,
            tenant_id=running.tenant_id,
            authority=running.url,
            scope="https://graph.microsoft.com/.default",
            known_authority=False,
            network=network,
        )
        client = GraphClient(graph=running.url, tokens=tokens, governor=governor, network=network, clock=clock)
        async with client:
            yield Line(running, client, governor)


async def _records(source: Source, principal: Principal, window: Window | None = None) -> list[dict[str, Any]]:
    """All records of a unit, read the way a run reads it."""
    unit = Unit(source.dataset, principal, window)
    while True:
        records: list[dict[str, Any]] = []
        try:
            async for page in source.pages(unit):
                records += json.loads(page.records)
        except UnitReadAgain:
            continue
        return records


def _user(user_id: str) -> Principal:
    return Principal(PrincipalKind.USER, user_id)


def _ids(records: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(record["id"] for record in records)


def _busiest(tenant: Tenant) -> str:
    ordinary = tenant.users_of(MailboxKind.NORMAL)
    return max(ordinary, key=lambda user: len(tenant.truth.messages(user, WINDOW.start, WINDOW.end)))


async def test_users_and_groups_are_complete(tenant: Tenant) -> None:
    """Over all pages, empty ones included; guests are not enumerated."""
    async with _line(tenant) as line:
        users = await _records(line.source("entra-id", "entra_users"), Principal.tenant(tenant.id))
        groups = await _records(line.source("entra-id", "entra_groups"), Principal.tenant(tenant.id))
        assert _ids(users) == _ids(tenant.truth.users())
        assert _ids(groups) == _ids(tenant.truth.groups())
        source = line.source("entra-id", "entra_group_members")
        for group in groups[:5]:
            members = await _records(source, Principal(PrincipalKind.GROUP, group["id"]))
            assert _ids(members) == _ids(tenant.truth.members(group["id"]))


async def test_mail_of_a_window_is_complete_and_tiles(tenant: Tenant) -> None:
    """Adjacent windows hold each message once."""
    user = _busiest(tenant)
    async with _line(tenant) as line:
        source = line.source("outlook-mail", "mail_messages")
        whole = await _records(source, _user(user), WINDOW)
        tiles = [await _records(source, _user(user), tile) for tile in WINDOW.tiles(timedelta(days=7))]
    expected = _ids(tenant.truth.messages(user, WINDOW.start, WINDOW.end))
    assert expected
    assert _ids(whole) == expected
    assert _ids([record for tile in tiles for record in tile]) == expected
    assert not any("subject" in record for record in whole)


async def test_the_sent_items_of_a_mailbox_can_be_chosen(tenant: Tenant) -> None:
    """A part of the whole mailbox, with the same ids; a folder nobody has holds nothing."""
    user = _busiest(tenant)
    async with _line(tenant) as line:
        whole = await _records(line.source("outlook-mail", "mail_messages"), _user(user), WINDOW)
        sent = line.source("outlook-mail", "mail_messages", mail_folders=("SentItems",))
        records = await _records(sent, _user(user), WINDOW)
    assert records
    assert set(_ids(records)) < set(_ids(whole))


async def test_events_that_start_in_the_window_are_complete(tenant: Tenant) -> None:
    """What the view adds at the edges belongs to the neighbours."""
    user = _busiest(tenant)
    day = Window(NOW - timedelta(days=6), NOW - timedelta(days=5))
    async with _line(tenant) as line:
        source = line.source("outlook-calendar", "calendar_events")
        records = await _records(source, _user(user), WINDOW)
        tiles = [await _records(source, _user(user), tile) for tile in WINDOW.tiles(timedelta(days=1))]
    assert _ids(records) == _ids(tenant.truth.events(user, WINDOW.start, WINDOW.end))

    def starting(records: Sequence[dict[str, Any]], window: Window) -> list[str]:
        start, end = window.start.strftime("%Y-%m-%dT%H:%M:%S"), window.end.strftime("%Y-%m-%dT%H:%M:%S")
        return _ids([record for record in records if start <= record["start"]["dateTime"][:19] < end])

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
    async with _line(tenant) as line:
        for connector, dataset in (("entra-id", "mailbox_settings"), ("outlook-mail", "mail_messages")):
            source = line.source(connector, dataset)
            window = WINDOW if source.windowed else None
            users = tenant.users_of(kind)
            assert users
            for user in users:
                with pytest.raises(UnitSkipped) as skipped:
                    await _records(source, _user(user), window)
                assert skipped.value.reason is reason


@pytest.mark.parametrize("kind", [MailboxKind.MOVING, MailboxKind.FAILING])
async def test_mailboxes_that_stay_broken_fail_alone(tenant: Tenant, kind: MailboxKind) -> None:
    """After all retries, with the code and the request-id that Microsoft's support asks for."""
    (user, *_) = tenant.users_of(kind)
    async with _line(tenant) as line:
        with pytest.raises(UnitFailed) as failed:
            await _records(line.source("outlook-mail", "mail_messages"), _user(user), WINDOW)
        assert line.client.counters.requests == 6
    assert failed.value.reason is FailReason.SERVICE_ERROR
    assert failed.value.request_id


async def test_never_more_than_four_requests_for_a_mailbox(tenant: Tenant) -> None:
    """However many units of it are read at once; and four there are."""
    user = _busiest(tenant)
    async with _line(tenant, Fault(effect=Effect.SLOW, seconds=0.01, mailbox=user)) as line:
        mail = line.source("outlook-mail", "mail_messages")
        events = line.source("outlook-calendar", "calendar_events")
        async with asyncio.TaskGroup() as group:
            for tile in WINDOW.tiles(timedelta(days=1)):
                group.create_task(_records(mail, _user(user), tile))
                group.create_task(_records(events, _user(user), tile))
        assert line.emulator.counters.max_in_flight[user] == 4
        assert line.client.counters.refusals == {}


async def test_chats_and_messages_are_exported_once(tenant: Tenant) -> None:
    """Over all users: each chat with all its members, each message once, none missing."""
    users = [_user(user) for user in tenant.user_ids]
    async with _line(tenant) as line:
        teams = line.connector("msft-teams")
        prepared = await teams.prepare(users, saved=None)
        chat_source, message_source = teams.sources
        chats, messages = [], []
        for user in users:
            if user in prepared.failed:
                continue
            chats += await _records(chat_source, user, WINDOW)
            row_filter = message_source.filter(Unit("teams_chat_messages", user, WINDOW))
            assert row_filter is not None
            got = await _records(message_source, user, WINDOW)
            messages += [record for record in got if row_filter.keeps(record["chatId"])]
    assert all(isinstance(error, UnitSkipped) for error in prepared.failed.values())
    truth = {chat["id"]: chat for chat in tenant.truth.chats()}
    assert len(chats) == len({chat["id"] for chat in chats})
    for chat in chats:
        assert _ids(chat["members"]) == _ids(truth[chat["id"]]["members"])
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
    async with _line(tenant, fault) as line:
        records = await _records(line.source("outlook-mail", "mail_messages"), _user(user), WINDOW)
    assert _ids(records) == _ids(tenant.truth.messages(user, WINDOW.start, WINDOW.end))


async def test_nobody_calls_inside_a_fence(tenant: Tenant) -> None:
    """A storm of refusals with Retry-After: the emulator counts who came too early."""
    fault = Fault(kind="messages", status=429, code="ApplicationThrottled", retry_after=1, times=1)
    user = _busiest(tenant)
    async with _line(tenant, fault, clock=GraphClock()) as line:
        await _records(line.source("outlook-mail", "mail_messages"), _user(user), WINDOW)
        assert line.emulator.counters.inside_fence == 0
        assert line.governor.waited_s >= 1


async def test_a_foreign_next_link_gets_no_token(tenant: Tenant) -> None:
    """The unit fails, and the other host hears nothing."""
    user = _busiest(tenant)
    async with _line(tenant, Fault(kind="messages", effect=Effect.FOREIGN_LINK)) as line:
        source = line.source("outlook-mail", "mail_messages")
        with pytest.raises(UnitFailed) as failed:
            await _records(source, _user(user), WINDOW)
    assert (failed.value.reason, failed.value.code) == (FailReason.BAD_ANSWER, "foreign_next_link")


async def test_a_wrong_secret_is_refused_with_its_code(tenant: Tenant) -> None:
    """And a remedy, without a single request to Graph."""
    async with _line(tenant, credential=ClientSecret("wrong")) as line:
        with pytest.raises(SourceRefused) as refused:
            await _records(line.source("entra-id", "entra_users"), Principal.tenant(tenant.id))
        assert line.client.counters.requests == 0
    assert refused.value.code == "AADSTS7000215"
    assert "auth.client_secret" in refused.value.remedy


async def test_an_unknown_application_is_refused_with_its_code(tenant: Tenant) -> None:
    """The classic mistake: an object id instead of the client id."""
    async with _line(tenant, client_id="99999999-0000-0000-0000-000000000000") as line:
        with pytest.raises(SourceRefused) as refused:
            await _records(line.source("entra-id", "entra_users"), Principal.tenant(tenant.id))
    assert refused.value.code == "AADSTS700016"


@pytest.mark.parametrize("kind", ["certificate", "assertion"])
async def test_certificates_and_federated_assertions_sign_in(tenant: Tenant, kind: str) -> None:
    """No stored secret."""
    async with Emulator(tenant) as running:
        pem, assertion = running.certificate_pem, running.federated_assertion
        credential = Certificate(pem) if kind == "certificate" else Assertion(assertion)
        network = Network(ca_file=Path(running.ca_file))
        tokens = Tokens(
            credential=credential,
            client_id=running.client_id,
            tenant_id=running.tenant_id,
            authority=running.url,
            scope="https://graph.microsoft.com/.default",
            known_authority=False,
            network=network,
        )
        assert await tokens.token()


async def test_a_missing_role_denies_the_dataset(tenant: Tenant) -> None:
    """The others go on."""
    async with Emulator(tenant) as running:
        registered = running.register(roles=("User.Read.All",))
        network = Network(ca_file=Path(running.ca_file))
        tokens = Tokens(
            credential=ClientSecret(registered.client_secret),
            client_id=registered.client_id,
            tenant_id=running.tenant_id,
            authority=running.url,
            scope="https://graph.microsoft.com/.default",
            known_authority=False,
            network=network,
        )
        async with GraphClient(graph=running.url, tokens=tokens, governor=Governor(), network=network) as client:
            entra = build("entra-id", client=client, select=SELECT, options=ConnectorOptions())
            teams = build("msft-teams", client=client, select=SELECT, options=ConnectorOptions())
            users, groups, *_ = entra.sources
            assert await _records(users, Principal.tenant(tenant.id))
            with pytest.raises(DatasetDenied) as denied:
                await _records(groups, Principal.tenant(tenant.id))
            assert denied.value.needs
            with pytest.raises(DatasetDenied):
                await teams.prepare([_user(user) for user in tenant.user_ids], saved=None)
