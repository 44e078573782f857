"""Seeded schedules of faults, and the judgement of what an export made of them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from connectors.emulator import Body, Effect, Fault, MailboxKind, Tenant
from connectors.graph.client import HttpOptions, Manners
from pipeline.manifest import Manifest
from tests.chaos_proxy import Fate, Kind
from tests.integration.line import FAST
from tests.integration.site import Site, token

Key = tuple[str | None, str]
"""Owner and id of a row, as they are exported."""

CONNECTORS: dict[str, dict[str, object]] = {name: {} for name in ("entra-id", "outlook-mail", "outlook-calendar")}
# Waiting runs 500 times as fast, HTTP does not: what is bounded there has to be short.
MANNERS = Manners(clock=FAST, http=HttpOptions(silence_s=0.4, total_s=4.0))
READABLE = (
    MailboxKind.NORMAL,
    MailboxKind.DISABLED,
    MailboxKind.NO_USER_TYPE,
    MailboxKind.SHARED,
    MailboxKind.ROOM,
)
_KINDS = ("users", "groups", "members", "mailboxSettings", "messages", "contacts", "calendarView", None)
_STATUSES = (
    (429, "ApplicationThrottled"),
    (429, "TooManyRequests"),
    (500, ""),
    (500, "generalException"),
    (502, "BadGateway"),
    (503, "ServiceUnavailable"),
    (503, "ErrorServerBusy"),
    (504, "UnknownError"),
    (509, ""),
    (401, "InvalidAuthenticationToken"),
    (403, "ErrorAccessDenied"),
    (404, "UnknownError"),
    (408, ""),
    (410, "SyncStateNotFound"),
    (400, "Directory_ExpiredPageToken"),
)
_SPOILT = (
    Effect.RESET,
    Effect.RESET_BODY,
    Effect.TRUNCATE,
    Effect.CONTROL_CHARACTER,
    Effect.HTML,
    Effect.CLOSE,
    Effect.EMPTY_PAGE,
    Effect.BROKEN_LINK,
    Effect.FOREIGN_LINK,
)
_WAITS = (None, None, 1, 5, "2.5", "120,120", "date:3", 0, 60)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What goes wrong in one export: rules of the emulator, broken connections, a message Exchange cannot read."""

    seed: int
    faults: tuple[Fault, ...]
    fates: tuple[Fate, ...]
    poisoned: Key | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """Every row an export of the tenant's window holds, by dataset; the messages by their raw ids."""

    rows: Mapping[str, frozenset[Key]] = field(repr=False)
    messages: Sequence[tuple[str, str]] = field(repr=False)  # user and message

    @classmethod
    def of(cls, tenant: Tenant, start: datetime, end: datetime) -> "Truth":
        truth = tenant.truth
        users = [user for kind in READABLE for user in tenant.users_of(kind)]
        messages = [(user, message["id"]) for user in users for message in truth.messages(user, start, end)]
        return cls(
            {
                "entra_users": frozenset((None, token(user["id"])) for user in truth.users()),
                "entra_groups": frozenset((None, token(group["id"])) for group in truth.groups()),
                "entra_group_members": frozenset(
                    (token(group["id"]), token(member["id"]))
                    for group in truth.groups()
                    for member in truth.members(group["id"])
                ),
                "mailbox_settings": frozenset((token(user), "") for user in users),
                "mail_messages": frozenset((token(user), token(message)) for user, message in messages),
                "mail_contacts": frozenset(
                    (token(user), token(contact["id"])) for user in users for contact in truth.contacts(user)
                ),
                "calendar_events": frozenset(
                    (token(user), token(event["id"]))
                    for user in users
                    for event in truth.events(user, start, end)
                    if start <= _instant(event["start"]["dateTime"]) < end
                ),
            },
            messages,
        )

    def of_datasets(self, *datasets: str) -> "Truth":
        """The part of it that an export of fewer datasets holds."""
        return replace(self, rows={dataset: self.rows[dataset] for dataset in datasets})


def made_from(seed: int, tenant: Tenant, truth: Truth) -> Schedule:
    """The same schedule for the same seed."""
    chance = random.Random(seed)
    faults = [_fault(chance, tenant) for _ in range(chance.randint(1, 6))]
    poisoned: Key | None = None
    if chance.random() < 0.1:
        user, message = chance.choice(truth.messages)
        poisoned = (token(user), token(message))
        faults.append(Fault(kind="messages", mailbox=user, effect=Effect.POISON, item=message))
    elif chance.random() < 0.2:
        faults.append(Fault(kind="messages", status=504, code="UnknownError", page_above=chance.randint(1, 10)))
    fates = [_fate(chance) for _ in range(chance.randint(0, 6))]
    return Schedule(seed, tuple(faults), tuple(fates), poisoned)


def _fault(chance: random.Random, tenant: Tenant) -> Fault:
    kind, mailbox = chance.choice(_KINDS), chance.choice(tenant.user_ids) if chance.random() < 0.4 else None
    after, every, times = chance.randint(0, 5), chance.choice((1, 1, 2, 3, 5)), chance.randint(1, 4)
    if chance.random() < 0.5:
        effect = chance.choice(_SPOILT)
        return Fault(kind=kind, mailbox=mailbox, after=after, every=every, times=times, effect=effect)
    status, code = chance.choice(_STATUSES)
    is_endless = mailbox is not None and chance.random() < 0.5
    return Fault(
        kind=kind,
        mailbox=mailbox,
        after=after,
        every=every,
        times=None if is_endless else times,
        status=status,
        code=code,
        retry_after=chance.choice(_WAITS),
        body=chance.choice((Body.JSON, Body.JSON, Body.EMPTY, Body.HTML)),
    )


def _fate(chance: random.Random) -> Fate:
    kind = chance.choice(list(Kind))
    return Fate(kind=kind, after=chance.choice((0, 50, 3_000, 10_000, 40_000)), seconds=0.005)


def verdict(site: Site, manifest: Manifest, truth: Truth, poisoned: Key | None = None) -> list[str]:
    """What is wrong with an export: rows too many, twice, or missing without the manifest saying so. Empty: nothing."""
    wrong = []
    named = {(each.dataset, each.principal) for each in (*manifest.failed, *manifest.skipped)}
    lost = sum(sum(facts.rejected.values()) for facts in manifest.datasets.values())
    for dataset, expected in truth.rows.items():
        rows = _rows(site, dataset, manifest)
        found = frozenset(rows)
        if len(found) < len(rows):
            wrong.append(f"{dataset}: {len(rows) - len(found)} rows twice")
        if found - expected:
            wrong.append(f"{dataset}: {len(found - expected)} rows that the tenant does not have")
        for owner, identifier in expected - found:
            is_named = {(dataset, owner), (dataset, token(site.tenant.id)), (dataset, None)} & named
            if not is_named and not ((owner, identifier) == poisoned and lost):
                wrong.append(f"{dataset}: a row of {owner} is missing, and nothing says so")
        for _, principal in (each for each in named if each[0] == dataset):
            if any(owner == principal for owner, _ in found):
                wrong.append(f"{dataset}: {principal} is said to be missing, and has rows")
    left_out = bool(manifest.failed) or bool(lost)
    if (manifest.status == "partial") != left_out:
        wrong.append(f"status {manifest.status} with {len(manifest.failed)} failed, {lost} rejected")
    return wrong


def _rows(site: Site, dataset: str, manifest: Manifest) -> list[Key]:
    facts = manifest.datasets.get(dataset)
    if facts is None or not facts.parts:
        return []
    columns = "_owner, ''" if dataset == "mailbox_settings" else "_owner, id"
    return [(row[0], row[1]) for row in site.query(dataset, columns, run=manifest.run_id)]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text[:26].removesuffix("Z")).replace(tzinfo=UTC)
