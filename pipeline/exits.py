"""Exit codes: a public contract, and the one place that turns what happened into one."""

from collections.abc import Iterator
from enum import IntEnum

from config.faults import SettingsError
from pipeline.errors import (
    ConfigurationError,
    LeaseHeld,
    LeaseLost,
    SourceRefused,
    StoreRefused,
    StoreUnavailable,
)
from pipeline.run import Outcome


class Exit(IntEnum):
    COMPLETE = 0
    UNEXPECTED = 1
    USAGE = 2
    REFUSED = 3
    PARTIAL = 4
    INTERRUPTED = 5
    LEASE_HELD = 6


_BY_ERROR: tuple[tuple[tuple[type[BaseException], ...], Exit], ...] = (
    ((SettingsError, ConfigurationError), Exit.USAGE),
    ((LeaseHeld, LeaseLost), Exit.LEASE_HELD),
    ((SourceRefused, StoreRefused, StoreUnavailable), Exit.REFUSED),
)
_GRAVEST_FIRST = (
    Exit.UNEXPECTED,
    Exit.USAGE,
    Exit.LEASE_HELD,
    Exit.REFUSED,
    Exit.INTERRUPTED,
    Exit.PARTIAL,
    Exit.COMPLETE,
)


def exit_of_outcomes(outcomes: list[Outcome]) -> Exit:
    """What a command ends with that did its runs: interrupted before partial before complete."""
    codes = [_exit_of_outcome(outcome) for outcome in outcomes]
    return min(codes, key=_GRAVEST_FIRST.index, default=Exit.COMPLETE)


def exit_of_error(error: BaseException) -> tuple[Exit, BaseException]:
    """The gravest of the errors an exception (or a group of them) holds, and the code it ends with."""
    judged = [(_exit_of_single(leaf), leaf) for leaf in _leaves(error)]
    return min(judged, key=lambda each: _GRAVEST_FIRST.index(each[0]))


def _exit_of_outcome(outcome: Outcome) -> Exit:
    if outcome.manifest is None:
        return Exit.INTERRUPTED
    return Exit.COMPLETE if outcome.manifest.status == "complete" else Exit.PARTIAL


def _exit_of_single(error: BaseException) -> Exit:
    for types, code in _BY_ERROR:
        if isinstance(error, types):
            return code
    return Exit.UNEXPECTED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
