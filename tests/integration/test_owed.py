"""What a failed unit owes is read although nobody's own watermark, and no overlap, leads back to it."""

import asyncio
import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.instants import format_instant
from connectors.emulator import Emulator, Fault, MailboxKind, Tenant
from connectors.msft_teams.chat_debts import ChatDebts
from pipeline.errors import StoreUnavailable
from pipeline.exits import Exit
from pipeline.manifest import decode_manifest
from pipeline.model import RunKind
from pipeline.ports import StateStore
from pipeline.report.outcome import ending
from pipeline.run import Request, export
from tests.integration.conftest import NOW, OpenSite
from tests.integration.doomed import Operator
from tests.integration.ground import Folders, operator
from tests.integration.site import Site, thread_token, token
from tests.integration.test_changing_readers import DAY, SETTLED, exported, group_chat, readable_members, true_messages
from tests.integration.test_export import readable
from tests.integration.test_kill import COMMAND
from tests.integration.test_meetings import FEW_CHATS, READERS, exported_reports, true_reports

CHATS: dict[str, object] = {"connectors": {"msft-teams": {}}, "initial_lookback": "11d"}


class FullState:
    """Refuses to replace one object, as a store that is out of order."""

    def __init__(self, state: StateStore, prefix: str) -> None:
        self._state = state
        self._prefix = prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    async def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        if key.startswith(self._prefix):
            raise StoreUnavailable("out of order")
        return await self._state.replace(key, data, version=version)


async def failing_night(site: Site, *, broken_off_at: str | None) -> None:
    """A run some of whose units fail; where it is broken off while it is sealed, the seal is repeated."""
    if broken_off_at is not None:
        async with site.equipment(RunKind.RUN) as equipment:
            out_of_order: Any = FullState(equipment.state, broken_off_at)
            with pytest.raises(BaseExceptionGroup) as raised:
                await export(replace(equipment, state=out_of_order), Request(kind=RunKind.RUN))
            assert raised.group_contains(StoreUnavailable)
    assert (await site.run()).status == "partial"


def owed_objects(site: Site) -> dict[str, bytes]:
    return {path.name: data for path, data in site.written_bytes().items() if path.parent.name == "owed"}


async def leave(site: Site, chat: str, reader: str) -> None:
    site.tenant.leave_chat(chat, reader, at=site.tenant.clock.now)


async def leave_the_company(site: Site, _chat: str, reader: str) -> None:
    site.tenant.remove_user(reader)


@pytest.mark.parametrize("broken_off_at", [None, "owed/", "watermarks/"])
@pytest.mark.parametrize("depart", [leave, leave_the_company])
async def test_a_chat_whose_reader_failed_and_left_has_no_gap(
    open_site: OpenSite, depart: Any, broken_off_at: str | None
) -> None:
    """Who reads it next begins where it was left, also where the failing night was sealed twice; once is enough."""
    site = await open_site(users=10, keys=CHATS)
    chat = group_chat(site)
    reader = readable_members(site, chat)[0]
    await site.run()
    assert not owed_objects(site)

    site.tenant.clock.advance(DAY)
    site.tenant.deliver_chat_messages(chat_id=chat, count=5, at=NOW - timedelta(hours=20))
    site.emulator.faults.replace([Fault(kind="getAllMessages", mailbox=reader, status=500, code="InternalServerError")])
    await failing_night(site, broken_off_at=broken_off_at)
    assert owed_objects(site)
    assert not [data for data in owed_objects(site).values() if chat.encode() in data or reader.encode() in data]

    site.emulator.faults.replace([])
    await depart(site, chat, reader)
    site.tenant.clock.advance(DAY)
    third = await site.run()
    assert (third.failed, third.status) == ([], "complete")
    of_chat = {
        key: n for key, n in true_messages(site, SETTLED, SETTLED + 2 * DAY).items() if key[0] == thread_token(chat)
    }
    assert len(of_chat) >= 5
    assert {key: n for key, n in exported(site, third.run_id).items() if key[0] == thread_token(chat)} == of_chat
    assert not site.duplicates("teams_chat_messages", "_run_id, chatId, id")

    site.tenant.clock.advance(DAY)
    fourth = await site.run()
    assert set(exported(site, fourth.run_id)) <= set(true_messages(site, SETTLED + 2 * DAY, SETTLED + 3 * DAY))


async def test_reports_of_an_organizer_who_failed_beyond_the_overlap_are_read(open_site: OpenSite) -> None:
    """Nothing of the night leads to his meetings any more; their links were kept, encrypted, until they were read."""
    site = await open_site(users=8, profile=FEW_CHATS, keys=READERS)
    site.tenant.clock.advance(2 * DAY)  # to a Wednesday
    now, settled = NOW + 2 * DAY, SETTLED + 2 * DAY
    await site.run()
    later = [NOW + 2 * DAY + nights * DAY for nights in (1, 10)]
    meetings = {user: list(site.tenant.truth.online_meetings(user)) for user in readers(site)}
    first = true_reports(site, meetings, settled, settled + DAY)
    unlucky = next(
        user for user in readers(site) if true_reports(site, {user: meetings[user]}, settled - DAY, settled + DAY)
    )
    assert first
    site.emulator.faults.replace(
        [Fault(kind="onlineMeetings", mailbox=unlucky, status=500, code="InternalServerError")]
    )
    for at in later:
        site.tenant.clock.advance(at - site.tenant.clock.now)
        failed = {(line.principal, line.dataset) for line in (await site.run()).failed}
        assert (token(unlucky), "teams_attendance_reports") in failed
    assert owed_objects(site)
    assert not [data for data in owed_objects(site).values() if b"meetup-join" in data]

    site.emulator.faults.replace([])
    site.tenant.clock.advance(DAY)
    last = await site.run()
    assert last.status == "complete"
    own = {unlucky: list(site.tenant.truth.online_meetings(unlucky))}
    missed = true_reports(site, own, settled - 5 * DAY, now + 11 * DAY - (now - settled))
    assert {key for key in missed if key in true_reports(site, own, settled, settled + DAY)}
    assert missed.items() <= exported_reports(site, last.run_id).items()


async def test_a_debt_that_is_dropped_is_told(
    open_site: OpenSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the log, in the manifest and in the report's first sentence; the exit code is that of a gap."""
    monkeypatch.setattr(ChatDebts.after, "__kwdefaults__", {"most": 1})
    site = await open_site(users=10, keys=CHATS)
    reader = readable_members(site, group_chat(site))[0]
    await site.run()
    site.tenant.clock.advance(DAY)
    site.emulator.faults.replace([Fault(kind="getAllMessages", mailbox=reader, status=500, code="InternalServerError")])
    manifest = await site.run()
    dropped = manifest.debts_dropped["teams_chat_messages"]
    assert dropped > 0
    assert f"debts_dropped={dropped}" in capsys.readouterr().out
    assert f"(teams_chat_messages {dropped})" in ending(manifest).sentence
    published = (site.folder / "data" / "_manifests" / f"{manifest.run_id}.json").read_bytes()
    assert decode_manifest(published).debts_dropped == manifest.debts_dropped


async def test_reports_of_meetings_that_only_a_failing_calendar_shows_are_read(open_site: OpenSite) -> None:
    """Others led to some of his meetings meanwhile, so that his reports' own window had moved past the others."""
    site = await open_site(users=8, profile=FEW_CHATS, keys=READERS)
    site.emulator.app.revoke("CallRecords.Read.All")  # they would lead to whatever was held
    tenant = site.tenant
    tenant.clock.advance(2 * DAY)  # to a Wednesday
    await site.run()
    attendant = tenant.users_of(MailboxKind.NORMAL)[0]
    broken = Fault(kind="calendarView", status=500, code="ErrorInternalServerError")
    site.emulator.faults.replace([replace(broken, mailbox=user) for user in tenant.user_ids if user != attendant])
    nights = []
    for days in (1, 9):
        tenant.clock.advance(days * DAY)
        nights.append(await site.run())
    start = SETTLED + 2 * DAY
    organizers = {user: planned(site, user, start) for user in readers(site)}
    held = {user: true_reports(site, {user: own}, start, start + 3 * DAY) for user, own in organizers.items()}
    read = {row[0] for night in nights for row in site.query("teams_online_meetings", "id", run=night.run_id)}
    unlucky = {user for user, own in organizers.items() if read & {token(meeting["id"]) for meeting in own}}
    missed = {key: count for user in unlucky for key, count in held[user].items() if key[0] not in read}
    assert missed

    site.emulator.faults.replace([])
    tenant.clock.advance(DAY)
    last = await site.run()
    assert missed.items() <= exported_reports(site, last.run_id).items()
    tenant.clock.advance(DAY)
    again = await site.run()
    assert missed.keys().isdisjoint(exported_reports(site, again.run_id))


def planned(site: Site, user: str, start: datetime) -> list[dict[str, Any]]:
    """The meetings that stand in their organizer's own calendar, in the three days from `start` on."""
    events = site.tenant.truth.events(user, start, start + 3 * DAY) if user in readable(site) else []
    links = {event["onlineMeeting"]["joinUrl"] for event in events if event["onlineMeeting"]}
    return [meeting for meeting in site.tenant.truth.online_meetings(user) if meeting["joinWebUrl"] in links]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_workers_leave_and_pay_the_same_debts(tmp_path: Path) -> None:
    """Two processes read the night that fails and the one that makes good: the chat's next reader, the owed links."""
    tenant = Tenant(seed=7, users=8, now=NOW, history=timedelta(days=10), profile=replace(FEW_CHATS, group_chats=2))
    async with Emulator(tenant) as emulator:
        here = operator(tmp_path / "here", emulator, Folders(tmp_path), keys=READERS)
        site = Site(tenant, emulator, tmp_path / "here")
        assert await night(here, at=NOW) == Exit.COMPLETE

        chat = group_chat(site)
        reader = readable_members(site, chat)[0]
        tenant.clock.advance(2 * DAY)  # to a Wednesday: meetings were held
        tenant.deliver_chat_messages(chat_id=chat, count=5, at=NOW + timedelta(hours=4))
        emulator.faults.replace(
            [
                Fault(kind="getAllMessages", mailbox=reader, status=423, code="Locked"),
                Fault(kind="onlineMeetings", status=423, code="Locked"),
            ]
        )
        own = {user: list(tenant.truth.online_meetings(user)) for user in readers(site)}
        missed = true_reports(site, own, NOW, NOW + DAY)
        assert missed
        assert await night(here, "--engine", "local:2", at=NOW + 2 * DAY) == Exit.PARTIAL
        assert owed_objects(site)

        emulator.faults.replace([])
        tenant.leave_chat(chat, reader, at=tenant.clock.now)
        tenant.clock.advance(10 * DAY)  # nothing that is read again leads to the missed meetings
        assert await night(here, "--engine", "local:2", at=NOW + 12 * DAY) == Exit.COMPLETE
        last = max(row[0] for row in site.query("teams_attendance_reports", "_run_id"))
        assert missed.items() <= exported_reports(site, last).items()
        of_chat = {key for key in true_messages(site, NOW, NOW + 12 * DAY) if key[0] == thread_token(chat)}
        assert len(of_chat) >= 5
        assert of_chat <= set(exported(site, last))


async def night(operator: Operator, *options: str, at: datetime) -> int:
    """A run in a process of its own that may start others; its exit code."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("run", "--until", format_instant(at), *options),
        cwd=operator.folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **operator.environ},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait()


def readers(site: Site) -> list[str]:
    return [user for user in site.tenant.user_ids if site.tenant.truth.online_meetings(user)]
