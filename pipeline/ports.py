"""What the export needs from the world: connectors that read, a destination that keeps, a state that remembers.

The run is written against these protocols; connectors and sinks implement them, the composition root joins them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol, runtime_checkable

from pipeline.completeness import Method
from pipeline.errors import UnitFailed, UnitSkipped
from pipeline.model import Page, Principal, PrincipalKind, Unit

Clock = Callable[[], datetime]
"""Now, as an aware UTC instant."""

Blocking = Callable[..., Awaitable[Any]]
"""Runs a blocking function on a worker thread."""


class Scales(Protocol):
    """Weighs answers on their way, so that what is under way stays within the memory there is."""

    @property
    def page_bytes(self) -> int:
        """A larger page is too large for now: of the next one fewer items are asked for."""
        ...

    def weigh(self, change_bytes: int) -> None:
        """So many more bytes of answers are held, or fewer where it is negative."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Nobody calls inside the scope before `until`, because Microsoft refused at `since`."""

    scope: str
    """app, service, mailbox or chat: whom the refusal concerns."""
    service: str
    """Of whose requests one was refused: outlook, directory, teams, calls or meetings."""
    principal: str | None = field(default=None, repr=False)
    """The mailbox or chat: its id where a connector tells it, its pseudonym beyond the composition root."""
    since: datetime
    until: datetime


OnFence = Callable[[Fence], None]
"""Told of each refusal that raises a fence or makes it last longer. A fence ends by itself; nobody is told."""


class Divisible(Protocol):
    """What may be asked of Graph."""

    def take(self, part: float) -> None:
        """Of every budget and of each mailbox's slots, from now on; 1 is everything."""
        ...

    @property
    def keeps_to_part(self) -> bool:
        """Whether no mailbox has more requests open than that, from before."""
        ...


class SharedThrottle(Divisible, Protocol):
    """Keeps Microsoft's limits together with other processes that read the same tenant."""

    @property
    def most_workers(self) -> int:
        """Among so many the budgets can be divided."""
        ...

    def divide(self, workers: int) -> None:
        """From now on so many share the budgets, this process among them."""
        ...

    def take_over(self) -> None:
        """Others have used the budgets until now."""
        ...

    def heed(self, fence: Fence) -> None:
        """Keep behind a fence of all applications or a service that another process met; it is told to nobody."""
        ...


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Keeps the rows whose text at `path` satisfies `keeps`; called once per distinct text of a page."""

    path: str
    keeps: Callable[[str], bool] = field(repr=False)


class Source(Protocol):
    """One dataset, as a connector reads it."""

    @property
    def dataset(self) -> str: ...

    @property
    def connector(self) -> str: ...

    @property
    def principals(self) -> PrincipalKind:
        """Whose data a unit holds."""
        ...

    @property
    def windowed(self) -> bool:
        """Read by date window with a watermark; otherwise a snapshot of every run."""
        ...

    @property
    def settle(self) -> timedelta:
        """The newest edge left alone, because Graph shows items late."""
        ...

    @property
    def overlap(self) -> timedelta:
        """How much before its watermark is read again, because records are rewritten."""
        ...

    @property
    def ahead(self) -> timedelta:
        """How far beyond now a window may reach (planned events)."""
        ...

    @property
    def from_beginning(self) -> bool:
        """Records are exported when they change; without a watermark all of them are, however old."""
        ...

    @property
    def longest_window(self) -> timedelta:
        """Longer windows are divided before they are read."""
        ...

    @property
    def instants(self) -> tuple[str, ...]:
        """Paths of instants; a record belongs to a window when one of them lies in it. Empty: no check."""
        ...

    @property
    def completeness(self) -> Method:
        """How it is known of how many records a unit is made; `Page.expected` tells the number."""
        ...

    async def count(self, unit: Unit) -> int | None:
        """How many records Graph counts in the unit now; None where it does not say. Asked for method `count` only."""
        ...

    def pages(self, unit: Unit) -> AsyncIterator[Page]:
        """Yield every page of the unit.

        Raises:
            UnitSkipped, UnitFailed, DatasetDenied: as `pipeline.errors` describes.
            UnitReadAgain: the pages yielded so far do not count; call again for the same unit.
        """
        ...

    def filter(self, unit: Unit) -> RowFilter | None:
        """Which records of the pages belong to the unit, beyond its window."""
        ...

    def enumerated(self, page: Page) -> Sequence[Principal]:
        """The principals a page of this dataset names; empty for datasets that name none."""
        ...


@dataclass(frozen=True, slots=True)
class RequestKind:
    """What every request of one kind counts against: a service, and units of budgets that all principals share."""

    service: str
    draws: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """What a few requests tell of one unit."""

    requests: Mapping[RequestKind, float]
    """That reading the unit would take."""
    pages: Sequence[Page] = field(default=(), repr=False)
    weight: float = 1.0
    """How many rows of the unit each row of `pages` stands for."""


@runtime_checkable
class Sampled(Protocol):
    """A source some of whose units are too large to be read for a mere estimate; others are sampled by reading them."""

    async def sample(self, unit: Unit, *, chance: Random) -> Sample:
        """Raises: as `Source.pages`."""
        ...


Admits = Callable[[Principal], Awaitable[bool]]
"""Whether anything of a principal is read. Raises: UnitSkipped, UnitFailed, SourceRefused."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a connector learnt before its units can be made."""

    saved: bytes | None = field(default=None, repr=False)
    """Kept with an open run, so that a resumed one decides alike."""
    failed: Mapping[tuple[str, Principal], UnitSkipped | UnitFailed] = field(default_factory=dict, repr=False)
    """Which units cannot be read, by dataset and principal, and why."""
    denied: Mapping[str, UnitFailed] = field(default_factory=dict, repr=False)
    """Which datasets cannot be read at all, and why."""
    principals: Sequence[Principal] = ()
    """Whose data there is besides that of users and groups: the teams."""
    since: Mapping[tuple[str, Principal], datetime] = field(default_factory=dict, repr=False)
    """From when on windows of `run` have to reach at least, by dataset and principal, because of what is owed."""
    admissions: Mapping[PrincipalKind, Admits] = field(default_factory=dict, repr=False)
    """Of a glimpse: of which kinds of its `principals` only some are read, and who tells which."""


class Connector(Protocol):
    """A Microsoft source and its datasets."""

    @property
    def name(self) -> str: ...

    @property
    def sources(self) -> Sequence[Source]: ...

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        """Learn what units depend on (which member reads a chat); `saved` is what an interrupted run had learnt."""
        ...


@runtime_checkable
class Glimpsing(Protocol):
    """A connector whose preparation takes requests for each user, which an estimate must not make."""

    async def glimpse(self, users: Sequence[Principal]) -> Preparation:
        """What can be learnt with a request for every few principals; afterwards its sources can be sampled."""
        ...


class Reach(Protocol):
    """How far a run has read."""

    def unread_from(self, dataset: str, principal: Principal, *, since: datetime | None = None) -> datetime | None:
        """From when on a windowed dataset was not read up to the run's end; None: it was.

        Looked at from `since` on, or from where the principal's window was due to begin.
        """
        ...

    def end_of(self, dataset: str) -> datetime:
        """Where the run ends for a windowed dataset."""
        ...

    def has_failed(self, dataset: str, principal: Principal) -> bool:
        """Whether the principal's dataset failed, alone or with all others; a missing permission does not count."""
        ...


@dataclass(frozen=True, slots=True)
class Debts:
    """What a connector owes."""

    kept: bytes | None = field(default=None, repr=False)
    """For `Owing.remind`; None: nothing."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """By dataset: how many chats or meetings beyond that there was no room for."""


@runtime_checkable
class Owing(Protocol):
    """A connector (or a part of one) whose failed units are not made good by their principals' watermarks alone."""

    def remind(self, owed: bytes) -> None:
        """Of what the run before left owing; called before `prepare`, by `run` only."""
        ...

    async def owed(self, reach: Reach) -> Debts:
        """What is owed now that a run has read so far: of what it was reminded of, and since."""
        ...


class Learner(Protocol):
    """Learns from the raw pages of some datasets what others, which are read after them, depend on."""

    @property
    def learns_from(self) -> Collection[str]:
        """Datasets, of any connector, whose pages it looks at."""
        ...

    @property
    def serves(self) -> Collection[str]:
        """Datasets that are read when all others have been, and only for principals it has learnt something about."""
        ...

    def learn(self, unit: Unit, page: Page) -> None:
        """Look at a page; what is wrong with it is not its affair. The same page may come again."""
        ...

    def concerns(self, principal: Principal) -> bool:
        """Whether something was learnt about the principal."""
        ...

    def unsaved(self) -> bytes | None:
        """What was learnt since the last call; None when that is nothing."""
        ...

    def recall(self, saved: bytes) -> None:
        """Take over what `unsaved` gave in an interrupted attempt of the same run."""
        ...


@runtime_checkable
class Learning(Protocol):
    """A connector that has learners."""

    @property
    def learners(self) -> Sequence[Learner]: ...


@dataclass(frozen=True, slots=True)
class Versioned:
    """An object of the state and the version to name when replacing it."""

    data: bytes = field(repr=False)
    version: str


class StateStore(Protocol):
    """A private place that remembers. Keys are relative, `/`-separated, made of `[A-Za-z0-9_.-]`.

    Every method raises StoreRefused (a right is missing) or StoreUnavailable (try later).
    """

    async def read(self, key: str) -> Versioned | None: ...

    async def create(self, key: str, data: bytes) -> bool:
        """Write a new object, durably. False, and nothing written, when the key is taken."""
        ...

    async def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        """Compare and swap; `version=None` expects no object. The new version, or None when the swap lost."""
        ...

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; a missing one is fine."""
        ...


class Upload(Protocol):
    """An object on its way to the destination: invisible until published, and published at most once."""

    @property
    def key(self) -> str: ...

    @property
    def token(self) -> str:
        """Names this upload to a later process (`Destination.attach`); until it is sealed, good for `abort` only."""
        ...

    @property
    def held_bytes(self) -> int:
        """Bytes written that are still in memory here."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def seal(self) -> None:
        """All bytes are durable at the store; only `publish` may follow."""
        ...

    async def publish(self) -> bool:
        """Make the object visible, create-only. False when the key is taken by another upload.

        Publishing the same upload again gives the same answer, also from another process.
        """
        ...

    async def abort(self) -> None:
        """Give the bytes up; no process may publish the upload afterwards. After a publication nothing happens."""
        ...


class Destination(Protocol):
    """The bucket the consumer reads. Create and abort are all the rights needed there.

    Every method raises StoreRefused (a right is missing) or StoreUnavailable (try later).
    """

    async def begin(self, key: str) -> Upload: ...

    async def attach(self, key: str, token: str) -> Upload:
        """The upload an earlier process began; only `abort` may follow, and if it was sealed `publish`."""
        ...


class DestinationReader(Protocol):
    """The bucket as its consumer sees it: the rights to list and to read are all that is needed.

    Every method raises StoreRefused (a right is missing) or StoreUnavailable (try later).
    """

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted; what is not published yet is not among them."""
        ...

    async def read(self, key: str, *, start: int, count: int) -> bytes | None:
        """At most `count` bytes of an object from byte `start` on, fewer only at its end; None: no such object."""
        ...


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What the manifest says of a part, before it has a place."""

    rows: int
    bytes: int
    sha256: str
    min_time: datetime | None
    max_time: datetime | None
    days: Mapping[str, int] = field(default_factory=dict)  # rows by the UTC date of their time; not those without one
