"""What coordinator and worker of a run tell each other: errands, reports, grants. All of it is small.

What names a principal is encrypted with the key derived from the salt, which both have from their own settings; no
secret travels, and who has other settings is found out before anything is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b

import msgspec

from pipeline.equipment import Identity
from pipeline.errors import (
    ConfigurationError,
    DatasetDenied,
    ExportError,
    FailReason,
    SkipReason,
    SourceRefused,
    StoreRefused,
    StoreUnavailable,
    UnitFailed,
    UnitSkipped,
)
from pipeline.facts import UnitEnd
from pipeline.field_counts import FieldCounts
from pipeline.journal import DoneUnit
from pipeline.model import RunKind, Unit
from pipeline.parts import UnitResult
from pipeline.sealed_parts import Numbering, SealedPart
from pipeline.tally import Tally
from pipeline.working import Outcomes


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """A group of units for one worker.

    `hire` names one time of service of one worker; `lanes`: how many errands it has in hand at the same time.
    """

    hire: str
    run_id: str
    kind: RunKind
    connectors: tuple[str, ...]
    facts: dict[str, str]  # what the worker's own settings have to come to
    numbering: Numbering
    lanes: int
    units: bytes  # `list[list[Unit]]`, encrypted


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The permission to work until then; a worker that hears nothing more stops by itself."""

    hire: str
    until: datetime
    workers: int  # that share the budgets
    stop: bool = False  # take no further unit, finish those in flight


class Fate(StrEnum):
    FINISHED = "finished"
    SKIPPED = "skipped"
    FAILED = "failed"
    NOT_TRIED = "not_tried"
    DIVIDED = "divided"


_ENDS: Mapping[Fate, UnitEnd] = {Fate.FINISHED: "done", Fate.SKIPPED: "skipped"}


class Happening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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


class Trouble(msgspec.Struct, tag=True, frozen=True):
    """The errand was given up for an error of this kind."""

    kind: str
    texts: tuple[str, ...] = ()
    remedy: str = ""
    code: str = ""


class Idle(msgspec.Struct):
    """Finished units of a dataset that no part has taken along."""

    units: list[DoneUnit]
    rejected: dict[str, int]
    fields: FieldCounts


class Report(msgspec.Struct, kw_only=True):
    """What became of an errand. Not `whole`: the worker was told to stop before its end."""

    whole: bool
    parts: list[SealedPart]
    idle: dict[str, Idle]
    happened: list[Happening]
    refused: dict[str, Trouble]  # datasets of which Microsoft lets us read nothing
    learnt: bytes | None = None  # encrypted, as `Lessons` keeps it


class Brought(msgspec.Struct, tag=True, frozen=True):
    """A `Report`, encrypted."""

    report: bytes


class Lapsed(msgspec.Struct, tag=True, frozen=True):
    """The errand was given up because the coordinator was not heard of in time."""


Answer = Brought | Trouble | Lapsed


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


def trouble_of(error: BaseException) -> Trouble:
    """An error for the coordinator; of one that nobody expected only its kind and place, never its text."""
    match error:
        case ConfigurationError():
            return Trouble("ConfigurationError", error.faults)
        case SourceRefused():
            return Trouble("SourceRefused", (error.what,), error.remedy, error.code or "")
        case StoreRefused() | StoreUnavailable():
            return Trouble(type(error).__name__, (str(error),))
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place is not None else "nowhere"
    return Trouble("", (f"{type(error).__name__} in {where}",))


def raise_trouble(trouble: Trouble) -> None:
    """Raises: the error that ended an errand, or RuntimeError where a worker has a fault."""
    known: dict[str, type[ExportError]] = {"StoreRefused": StoreRefused, "StoreUnavailable": StoreUnavailable}
    if trouble.kind == "ConfigurationError":
        raise ConfigurationError(*trouble.texts)
    if trouble.kind == "SourceRefused":
        raise SourceRefused(trouble.texts[0], remedy=trouble.remedy, code=trouble.code or None)
    if trouble.kind in known:
        raise known[trouble.kind](*trouble.texts)
    raise RuntimeError(f"a worker failed: {', '.join(trouble.texts)}")


class Recorder:
    """An `Outcomes` that writes down what happens, so that the coordinator can tell it its own."""

    def __init__(self, tally: Tally) -> None:
        """`tally` is that of all errands of a worker: a dataset that fails everywhere is not tried on."""
        self.happened: list[Happening] = []
        self.refused: dict[str, Trouble] = {}
        self._tally = tally

    def planned(self, units: Sequence[Unit]) -> None:
        """The coordinator has planned them."""

    def finished(self, unit: Unit, result: UnitResult) -> None:
        self._tally.done(unit.dataset)
        self._note(Happening(fate=Fate.FINISHED, unit=unit, done=result.unit, rejected=dict(result.rejected)))

    def skipped(self, unit: Unit, error: UnitSkipped) -> None:
        self._tally.skipped(unit.dataset, "", error)
        self._note(Happening(fate=Fate.SKIPPED, unit=unit, reason=error.reason, code=error.code))

    def failed(self, unit: Unit, error: UnitFailed) -> None:
        self._tally.failed(unit.dataset, "", error)
        self._note(
            Happening(
                fate=Fate.FAILED,
                unit=unit,
                reason=error.reason,
                code=error.code,
                request_id=error.request_id,
                needs=error.needs if isinstance(error, DatasetDenied) else None,
            )
        )

    def denied(self, datasets: Iterable[str], error: SourceRefused | UnitFailed) -> None:
        reason = error.reason if isinstance(error, UnitFailed) else FailReason.PERMISSION
        for dataset in datasets:
            self._tally.deny(dataset, reason)
            if isinstance(error, SourceRefused):
                self.refused[dataset] = trouble_of(error)

    def is_denied(self, dataset: str) -> bool:
        return self._tally.is_denied(dataset)

    def not_tried(self, unit: Unit) -> None:
        self._note(Happening(fate=Fate.NOT_TRIED, unit=unit))

    def divided(self, unit: Unit) -> None:
        self._note(Happening(fate=Fate.DIVIDED, unit=unit))

    def ended(self, unit: Unit, *, seconds: float, rows: int | None, end: UnitEnd) -> None:
        del unit, end
        if rows is not None:  # what was noted last is the unit's own fate
            self.happened[-1] = msgspec.structs.replace(self.happened[-1], seconds=seconds)

    def _note(self, happening: Happening) -> None:
        self.happened.append(happening)


def replay(report: Report, outcomes: Outcomes) -> None:
    """Tell what a worker recorded."""
    for dataset, trouble in report.refused.items():
        outcomes.denied([dataset], SourceRefused(trouble.texts[0], remedy=trouble.remedy, code=trouble.code or None))
    for each in report.happened:
        match each.fate:
            case Fate.FINISHED if each.done is not None:
                outcomes.finished(each.unit, UnitResult(each.unit.dataset, each.done, None, None, each.rejected))
            case Fate.SKIPPED:
                outcomes.skipped(each.unit, UnitSkipped(SkipReason(each.reason), code=each.code))
            case Fate.FAILED:
                outcomes.failed(each.unit, _failure(each))
            case Fate.DIVIDED:
                outcomes.divided(each.unit)
            case _:
                outcomes.not_tried(each.unit)
        if each.seconds is not None:
            rows = each.done.rows if each.done is not None else 0
            outcomes.ended(each.unit, seconds=each.seconds, rows=rows, end=_ENDS.get(each.fate, "failed"))


def _failure(each: Happening) -> UnitFailed:
    if each.needs is not None:
        return DatasetDenied(needs=each.needs, code=each.code, request_id=each.request_id)
    return UnitFailed(FailReason(each.reason), code=each.code, request_id=each.request_id)
