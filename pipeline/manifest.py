"""The manifest that seals a run: its parts, counts, skips and failures. Its shape is a public contract.

It names a principal only by the pseudonym of its object id and holds no field value.
"""

from collections import Counter
from datetime import datetime
from typing import Literal

import msgspec

from pipeline.completeness import Method
from pipeline.model import RunKind

MANIFEST_VERSION = 1


class Range(msgspec.Struct, frozen=True):
    from_: datetime = msgspec.field(name="from")
    to: datetime


class PartLine(msgspec.Struct, frozen=True):
    path: str  # relative to the destination
    rows: int
    bytes: int
    sha256: str  # lower-case hex
    min_time: datetime | None
    max_time: datetime | None


class UnitCounts(msgspec.Struct):
    done: int = 0
    skipped: int = 0
    failed: int = 0


class Completeness(msgspec.Struct):
    """What a dataset's finished units were held against.

    `method` says how `expected` is known: counted by Graph, implied by the plan, or not at all. `exported` are the rows
    of the units whose number is known (with `none`: all rows), which are fewer than `rows` where Graph would not count.

    In every unit, `expected` less what is accounted for (exported, rejected, or read and found to belong to another
    unit) differs from nought by its share of `changed_while_reading` and `unexplained`: what a second count explains,
    and what nothing does. Their sizes are added up, so that too much here never hides too little there. A unit with
    an unexplained difference stands among the `failed` as `incomplete`; what was read of it is exported.
    """

    method: Method = Method.NONE
    expected: int | None = None
    exported: int = 0
    changed_while_reading: int = 0
    unexplained: int = 0


class DatasetLine(msgspec.Struct):
    rows: int = 0
    rejected: dict[str, int] = msgspec.field(default_factory=dict)
    units: UnitCounts = msgspec.field(default_factory=UnitCounts)
    completeness: Completeness = msgspec.field(default_factory=Completeness)
    parts: list[PartLine] = msgspec.field(default_factory=list)
    debts_dropped: int | msgspec.UnsetType = msgspec.UNSET  # chats or meetings that failed and cannot be kept in mind


class LeftOut(msgspec.Struct, frozen=True):
    """A unit that was skipped, failed, or is incomplete; `principal` is null where a whole dataset is meant."""

    principal: str | None
    dataset: str
    reason: str


class Manifest(msgspec.Struct, kw_only=True):
    manifest_version: int = MANIFEST_VERSION
    run_id: str
    kind: RunKind
    status: Literal["complete", "partial"]
    window: Range
    started_at: datetime
    finished_at: datetime
    tool_version: str
    profile: str
    rules_fingerprint: str
    salt_fingerprint: str
    schema_versions: dict[str, int]
    datasets: dict[str, DatasetLine]
    skipped: list[LeftOut]
    failed: list[LeftOut]

    @property
    def unexplained(self) -> int:
        """By how many records what was read differs from what was expected, for no known reason."""
        return sum(line.completeness.unexplained for line in self.datasets.values())

    @property
    def debts_dropped(self) -> dict[str, int]:
        """By dataset: how many chats or meetings that failed no later run is reminded of."""
        return {dataset: line.debts_dropped for dataset, line in self.datasets.items() if line.debts_dropped}

    @property
    def skips_by_reason(self) -> dict[str, int]:
        return dict(Counter(line.reason for line in self.skipped))


def encode_manifest(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_manifest(data: bytes) -> Manifest:
    """Raises: msgspec.DecodeError, msgspec.ValidationError, when the bytes are no manifest of this version."""
    return msgspec.json.decode(data, type=Manifest)


def manifest_path(run_id: str) -> str:
    return f"_manifests/{run_id}.json"


def fields_path(run_id: str) -> str:
    """The side file that says what became of every field."""
    return f"_manifests/{run_id}.fields.json"


def facts_path(run_id: str) -> str:
    """The side file that says when rows are from, and what took time."""
    return f"_manifests/{run_id}.facts.json"
