"""What a run works with: handed over by the composition root, used by everything the run does."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from config.changed_defaults import DefaultChange
from pipeline.facts import Waits
from pipeline.field_counts import FieldCounts
from pipeline.journal import EmptyPart, Entry
from pipeline.memory import Memory
from pipeline.model import Page, Principal, Unit
from pipeline.owed import Owed
from pipeline.parts import PartAssembler, PartEncoder, PartLedger, publish_as_it_is
from pipeline.ports import Blocking, Clock, Connector, Destination, Learner, SharedThrottle, Source, StateStore
from pipeline.process import give_back, resident_bytes
from pipeline.progress import Progress
from pipeline.reading import Directory, Guard, Sanitizer, UnitReader
from pipeline.scope import Scope
from pipeline.telemetry import Log
from pipeline.watermarks import Vault, Watermarks


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What makes rows comparable: part of every run's record."""

    tenant: str  # digest of the tenant id, the same under every salt
    destination: str
    connectors: tuple[str, ...]
    profile: str
    scope: str
    rules_fingerprint: str
    salt_fingerprint: str
    tool_version: str
    schema_versions: Mapping[str, int]
    changed_defaults: tuple[DefaultChange, ...] = ()  # of keys that the settings leave out

    @property
    def binding(self) -> bytes:
        """What a state location belongs to from its first part on."""
        return f"{self.tenant}\n{self.destination}\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    principals_in_flight: int
    units_per_principal: int
    part_size_bytes: int
    part_max_age: timedelta
    initial_lookback: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """Everything a run works with, put together by the composition root."""

    identity: Identity
    limits: Limits
    tenant: Principal
    connectors: Sequence[Connector]  # the directory first
    sanitizers: Mapping[str, Sanitizer]
    guards: Mapping[str, Guard]
    directory: Directory
    fields_file: Callable[[str, Mapping[str, FieldCounts]], bytes]  # run id, what was counted in each dataset
    encoder: Callable[[str, str, datetime], PartEncoder]  # dataset, run id, exported at
    empty_part: EmptyPart
    pseudonym: Callable[[Principal], str]
    owner: Callable[[str, Principal], str | None]
    vault: Vault
    state: StateStore
    destination: Destination
    blocking: Blocking
    memory: Memory
    clock: Clock
    log: Log
    progress: Progress
    scope: Scope
    throttle: SharedThrottle
    left_beside_backfill: float  # the part of the budgets that a run takes while a backfill is at work
    learners: Sequence[Learner] = ()
    told_every: timedelta | None = None  # how often the state is told of the progress; None: never
    waits: Waits = field(default_factory=Waits)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sources(self) -> dict[str, Source]:
        return {source.dataset: source for connector in self.connectors for source in connector.sources}

    @property
    def watermarks(self) -> Watermarks:
        fingerprint = self.identity.salt_fingerprint
        return Watermarks(self.state, self.vault, salt_fingerprint=fingerprint, blocking=self.blocking)

    @property
    def owed(self) -> Owed:
        return Owed(self.state, self.vault, salt_fingerprint=self.identity.salt_fingerprint)

    async def mind_memory(self) -> None:
        """Let rows have less where the process has grown, by more than what is free and only has to be given back."""
        if self.memory.is_outgrown(resident_bytes()):
            await self.blocking(give_back)
            self.memory.heed(resident_bytes())

    def unit_reader(self, *, run_id: str, see: Callable[[Unit, Page], None] = lambda _unit, _page: None) -> UnitReader:
        """A reader of units; `see` is shown every raw page."""
        return UnitReader(
            sources=self.sources,
            sanitizers=self.sanitizers,
            guards=self.guards,
            directory=self.directory,
            run_id=run_id,
            pseudonym=self.pseudonym,
            owner=self.owner,
            blocking=self.blocking,
            memory=self.memory,
            see=see,
        )

    def part_assembler(
        self,
        ledger: PartLedger,
        *,
        before_publishing: Callable[[], Awaitable[None]] = publish_as_it_is,
        published: Callable[[Entry], None] = lambda _entry: None,
    ) -> PartAssembler:
        """What gathers units into the parts of the ledger's run."""
        record = ledger.record
        return PartAssembler(
            ledger=ledger,
            destination=self.destination,
            encoder=lambda dataset: self.encoder(dataset, record.run_id, record.started_at),
            blocking=self.blocking,
            memory=self.memory,
            clock=self.clock,
            part_size_bytes=self.limits.part_size_bytes,
            part_max_age=self.limits.part_max_age,
            before_publishing=before_publishing,
            published=published,
        )
