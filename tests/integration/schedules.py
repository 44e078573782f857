"""Seeded schedules of faults, and the judgement of what an export made of them."""

import random
from dataclasses import dataclass

from connectors.emulator import Body, Effect, Fault, Tenant
from connectors.graph.client import HttpOptions, Manners
from pipeline.manifest import Manifest
from tests.chaos_proxy import Fate, Kind
from tests.integration.line import FAST
from tests.integration.site import Site, token
from tests.integration.truth import COLUMNS, Key, Truth

CONNECTORS: dict[str, dict[str, object]] = {
    name: {} for name in ("entra-id", "outlook-mail", "outlook-calendar", "msft-teams")
}
LEARNT = ("teams_online_meetings", "teams_attendance_reports")  # known by links that other datasets show
TEACHERS = ("calendar_events", "teams_chats", "teams_call_records", "teams_online_meetings")
# Waiting runs 500 times as fast, HTTP does not: what is bounded there has to be short.
MANNERS = Manners(clock=FAST, http=HttpOptions(silence_s=0.4, total_s=4.0))
# What the tenant refuses of these is named in the manifest …
_ANSWERING = (
    *("users", "groups", "members", "mailboxSettings", "messages", "contacts", "calendarView"),
    *("chats", "getAllMessages", "teams", "team", "channels", "getAllChannelMessages"),
    *("callRecords", "pstnCalls", "directRoutingCalls"),
)
# … but of these a refusal says that they are gone, or closed by another tenant: they hold nothing.
_MAYBE_GONE = (
    *("chatMembers", "chatMessages", "channelMessages", "replies", "callRecord", "callSessions", "callParticipants"),
    *("onlineMeetings", "attendanceReports", "attendanceReport", None),
)
_REFUSALS = (
    (403, "ErrorAccessDenied"),
    (404, "UnknownError"),
    (410, "SyncStateNotFound"),
    (400, "Directory_ExpiredPageToken"),
)
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
    (408, ""),
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
    kind, mailbox = (
        chance.choice((*_ANSWERING, *_MAYBE_GONE)),
        chance.choice(tenant.user_ids) if chance.random() < 0.4 else None,
    )
    after, every, times = chance.randint(0, 5), chance.choice((1, 1, 2, 3, 5)), chance.randint(1, 4)
    if chance.random() < 0.5:
        effect = chance.choice(_SPOILT)
        return Fault(kind=kind, mailbox=mailbox, after=after, every=every, times=times, effect=effect)
    status, code = chance.choice(_STATUSES if kind in _MAYBE_GONE else (*_STATUSES, *_REFUSALS))
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
        if found - expected.keys():
            wrong.append(f"{dataset}: {len(found - expected.keys())} rows that the tenant does not have")
        is_untaught = dataset in LEARNT and any(teacher in TEACHERS for teacher, _ in named)
        for key in expected.keys() - found:
            is_named = {(dataset, who) for who in (*expected[key], token(site.tenant.id), None)} & named
            if not (is_named or is_untaught or (key == poisoned and lost)):
                wrong.append(f"{dataset}: a row of {sorted(expected[key])} is missing, and nothing says so")
        alone = {who for key in found for who in expected.get(key, ()) if len(expected[key]) == 1}
        wrong += [
            f"{dataset}: {who} is said to be missing, and has rows"
            for name, who in named
            if name == dataset and who in alone
        ]
    left_out = bool(manifest.failed) or bool(lost)
    if (manifest.status == "partial") != left_out:
        wrong.append(f"status {manifest.status} with {len(manifest.failed)} failed, {lost} rejected")
    return wrong


def _rows(site: Site, dataset: str, manifest: Manifest) -> list[Key]:
    facts = manifest.datasets.get(dataset)
    if facts is None or not facts.parts:
        return []
    return site.query(dataset, COLUMNS[dataset], run=manifest.run_id)
