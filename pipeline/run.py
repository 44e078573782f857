"""One command's work: lease -> unfinished business -> directory -> plan -> read -> parts -> seal.

    export
      hold the lease
      replay a seal that was interrupted
      continue an interrupted run, or seal it as partial where it is other work than this command's
      begin a run: read the directory, plan units, read them, publish parts, seal

`docs/architecture.md` has the picture. What each step promises when the process dies stands in `journal` and `seal`.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pipeline.comparability import check_comparable
from pipeline.crew import Crew, Engine
from pipeline.equipment import Equipment
from pipeline.errors import ConfigurationError
from pipeline.facts import Attempt, Chronicle, earlier_attempts, encode_facts, gather_facts, keep_attempt
from pipeline.far_reading import FarReading
from pipeline.history import incomplete_in_a_row, sealed_run
from pipeline.journal import Journal, RunRecord, open_run
from pipeline.lease import Lease, hold
from pipeline.lessons import Lessons
from pipeline.live import keep_told
from pipeline.loop_lag import LoopLag
from pipeline.manifest import Manifest
from pipeline.model import Page, Principal, RunKind, Unit
from pipeline.outcomes import OutcomeReport
from pipeline.parts import UnitResult
from pipeline.plan import BEGINNING, window_end
from pipeline.process import resident_bytes
from pipeline.scheduler import Scheduler
from pipeline.seal import build_manifest, days_of, field_counts, finish_seal, next_watermarks, record_seal
from pipeline.survey import Survey
from pipeline.tally import Tally
from pipeline.telemetry import Event, run_facts, usage_facts
from pipeline.watermarks import Key
from pipeline.working import Take, UnitWork

CATCH_UP_AFTER = timedelta(hours=6)  # a continued run that ends so much earlier than asked is followed by a new one
TRIES_OF_A_DIFFERENCE = 3  # runs in which a count that nothing explains is read again; then it is left as it is
AGE_CHECK_S = 5.0
PROGRESS_EVERY_S = 60.0  # in the log; a terminal has its own display
STOP_GRACE = timedelta(seconds=20)  # units in flight may finish for so long; Kubernetes grants 30 s before SIGKILL


ReadUnits = Callable[[Sequence[Sequence[Unit]]], Awaitable[bool]]
"""Reads the units of principals; False when it was stopped before the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a command asks for."""

    kind: RunKind
    until: datetime | None = None  # None: now
    since: datetime | None = None  # backfill only
    accept_new_pseudonyms: bool = False  # go on although rows will not join with those written before


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run. Without a manifest it was interrupted and can be continued."""

    run_id: str
    manifest: Manifest | None

    @property
    def interrupted(self) -> bool:
        return self.manifest is None


async def export(equipment: Equipment, request: Request, *, engine: Engine | None = None) -> list[Outcome]:
    """Do what a `run` or `backfill` command asks; usually one run, two where an interrupted one came first.

    With an `engine` its workers read the units; directory, plan, journal and seal stay here.

    Raises:
        EngineLost, LeaseHeld, LeaseLost, ConfigurationError, SourceRefused, StoreRefused, StoreUnavailable
    """
    await _check_binding(equipment)
    if not request.accept_new_pseudonyms:
        await check_comparable(equipment.state, equipment.identity)
    async with hold(equipment.state, request.kind, clock=equipment.clock) as lease, asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(lease.keep())]
        if equipment.told_every is not None:
            telling = keep_told(
                equipment.progress,
                equipment.state,
                equipment.vault,
                kind=request.kind,
                every=equipment.told_every,
            )
            beside.append(tasks.create_task(telling))
        try:
            return await _work(equipment, request, lease, _crew(equipment, engine))
        finally:
            for each in beside:
                each.cancel()


async def look_ahead(
    equipment: Equipment, request: Request, *, take: Take, see: Callable[[Unit, Page], None]
) -> Survey:
    """Whose data such a command would read now; reads the directory, writes nothing, takes no lease.

    Raises:
        ConfigurationError, SourceRefused, StoreRefused, StoreUnavailable
    """
    await _check_binding(equipment)
    if not request.accept_new_pseudonyms:
        await check_comparable(equipment.state, equipment.identity)

    async def recall(_name: str) -> bytes | None:
        return None

    async def remember(_name: str, data: bytes) -> bytes:
        return data

    survey = Survey(
        equipment,
        _record(equipment, request),
        reader=equipment.unit_reader(run_id="", see=see),
        report=_outcome_report(equipment, Tally()),
        now=equipment.clock(),
    )
    await survey.settle_scope(recall=recall, remember=remember)
    await survey.read_directory(done=(), take=take)
    await survey.prepare_connectors(recall=recall, remember=remember)
    return survey


async def _work(equipment: Equipment, request: Request, lease: Lease, crew: Crew | None) -> list[Outcome]:
    wanted = _record(equipment, request)
    outcomes = []
    record = await open_run(equipment.state, request.kind)
    if record is not None:
        outcome = await _take_up(equipment, record, wanted, lease, crew)
        if outcome is not None:
            outcomes.append(outcome)
    if outcomes and (outcomes[-1].interrupted or not _is_behind(outcomes[-1], wanted)):
        return outcomes
    if equipment.stop.is_set():
        return [*outcomes, Outcome(wanted.run_id, None)]
    journal = Journal(equipment.state, wanted, lease)
    equipment.log.info(Event.RUN_STARTED, run_id=wanted.run_id, kind=wanted.kind, until=wanted.until)
    return [*outcomes, await _Run(equipment, journal, lease, crew).finish()]


async def _take_up(
    equipment: Equipment, record: RunRecord, wanted: RunRecord, lease: Lease, crew: Crew | None
) -> Outcome | None:
    """Bring an interrupted run to its end. None where it was other work than what is wanted now."""
    journal = Journal(equipment.state, record, lease, is_open=True)
    is_decided = await journal.decided() is not None  # before the history is looked at: see there
    finished = await sealed_run(equipment.state, record.run_id)
    if finished is not None:  # only forgetting it was interrupted
        await journal.give_up_uploads(equipment.destination)
        await journal.close()
        return Outcome(record.run_id, finished) if _same_work(record, wanted) else None
    if is_decided:
        manifest = await finish_seal(
            journal,
            equipment.state,
            equipment.destination,
            lease,
            vault=equipment.vault,
            watermarks=equipment.watermarks if record.salt_fingerprint == wanted.salt_fingerprint else None,
        )
        equipment.log.info(Event.MANIFEST_REPLAYED, run_id=record.run_id)
        return Outcome(record.run_id, manifest) if _same_work(record, wanted) else None
    await journal.recover(equipment.destination, equipment.empty_part)
    run = _Run(equipment, journal, lease, crew)
    if not _same_work(record, wanted):
        await run.seal_as_it_is()
        return None
    equipment.log.info(Event.RUN_CONTINUED, run_id=record.run_id, kind=record.kind, until=record.until)
    return await run.finish()


def _same_work(record: RunRecord, wanted: RunRecord) -> bool:
    """Whether an interrupted run can be continued: the same range and the same meaning of its rows.

    A `run` is continued with the end it had; a `backfill` has to be the same range, where an end that was still to
    come when it began means up to then.
    """
    meaning = [
        (each.connectors, each.profile, each.scope, each.rules_fingerprint, each.salt_fingerprint)
        for each in (record, wanted)
    ]
    if meaning[0] != meaning[1]:
        return False
    range_ = (wanted.since, min(wanted.until, record.started_at))
    return record.kind is RunKind.RUN or (record.since, record.until) == range_


def _is_behind(outcome: Outcome, wanted: RunRecord) -> bool:
    if wanted.kind is RunKind.BACKFILL or outcome.manifest is None:
        return False
    return wanted.until - outcome.manifest.window.to >= CATCH_UP_AFTER


def _record(equipment: Equipment, request: Request) -> RunRecord:
    now = equipment.clock()
    identity = equipment.identity
    return RunRecord(
        run_id=f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}",
        kind=request.kind,
        started_at=now,
        since=request.since,
        until=min(request.until or now, now),
        connectors=identity.connectors,
        profile=identity.profile,
        scope=identity.scope,
        rules_fingerprint=identity.rules_fingerprint,
        salt_fingerprint=identity.salt_fingerprint,
        schema_versions=dict(identity.schema_versions),
    )


async def _check_binding(equipment: Equipment) -> None:
    """A state location belongs to one tenant and one destination, from its first commit on."""
    found = await equipment.state.read("binding")
    if found is not None and found.data != _binding(equipment):
        raise ConfigurationError(
            "state: this location belongs to another tenant or another destination; "
            "give every pair of tenant and destination a state location of its own"
        )


def _binding(equipment: Equipment) -> bytes:
    return f"{equipment.identity.tenant}\n{equipment.identity.destination}\n".encode()


def _crew(equipment: Equipment, engine: Engine | None) -> Crew | None:
    if engine is None:
        return None
    return Crew(
        engine,
        most_workers=equipment.most_workers,
        stop=equipment.stop,
        clock=equipment.clock,
        log=equipment.log,
    )


def _outcome_report(equipment: Equipment, tally: Tally, chronicle: Chronicle | None = None) -> OutcomeReport:
    return OutcomeReport(
        tally=tally,
        progress=equipment.progress,
        log=equipment.log,
        pseudonym=equipment.pseudonym,
        chronicle=chronicle,
    )


class _Run:
    """One run from its journal to its manifest."""

    def __init__(self, equipment: Equipment, journal: Journal, lease: Lease, crew: Crew | None) -> None:
        self._equipment = equipment
        self._journal = journal
        self._lease = lease
        self._is_bound = False
        self._record = journal.record
        self._tally = Tally()
        self._chronicle = Chronicle(clock=equipment.clock, pseudonym=equipment.pseudonym, waits=equipment.waits)
        self._report = _outcome_report(equipment, self._tally, self._chronicle)
        equipment.progress.begin(kind=self._record.kind, run_id=self._record.run_id)
        self._now = self._record.started_at  # a continued run keeps the windows it began with
        self._lag = LoopLag()
        self._lessons = Lessons(equipment.learners, vault=equipment.vault)
        self._reader = equipment.unit_reader(run_id=self._record.run_id, see=self._lessons.see)
        self._survey = Survey(equipment, self._record, reader=self._reader, report=self._report, now=self._now)
        self._assembler = equipment.part_assembler(
            journal, before_publishing=self._before_publishing, published=self._report.published
        )
        self._read_units = self._reading(crew)

    def _reading(self, crew: Crew | None) -> ReadUnits:
        """Who reads units: the crew, or this process."""
        if crew is not None:
            return FarReading(
                crew,
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
            await self._equipment.state.create("binding", _binding(self._equipment))
            self._is_bound = True
        await self._lessons.keep(self._journal.remember)

    async def finish(self) -> Outcome:
        """Read what is left, publish it, seal. Interrupted: publish what is whole and leave the journal open."""
        equipment = self._equipment
        has_read = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._lag.watch())
            ticker = tasks.create_task(self._close_aged_parts(until=has_read))
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
            equipment.log.warning(Event.RUN_INTERRUPTED, run_id=self._record.run_id)
            if self._journal.is_open:
                await keep_attempt(
                    self._chronicle.attempt(), recall=self._journal.recall, remember=self._journal.remember
                )
            return Outcome(self._record.run_id, None)
        return await self._seal()

    async def seal_as_it_is(self) -> None:
        """Seal an interrupted run that nobody will continue; its watermarks stay where they were."""
        manifest = self._manifest(abandoned=True)
        await self._record_seal(manifest, {})
        await self._finish_seal()

    async def _seal(self) -> Outcome:
        equipment = self._equipment
        self._begin_stage("sealing")
        known = await self._equipment.watermarks.load()
        manifest = self._manifest()
        advances = self._advances(known, given_up=await self._given_up(manifest))
        await self._record_seal(manifest, advances, attempt=self._chronicle.attempt())
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
        return Outcome(self._record.run_id, sealed)

    async def _record_seal(
        self, manifest: Manifest, advances: Mapping[Key, datetime], *, attempt: Attempt | None = None
    ) -> None:
        run_id, journal = self._record.run_id, self._journal
        attempts = [*await earlier_attempts(recall=journal.recall), *([] if attempt is None else [attempt])]
        await record_seal(
            journal,
            self._equipment.vault,
            manifest,
            advances,
            fields=self._equipment.fields_file(run_id, field_counts(journal, self._assembler)),
            facts=encode_facts(gather_facts(run_id, attempts, days_of(journal))),
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

    def _advances(self, known: Mapping[Key, datetime], *, given_up: Collection[Key]) -> dict[Key, datetime]:
        if self._record.kind is RunKind.BACKFILL:
            return {}
        sources = self._equipment.sources
        ends = {
            source.dataset: window_end(source, until=self._record.until, now=self._now)
            for source in sources.values()
            if source.windowed
        }
        lookback = self._equipment.limits.initial_lookback
        overlaps = {source.dataset: source.overlap for source in sources.values()}
        origins = {
            dataset: BEGINNING if sources[dataset].from_beginning else end - lookback for dataset, end in ends.items()
        }
        return next_watermarks(
            self._journal,
            self._assembler,
            known,
            origins=origins,
            overlaps=overlaps,
            ends=ends,
            given_up=given_up,
        )

    async def _finish_seal(self) -> Manifest:
        equipment = self._equipment
        await equipment.state.create("binding", _binding(equipment))
        return await finish_seal(
            self._journal,
            equipment.state,
            equipment.destination,
            self._lease,
            vault=equipment.vault,
            watermarks=equipment.watermarks,
        )

    async def _close_aged_parts(self, *, until: asyncio.Event) -> None:
        told_at = time.monotonic()
        while not until.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), AGE_CHECK_S)
            self._equipment.memory.heed(resident_bytes())
            await self._assembler.close_aged()
            if time.monotonic() - told_at >= PROGRESS_EVERY_S:
                told_at = time.monotonic()
                self._report.progress()

    async def _read_everything(self) -> bool:
        """Directory, preparation, units. False when stopped before the end."""
        await self._lessons.restore(self._journal.recall)
        self._begin_stage("reading the directory")
        await self._survey.settle_scope(recall=self._journal.recall, remember=self._journal.remember)
        await self._survey.read_directory(done={dataset for dataset, _ in self._journal.done()}, take=self._take)
        self._begin_stage("learning who reads what")
        await self._survey.prepare_connectors(recall=self._journal.recall, remember=self._journal.remember)
        self._begin_stage("reading")
        known = await self._equipment.watermarks.load()
        later = self._lessons.later
        complete = await self._read_planned(known, chosen=lambda dataset, _: dataset not in later)
        if not complete or not later:
            return complete
        self._begin_stage("reading what others led to")
        return await self._read_planned(known, chosen=self._lessons.concern)

    def _begin_stage(self, name: str) -> None:
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
