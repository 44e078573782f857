"""What a worker knows of a run, and how it does errands of it.

A worker prepares itself as a process does that continues the run: from what the open run keeps (`pipeline.journal`),
and from the directory, which it reads itself. It writes nothing of the run but notes of its uploads, and publishes
nothing: that is the coordinator's, who has the lease.
"""

import asyncio
from contextlib import suppress
from typing import Self

import msgspec

from pipeline.equipment import Equipment
from pipeline.errands import Errand, Idle, Recorder, Report, facts_of, require_same
from pipeline.errors import ConfigurationError
from pipeline.field_counts import FieldCounts
from pipeline.journal import RunRecord, kept_with, open_run
from pipeline.lessons import Lessons
from pipeline.model import Unit
from pipeline.outcomes import OutcomeReport
from pipeline.parts import PartAssembler, UnitResult
from pipeline.progress import Progress
from pipeline.scheduler import Scheduler
from pipeline.sealed_parts import WorkersLedger
from pipeline.survey import GROUPS, USERS, Survey
from pipeline.tally import Tally
from pipeline.working import UnitWork


class Workshop:
    """One worker's place in one run; `Workshop.open` makes a prepared one."""

    def __init__(self, equipment: Equipment, record: RunRecord) -> None:
        self._equipment = equipment
        self._record = record
        self._lessons = Lessons(equipment.learners, vault=equipment.vault)
        self._reader = equipment.unit_reader(run_id=record.run_id, see=self._lessons.see)
        self._tally = Tally()

    @classmethod
    async def open(cls, equipment: Equipment, errand: Errand) -> Self:
        """Learn what the errands of a run need.

        Raises:
            ConfigurationError: the worker's settings are not the coordinator's.
            SourceRefused, StoreRefused, StoreUnavailable
        """
        require_same(errand.facts, facts_of(equipment.identity))
        record = await open_run(equipment.state, errand.kind)
        if record is None or record.run_id != errand.run_id:
            raise ConfigurationError("state: at a worker's state location this run is not open")
        workshop = cls(equipment, record)
        await workshop._prepare()
        return workshop

    async def do(self, errand: Errand) -> Report:
        """Read the units of an errand; its parts are sealed and wait for the coordinator.

        Raises:
            StoreRefused, StoreUnavailable
        """
        equipment = self._equipment
        groups = decode_units(equipment.vault.open_blob(errand.units))
        if any(unit.dataset in self._lessons.later for group in groups for unit in group):
            await self._lessons.restore(self._recall)
        ledger = WorkersLedger(equipment.state, self._record, errand.numbering)
        assembler = equipment.part_assembler(ledger)
        recorder = Recorder(self._tally)

        async def take(unit: Unit, result: UnitResult) -> None:
            await assembler.add(result)
            recorder.finished(unit, result)

        scheduler = Scheduler(
            principals_in_flight=max(1, equipment.limits.principals_in_flight // errand.lanes),
            per_principal=equipment.limits.units_per_principal,
            stop=equipment.stop,
        )
        try:
            work = UnitWork(self._reader, take=take, outcomes=recorder, memory=equipment.memory)
            whole = await scheduler.work(groups, work.read)
            await assembler.close_all()
        except BaseException:
            with suppress(Exception):
                await asyncio.shield(assembler.abandon())
            raise
        return Report(
            whole=whole,
            parts=ledger.sealed,
            idle=_idle(assembler),
            happened=recorder.happened,
            refused=recorder.refused,
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
        await survey.prepare_connectors(recall=self._recall, remember=_remember_nothing)

    async def _recall(self, name: str) -> bytes | None:
        return await kept_with(self._equipment.state, self._record, name)


def encode_units(groups: list[list[Unit]]) -> bytes:
    """The units of an errand, a list for each principal."""
    return msgspec.msgpack.encode(groups)


def decode_units(data: bytes) -> list[list[Unit]]:
    """What `encode_units` was given."""
    return msgspec.msgpack.decode(data, type=list[list[Unit]])


def _idle(assembler: PartAssembler) -> dict[str, Idle]:
    return {
        dataset: Idle(
            units=units,
            rejected=dict(assembler.idle_rejected.get(dataset, {})),
            fields=assembler.idle_fields.get(dataset, FieldCounts()),
        )
        for dataset, units in assembler.idle.items()
    }


async def _take_nothing(_unit: Unit, _result: UnitResult) -> None:
    """The coordinator has taken the rows of the directory."""


async def _remember_nothing(_name: str, data: bytes) -> bytes:
    """The coordinator keeps what is to be kept."""
    return data
