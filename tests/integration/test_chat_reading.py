"""Chats where the tenant refuses to export them: read one by one, with the same result."""

from collections import Counter
from datetime import datetime, timedelta

from connectors.emulator import Fault, Faults
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, thread_token, token

DAY = timedelta(days=1)
SETTLED = NOW - DAY  # Teams is left alone for a day
LOOKBACK = timedelta(days=11)  # longer than the tenant's history
KEYS = {"initial_lookback": "11d"}
REFUSED = [Fault(kind="getAllMessages", status=402, code="PaymentRequired")]


def true_messages(site: Site, start: datetime, end: datetime) -> Counter[tuple[str, str]]:
    return Counter(
        (thread_token(message["chatId"]), message["id"]) for message in site.tenant.truth.chat_messages(start, end)
    )


def exported(site: Site, run: str = "*") -> Counter[tuple[str, str]]:
    return Counter(site.query("teams_chat_messages", "chatId, id", run=run))


async def test_chats_are_read_one_by_one_where_they_are_not_exported(open_site: OpenSite) -> None:
    """Every message once, the first night and the next, with what was edited, liked and deleted in between."""
    site = await open_site(keys=KEYS, users=8, faults=Faults(REFUSED))
    tenant = site.tenant
    chat = tenant.truth.chat_messages(SETTLED - 9 * DAY, SETTLED - 5 * DAY)[0]["chatId"]
    buried = tenant.deliver_chat_messages(chat_id=chat, count=120, at=SETTLED - 6 * DAY)[0]
    first = await site.run()
    assert first.status == "complete"
    assert true_messages(site, SETTLED - LOOKBACK, SETTLED) == exported(site)

    tenant.clock.advance(2 * DAY)
    at = SETTLED + timedelta(hours=3)
    old = [
        message
        for message in tenant.truth.chat_messages(SETTLED - 9 * DAY, SETTLED - 5 * DAY)
        if message["messageType"] == "message" and message["deletedDateTime"] is None
    ][:3]
    for message, change in zip(
        old, (tenant.edit_chat_message, tenant.react_to_chat_message, tenant.delete_chat_message), strict=True
    ):
        change(message["chatId"], message["id"], at=at)
    tenant.edit_chat_message(chat, buried, at=at)  # pages below what is newer than it
    tenant.deliver_chat_messages(chat_id=chat, count=60, at=at)
    second = await site.run()

    expected = true_messages(site, SETTLED, SETTLED + 2 * DAY)
    assert expected == exported(site, second.run_id)
    changed = [(message["chatId"], message["id"]) for message in old] + [(chat, buried)]
    assert {(thread_token(each), name) for each, name in changed} <= set(expected)


async def test_one_refused_user_is_not_taken_for_a_refused_tenant(open_site: OpenSite) -> None:
    """Where the function has answered for others, only that user's chats are read one by one."""
    site = await open_site(keys=KEYS, users=8)
    odd = next(user for user in sorted(site.tenant.user_ids) if site.tenant.truth.chat_ids(user))
    site.emulator.faults.replace([Fault(kind="getAllMessages", mailbox=odd, status=403, code="Forbidden")])
    await site.run()
    assert true_messages(site, SETTLED - LOOKBACK, SETTLED) == exported(site)
    requests = site.emulator.counters.requests
    assert 0 < requests["chatMessages"] <= 2 * len(site.tenant.truth.chat_ids(odd))


async def test_a_tenant_that_refuses_both_ways_is_not_taken_for_an_empty_one(open_site: OpenSite) -> None:
    """Neither the export function nor a single chat may be read: a failure, and the watermark stays."""
    refused = [Fault(kind=kind, status=403, code="Forbidden") for kind in ("getAllMessages", "chatMessages")]
    site = await open_site(keys=KEYS, users=8, faults=Faults(refused))
    first = await site.run()
    assert first.status == "partial"
    assert {(line.dataset, line.reason) for line in first.failed} == {("teams_chat_messages", "permission")}

    site.emulator.faults.replace([])
    site.tenant.clock.advance(DAY)
    second = await site.run()
    assert second.status == "complete"
    assert true_messages(site, SETTLED - LOOKBACK, SETTLED + DAY) == exported(site, second.run_id)


async def test_members_that_are_kept_from_us_are_told(open_site: OpenSite) -> None:
    """The chat is there without them, its reader among the skipped: an expected reason, so the run is complete."""
    kept = Fault(kind="chatMembers", status=403, code="Forbidden", times=1)
    site = await open_site(keys=KEYS, users=8, faults=Faults([kept]))
    manifest = await site.run()

    members = [row[0] for row in site.query("teams_chats", "len(members)")]
    assert len(members) == len(list(site.tenant.truth.chats()))
    assert sum(not count for count in members) == 1
    assert manifest.status == "complete"
    (line,) = [line for line in manifest.skipped if line.dataset == "teams_chats" and line.reason == "out_of_policy"]
    assert line.principal in {token(user) for user in site.tenant.user_ids}
