"""What a worker knows of a run, and how it does tasks of it.

A worker prepares itself as a process does that continues the run: from what the open run keeps (`pipeline.journal`),
and from the directory, which it reads itself. It writes nothing of the run but notes of its uploads, and publishes
nothing: that is the coordinator's, who has the lease.
"""

import asyncio
from contextlib import suppress
from typing import Self

from pipeline.equipment import Equipment
from pipeline.errors import ConfigurationError
from pipeline.journal import RunRecord, kept_with, open_run
from pipeline.lessons import Lessons
from pipeline.model import Unit
from pipeline.outcomes import OutcomeReport
from pipeline.parts import UnitResult
from pipeline.progress import Progress, Settled
from pipeline.scheduler import Scheduler
from pipeline.survey import GROUPS, USERS, Survey
from pipeline.tally import Tally
from pipeline.unit_work import UnitWork
from pipeline.workers.messages import Report, Task, decode_units, facts_of, require_same
from pipeline.workers.sealed_parts import WorkerLedger
from pipeline.workers.unit_log import UnitLog


class Worker:
    """One worker's place in one run; `Worker.prepared` makes one."""

    def __init__(self, equipment: Equipment, record: RunRecord) -> None:
        self._equipment = equipment
        self._record = record
        self._lessons = Lessons(equipment.learners, vault=equipment.vault)
        self._reader = equipment.unit_reader(run_id=record.run_id, see=self._lessons.see)
        self._tally = Tally()
        self._in_hand: dict[str, UnitLog] = {}  # by the id of the task

    @classmethod
    async def prepared(cls, equipment: Equipment, task: Task) -> Self:
        """Learn what the tasks of a run need.

        Raises:
            ConfigurationError: the worker's settings are not the coordinator's.
            SourceRefused, StoreRefused, StoreUnavailable
        """
        require_same(task.facts, facts_of(equipment.identity))
        record = await open_run(equipment.state, task.kind)
        if record is None or record.run_id != task.run_id:
            raise ConfigurationError("state: at a worker's state location this run is not open")
        worker = cls(equipment, record)
        await worker._prepare()
        return worker

    @property
    def settled(self) -> dict[str, dict[str, Settled]]:
        """How far each task in hand is, by its id and by dataset."""
        return {id_: dict(log.settled) for id_, log in self._in_hand.items()}

    async def do(self, task: Task) -> Report:
        """Read the units of a task; its parts are sealed and wait for the coordinator.

        Raises:
            StoreRefused, StoreUnavailable
        """
        log = self._in_hand[task.id] = UnitLog(self._tally)
        try:
            return await self._do(task, log)
        finally:
            del self._in_hand[task.id]

    async def _do(self, task: Task, log: UnitLog) -> Report:
        equipment = self._equipment
        groups = decode_units(equipment.vault.open_blob(task.units))
        if any(unit.dataset in self._lessons.later for group in groups for unit in group):
            await self._lessons.restore(self._recall)
        ledger = WorkerLedger(equipment.state, self._record, task.numbering)
        assembler = equipment.part_assembler(ledger)

        async def take(unit: Unit, result: UnitResult) -> None:
            await assembler.add(result)
            log.finished(unit, result)

        scheduler = Scheduler(
            principals_in_flight=max(1, equipment.limits.principals_in_flight // task.slots),
            per_principal=equipment.limits.units_per_principal,
            stop=equipment.stop,
        )
        work = UnitWork(self._reader, take=take, outcomes=log, memory=equipment.memory)
        try:
            whole = await scheduler.work(groups, work.read)
            await assembler.close_all()
        except BaseException:
            with suppress(Exception):
                await asyncio.shield(assembler.abandon())
            raise
        return Report(
            whole=whole,
            parts=ledger.sealed,
            rowless=list(assembler.release_idle()),
            outcomes=log.outcomes,
            refused=log.refused,
            learnt=self._lessons.gathered(),
        )

    async def _prepare(self) -> None:
        equipment, record = self._equipment, self._record
        report = OutcomeReport(  # what is found out here the coordinator has counted already
            tally=Tally(), progress=Progress(), log=equipment.log, pseudonym=equipment.pseudonym
        )
        survey = Survey(equipment, record, reader=self._reader, report=report, now=record.started_at)
        await survey.settle_scope(recall=self._recall, remember=_remember_nothing)
        await survey.read_directory(done={USERS, GROUPS}, take=_take_nothing)
        await survey.settle_mailboxes(recall=self._recall, remember=_remember_nothing)
        await survey.prepare_connectors(recall=self._recall, remember=_remember_nothing)

    async def _recall(self, name: str) -> bytes | None:
        return await kept_with(self._equipment.state, self._record, name)


async def _take_nothing(_unit: Unit, _result: UnitResult) -> None:
    """The coordinator has taken the rows of the directory."""


async def _remember_nothing(_name: str, data: bytes) -> bytes:
    """The coordinator keeps what is to be kept."""
    return data
