"""A whole export in one process: a small tenant in memory, real rules, real Parquet, a store that can fail anywhere.

No network and no emulator: what is under test here is the run itself, its journal and its seal.
"""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from config.changed_defaults import DefaultChange
from pipeline.completeness import Method
from pipeline.equipment import Equipment, Identity, Limits
from pipeline.errors import UnitFailed, UnitSkipped
from pipeline.memory import Memory
from pipeline.model import Page, Principal, PrincipalKind, Unit
from pipeline.ports import Fence, Preparation, RowFilter
from pipeline.progress import Progress
from pipeline.sanitize.columnar import ColumnarSanitizer
from pipeline.sanitize.columns import output_schema
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.guard import EgressGuard
from pipeline.sanitize.ledger import fields_file
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import built_in_rules
from pipeline.sanitize.shapes import TokenForms
from pipeline.sanitize.treatments import Treatments
from pipeline.scope import Account, Scope, Wanted
from sinks.parquet.part import PartFormat
from sinks.parquet.schema import part_schema
from sinks.snapshot import StateVault, derive_key
from sinks.stores.memory import Hook, MemoryBucket, MemoryStore, Step

SALT = "harness-salt-0123456789"
NOW = datetime(2026, 3, 2, tzinfo=UTC)
DATASETS = ("entra_users", "mail_messages", "mailbox_settings")


@dataclass(slots=True)
class SmallTenant:
    """Users and their messages; `errors` are raised for a user's dataset instead of answering.

    `withheld`: of a user's messages in a unit, how many of the newest are counted and not given, reading for reading.
    """

    users: list[str]
    messages: dict[str, list[tuple[str, datetime]]] = field(default_factory=dict)
    errors: dict[tuple[str, str], Exception] = field(default_factory=dict)
    withheld: dict[str, list[int]] = field(default_factory=dict)
    page_size: int = 3
    requests: Counter[str] = field(default_factory=Counter)

    @classmethod
    def with_mail(cls, *, users: int, messages: int) -> "SmallTenant":
        """`messages` per user, one an hour up to NOW."""
        names = [f"0000000{number}-0000-4000-8000-000000000000" for number in range(users)]
        mail = {
            name: [(f"{name}-{index}", NOW - timedelta(hours=messages - index)) for index in range(messages)]
            for name in names
        }
        return cls(names, mail)

    def deliver(self, user: str, identifier: str, at: datetime) -> None:
        self.messages[user].append((identifier, at))


@dataclass(frozen=True, slots=True)
class SmallSource:
    """One dataset of the small tenant."""

    tenant: SmallTenant
    dataset: str
    principals: PrincipalKind
    windowed: bool = False
    instants: tuple[str, ...] = ()
    connector: str = "small"
    settle: timedelta = timedelta(0)
    overlap: timedelta = timedelta(0)
    ahead: timedelta = timedelta(0)
    from_beginning: bool = False
    longest_window: timedelta = timedelta(days=2)
    completeness: Method = Method.NONE

    def filter(self, unit: Unit) -> RowFilter | None:
        return None

    def enumerated(self, page: Page) -> Sequence[Principal]:
        if self.dataset != "entra_users":
            return ()
        return [Principal(PrincipalKind.USER, record["id"]) for record in msgspec.json.decode(page.records)]

    async def count(self, unit: Unit) -> int | None:
        self.tenant.requests[f"{self.dataset}/$count"] += 1
        return len(self._records(unit))

    async def pages(self, unit: Unit) -> AsyncIterator[Page]:
        error = self.tenant.errors.get((unit.principal.id, self.dataset))
        if error is not None:
            self.tenant.requests[self.dataset] += 1
            raise error
        records = self._records(unit)
        expected = None if self.completeness is Method.NONE else len(records)
        if self.completeness is Method.COUNT and (withheld := self.tenant.withheld.get(unit.principal.id)):
            records = records[: max(0, len(records) - withheld.pop(0))]
        for start in range(0, max(len(records), 1), self.tenant.page_size):
            self.tenant.requests[self.dataset] += 1
            await asyncio.sleep(0)
            page = msgspec.json.encode(records[start : start + self.tenant.page_size])
            yield Page(page, expected=None if start else expected)

    def _records(self, unit: Unit) -> list[Mapping[str, Any]]:
        if self.dataset == "entra_users":
            return [{"id": name, "accountEnabled": True, "mail": f"{name}@example.test"} for name in self.tenant.users]
        if self.dataset == "mailbox_settings":
            return [{"timeZone": "UTC", "userPurpose": "user"}]
        assert unit.window is not None
        return [
            {"id": name, "receivedDateTime": at.isoformat().replace("+00:00", "Z")}
            for name, at in self.tenant.messages.get(unit.principal.id, [])
            if at in unit.window
        ]


@dataclass(frozen=True, slots=True)
class SmallConnector:
    sources: Sequence[SmallSource]
    name: str = "small"

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        return Preparation()


class NoDirectory:
    """For a scope that holds everybody: nothing is asked."""

    def accounts(self) -> AsyncIterator[Sequence[Account]]:
        raise AssertionError("nothing is asked")

    async def members_of(self, group: str) -> Sequence[str] | None:
        raise AssertionError("nothing is asked")

    async def is_shared(self, user: Principal) -> bool:
        raise AssertionError("nothing is asked")

    async def side_by_side(self, function: Callable[[Principal], Awaitable[None]], users: Sequence[Principal]) -> None:
        raise AssertionError("nothing is asked")


async def no_faults(_step: Step) -> None:
    """A store that always works."""


@dataclass(slots=True)
class Unthrottled:
    """A `SharedThrottle` that holds nobody; it keeps what it was told."""

    most_workers: int = 1
    divided: list[int] = field(default_factory=list)
    times_taken_over: int = 0
    heeded: list[Fence] = field(default_factory=list)
    part: float = 1.0
    keeps_to_part: bool = True

    def take(self, part: float) -> None:
        self.part = part

    def divide(self, workers: int) -> None:
        self.divided.append(workers)

    def take_over(self) -> None:
        self.times_taken_over += 1

    def heed(self, fence: Fence) -> None:
        self.heeded.append(fence)


@dataclass(slots=True)
class Harness:
    """Equips runs over one tenant and one bucket; each `equip` is like a new process."""

    tenant: SmallTenant
    bucket: MemoryBucket = field(default_factory=MemoryBucket)
    state_bucket: MemoryBucket = field(default_factory=MemoryBucket)
    now: datetime = NOW
    part_size_bytes: int = 128 << 20
    changed_defaults: tuple[DefaultChange, ...] = ()
    memory_bytes: int = 1 << 30
    profile: str = "strict"

    def equip_for(self, *, workers: int) -> Equipment:
        """For a run whose budgets bear so many workers."""
        return replace(self.equip(), throttle=Unthrottled(most_workers=workers))

    def equip(self, *, hook: Hook = no_faults) -> Equipment:
        rules = built_in_rules()
        pseudonymizer = Pseudonymizer(salt=SALT)
        memory = Memory(self.memory_bytes)
        directory = DirectoryIndex()
        treatments = Treatments(pseudonymizer, group_original=True, holds_person=directory.holds_person)
        sources = (
            SmallSource(self.tenant, "entra_users", PrincipalKind.TENANT),
            SmallSource(self.tenant, "mailbox_settings", PrincipalKind.USER, completeness=Method.ENUMERATION),
            SmallSource(
                self.tenant,
                "mail_messages",
                PrincipalKind.USER,
                windowed=True,
                instants=("receivedDateTime",),
                completeness=Method.COUNT,
            ),
        )

        def part_format(dataset: str, run_id: str, at: datetime) -> PartFormat:
            schema = part_schema(
                output_schema(rules[dataset]),
                dataset=dataset,
                schema_version=1,
                rules_fingerprint="f",
                profile=self.profile,
            )
            return PartFormat(
                schema=schema,
                run_id=run_id,
                exported_at=at,
                sort_by=rules[dataset].time,
                row_group_bytes=memory.row_group_bytes,
            )

        async def blocking(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return function(*args, **kwargs)

        return Equipment(
            identity=Identity(
                tenant="t~tenant",
                destination="memory://",
                connectors=("small",),
                profile=self.profile,
                scope="all",
                rules_fingerprint="f",
                salt_fingerprint="s",
                tool_version="0",
                schema_versions=dict.fromkeys(DATASETS, 1),
                changed_defaults=self.changed_defaults,
            ),
            limits=Limits(
                principals_in_flight=4,
                units_per_principal=2,
                part_size_bytes=self.part_size_bytes,
                part_max_age=timedelta(minutes=5),
                initial_lookback=timedelta(days=30),
            ),
            tenant=Principal.tenant("11111111-0000-4000-8000-000000000000"),
            connectors=[SmallConnector(sources)],
            sanitizers={
                source.dataset: ColumnarSanitizer(
                    rules[source.dataset], profile="strict", treatments=treatments, instants=source.instants
                )
                for source in sources
            },
            guards={
                source.dataset: EgressGuard(
                    rules[source.dataset],
                    profile="strict",
                    directory=directory,
                    owner=rules["entra_users"].fields[0] if rules[source.dataset].owner == "mailbox" else None,
                )
                for source in sources
            },
            directory=directory,
            fields_file=lambda run_id, counts: fields_file(
                {dataset: rules[dataset] for dataset in DATASETS},
                counts,
                run_id=run_id,
                profile="strict",
                rules_fingerprint="f",
                forms=TokenForms(),
            ),
            encoder=lambda dataset, run_id, at: part_format(dataset, run_id, at).encoder(),
            empty_part=lambda dataset: part_format(dataset, "", NOW).empty(),
            pseudonym=lambda principal: pseudonymizer.token(principal.id) or "",
            owner=lambda dataset, principal: (
                pseudonymizer.token(principal.id) if rules[dataset].owner == "mailbox" else None
            ),
            vault=StateVault(derive_key(SALT.encode())),
            state=MemoryStore(self.state_bucket, hook=hook),
            destination=MemoryStore(self.bucket, hook=hook),
            blocking=blocking,
            memory=memory,
            clock=lambda: self.now,
            throttle=Unthrottled(),
            scope=Scope(Wanted(), NoDirectory(), forms=lambda text: iter((text,))),
            log=structlog.get_logger(),
            progress=Progress(),
            left_beside_backfill=0.5,
        )

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        """Every row of a dataset that a reader who globs the bucket sees now."""
        found: list[dict[str, Any]] = []
        for key in sorted(self.bucket.objects):
            if key.startswith(f"{dataset}/") and key.endswith(".parquet"):
                table: pa.Table = pq.read_table(io.BytesIO(self.bucket.objects[key]))
                found += table.to_pylist()
        return found

    def keys(self, dataset: str) -> Counter[tuple[str, str, str]]:
        """How often each (run, owner, id) appears."""
        return Counter((row["_run_id"], row["_owner"], row["id"]) for row in self.rows(dataset))

    def message_tokens(self) -> set[str]:
        """The pseudonyms of all messages of the tenant."""
        pseudonymizer = Pseudonymizer(salt=SALT)
        return {pseudonymizer.token(name) or "" for messages in self.tenant.messages.values() for name, _ in messages}


__all__ = ["NOW", "Harness", "SmallTenant", "UnitFailed", "UnitSkipped"]
