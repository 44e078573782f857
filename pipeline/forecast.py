"""What the next `run`, or a backfill, would take: reads the directory, samples units, writes nothing.

The directory and the teams are listed as a run lists them, since they say whose data there is. Units are sampled: by
the source's own way (`pipeline.ports.Sampled`) where that takes fewer requests, else by reading them as a run would.
Datasets that depend on what others show are sampled for principals whose other units were sampled before. Where only a
request tells whether anything of a principal is read (`pipeline.admission`), a part of the sample goes into asking.
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Protocol

from pipeline.admission import Admission
from pipeline.equipment import Equipment
from pipeline.errors import DatasetDenied, SourceRefused, UnitFailed, UnitReadAgain, UnitSkipped
from pipeline.estimate import Observation, Range, Stratum, Total, allowance, choose, spread_order, total_of
from pipeline.journal import open_run
from pipeline.lessons import Lessons
from pipeline.metering import Meter, metered
from pipeline.model import Principal, PrincipalKind, Unit
from pipeline.parts import UnitResult
from pipeline.ports import Admits, Connector, Glimpsing, Preparation, RequestKind, Sample, Sampled, Source
from pipeline.run import Request, look_ahead
from pipeline.shared_mailboxes import MAILBOX_DATASETS

AT_ONCE = 8  # units sampled side by side
SHARE_ASKED = 0.4  # of the sample at most goes into asking who is read; to sample one mailbox takes ten such requests
ROWS_ENCODED = 5_000  # of one dataset, to learn how many bytes a row takes


class Pacing(Protocol):
    """How fast requests may go."""

    def seconds(self, requests: Mapping[RequestKind, float], *, answer_s: float) -> Mapping[str, float]:
        """How long each limit holds so many requests up, by its name; `answer_s` is what an answer takes."""
        ...


@dataclass(frozen=True, slots=True)
class DatasetForecast:
    """One dataset: `requests`, `rows` and `bytes` of the whole run."""

    dataset: str
    units: int
    sampled: int
    requests: Range
    rows: Range
    bytes: float
    seconds: float
    limit: str  # that takes the longest; or why the dataset cannot be read


@dataclass(frozen=True, slots=True)
class Forecast:
    """The whole run, and what it took to know that."""

    datasets: Sequence[DatasetForecast]
    principals: int
    requests: Range
    seconds: Range
    limit: str
    directory_requests: int  # made for the directory; the run makes them again
    sample_requests: int
    continues: bool  # an interrupted run of this kind comes first, with what is left of it

    @property
    def units(self) -> int:
        return sum(each.units for each in self.datasets)

    @property
    def rows(self) -> float:
        return sum(each.rows.central for each in self.datasets)

    @property
    def bytes(self) -> float:
        return sum(each.bytes for each in self.datasets)


async def forecast(equipment: Equipment, request: Request, *, pacing: Pacing) -> Forecast:
    """What such a command would take now.

    Raises:
        ConfigurationError, SourceRefused, StoreRefused, StoreUnavailable
    """
    glimpsing = replace(equipment, connectors=[_Glimpse(connector) for connector in equipment.connectors])
    lessons = Lessons(equipment.learners, vault=equipment.vault)
    weights = _Weights(equipment)
    directory: list[tuple[Unit, UnitResult, int]] = []

    async def keep(unit: Unit, result: UnitResult) -> None:
        weights.add(unit.dataset, result.rows)
        directory.append((unit, result, meter.count))

    with metered() as meter:
        survey = await look_ahead(glimpsing, request, take=keep, see=lessons.see)
        listing = Meter(meter.requests.copy(), meter.seconds)
    groups = list(survey.plan(await equipment.watermarks.load(), done=()))
    sampling = _Sampling(
        equipment, groups, admissions=survey.admissions, lessons=lessons, weights=weights, listing=listing
    )
    await sampling.work()
    return await sampling.forecast(
        pacing,
        directory=directory,
        principals=len(groups),
        continues=await open_run(equipment.state, request.kind) is not None,
    )


@dataclass(frozen=True, slots=True)
class _Glimpse:
    """A connector that prepares without a request for each user."""

    connector: Connector

    @property
    def name(self) -> str:
        return self.connector.name

    @property
    def sources(self) -> Sequence[Source]:
        return self.connector.sources

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        if isinstance(self.connector, Glimpsing):
            return await self.connector.glimpse(users)
        return await self.connector.prepare(users, saved=saved)


class _Sampling:
    """Takes samples until they are precise enough or as many as are allowed."""

    def __init__(
        self,
        equipment: Equipment,
        groups: Sequence[Sequence[Unit]],
        *,
        admissions: Mapping[PrincipalKind, Admits],
        lessons: Lessons,
        weights: "_Weights",
        listing: Meter,
    ) -> None:
        self._equipment = equipment
        self._lessons = lessons
        self._weights = weights
        self._listing = listing
        self._chance = Random(equipment.identity.tenant)  # noqa: S311 - the same tenant, the same sample
        self._population: dict[str, list[Unit]] = {}
        self._of_principal: dict[tuple[str, Principal], list[Unit]] = {}
        for unit in (unit for units in groups for unit in units):
            self._population.setdefault(unit.dataset, []).append(unit)
            self._of_principal.setdefault((unit.dataset, unit.principal), []).append(unit)
        self._strata = {dataset: Stratum(dataset, len(units)) for dataset, units in self._population.items()}
        # The same principals for datasets that tell of each other: what was asked for one is known for the next.
        offset = self._chance.random()
        self._order = {dataset: spread_order(len(units), offset=offset) for dataset, units in self._population.items()}
        self._taken: set[Unit] = set()
        self._spent = Meter()
        self._learning: dict[Principal, asyncio.Lock] = {}
        self._admissions = self._doors(admissions, [unit.principal for units in groups for unit in units], offset)
        self._admission_to = {dataset: door for door in self._admissions for dataset in door.datasets}

    def _doors(
        self, admissions: Mapping[PrincipalKind, Admits], principals: Sequence[Principal], offset: float
    ) -> list[Admission]:
        """Who is to be asked before anything of him is read."""
        sources, scope = self._equipment.sources, self._equipment.scope
        wanted: list[tuple[PrincipalKind, Admits, Collection[str]]] = [
            (kind, admits, [each.dataset for each in sources.values() if each.principals is kind])
            for kind, admits in admissions.items()
        ]
        if scope.asks_mailboxes:
            wanted.append((PrincipalKind.USER, self._is_personal, MAILBOX_DATASETS))
        return [
            Admission(
                list(dict.fromkeys(each for each in principals if each.kind is kind)),
                admits,
                datasets=datasets,
                offset=offset,
            )
            for kind, admits, datasets in wanted
        ]

    async def _is_personal(self, user: Principal) -> bool:
        return not await self._equipment.scope.is_shared(user)

    async def work(self) -> None:
        """Ask who is read, then sample where it tells the most."""
        for door in self._admissions:
            with self._spending():
                share = SHARE_ASKED / len(self._admissions)
                await door.ask_some(requests=share * self._allowed(), at_once=AT_ONCE)
        while True:
            affordable = self._allowed() - self._spent.count
            total = self._total().requests
            chosen = choose(list(self._strata.values()), expected=total, affordable=affordable, at_most=AT_ONCE)
            if not chosen:
                return
            units = [unit for stratum in chosen if (unit := self._next(stratum)) is not None]
            later = [unit for unit in units if unit.dataset in self._lessons.later]
            await self._observe_all([unit for unit in units if unit not in later])
            await self._observe_all(later)

    def _allowed(self) -> float:
        """How many requests the sample may take."""
        least = sum(stratum.units * stratum.share for stratum in self._strata.values())
        return allowance(max(self._total().requests.central, least))

    def _total(self) -> Total:
        for door in self._admissions:
            door.tell([stratum for stratum in self._strata.values() if stratum.dataset in door.datasets])
        asking = [door.asking for door in self._admissions]
        return total_of([*self._strata.values(), *asking], self._listing.requests)

    @contextmanager
    def _spending(self) -> Iterator[None]:
        """What is asked inside belongs to the sample."""
        with metered() as meter:
            try:
                yield
            finally:
                self._spent.requests.update(meter.requests)
                self._spent.seconds += meter.seconds

    def _next(self, stratum: Stratum) -> Unit | None:
        door = self._admission_to.get(stratum.dataset)
        for place in self._order[stratum.dataset]:
            unit = self._population[stratum.dataset][place]
            if unit not in self._taken and (door is None or door.may_admit(unit.principal)):
                self._taken.add(unit)
                return unit
        stratum.is_exhausted = True
        return None

    async def _observe_all(self, units: Sequence[Unit]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for unit in units:
                tasks.create_task(self._observe(unit))

    async def _observe(self, unit: Unit) -> None:
        with self._spending(), metered() as meter:
            if unit.dataset in self._lessons.later:
                await self._learn_about(unit.principal)
                if not self._lessons.concern(unit.dataset, unit.principal):
                    self._strata[unit.dataset].observed.append(Observation({}, 0, meter.count))
                    return
            await self._sample(unit)

    async def _learn_about(self, principal: Principal) -> None:
        """Sample whatever of the principal others learn from."""
        taught_by = {dataset for learner in self._equipment.learners for dataset in learner.learns_from}
        async with self._learning.setdefault(principal, asyncio.Lock()):
            for dataset in sorted(taught_by):
                for unit in self._of_principal.get((dataset, principal), []):
                    if unit not in self._taken:
                        self._taken.add(unit)
                        await self._sample(unit)

    async def _sample(self, unit: Unit) -> None:
        stratum, door = self._strata[unit.dataset], self._admission_to.get(unit.dataset)
        if door is not None and not await door.admits(unit.principal):
            return  # not one of those that the stratum stands for
        with metered() as meter:
            try:
                sample = await self._sampled(unit)
            except (DatasetDenied, SourceRefused):
                stratum.refused = "permission"
                return
            except (UnitSkipped, UnitFailed):
                stratum.observed.append(Observation(dict(meter.requests), 0, meter.count))
                return
        for page in sample.pages:
            self._lessons.see(unit, page)
        rows = await self._rows(unit, sample)
        stratum.observed.append(Observation(sample.requests, rows * sample.weight, meter.count))

    async def _sampled(self, unit: Unit) -> Sample:
        source = self._equipment.sources[unit.dataset]
        while True:
            try:
                if isinstance(source, Sampled):
                    return await source.sample(unit, chance=self._chance)
                with metered() as meter:
                    pages = [page async for page in source.pages(unit)]
                return Sample(dict(meter.requests), pages)
            except UnitReadAgain:
                continue  # the source bounds how often

    async def _rows(self, unit: Unit, sample: Sample) -> int:
        """How many rows the pages of the sample become; they are remembered for their size."""
        source, sanitizer = self._equipment.sources[unit.dataset], self._equipment.sanitizers[unit.dataset]
        row_filter = None if isinstance(source, Sampled) else source.filter(unit)
        pages = [page.records for page in sample.pages]
        try:
            cleaned = await self._equipment.blocking(
                sanitizer.clean, pages, window=unit.tile, row_filter=row_filter, scan=False
            )
        except ValueError:
            return 0  # unreadable: a run would fail this unit
        rows = sanitizer.whole([cleaned.rows])
        self._weights.add(unit.dataset, rows)
        return len(rows)

    async def forecast(
        self,
        pacing: Pacing,
        *,
        directory: Sequence[tuple[Unit, UnitResult, int]],
        principals: int,
        continues: bool,
    ) -> Forecast:
        answer_s = (self._spent.seconds + self._listing.seconds) / max(self._spent.count + self._listing.count, 1)
        total = self._total()
        lines = []
        before = 0
        for unit, result, count in directory:
            rows, requests = float(len(result.rows)), float(count - before)
            before = count
            lines.append(
                DatasetForecast(
                    unit.dataset,
                    units=1,
                    sampled=1,
                    requests=Range(requests, requests, requests),
                    rows=Range(rows, rows, rows),
                    bytes=rows * await self._weights.bytes_per_row(unit.dataset),
                    seconds=requests * answer_s,
                    limit="",
                )
            )
        for stratum in self._strata.values():
            seconds, limit = _slowest(pacing.seconds(stratum.requests, answer_s=answer_s))
            lines.append(
                DatasetForecast(
                    stratum.dataset,
                    units=stratum.units,
                    sampled=len(stratum.observed),
                    requests=Range.around(stratum.total, stratum.deviation()),
                    rows=stratum.rows,
                    bytes=stratum.rows.central * await self._weights.bytes_per_row(stratum.dataset),
                    seconds=seconds,
                    limit=stratum.refused or limit,
                )
            )
        together = pacing.seconds(total.kinds, answer_s=answer_s)
        seconds, limit = _slowest(together)
        growth = (total.requests.low / total.requests.central, total.requests.high / total.requests.central)
        one_by_one = max(seconds, sum(line.seconds for line in lines))  # as if nothing went on at the same time
        return Forecast(
            datasets=lines,
            principals=principals,
            requests=total.requests,
            seconds=Range(seconds * growth[0], seconds, one_by_one * growth[1]),
            limit=limit,
            directory_requests=self._listing.count,
            sample_requests=self._spent.count,
            continues=continues,
        )


@dataclass(slots=True)
class _Weights:
    """Sampled rows, to learn how many bytes of Parquet one takes."""

    equipment: Equipment
    tables: dict[str, list[Any]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)

    def add(self, dataset: str, rows: Any) -> None:
        if len(rows) and self.rows.get(dataset, 0) < ROWS_ENCODED:
            self.tables.setdefault(dataset, []).append(rows)
            self.rows[dataset] = self.rows.get(dataset, 0) + len(rows)

    async def bytes_per_row(self, dataset: str) -> float:
        """As the sampled rows of all units take together in one part, less what a part takes without any."""
        if dataset not in self.tables:
            return 0.0
        encoder = self.equipment.encoder(dataset, "", self.equipment.clock())
        for table in self.tables[dataset]:
            await self.equipment.blocking(encoder.append, table, owner=None)
        _, summary = await self.equipment.blocking(encoder.finish)
        _, empty = self.equipment.empty_part(dataset)
        return float(max(0, summary.bytes - empty.bytes) / self.rows[dataset])


def _slowest(seconds: Mapping[str, float]) -> tuple[float, str]:
    limit = max(seconds, key=lambda name: seconds[name], default="")
    return seconds.get(limit, 0.0), limit
