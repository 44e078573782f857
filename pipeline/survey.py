"""Finds out whose data a run reads: directory, what connectors learn beforehand, and from both the units."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from types import MappingProxyType

from pipeline.done import DoneUnit
from pipeline.equipment import Equipment
from pipeline.errors import ADVICE, FailReason, SkipReason, SourceRefused, UnitFailed, UnitSkipped
from pipeline.journal import RunRecord
from pipeline.memory import Hold
from pipeline.model import Page, Principal, PrincipalKind, Unit, Window
from pipeline.outcomes import OutcomeReport
from pipeline.parts import UnitResult
from pipeline.plan import Plan, dataset_window, units_of
from pipeline.ports import Admits, Owing, Source
from pipeline.principals import Principals
from pipeline.reading import UnitReader
from pipeline.shared_mailboxes import MAILBOX_DATASETS
from pipeline.telemetry import Event
from pipeline.unit_work import Take
from pipeline.watermarks import Key

USERS = "entra_users"
GROUPS = "entra_groups"

Recall = Callable[[str], Awaitable[bytes | None]]
Remember = Callable[[str, bytes], Awaitable[bytes]]


class Survey:
    """The principals and units of one run."""

    def __init__(
        self,
        equipment: Equipment,
        record: RunRecord,
        *,
        reader: UnitReader,
        report: OutcomeReport,
        now: datetime,
    ) -> None:
        self._equipment = equipment
        self._record = record
        self._reader = reader
        self._report = report
        self._now = now
        self._sources = equipment.sources
        self._principals = {kind: Principals(kind) for kind in PrincipalKind}
        self._principals[PrincipalKind.TENANT].add(equipment.tenant)
        self._unprepared: dict[tuple[str, Principal], UnitSkipped | UnitFailed] = {}
        self.admissions: dict[PrincipalKind, Admits] = {}
        """Of which kinds of principals a glimpse of the connectors has left open who is read."""
        self._owed_since: dict[tuple[str, Principal], datetime] = {}
        self._windows: dict[tuple[str, datetime | None, datetime | None], Window | None] = {}

    async def settle_scope(self, *, recall: Recall, remember: Remember) -> None:
        """Decide whose data is read; an interrupted run keeps what it had decided.

        Raises:
            ConfigurationError: a group or user of the scope does not exist, or nobody is in it.
            SourceRefused: that cannot be found out.
        """
        scope = self._equipment.scope
        await self._kept("scope", scope.settle, recall, remember)
        out_of_scope = UnitSkipped(SkipReason.OUT_OF_SCOPE)
        for source in self._sources.values():
            if source.principals is PrincipalKind.USER:
                self._unprepared |= {(source.dataset, user): out_of_scope for user in scope.excluded}

    async def _kept(
        self,
        name: str,
        learn: Callable[[bytes | None], Awaitable[bytes | None]],
        recall: Recall,
        remember: Remember,
    ) -> None:
        """Let something be learnt, or taken over from an interrupted run, and keep it with the open run."""
        vault = self._equipment.vault
        kept = await recall(name)
        learnt = await learn(None if kept is None else vault.open_blob(kept))
        if learnt is not None and kept is None:
            await remember(name, vault.seal_blob(learnt))

    async def read_directory(self, *, done: Collection[str], take: Take) -> None:
        """Read users and groups: rows for `take`, unless an earlier attempt is `done` with them, and principals.

        Raises:
            SourceRefused: no application may list the users.
        """
        for dataset in (USERS, GROUPS):
            if dataset in self._sources:
                unit = Unit(dataset, self._equipment.tenant)
                with self._equipment.memory.hold(dataset) as hold:
                    result = await self._enumerate(unit, hold)
                    if result is not None and dataset not in done:
                        self._report.planned([unit])
                        await take(unit, result)
        self._equipment.log.info(
            Event.DIRECTORY_READ,
            run_id=self._record.run_id,
            principals=sum(len(found) for found in self._principals.values()) - 1,  # the tenant itself is none of them
        )

    async def _enumerate(self, unit: Unit, hold: Hold) -> UnitResult | None:
        source = self._sources[unit.dataset]
        found = {kind: Principals(kind) for kind in PrincipalKind}

        def observe(page: Page) -> None:
            for principal in source.enumerated(page):
                found[principal.kind].add(principal)

        result: UnitResult | None = None
        try:
            result = await self._reader.read(unit, hold, observe=observe)
        except UnitFailed as error:
            guarded = error.reason is FailReason.EGRESS_GUARD  # everybody is known, only the rows must not leave
            if unit.dataset == USERS and not guarded:
                remedy = "Grant User.Read.All to one of the applications, with admin consent."
                raise SourceRefused(
                    "the users of the tenant cannot be listed",
                    remedy=remedy if error.reason is FailReason.PERMISSION else ADVICE[error.reason].remedy,
                    code=error.code or None,
                    reason=error.reason,
                ) from error
            self._report.failed(unit, error)
            if not guarded:  # whoever is not listed here cannot be named among the failed
                unknown = [
                    source.dataset for source in self._sources.values() if source.principals is PrincipalKind.GROUP
                ]
                self._report.denied(unknown, error)
                return None
        self._principals |= {kind: principals for kind, principals in found.items() if principals}
        return result

    async def prepare_connectors(
        self, *, recall: Recall, remember: Remember, owed: Mapping[str, bytes] = MappingProxyType({})
    ) -> None:
        """Let each connector learn what its units depend on; an interrupted run keeps what it had learnt.

        `owed`: what the run before left owing, by connector.
        """
        users = self._principals[PrincipalKind.USER]
        vault = self._equipment.vault
        for connector in self._equipment.connectors:
            name = f"prepared-{connector.name}"
            kept = await recall(name)
            if isinstance(connector, Owing) and connector.name in owed:
                connector.remind(owed[connector.name])
            try:
                prepared = await connector.prepare(users, saved=None if kept is None else vault.open_blob(kept))
            except (SourceRefused, UnitFailed) as error:
                self._report.denied([source.dataset for source in connector.sources], error)
                continue
            self._unprepared |= prepared.failed
            self._owed_since |= prepared.since
            self.admissions |= prepared.admissions
            for dataset, denial in prepared.denied.items():
                self._report.denied([dataset], denial)
            for principal in prepared.principals:
                self._principals[principal.kind].add(principal)
            if prepared.saved is not None and kept is None:
                await remember(name, vault.seal_blob(prepared.saved))

    async def settle_mailboxes(self, *, recall: Recall, remember: Remember) -> None:
        """Which mailboxes are read, where shared ones are not wanted: then each is asked."""
        users = self._principals[PrincipalKind.USER]

        async def learn(saved: bytes | None) -> bytes | None:
            unread, kept = await self._equipment.scope.settle_mailboxes(users, saved)
            self._unprepared |= {key: error for key, error in unread.items() if key[0] in self._sources}
            return kept

        try:
            await self._kept("mailboxes", learn, recall, remember)
        except (SourceRefused, UnitFailed) as error:  # better none than one too many
            self._report.denied([dataset for dataset in self._sources if dataset in MAILBOX_DATASETS], error)

    def plan(
        self,
        known: Mapping[Key, datetime],
        *,
        done: Iterable[tuple[str, DoneUnit]],
        chosen: Callable[[str, Principal], bool] = lambda _dataset, _principal: True,
    ) -> Plan:
        """The units to read; those that cannot be read are reported.

        `chosen` says of dataset and principal whether they are planned now.
        """
        finished: dict[Key, list[Window | None]] = {}
        for dataset, unit in done:
            finished.setdefault((dataset, unit.principal), []).append(unit.window)
        units = principals = 0
        for group in self._groups(known, finished, chosen, unprepared=self._report_unprepared):
            self._report.planned(group)
            units += len(group)
            principals += 1
        self._equipment.log.info(Event.UNITS_PLANNED, run_id=self._record.run_id, units=units, principals=principals)
        return Plan(units, principals, lambda: self._groups(known, finished, chosen))

    def _groups(
        self,
        known: Mapping[Key, datetime],
        finished: Mapping[Key, Sequence[Window | None]],
        chosen: Callable[[str, Principal], bool],
        *,
        unprepared: Callable[[Unit], None] = lambda _unit: None,
    ) -> Iterator[list[Unit]]:
        """The units of each principal that has any; `unprepared` is told of those that cannot be read."""
        planned = [source for source in self._sources.values() if source.dataset not in (USERS, GROUPS)]
        for kind in dict.fromkeys(source.principals for source in planned):
            sources = [source for source in planned if source.principals is kind]
            excluded = self._equipment.scope.excluded if kind is PrincipalKind.USER else ()
            for principal in chain(self._principals[kind], excluded):
                units: list[Unit] = []
                for source in sources:
                    if not chosen(source.dataset, principal):
                        continue
                    key = (source.dataset, self._equipment.pseudonym(principal))
                    window = self._window(source, principal, known.get(key))
                    if source.windowed and window is None:
                        continue
                    if (source.dataset, principal) in self._unprepared:
                        unprepared(Unit(source.dataset, principal, window))
                        continue
                    units += units_of(source, principal, window, finished.get(key, ()))
                if units:
                    yield units

    def _report_unprepared(self, unit: Unit) -> None:
        """A unit cannot be read, because its connector could not learn what it needs, or is not to be."""
        error = self._unprepared[unit.dataset, unit.principal]
        self._report.planned([unit])
        if isinstance(error, UnitSkipped):
            self._report.skipped(unit, error)
        else:
            self._report.failed(unit, error)

    def _window(self, source: Source, principal: Principal, watermark: datetime | None) -> Window | None:
        """Nearly all principals have one watermark and owe nothing, and share their window."""
        if not source.windowed:
            return None
        owed_since = self._owed_since.get((source.dataset, principal))
        key = (source.dataset, watermark, owed_since)
        if key not in self._windows:
            self._windows[key] = dataset_window(
                source,
                self._record,
                watermark=watermark,
                now=self._now,
                lookback=self._equipment.limits.initial_lookback,
                owed_since=owed_since,
            )
        return self._windows[key]
