"""Parts that a worker made and the coordinator publishes.

A worker sends the bytes of its parts and seals the uploads; nobody sees them. It hands their tokens over, and the
coordinator, who holds the lease and the journal, makes them visible or gives them up. So a worker that is slow, dead,
or at work twice can leave nothing behind but an invisible upload, whose note in the state tells whoever is next.
"""

from collections import Counter
from contextlib import suppress

import msgspec

from pipeline.errors import StoreRefused, StoreUnavailable
from pipeline.journal import Entry, RunRecord, note_upload
from pipeline.ports import Destination, StateStore, Upload


class Numbering(msgspec.Struct, frozen=True):
    """The part numbers of one task: `first`, and every `step` after it. Tasks of one step never meet."""

    first: int
    step: int


class SealedPart(msgspec.Struct, frozen=True):
    """A part that only has to be journalled and published. `note`: the key under which the state knows its upload."""

    entry: Entry
    token: str
    note: str


class WorkerLedger:
    """What a worker has instead of a journal: a `pipeline.parts.PartLedger` that keeps parts back."""

    def __init__(self, state: StateStore, record: RunRecord, numbering: Numbering) -> None:
        self.record = record
        self.sealed: list[SealedPart] = []
        self._state = state
        self._numbering = numbering
        self._parts: Counter[str] = Counter()
        self._notes: dict[str, str] = {}

    def next_part(self, dataset: str) -> int:
        return self._numbering.first + self._parts[dataset] * self._numbering.step

    async def begin(self, destination: Destination, path: str) -> Upload:
        upload = await destination.begin(path)
        try:
            self._notes[path] = await note_upload(self._state, self.record, path, upload.token)
        except BaseException:  # a cancellation too: nobody may know its name now
            with suppress(StoreRefused, StoreUnavailable):
                await upload.abort()
            raise
        return upload

    async def publish(self, upload: Upload, entry: Entry) -> None:
        self._parts[entry.dataset] += 1
        self.sealed.append(SealedPart(entry, upload.token, self._notes.pop(entry.path)))
