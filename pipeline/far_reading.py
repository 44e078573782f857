"""The coordinator's side of reading with workers: units become errands, reports become parts of the run.

group -> number parts -> errand -> (a worker) -> report -> keep what was learnt -> journal and publish -> count
"""

from collections.abc import Sequence

import msgspec

from pipeline.crew import Crew, Task
from pipeline.equipment import Equipment
from pipeline.errands import Errand, Report, facts_of, replay
from pipeline.groups import divided
from pipeline.journal import Journal
from pipeline.lessons import Lessons
from pipeline.model import Unit
from pipeline.parts import PartAssembler
from pipeline.sealed_parts import Numbering
from pipeline.working import Outcomes
from pipeline.workshop import encode_units


class FarReading:
    """Has the units of one run read by its crew."""

    def __init__(
        self,
        crew: Crew,
        *,
        equipment: Equipment,
        journal: Journal,
        assembler: PartAssembler,
        lessons: Lessons,
        outcomes: Outcomes,
    ) -> None:
        self._crew = crew
        self._equipment = equipment
        self._journal = journal
        self._assembler = assembler
        self._lessons = lessons
        self._outcomes = outcomes

    async def work(self, principals: Sequence[Sequence[Unit]]) -> bool:
        """Read every unit of every principal. False when stopped before the end.

        Raises:
            EngineLost, LeaseLost, ConfigurationError, SourceRefused, StoreRefused, StoreUnavailable
        """
        if not principals:
            return True
        await self._journal.open()  # workers look there for what the run is
        groups = divided(principals, lanes=await self._crew.lanes())
        errands = _Errands(groups, self._equipment, self._journal, self._outcomes)

        async def accept(number: int, report: bytes) -> bool:
            return await self._accept(self._opened(report), errands.not_sent(number))

        return await self._crew.work(len(groups), make=errands.make, accept=accept)

    def _opened(self, report: bytes) -> Report:
        return msgspec.msgpack.decode(self._equipment.vault.open_blob(report), type=Report)

    async def _accept(self, report: Report, not_sent: Sequence[Unit]) -> bool:
        if report.learnt is not None:  # first: what a published unit has taught is never to be lost
            await self._lessons.take_over(report.learnt, self._journal.remember)
        for dataset, idle in report.idle.items():
            self._assembler.take_idle(dataset, idle.units, idle.rejected, idle.fields)
        for part in report.parts:
            upload = await self._journal.take_over(
                self._equipment.destination, part.entry.path, token=part.token, note=part.note
            )
            await self._assembler.publish(upload, part.entry)
        for unit in not_sent if report.whole else ():
            self._outcomes.not_tried(unit)
        replay(report, self._outcomes)
        return report.whole


class _Errands:
    """The errands of one stage of a run, by number."""

    def __init__(
        self, groups: Sequence[list[list[Unit]]], equipment: Equipment, journal: Journal, outcomes: Outcomes
    ) -> None:
        self._groups = groups
        self._equipment = equipment
        self._record = journal.record
        self._first_part = journal.unused_part()
        self._outcomes = outcomes
        self._not_sent: dict[int, list[Unit]] = {}

    def make(self, task: Task) -> bytes:
        """One of them, encoded; without the units of datasets that turned out to be denied."""
        sent: list[list[Unit]] = []
        not_sent = self._not_sent[task.number] = list[Unit]()
        for units in self._groups[task.number]:
            sent.append([])
            for unit in units:
                (not_sent if self._outcomes.is_denied(unit.dataset) else sent[-1]).append(unit)
        return msgspec.msgpack.encode(
            Errand(
                hire=task.hire,
                run_id=self._record.run_id,
                kind=self._record.kind,
                connectors=self._record.connectors,
                facts=facts_of(self._equipment.identity),
                numbering=Numbering(first=self._first_part + task.number, step=len(self._groups)),
                lanes=task.lanes,
                units=self._equipment.vault.seal_blob(encode_units([units for units in sent if units])),
            )
        )

    def not_sent(self, number: int) -> Sequence[Unit]:
        """The units that `make` left out of this one."""
        return self._not_sent[number]
