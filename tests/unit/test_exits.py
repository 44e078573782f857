"""Exit codes follow from what happened, the gravest first."""

from datetime import UTC, datetime

import pytest

from config.faults import Fault, SettingsError
from pipeline.errors import (
    ConfigurationError,
    ExportError,
    LeaseHeld,
    LeaseLost,
    SourceRefused,
    StoreRefused,
    StoreUnavailable,
)
from pipeline.exits import Exit, exit_of_error, exit_of_outcomes
from pipeline.run import Outcome

AT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError([Fault("tenant.id", "missing")]), Exit.USAGE),
        (ConfigurationError("state: belongs to another tenant"), Exit.USAGE),
        (LeaseHeld(kind="run", holder="host", since=AT, until=AT), Exit.LEASE_HELD),
        (LeaseLost("gone"), Exit.LEASE_HELD),
        (SourceRefused("no token", remedy="check"), Exit.REFUSED),
        (StoreRefused("no right"), Exit.REFUSED),
        (StoreUnavailable("no network"), Exit.REFUSED),
        (ValueError("a bug"), Exit.UNEXPECTED),
    ],
)
def test_each_error_has_its_code(error: Exception, code: Exit) -> None:
    """Also inside groups, however deep."""
    assert exit_of_error(error) == (code, error)
    assert exit_of_error(BaseExceptionGroup("", [ExceptionGroup("", [error])])) == (code, error)


def test_the_gravest_error_of_a_group_decides() -> None:
    """A bug beside a refusal is a bug: exit 1 comes before 3."""
    bug, refusal = KeyError("x"), StoreUnavailable("no network")

    assert exit_of_error(ExceptionGroup("", [refusal, bug])) == (Exit.UNEXPECTED, bug)


def test_an_interrupted_run_comes_before_a_partial_one() -> None:
    """5 before 4, and nothing at all is 0."""
    assert exit_of_outcomes([Outcome("r", None)]) is Exit.INTERRUPTED
    assert exit_of_outcomes([]) is Exit.COMPLETE


def test_every_error_this_product_raises_on_purpose_is_an_export_error() -> None:
    """One root, so that the way out can tell a purpose from a bug."""
    assert all(issubclass(each, ExportError) for each in (LeaseHeld, SourceRefused, StoreRefused, StoreUnavailable))
