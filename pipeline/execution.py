"""One run from its journal to its manifest: directory -> plan -> read -> parts -> seal.

`docs/architecture.md` has the picture. What each step promises when the process dies stands in `journal` and `seal`;
when a run begins, or is taken up again, in `run`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pipeline.done import RowlessUnits
from pipeline.equipment import Equipment
from pipeline.facts import Attempt, Chronicle, earlier_attempts, encode_facts, gather_facts, keep_attempt
from pipeline.history import incomplete_in_a_row
from pipeline.journal import Journal
from pipeline.lease import Lease
from pipeline.lessons import Lessons
from pipeline.loop_lag import LoopLag
from pipeline.manifest import Manifest
from pipeline.model import Principal, RunKind, Unit
from pipeline.outcomes import OutcomeReport
from pipeline.parts import UnitResult
from pipeline.plan import BEGINNING, window_end
from pipeline.ports import Owing
from pipeline.process import give_back
from pipeline.reach import Bounds, FinishedWindows, RunReach
from pipeline.scheduler import Scheduler
from pipeline.seal import (
    build_manifest,
    days_of,
    field_counts,
    finish_seal,
    finished_units,
    next_watermarks,
    record_seal,
)
from pipeline.survey import Survey
from pipeline.tally import Tally
from pipeline.telemetry import Event, run_facts, usage_facts
from pipeline.unit_work import UnitWork
from pipeline.watermarks import Key
from pipeline.workers.coordinator import Coordinator
from pipeline.workers.dispatch import Dispatch

TRIES_OF_A_DIFFERENCE = 3  # runs in which a count that nothing explains is read again; then it is left as it is
LOOK_EVERY_S = 1.0  # at the age of parts and the memory of the process, which fills in seconds
PROGRESS_EVERY_S = 60.0  # in the log; a terminal has its own display
STOP_GRACE = timedelta(seconds=20)  # units in flight may finish for so long; Kubernetes grants 30 s before SIGKILL


ReadUnits = Callable[[Iterable[Sequence[Unit]]], Awaitable[bool]]
"""Reads the units of principals; False when it was stopped before the end."""


class Execution:
    """One run; `finish` or `seal_as_it_is` is called once."""

    def __init__(self, equipment: Equipment, journal: Journal, lease: Lease, coordinator: Coordinator | None) -> None:
        self._equipment = equipment
        self._journal = journal
        self._lease = lease
        self._is_bound = False
        self._record = journal.record
        self._tally = Tally()
        self._chronicle = Chronicle(clock=equipment.clock, pseudonym=equipment.pseudonym, waits=equipment.waits)
        self._report = OutcomeReport(
            tally=self._tally,
            progress=equipment.progress,
            log=equipment.log,
            pseudonym=equipment.pseudonym,
            chronicle=self._chronicle,
        )
        equipment.progress.begin(kind=self._record.kind, run_id=self._record.run_id)
        self._now = self._record.started_at  # a continued run keeps the windows it began with
        self._lag = LoopLag()
        self._lessons = Lessons(equipment.learners, vault=equipment.vault)
        self._reader = equipment.unit_reader(run_id=self._record.run_id, see=self._lessons.see)
        self._survey = Survey(equipment, self._record, reader=self._reader, report=self._report, now=self._now)
        self._assembler = equipment.part_assembler(
            journal, before_publishing=self._before_publishing, published=self._report.published
        )
        self._read_units = self._reading(coordinator)

    def _reading(self, coordinator: Coordinator | None) -> ReadUnits:
        """Who reads units: workers, or this process."""
        if coordinator is not None:
            return Dispatch(
                coordinator,
                equipment=self._equipment,
                journal=self._journal,
                assembler=self._assembler,
                lessons=self._lessons,
                outcomes=self._report,
            ).work
        limits = self._equipment.limits
        scheduler = Scheduler(
            principals_in_flight=limits.principals_in_flight,
            per_principal=limits.units_per_principal,
            stop=self._equipment.stop,
        )
        work = UnitWork(self._reader, take=self._take, outcomes=self._report, memory=self._equipment.memory)
        return partial(scheduler.work, read=work.read)

    async def _before_publishing(self) -> None:
        """From the first part on this state belongs to this tenant and this destination."""
        if not self._is_bound:
            await self._equipment.state.create("binding", self._equipment.identity.binding)
            self._is_bound = True
        await self._lessons.keep(self._journal.remember)

    async def finish(self) -> Manifest | None:
        """Read what is left, publish it, seal. None when interrupted: what is whole is published, the journal open."""
        equipment = self._equipment
        has_read = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._lag.watch())
            ticker = tasks.create_task(self._housekeep(until=has_read))
            try:
                complete = await self._until_stopped(self._read_everything())
            except BaseException:
                ticker.cancel()
                watch.cancel()
                with suppress(Exception):
                    await asyncio.shield(self._assembler.abandon())
                raise
            watch.cancel()
            has_read.set()  # a part that is being published now belongs to the manifest: no cancellation
        await self._assembler.close_all()
        if not complete:
            await self._note_rowless(self._assembler.release_idle())
            equipment.log.warning(Event.RUN_INTERRUPTED, run_id=self._record.run_id)
            if self._journal.is_open:
                await keep_attempt(
                    self._chronicle.attempt(), recall=self._journal.recall, remember=self._journal.remember
                )
            return None
        return await self._seal()

    async def seal_as_it_is(self) -> Manifest:
        """Seal an interrupted run that nobody will continue; its watermarks stay where they were."""
        manifest = self._manifest(abandoned=True)
        await self._record_seal(manifest)
        return await self._finish_seal()

    async def _seal(self) -> Manifest:
        equipment = self._equipment
        self._begin_stage("sealing")
        await self._decide()
        give_back()
        sealed = await self._finish_seal()
        if sealed.status == "complete":
            equipment.progress.last_success = sealed.finished_at
        equipment.log.info(
            Event.RUN_FINISHED,
            **run_facts(sealed),
            **usage_facts(equipment.progress.usage()),
            loop_lag_ms=self._lag.worst_ms,
            counted_mib=equipment.memory.most_used_bytes >> 20,
        )
        return sealed

    async def _decide(self) -> None:
        """Write down how the run ends."""
        manifest = self._manifest()
        moves = owed = b""
        if self._record.kind is RunKind.RUN:
            moves, owed = await self._moves_and_debts(manifest)
        await self._record_seal(manifest, moves=moves, owed=owed, attempt=self._chronicle.attempt())

    async def _moves_and_debts(self, manifest: Manifest) -> tuple[bytes, bytes]:
        """How far watermarks move and what is owed, both encrypted. Of all principals only that is left afterwards."""
        equipment = self._equipment
        given_up = await self._given_up(manifest)
        bounds = self._bounds()
        units = finished_units(self._journal, self._assembler)
        done = await equipment.blocking(FinishedWindows, units, given_up=given_up)
        known = await equipment.watermarks.load()
        owed = await self._owed(manifest, done, known, bounds)
        return await equipment.blocking(equipment.vault.seal, next_watermarks(done, known, bounds)), owed

    async def _record_seal(
        self, manifest: Manifest, *, moves: bytes = b"", owed: bytes = b"", attempt: Attempt | None = None
    ) -> None:
        run_id, journal = self._record.run_id, self._journal
        attempts = [*await earlier_attempts(recall=journal.recall), *([] if attempt is None else [attempt])]
        await record_seal(
            journal,
            manifest,
            moves=moves,
            fields=self._equipment.fields_file(run_id, field_counts(journal, self._assembler)),
            facts=encode_facts(gather_facts(run_id, attempts, days_of(journal))),
            owed=owed,
        )

    def _manifest(self, *, abandoned: bool = False) -> Manifest:
        equipment = self._equipment
        return build_manifest(
            self._journal,
            self._assembler,
            self._tally,
            finished_at=equipment.clock(),
            tool_version=equipment.identity.tool_version,
            abandoned=abandoned,
        )

    async def _given_up(self, manifest: Manifest) -> Collection[Key]:
        """Whose unexplained differences have been read again often enough."""
        if not manifest.unexplained:
            return ()
        return await incomplete_in_a_row(self._equipment.state, runs=TRIES_OF_A_DIFFERENCE - 1)

    def _bounds(self) -> Bounds:
        windowed = [source for source in self._equipment.sources.values() if source.windowed]
        ends = {source.dataset: window_end(source, until=self._record.until, now=self._now) for source in windowed}
        lookback = self._equipment.limits.initial_lookback
        return Bounds(
            origins={
                source.dataset: BEGINNING if source.from_beginning else ends[source.dataset] - lookback
                for source in windowed
            },
            overlaps={source.dataset: source.overlap for source in windowed},
            ends=ends,
        )

    async def _owed(
        self, manifest: Manifest, done: FinishedWindows, known: Mapping[Key, datetime], bounds: Bounds
    ) -> bytes:
        """What connectors owe from now on; that of others stays as it is. The manifest is told what is too much."""
        equipment = self._equipment
        reach = RunReach(done=done, known=known, bounds=bounds, failed=manifest.failed, pseudonym=equipment.pseudonym)
        owed = await equipment.owed.load()
        for connector in equipment.connectors:
            if isinstance(connector, Owing):
                debts = await connector.owed(reach)
                owed = {name: left for name, left in owed.items() if name != connector.name}
                owed |= {} if debts.kept is None else {connector.name: debts.kept}
                for dataset, count in debts.dropped.items():
                    manifest.datasets[dataset].debts_dropped = count
                    equipment.log.warning(
                        Event.DEBTS_DROPPED, run_id=self._record.run_id, dataset=dataset, debts_dropped=count
                    )
        return await equipment.owed.replacement(owed, at=self._record.started_at)

    async def _finish_seal(self) -> Manifest:
        equipment = self._equipment
        await equipment.state.create("binding", equipment.identity.binding)
        return await finish_seal(
            self._journal,
            equipment.state,
            equipment.destination,
            self._lease,
            watermarks=equipment.watermarks,
            owed=equipment.owed,
        )

    async def _housekeep(self, *, until: asyncio.Event) -> None:
        """What is due from time to time while units are read."""
        told_at = time.monotonic()
        while not until.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), LOOK_EVERY_S)
            await self._equipment.mind_memory()
            await self._assembler.close_aged()
            await self._note_rowless(self._assembler.release_idle(aged=True))
            if time.monotonic() - told_at >= PROGRESS_EVERY_S:
                told_at = time.monotonic()
                self._report.progress()

    async def _note_rowless(self, rowless: Iterable[RowlessUnits]) -> None:
        """A night of idle mailboxes makes no parts, and is not to be read again because it was interrupted."""
        for units in rowless:
            await self._before_publishing()
            await self._journal.note_rowless(units)

    async def _read_everything(self) -> bool:
        """Directory, preparation, units. False when stopped before the end."""
        await self._lessons.restore(self._journal.recall)
        self._begin_stage("reading the directory")
        await self._survey.settle_scope(recall=self._journal.recall, remember=self._journal.remember)
        await self._survey.read_directory(done={dataset for dataset, _ in self._journal.done()}, take=self._take)
        self._begin_stage("learning who reads what")
        await self._prepare_connectors()
        self._begin_stage("reading")
        known = await self._equipment.watermarks.load()
        later = self._lessons.later
        complete = await self._read_planned(known, chosen=lambda dataset, _: dataset not in later)
        if not complete or not later:
            return complete
        self._begin_stage("reading what others led to")
        return await self._read_planned(known, chosen=self._lessons.concern)

    async def _prepare_connectors(self) -> None:
        """What a `run` owes is kept with what it learns, for workers and for an attempt that goes on with it."""
        owed = await self._equipment.owed.load() if self._record.kind is RunKind.RUN else {}
        recall, remember = self._journal.recall, self._journal.remember
        await self._survey.settle_mailboxes(recall=recall, remember=remember)
        await self._survey.prepare_connectors(recall=recall, remember=remember, owed=owed)
        if owed:
            await self._lessons.keep(remember)

    def _begin_stage(self, name: str) -> None:
        give_back()  # what a stage took, the directory of a large tenant for one, is free for the next one
        self._equipment.progress.stage = name
        self._chronicle.stage(name)

    async def _read_planned(self, known: Mapping[Key, datetime], *, chosen: Callable[[str, Principal], bool]) -> bool:
        groups = self._survey.plan(known, done=self._journal.done(), chosen=chosen)
        return await self._read_units(groups)

    async def _until_stopped(self, work: Coroutine[Any, Any, bool]) -> bool:
        """Run `work`; once a stop is asked for, give it a grace time, then abandon what is in flight."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._equipment.stop.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self._equipment.log.warning(Event.STOP_REQUESTED, run_id=self._record.run_id)
                await asyncio.wait({task}, timeout=STOP_GRACE.total_seconds())
            task.cancel()
            with suppress(asyncio.CancelledError):
                return await task
            return False
        finally:
            for each in (task, stopping):
                each.cancel()
            await asyncio.gather(task, stopping, return_exceptions=True)

    async def _take(self, unit: Unit, result: UnitResult) -> None:
        await self._assembler.add(result)
        self._report.finished(unit, result)
