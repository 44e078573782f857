"""One command's work: hold the lease, bring to an end what an earlier process left, begin a run.

    export
      hold the lease
      replay a seal that was interrupted
      continue an interrupted run, or seal it as partial where it is other work than this command's
      begin a run, and `execution` does it

`docs/architecture.md` has the picture. What each step promises when the process dies stands in `journal` and `seal`.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.beside import keep_room, make_room, wait_for_room
from pipeline.comparability import check_comparable
from pipeline.equipment import Equipment
from pipeline.errors import ConfigurationError
from pipeline.execution import Execution
from pipeline.history import sealed_run
from pipeline.journal import Journal, RunRecord, open_run
from pipeline.lease import Lease, hold
from pipeline.live import keep_told
from pipeline.manifest import Manifest
from pipeline.model import Page, RunKind, Unit
from pipeline.outcomes import OutcomeReport
from pipeline.seal import finish_seal
from pipeline.survey import Survey
from pipeline.tally import Tally
from pipeline.telemetry import Event
from pipeline.unit_work import Take
from pipeline.workers.coordinator import Coordinator, Engine

CATCH_UP_AFTER = timedelta(hours=6)  # a continued run that ends so much earlier than asked is followed by a new one


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
    An interrupted run that was other work is the first of two: what it did not read is missing, and has to be told.

    Raises:
        EngineLost, LeaseHeld, LeaseLost, ConfigurationError, SourceRefused, StoreRefused, StoreUnavailable
    """
    await _check_binding(equipment)
    if not request.accept_new_pseudonyms:
        await check_comparable(equipment.state, equipment.identity)
    coordinator = None if engine is None else Coordinator(engine, equipment)
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
            if request.kind is RunKind.BACKFILL:
                await wait_for_room(lease, equipment.state, stop=equipment.stop, clock=equipment.clock)
            else:
                room = (lease, equipment.state, coordinator or equipment.throttle)
                left = equipment.left_beside_backfill
                await make_room(*room, left=left, clock=equipment.clock)
                beside.append(tasks.create_task(keep_room(*room, left=left, clock=equipment.clock)))
            return await _work(equipment, request, lease, coordinator)
        finally:
            for each in beside:
                each.cancel()


async def look_ahead(
    equipment: Equipment, request: Request, *, take: Take, see: Callable[[Unit, Page], None]
) -> Survey:
    """Whose data such a command would read now; reads the directory, writes nothing, takes no lease.

    Mailboxes are not asked whether they are a person's, which takes a request for each.

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
        report=OutcomeReport(
            tally=Tally(), progress=equipment.progress, log=equipment.log, pseudonym=equipment.pseudonym
        ),
        now=equipment.clock(),
    )
    await survey.settle_scope(recall=recall, remember=remember)
    await survey.read_directory(done=(), take=take)
    await survey.prepare_connectors(recall=recall, remember=remember)
    return survey


async def _work(equipment: Equipment, request: Request, lease: Lease, coordinator: Coordinator | None) -> list[Outcome]:
    wanted = _record(equipment, request)
    outcomes = []
    record = await open_run(equipment.state, request.kind)
    if record is not None:
        outcome = await _take_up(equipment, record, wanted, lease, coordinator)
        outcomes.append(outcome)
        if _same_work(record, wanted) and (outcome.interrupted or not _is_behind(outcome, wanted)):
            return outcomes
    if equipment.stop.is_set():
        return [*outcomes, Outcome(wanted.run_id, None)]
    journal = Journal(equipment.state, wanted, lease)
    equipment.log.info(Event.RUN_STARTED, run_id=wanted.run_id, kind=wanted.kind, until=wanted.until)
    manifest = await Execution(equipment, journal, lease, coordinator).finish()
    return [*outcomes, Outcome(wanted.run_id, manifest)]


async def _take_up(
    equipment: Equipment, record: RunRecord, wanted: RunRecord, lease: Lease, coordinator: Coordinator | None
) -> Outcome:
    """Bring an interrupted run to its end; where it was other work than what is wanted now, as it is."""
    journal = Journal(equipment.state, record, lease, is_open=True)
    is_decided = await journal.decided() is not None  # before the history is looked at: see there
    finished = await sealed_run(equipment.state, record.run_id)
    if finished is not None:  # only forgetting it was interrupted
        await journal.give_up_uploads(equipment.destination)
        await journal.close()
        return Outcome(record.run_id, finished)
    if is_decided:
        is_same_salt = record.salt_fingerprint == wanted.salt_fingerprint
        manifest = await finish_seal(
            journal,
            equipment.state,
            equipment.destination,
            lease,
            watermarks=equipment.watermarks if is_same_salt else None,
            owed=equipment.owed if is_same_salt else None,
        )
        equipment.log.info(Event.MANIFEST_REPLAYED, run_id=record.run_id)
        return Outcome(record.run_id, manifest)
    await journal.recover(equipment.destination, equipment.empty_part)
    execution = Execution(equipment, journal, lease, coordinator)
    if not _same_work(record, wanted):
        equipment.log.warning(Event.RUN_ABANDONED, run_id=record.run_id, kind=record.kind, until=record.until)
        return Outcome(record.run_id, await execution.seal_as_it_is())
    equipment.log.info(Event.RUN_CONTINUED, run_id=record.run_id, kind=record.kind, until=record.until)
    return Outcome(record.run_id, await execution.finish())


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
    if found is not None and found.data != equipment.identity.binding:
        raise ConfigurationError(
            "state: this location belongs to another tenant or another destination; "
            "give every pair of tenant and destination a state location of its own"
        )
