"""Exit codes: a public contract, and the one place that turns what happened into one."""

from collections.abc import Iterator, Mapping
from enum import IntEnum

from config.faults import SettingsError
from pipeline.errors import (
    Advice,
    ConfigurationError,
    EngineLost,
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


EXIT_ADVICE: Mapping[Exit, Advice] = {
    Exit.COMPLETE: Advice("Committed and complete; expected skips are allowed.", "Nothing."),
    Exit.UNEXPECTED: Advice(
        "An unexpected error; nothing half-visible was left behind.",
        "Report the lines on stderr; the next command of that kind continues.",
    ),
    Exit.USAGE: Advice(
        "The command line or the settings are wrong; every fault has a line with the key's path.",
        "Mend every line that is printed; `m365-export doctor` checks the rest.",
    ),
    Exit.REFUSED: Advice(
        "Nothing can be read, or the destination or the state refuses us.",
        "Do what the printed line says; `m365-export doctor` tries everything a run depends on.",
    ),
    Exit.PARTIAL: Advice(
        "Committed as `partial`: something failed or is incomplete; the manifest lists what. From `verify`: a part is "
        "not as its manifest says.",
        "Look the reason up below, the next run tries it again; after `verify`, repeat the range with `backfill`.",
    ),
    Exit.INTERRUPTED: Advice(
        "A signal or the deadline stopped it; what is published is safe.",
        "Start a command of that kind again: it continues.",
    ),
    Exit.LEASE_HELD: Advice(
        "Another run of that kind is at work.",
        "Wait for it (`m365-export status --watch`); the lease of a machine that died expires after 90 seconds.",
    ),
}
"""What each code means, and what to do; docs/operators.md is made of it."""

_BY_ERROR: tuple[tuple[tuple[type[BaseException], ...], Exit], ...] = (
    ((SettingsError, ConfigurationError), Exit.USAGE),
    ((LeaseHeld, LeaseLost), Exit.LEASE_HELD),
    ((SourceRefused, StoreRefused, StoreUnavailable, EngineLost), Exit.REFUSED),
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
