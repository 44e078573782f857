"""What datasets learn from others that are read before them in the same run, kept so that a resumed run knows it too.

A unit that an interrupted attempt finished is not read again, so what its pages taught would be lost. Before a part is
published, whatever was learnt until then is kept with the open run, encrypted: every unit in a published part has been
learnt from in full.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import msgspec

from pipeline.model import Page, Principal, Unit
from pipeline.ports import Learner

PIECES_READ_AT_ONCE = 8

Recall = Callable[[str], Awaitable[bytes | None]]
Remember = Callable[[str, bytes], Awaitable[bytes]]


class BlobVault(Protocol):
    """Encrypts what is kept in the state."""

    def seal_blob(self, data: bytes) -> bytes: ...

    def open_blob(self, data: bytes) -> bytes: ...


class Lessons:
    """The learners of one run."""

    def __init__(self, learners: Sequence[Learner], *, vault: BlobVault) -> None:
        self._learners = learners
        self._vault = vault
        self._kept = 0
        self._keeping = asyncio.Lock()

    @property
    def later(self) -> Collection[str]:
        """The datasets that are read when all others have been."""
        return frozenset(dataset for learner in self._learners for dataset in learner.serves)

    def concern(self, dataset: str, principal: Principal) -> bool:
        """Whether anything was learnt that a later dataset of this principal is to be read for."""
        return any(dataset in learner.serves and learner.concerns(principal) for learner in self._learners)

    def see(self, unit: Unit, page: Page) -> None:
        """Let those learn from a raw page whom its dataset concerns."""
        for learner in self._learners:
            if unit.dataset in learner.learns_from:
                learner.learn(unit, page)

    async def restore(self, recall: Recall) -> None:
        """Take over what an interrupted attempt kept, or since the last call others did."""
        at_once = 1  # most runs have kept nothing until now
        while True:
            names = [_name(number) for number in range(self._kept, self._kept + at_once)]
            for kept in await asyncio.gather(*map(recall, names)):
                if kept is None:
                    return
                self._recall(kept)
                self._kept += 1
            at_once = PIECES_READ_AT_ONCE

    async def keep(self, remember: Remember) -> None:
        """Returns when everything learnt so far is kept."""
        async with self._keeping:  # also waits for what another part is keeping right now
            learnt = self.gathered()
            if learnt is not None:
                await remember(_name(self._kept), learnt)
                self._kept += 1

    def gathered(self) -> bytes | None:
        """What was learnt since the last call, encrypted; None when that is nothing."""
        learnt = [learner.unsaved() for learner in self._learners]
        if all(each is None for each in learnt):
            return None
        return self._vault.seal_blob(msgspec.msgpack.encode(learnt))

    async def take_over(self, gathered: bytes, remember: Remember) -> None:
        """Learn what a worker has gathered, and keep it."""
        async with self._keeping:
            self._recall(gathered)
            await remember(_name(self._kept), gathered)
            self._kept += 1

    def _recall(self, gathered: bytes) -> None:
        for learner, learnt in zip(self._learners, _decode(self._vault.open_blob(gathered)), strict=True):
            if learnt is not None:
                learner.recall(learnt)


def _name(number: int) -> str:
    return f"learnt-{number:05d}"


def _decode(data: bytes) -> list[bytes | None]:
    return msgspec.msgpack.decode(data, type=list[bytes | None])
