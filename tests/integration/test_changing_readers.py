"""A chat is exported once and completely, whoever of its members reads it and however they come and go."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from connectors.emulator import Fault, Faults, MailboxKind
from connectors.emulator.chats import ChatKind
from tests.integration.conftest import NOW, OpenSite
from tests.integration.site import Site, thread_token, token

DAY = timedelta(days=1)
SETTLED = NOW - DAY  # Teams is left alone for a day
KEYS: dict[str, object] = {"connectors": {"msft-teams": {}}, "initial_lookback": "11d"}
LISTED = [Fault(kind="getAllMessages", status=402, code="PaymentRequired")]
both_ways = pytest.mark.parametrize("faults", [[], LISTED], ids=["exported", "listed"])

Messages = Counter[tuple[str, str]]


def true_messages(site: Site, start: datetime, end: datetime, *, without: str = "") -> Messages:
    return Counter(
        (thread_token(message["chatId"]), message["id"])
        for message in site.tenant.truth.chat_messages(start, end)
        if message["chatId"] != without
    )


def exported(site: Site, run: str = "*") -> Messages:
    return Counter(site.query("teams_chat_messages", "chatId, id", run=run))


def readable_members(site: Site, chat_id: str) -> list[str]:
    """The members in scope, the reader first."""
    guests = site.tenant.users_of(MailboxKind.GUEST)
    (chat,) = [chat for chat in site.tenant.truth.chats() if chat["id"] == chat_id]
    return sorted(
        member["userId"]
        for member in chat["members"]
        if member.get("userId") in site.tenant.user_ids and member["userId"] not in guests
    )


def group_chat(site: Site, *, smallest: int = 3) -> str:
    """A chat of several people who are read."""
    chat_ids = (chat["id"] for chat in site.tenant.truth.chats() if chat["chatType"] == ChatKind.GROUP)
    chat_id: str = next(each for each in chat_ids if len(readable_members(site, each)) >= smallest)
    return chat_id


async def next_night(site: Site, chat_id: str) -> str:
    """A day and a night later, with something written in the chat meanwhile; the id of the run."""
    before = site.tenant.clock.now
    site.tenant.clock.advance(DAY)
    site.tenant.deliver_chat_messages(chat_id=chat_id, count=3, at=before - timedelta(hours=20))
    manifest = await site.run()
    assert (manifest.failed, manifest.status) == ([], "complete")
    return manifest.run_id


@both_ways
async def test_when_the_reader_leaves_the_next_member_reads_on(open_site: OpenSite, faults: Sequence[Fault]) -> None:
    """Nothing that was written around the leaving is lost or twice; when the reader is back it goes on as before."""
    site = await open_site(users=10, keys=KEYS, faults=Faults(faults))
    chat = group_chat(site)
    reader, heir = readable_members(site, chat)[:2]
    await site.run()

    site.tenant.leave_chat(chat, reader, at=NOW)
    second = await next_night(site, chat)
    assert exported(site, second) == true_messages(site, SETTLED, SETTLED + DAY)
    assert sum(key[0] == thread_token(chat) for key in exported(site, second)) >= 3

    site.tenant.join_chat(chat, reader, at=site.tenant.clock.now)
    third = await next_night(site, chat)
    assert exported(site, third) == true_messages(site, SETTLED + DAY, SETTLED + 2 * DAY)
    fourth = await next_night(site, chat)  # the second change is a day old by now: the chat is exported again
    members = dict(site.query("teams_chats", "id, list_transform(members, lambda m: m.userId)", run=fourth))
    assert {token(reader), token(heir)} <= set(members[thread_token(chat)])


@both_ways
async def test_a_member_with_a_lower_id_takes_over(open_site: OpenSite, faults: Sequence[Fault]) -> None:
    """Whoever joins and becomes the reader begins where the one before stopped."""
    site = await open_site(users=10, keys=KEYS, faults=Faults(faults))
    guests = site.tenant.users_of(MailboxKind.GUEST)
    lowest = min(user for user in site.tenant.user_ids if user not in guests)
    chat = next(
        chat["id"]
        for chat in site.tenant.truth.chats()
        if chat["chatType"] == ChatKind.GROUP and readable_members(site, chat["id"])[:1] > [lowest]
    )
    await site.run()
    site.tenant.join_chat(chat, lowest, at=NOW)
    for night in range(2):
        run_id = await next_night(site, chat)
        start = SETTLED + night * DAY
        assert exported(site, run_id) == true_messages(site, start, start + DAY)


async def test_when_the_reader_leaves_the_company_the_next_member_reads_on(open_site: OpenSite) -> None:
    """As with one who leaves the chat; a one-on-one chat is read by the other."""
    site = await open_site(users=10, keys=KEYS)
    pair = next(
        chat["id"]
        for chat in site.tenant.truth.chats()
        if chat["chatType"] == ChatKind.ONE_ON_ONE and len(readable_members(site, chat["id"])) == 2
    )
    reader = readable_members(site, pair)[0]
    await site.run()
    site.tenant.remove_user(reader)
    second = await next_night(site, pair)
    guests = site.tenant.users_of(MailboxKind.GUEST)
    read = [user for user in site.tenant.user_ids if user not in guests]
    seen = {thread_token(chat) for user in read for chat in site.tenant.truth.chat_ids(user)}
    expected = true_messages(site, SETTLED, SETTLED + DAY)
    assert exported(site, second) == Counter({key: count for key, count in expected.items() if key[0] in seen})
    assert thread_token(pair) in {key[0] for key in exported(site, second)}


@both_ways
async def test_a_chat_that_nobody_can_list_any_more_is_left_alone(open_site: OpenSite, faults: Sequence[Fault]) -> None:
    """What was exported of it stays; later runs and backfills hold nothing of it, and that is no failure."""
    site = await open_site(users=10, keys=KEYS, faults=Faults(faults))
    chat = group_chat(site)
    await site.run()
    assert thread_token(chat) in {key[0] for key in exported(site)}

    for member in readable_members(site, chat):
        site.tenant.leave_chat(chat, member, at=NOW)
    second = await next_night(site, chat)
    assert exported(site, second) == true_messages(site, SETTLED, SETTLED + DAY, without=chat)
    site.tenant.clock.advance(timedelta(seconds=2))
    again = await site.backfill(SETTLED - 5 * DAY, SETTLED)
    assert (again.failed, again.status) == ([], "complete")
    assert exported(site, again.run_id) == true_messages(site, SETTLED - 5 * DAY, SETTLED, without=chat)
    assert thread_token(chat) not in {row[0] for row in site.query("teams_chats", "id", run=again.run_id)}


@both_ways
async def test_a_message_that_changes_months_later_comes_once_more(
    open_site: OpenSite, faults: Sequence[Fault]
) -> None:
    """Edited, liked or deleted a hundred days after it was written, far before any watermark."""
    site = await open_site(users=4, history=timedelta(days=120), keys=KEYS, faults=Faults(faults))
    tenant, long_ago = site.tenant, NOW - timedelta(days=100)
    await site.run()
    old = [
        (message["chatId"], message["id"])
        for message in tenant.truth.chat_messages(long_ago - 10 * DAY, long_ago)
        if message["messageType"] == "message" and message["deletedDateTime"] is None
    ][:3]
    assert not {(thread_token(chat), name) for chat, name in old} & set(exported(site))

    tenant.clock.advance(DAY)
    at = SETTLED + timedelta(hours=4)
    changes = (tenant.edit_chat_message, tenant.react_to_chat_message, tenant.delete_chat_message)
    for (chat, name), change in zip(old, changes, strict=True):
        change(chat, name, at=at)
    second = await site.run()
    assert exported(site, second.run_id) == true_messages(site, SETTLED, SETTLED + DAY)
    assert {(thread_token(chat), name) for chat, name in old} <= set(exported(site, second.run_id))
    how = {
        row[0]: row[1:]
        for row in site.query(
            "teams_chat_messages", "id, lastEditedDateTime IS NULL, deletedDateTime IS NULL", run=second.run_id
        )
    }
    assert [how[name] for _, name in old] == [(False, True), (True, True), (True, False)]
