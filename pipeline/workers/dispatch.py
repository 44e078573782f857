"""Reading with workers, from the coordinator's side: units become tasks, reports become parts of the run.

partition -> number parts -> task -> (a worker) -> report -> keep what was learnt -> journal and publish -> count
"""

from collections.abc import Iterable, Sequence

import msgspec

from pipeline.equipment import Equipment
from pipeline.journal import Journal
from pipeline.lessons import Lessons
from pipeline.model import Unit
from pipeline.parts import PartAssembler
from pipeline.unit_work import Outcomes
from pipeline.workers.coordinator import Assignment, Coordinator
from pipeline.workers.messages import Report, Task, encode_units, facts_of
from pipeline.workers.partition import partition
from pipeline.workers.sealed_parts import Numbering
from pipeline.workers.unit_log import replay


class Dispatch:
    """Has the units of one run read by workers."""

    def __init__(
        self,
        coordinator: Coordinator,
        *,
        equipment: Equipment,
        journal: Journal,
        assembler: PartAssembler,
        lessons: Lessons,
        outcomes: Outcomes,
    ) -> None:
        self._coordinator = coordinator
        self._equipment = equipment
        self._journal = journal
        self._assembler = assembler
        self._lessons = lessons
        self._outcomes = outcomes

    async def work(self, principals: Iterable[Sequence[Unit]]) -> bool:
        """Read every unit of every principal. False when stopped before the end.

        Raises:
            EngineLost, LeaseLost, ConfigurationError, SourceRefused, StoreRefused, StoreUnavailable
        """
        units = list(principals)
        if not units:
            return True
        await self._journal.open()  # workers look there for what the run is
        groups = partition(units, slots=await self._coordinator.slots())
        tasks = _Tasks(groups, self._equipment, self._journal, self._outcomes)

        async def accept(number: int, report: bytes) -> bool:
            return await self._accept(self._opened(report), tasks.left_out(number))

        return await self._coordinator.work(len(groups), encode=tasks.encode, accept=accept)

    def _opened(self, report: bytes) -> Report:
        return msgspec.msgpack.decode(self._equipment.vault.open_blob(report), type=Report)

    async def _accept(self, report: Report, left_out: Sequence[Unit]) -> bool:
        if report.learnt is not None:  # first: what a published unit has taught is never to be lost
            await self._lessons.take_over(report.learnt, self._journal.remember)
        for rowless in report.rowless:
            self._assembler.take_idle(rowless)
        for part in report.parts:
            upload = await self._journal.take_over(
                self._equipment.destination, part.entry.path, token=part.token, note=part.note
            )
            await self._assembler.publish(upload, part.entry)
        for unit in left_out if report.whole else ():
            self._outcomes.not_tried(unit)
        replay(report, self._outcomes)
        return report.whole


class _Tasks:
    """The tasks of one stage of a run, by number."""

    def __init__(
        self, groups: Sequence[list[list[Unit]]], equipment: Equipment, journal: Journal, outcomes: Outcomes
    ) -> None:
        self._groups = groups
        self._equipment = equipment
        self._record = journal.record
        self._first_part = journal.unused_part()
        self._outcomes = outcomes
        self._left_out: dict[int, list[Unit]] = {}

    def encode(self, assignment: Assignment) -> bytes:
        """One of them, without the units of datasets that turned out to be denied."""
        number = assignment.number
        sent: list[list[Unit]] = []
        left_out = self._left_out[number] = list[Unit]()
        for units in self._groups[number]:
            sent.append([])
            for unit in units:
                (left_out if self._outcomes.is_denied(unit.dataset) else sent[-1]).append(unit)
        return msgspec.msgpack.encode(
            Task(
                id=assignment.id,
                session=assignment.session,
                run_id=self._record.run_id,
                kind=self._record.kind,
                connectors=self._record.connectors,
                facts=facts_of(self._equipment.identity),
                numbering=Numbering(first=self._first_part + number, step=len(self._groups)),
                slots=assignment.slots,
                units=self._equipment.vault.seal_blob(encode_units([units for units in sent if units])),
            )
        )

    def left_out(self, number: int) -> Sequence[Unit]:
        """The units that `encode` left out of this one."""
        return self._left_out[number]
