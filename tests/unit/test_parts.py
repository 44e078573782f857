"""Parts hold whole units or are not published, whatever interrupts the adding."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from pipeline import parts
from pipeline.done import DoneUnit
from pipeline.errors import StoreUnavailable
from pipeline.journal import Journal, RunRecord
from pipeline.lease import hold
from pipeline.memory import Memory
from pipeline.model import RunKind
from pipeline.parts import PartAssembler, UnitResult
from pipeline.ports import PartSummary
from sinks.stores.memory import MemoryStore, Step
from tests.harness import NOW

RECORD = RunRecord(
    run_id="20260302T000000Z-0000",
    kind=RunKind.RUN,
    started_at=NOW,
    until=NOW,
    connectors=("small",),
    profile="strict",
    scope="all",
    rules_fingerprint="f",
    salt_fingerprint="s",
    schema_versions={},
)


class Rows(bytes):
    """A table of rows of a byte each."""

    @property
    def nbytes(self) -> int:
        return len(self)

    def slice(self, first: int, count: int) -> "Rows":
        return Rows(self[first : first + count])


class LineEncoder:
    """A part is its rows, one after another."""

    def __init__(self) -> None:
        self.size = 0
        self.held_bytes = 0

    def append(self, rows: Any, *, owner: str | None) -> bytes:
        self.size += len(rows)
        self.held_bytes += len(rows)
        return bytes(rows)

    def finish(self) -> tuple[bytes, PartSummary]:
        self.held_bytes = 0
        return b"end", PartSummary(rows=self.size, bytes=self.size, sha256="", min_time=None, max_time=None)


async def at_once(function: Any, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def unit(principal: str, rows: bytes) -> UnitResult:
    return UnitResult(
        dataset="mail_messages", unit=DoneUnit(principal, None, None, len(rows)), owner=None, rows=Rows(rows)
    )


async def assembled(
    state: MemoryStore, destination: MemoryStore, journal: Journal, *, memory: Memory | None = None
) -> PartAssembler:
    return PartAssembler(
        ledger=journal,
        destination=destination,
        encoder=lambda dataset: LineEncoder(),
        blocking=at_once,
        memory=memory or Memory(1 << 20),
        clock=lambda: NOW,
        part_size_bytes=100 if memory is None else 1_000,
        part_max_age=timedelta(minutes=5),
    )


async def test_units_of_one_part_are_journalled_together() -> None:
    """Two whole units, one part, one entry that names both."""
    state, destination = MemoryStore(), MemoryStore()
    async with hold(state, RunKind.RUN, clock=lambda: NOW) as lease:
        journal = Journal(state, RECORD, lease)
        assembler = await assembled(state, destination, journal)
        await assembler.add(unit("a", b"first "))
        await assembler.add(unit("b", b"second "))
        await assembler.close_all()

    assert list(destination.bucket.objects.values()) == [b"first second end"]
    assert [(dataset, each.principal) for dataset, each in journal.done()] == [
        ("mail_messages", "a"),
        ("mail_messages", "b"),
    ]
    assert len(journal.entries) == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("is_cancelled", [True, False])
async def test_a_part_to_which_adding_broke_off_is_never_published(when: str, is_cancelled: bool) -> None:
    """Cancelled at a stop, or the store failed: bytes of the unit may be missing, or be there without its name."""
    is_stuck, strikes = asyncio.Event(), False

    async def hook(step: Step) -> None:
        if strikes and step.action == "write" and step.when == when:
            is_stuck.set()
            await asyncio.sleep(3600 if is_cancelled else 0)
            raise StoreUnavailable("no answer")

    state, destination = MemoryStore(), MemoryStore(hook=hook)
    async with hold(state, RunKind.RUN, clock=lambda: NOW) as lease:
        journal = Journal(state, RECORD, lease)
        assembler = await assembled(state, destination, journal)
        await assembler.add(unit("a", b"first "))
        strikes = True
        adding = asyncio.create_task(assembler.add(unit("b", b"second ")))
        await is_stuck.wait()
        if is_cancelled:
            adding.cancel()
        await asyncio.gather(adding, return_exceptions=True)
        strikes = False

        with pytest.raises(StoreUnavailable, match="broke off"):
            await assembler.add(unit("c", b"third "))
        await assembler.close_all()

    assert destination.bucket.objects == {}
    assert journal.entries == []


async def test_a_part_that_holds_too_much_is_closed_early() -> None:
    """Where memory is tight the largest open part is published before its time, and its account is empty."""
    state, destination, memory = MemoryStore(), MemoryStore(), Memory(1_000)
    async with hold(state, RunKind.RUN, clock=lambda: NOW) as lease:
        assembler = await assembled(state, destination, Journal(state, RECORD, lease), memory=memory)
        await assembler.add(unit("a", b"x" * 40))
        assert not destination.bucket.objects
        memory.charge_units(400)
        await assembler.add(unit("b", b"y" * 480))
    assert list(destination.bucket.objects.values()) == [b"x" * 40 + b"y" * 480 + b"end"]
    assert memory.used_bytes == 400


async def test_a_unit_that_fills_many_row_groups_is_sent_in_pieces() -> None:
    """What became ready of the users of a large tenant is gone before more of them become ready."""
    sent: list[int] = []

    async def watch(step: Step) -> None:
        if step.action == "write" and step.when == "after":
            sent.append(memory.used_bytes)

    memory = Memory(500)
    state, destination = MemoryStore(), MemoryStore(hook=watch)
    async with hold(state, RunKind.RUN, clock=lambda: NOW) as lease:
        assembler = await assembled(state, destination, Journal(state, RECORD, lease), memory=memory)
        await assembler.add(unit("a", bytes(range(250)) * 4))
        await assembler.close_all()
    assert list(destination.bucket.objects.values()) == [bytes(range(250)) * 4 + b"end"]
    assert sent[:4] == [250, 500, 750, 1000]


async def test_a_part_names_no_more_units_than_a_journal_entry_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of a row or two would otherwise make entries that take more memory than the rows."""
    monkeypatch.setattr(parts, "MOST_UNITS", 3)
    state, destination = MemoryStore(), MemoryStore()
    async with hold(state, RunKind.RUN, clock=lambda: NOW) as lease:
        journal = Journal(state, RECORD, lease)
        assembler = await assembled(state, destination, journal)
        for name in "abcdefg":
            await assembler.add(unit(name, b"x"))
        await assembler.close_all()

    assert sorted(destination.bucket.objects.values()) == [b"xend", b"xxxend", b"xxxend"]
    assert [each.principal for _, each in journal.done()] == list("abcdefg")
