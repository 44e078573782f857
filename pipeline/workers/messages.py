"""What coordinator and workers of a run tell each other: tasks and reports, grants and heartbeats. All of it is small.

What names a principal is encrypted with the key derived from the salt, which both have from their own settings, or is a
pseudonym; no secret travels, and who has other settings is found out before anything is read.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

import msgspec

from pipeline.done import DoneUnit, RowlessUnits
from pipeline.equipment import Identity
from pipeline.errors import ConfigurationError, ExportError, FailReason, SourceRefused, StoreRefused, StoreUnavailable
from pipeline.model import RunKind, Unit
from pipeline.ports import Fence
from pipeline.progress import Settled, Usage
from pipeline.workers.sealed_parts import Numbering, SealedPart


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A group of units for one worker.

    `id` is another one each time the task is given to a worker; `session`: one time of service of one worker, from its
    first grant to its last; `slots`: how many tasks it has in hand at the same time.
    """

    id: str
    session: str
    run_id: str
    kind: RunKind
    connectors: tuple[str, ...]
    facts: dict[str, str]  # what the worker's own settings have to come to
    numbering: Numbering
    slots: int
    units: bytes  # `list[list[Unit]]`, encrypted


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The permission to work until then; a worker that hears nothing more stops by itself."""

    session: str
    until: datetime
    workers: int  # that share the budgets
    part: float = 1.0  # of everything: less where a backfill is at work beside the run
    fences: list[Fence] = []  # of all applications or a service, whichever worker was refused
    stop: bool = False  # take no further unit, finish those in flight


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's answer to a grant. Not `accepted`: it came when the one before was over."""

    accepted: bool
    keeps_to: float = 1.0  # no mailbox has more requests open than this part allows
    usage: Usage = Usage()  # of the whole session
    fences: list[Fence] = []  # raised since the last heartbeat; principals by pseudonym
    settled: dict[str, dict[str, Settled]] = {}  # of each task in hand, by dataset


class Fate(StrEnum):
    FINISHED = "finished"
    SKIPPED = "skipped"
    FAILED = "failed"
    NOT_TRIED = "not_tried"
    DIVIDED = "divided"


class UnitOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one unit."""

    fate: Fate
    unit: Unit
    done: DoneUnit | None = None
    rejected: dict[str, int] = {}
    reason: str = ""
    code: str = ""
    request_id: str = ""
    seconds: float | None = None  # that an attempt at it took
    needs: tuple[str, ...] | None = None  # only where the whole dataset is denied


class Failure(msgspec.Struct, tag=True, frozen=True):
    """The task was given up for an error of this kind."""

    kind: str
    texts: tuple[str, ...] = ()
    remedy: str = ""
    code: str = ""
    reason: str = ""


class Report(msgspec.Struct, kw_only=True):
    """What became of a task. Not `whole`: the worker was told to stop before its end."""

    whole: bool
    parts: list[SealedPart]
    rowless: list[RowlessUnits]
    outcomes: list[UnitOutcome]
    refused: dict[str, Failure]  # datasets of which Microsoft lets us read nothing
    learnt: bytes | None = None  # encrypted, as `Lessons` keeps it


class Done(msgspec.Struct, tag=True, frozen=True):
    """A `Report`, encrypted, and the worker's heartbeat, so that nothing is missing when it is the last."""

    report: bytes
    heartbeat: Heartbeat


class Expired(msgspec.Struct, tag=True, frozen=True):
    """The task was given up because the coordinator was not heard of in time."""


Answer = Done | Failure | Expired


def encode_units(groups: list[list[Unit]]) -> bytes:
    """The units of a task, a list for each principal."""
    return msgspec.msgpack.encode(groups)


def decode_units(data: bytes) -> list[list[Unit]]:
    """What `encode_units` was given."""
    return msgspec.msgpack.decode(data, type=list[list[Unit]])


def facts_of(identity: Identity) -> dict[str, str]:
    """What all workers of a run must agree on, as digests by name."""
    return {
        name: blake2b(repr(value).encode(), digest_size=8).hexdigest()
        for name, value in (
            ("tenant", identity.tenant),
            ("destination", identity.destination),
            ("connectors", identity.connectors),
            ("privacy.profile", identity.profile),
            ("scope", identity.scope),
            ("privacy.rules", identity.rules_fingerprint),
            ("privacy.salt", identity.salt_fingerprint),
            ("version of m365-export", identity.tool_version),
            ("schemas", sorted(identity.schema_versions.items())),
        )
    }


def require_same(wanted: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Raises: ConfigurationError, with a line for each fact in which a worker differs from the coordinator."""
    faults = [name for name in wanted if own.get(name) != wanted[name]]
    if faults:
        raise ConfigurationError(
            *(f"{name}: a worker has another one; give all workers the same image and settings" for name in faults)
        )


def failure_of(error: BaseException) -> Failure:
    """An error for the coordinator; of one that nobody expected only its kind and place, never its text."""
    match error:
        case ConfigurationError():
            return Failure("ConfigurationError", error.faults)
        case SourceRefused():
            return Failure("SourceRefused", (error.what,), error.remedy, error.code or "", error.reason)
        case StoreRefused() | StoreUnavailable():
            return Failure(type(error).__name__, (str(error),))
        case BaseExceptionGroup():
            return failure_of(error.exceptions[0])
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "nowhere"
    return Failure("", (f"{type(error).__name__} in {where}",))


def raise_failure(failure: Failure) -> None:
    """Raises: the error that ended a task, or RuntimeError where a worker has a fault."""
    known: dict[str, type[ExportError]] = {"StoreRefused": StoreRefused, "StoreUnavailable": StoreUnavailable}
    if failure.kind == "ConfigurationError":
        raise ConfigurationError(*failure.texts)
    if failure.kind == "SourceRefused":
        raise refusal_of(failure)
    if failure.kind in known:
        raise known[failure.kind](*failure.texts)
    raise RuntimeError(f"a worker failed: {', '.join(failure.texts)}")


def refusal_of(failure: Failure) -> SourceRefused:
    return SourceRefused(
        failure.texts[0],
        remedy=failure.remedy,
        code=failure.code or None,
        reason=FailReason(failure.reason or FailReason.PERMISSION),
    )
