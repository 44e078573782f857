"""What a run at work tells those who watch it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from pipeline.cli.display import progress_view
from pipeline.errors import StoreUnavailable
from pipeline.live import EVERY_LOCAL, FENCES_TOLD, Snapshot, keep_told, last_told, snapshot
from pipeline.model import RunKind
from pipeline.ports import Fence
from pipeline.progress import Progress
from sinks.snapshot import StateVault, derive_key
from sinks.stores.memory import MemoryBucket, MemoryStore, Step
from tests.virtual_time import virtual_time

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
VAULT = StateVault(derive_key(b"live-test-salt-0123456789"))


def _progress(*, fences: int = 1) -> Progress:
    progress = Progress(now=lambda: NOW)
    progress.begin(kind="run", run_id="20260302T030000Z-0001")
    progress.stage = "reading"
    for dataset, connector in (("mail_messages", "outlook-mail"), ("mail_contacts", "outlook-mail")):
        progress.of(dataset).connector = connector
        progress.planned(dataset)
        progress.planned(dataset)
    progress.finished("mail_messages", rows=1_200)
    progress.skipped("mail_contacts", "no_mailbox")
    for number in range(fences):
        until = NOW + timedelta(seconds=37.4 + number)
        progress.note_fence(Fence(scope="mailbox", service="outlook", principal=f"t~{number}", since=NOW, until=until))
    return progress


def _shown(told: Snapshot, *, now: datetime = NOW) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(progress_view(told, now=now))
    return capture.get()


@virtual_time
async def test_what_is_told_is_read_as_it_was_until_the_end() -> None:
    """Overwritten while the run goes on, sealed, and gone afterwards."""
    bucket = MemoryBucket()
    state = MemoryStore(bucket)
    progress = _progress()
    telling = asyncio.create_task(keep_told(progress, state, VAULT, kind=RunKind.RUN, every=EVERY_LOCAL))
    await asyncio.sleep(1)
    first = await last_told(state, VAULT, RunKind.RUN)
    progress.finished("mail_messages", rows=300)
    await asyncio.sleep(2)
    second = await last_told(state, VAULT, RunKind.RUN)
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)

    assert first is not None
    assert second is not None
    assert [line.rows for line in first.datasets] == [1_200, 0]
    assert [line.rows for line in second.datasets] == [1_500, 0]
    assert second.fences == progress.fences
    assert await last_told(state, VAULT, RunKind.BACKFILL) is None
    assert bucket.objects == {}


@virtual_time
async def test_what_a_killed_process_left_is_overwritten() -> None:
    """The next run of the kind tells over it."""
    state = MemoryStore(MemoryBucket())
    await state.create("live/run", b"left behind")
    telling = asyncio.create_task(keep_told(_progress(), state, VAULT, kind=RunKind.RUN, every=EVERY_LOCAL))
    await asyncio.sleep(1)
    told = await last_told(state, VAULT, RunKind.RUN)
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    assert told is not None


@virtual_time
async def test_a_state_that_cannot_be_written_for_a_while_costs_the_run_nothing() -> None:
    """Telling goes on when the state is back."""
    broken = True

    async def hook(step: Step) -> None:
        if broken:
            raise StoreUnavailable("away")

    state = MemoryStore(MemoryBucket(), hook=hook)
    telling = asyncio.create_task(keep_told(_progress(), state, VAULT, kind=RunKind.RUN, every=EVERY_LOCAL))
    await asyncio.sleep(5)
    assert not telling.done()
    broken = False
    await asyncio.sleep(2)
    assert await last_told(state, VAULT, RunKind.RUN) is not None
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)


@virtual_time
async def test_what_another_version_told_is_nothing() -> None:
    """A watcher that does not understand it still shows who is at work."""
    state = MemoryStore(MemoryBucket())
    await state.create("live/run", VAULT.seal_blob(b'{"shape": "another"}'))
    assert await last_told(state, VAULT, RunKind.RUN) is None


def test_a_storm_does_not_make_the_object_large() -> None:
    """The longest fences are told, and how many more there are."""
    told = snapshot(_progress(fences=500))
    assert [fence.principal for fence in told.fences][:2] == ["t~499", "t~498"]
    assert (len(told.fences), told.fences_left_out) == (FENCES_TOLD, 500 - FENCES_TOLD)
    assert "and 492 more scopes wait" in _shown(told)


def test_the_view_says_what_is_done_what_waits_until_when_and_what_is_skipped() -> None:
    """By connector and dataset, with instants to the second."""
    shown = _shown(snapshot(_progress()))
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0].startswith("run 20260302T030000Z-0001 · reading · ")
    assert any(line.startswith("outlook-mail 1 of 4 1 0 1,200 ") for line in lines)
    assert any(line.startswith("mail_messages 1 of 2 0 0 1,200 ") for line in lines)
    assert "skipped: no_mailbox 1" in lines
    assert "waits: outlook mailbox t~0, until 2026-03-02T03:00:37Z (37 s), because Microsoft throttles" in lines


@pytest.mark.parametrize(
    ("scope", "words"), [("app", "waits: all requests, until"), ("service", "waits: all of teams, until")]
)
def test_a_wait_of_everybody_names_nobody(scope: str, words: str) -> None:
    """The scope in the operator's words."""
    progress = Progress(now=lambda: NOW)
    until = NOW + timedelta(seconds=60)
    progress.note_fence(Fence(scope=scope, service="teams", since=NOW, until=until))
    assert words in _shown(snapshot(progress))


def test_a_wait_that_is_over_and_news_that_stay_away_are_told_from_the_instants() -> None:
    """However late the view is drawn."""
    shown = _shown(snapshot(_progress(), every=EVERY_LOCAL), now=NOW + timedelta(seconds=45))
    assert "waits" not in shown
    assert "last heard of 45 s ago" in shown
