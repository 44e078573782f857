"""Lessons: what is learnt is kept before anybody can see the rows it was learnt from."""

import asyncio
from dataclasses import dataclass, field

from pipeline.lessons import PIECES_READ_AT_ONCE, Lessons
from pipeline.model import Page, Principal, PrincipalKind, Unit

USER = Principal(PrincipalKind.USER, "u")


@dataclass
class Words:
    """Learns whole pages."""

    known: list[bytes] = field(default_factory=list)
    new: list[bytes] = field(default_factory=list)
    learns_from: frozenset[str] = frozenset({"early"})
    serves: frozenset[str] = frozenset({"late"})

    def learn(self, unit: Unit, page: Page) -> None:
        self.known.append(page.records)
        self.new.append(page.records)

    def concerns(self, principal: Principal) -> bool:
        return bool(self.known)

    def unsaved(self) -> bytes | None:
        new, self.new = self.new, []
        return b",".join(new) or None

    def recall(self, saved: bytes) -> None:
        self.known += saved.split(b",")


class Vault:
    """Marks what it sealed."""

    def seal_blob(self, data: bytes) -> bytes:
        return b"sealed:" + data

    def open_blob(self, data: bytes) -> bytes:
        assert data.startswith(b"sealed:")
        return data.removeprefix(b"sealed:")


@dataclass
class Memory:
    """The state of an open run; writing takes a moment."""

    kept: dict[str, bytes] = field(default_factory=dict)

    async def remember(self, name: str, data: bytes) -> bytes:
        await asyncio.sleep(0)
        return self.kept.setdefault(name, data)

    async def recall(self, name: str) -> bytes | None:
        return self.kept.get(name)


def lessons(*learners: Words) -> Lessons:
    return Lessons(learners, vault=Vault())


def test_later_datasets_and_whom_they_concern() -> None:
    """Only principals about whom something was learnt are read."""
    words = Words()
    made = lessons(words)
    assert made.later == {"late"}
    assert not made.concern("late", USER)
    made.see(Unit("other", USER), Page(b"x"))
    assert words.known == []
    made.see(Unit("early", USER), Page(b"x"))
    assert made.concern("late", USER)
    assert not made.concern("early", USER)


async def test_a_resumed_run_knows_everything_that_was_kept() -> None:
    """In as many pieces as it was kept in; later pieces follow on."""
    memory = Memory()
    first = lessons(Words())
    for word in (b"a", b"b"):
        first.see(Unit("early", USER), Page(word))
        await first.keep(memory.remember)
    await first.keep(memory.remember)
    assert len(memory.kept) == 2

    words = Words()
    second = lessons(words)
    await second.restore(memory.recall)
    assert words.known == [b"a", b"b"]
    second.see(Unit("early", USER), Page(b"c"))
    await second.keep(memory.remember)
    third = Words()
    await lessons(third).restore(memory.recall)
    assert third.known == [b"a", b"b", b"c"]


async def test_pieces_are_read_several_at_a_time_and_learnt_in_their_order() -> None:
    """A run of many parts is resumed in a few round trips; one that has kept nothing costs a single one."""
    memory = Memory({f"learnt-{number:05d}": b"sealed:\x91\xc4\x02" + b"%02d" % number for number in range(20)})
    under_way = most = 0

    async def recall(name: str) -> bytes | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return await memory.recall(name)

    words = Words()
    await lessons(words).restore(recall)
    assert words.known == [b"%02d" % number for number in range(20)]
    assert most == PIECES_READ_AT_ONCE

    memory.kept.clear()
    most = 0
    await lessons(Words()).restore(recall)
    assert most == 1


async def test_two_parts_that_close_at_once_both_wait_for_what_was_learnt() -> None:
    """The second has nothing of its own to keep, but may not be published before the first one's is kept."""
    memory = Memory()
    made = lessons(Words())
    made.see(Unit("early", USER), Page(b"a"))
    kept_when_published: list[int] = []

    async def publish() -> None:
        await made.keep(memory.remember)
        kept_when_published.append(len(memory.kept))

    await asyncio.gather(publish(), publish())
    assert kept_when_published == [1, 1]


async def test_without_learners_nothing_is_kept() -> None:
    """And nothing is left for later."""
    memory = Memory()
    made = lessons()
    await made.restore(memory.recall)
    made.see(Unit("early", USER), Page(b"a"))
    await made.keep(memory.remember)
    assert (made.later, memory.kept) == (frozenset(), {})
