"""What a run left out, and when a dataset is given up."""

from pipeline.errors import DatasetDenied, FailReason, SkipReason, UnitFailed, UnitSkipped
from pipeline.tally import LATER_FAILURES, UNIFORM_FAILURES, Tally

MAIL = "mail_messages"


def test_a_denied_dataset_is_one_line_for_all_principals() -> None:
    """The permission is missing, not a mailbox."""
    tally = Tally()
    tally.failed(MAIL, "t~1", DatasetDenied(needs=("Mail.ReadBasic.All",)))
    tally.not_tried(MAIL)

    assert [(line.principal, line.dataset, line.reason) for line in tally.failures()] == [(None, MAIL, "permission")]
    assert tally.units(MAIL).failed == 2


def test_many_first_failures_of_one_cause_condemn_the_dataset() -> None:
    """Trying thousands of mailboxes that answer alike helps nobody."""
    tally = Tally()
    for number in range(UNIFORM_FAILURES):
        assert not tally.is_denied(MAIL)
        tally.failed(MAIL, f"t~{number}", UnitFailed(FailReason.SERVICE_ERROR, code="InternalServerError"))

    assert tally.is_denied(MAIL)


def test_one_success_or_several_causes_keep_a_dataset_going() -> None:
    """Then it is the mailboxes, not the dataset."""
    tally, mixed = Tally(), Tally()
    tally.done(MAIL)
    for number in range(2 * UNIFORM_FAILURES):
        tally.failed(MAIL, f"t~{number}", UnitFailed(FailReason.SERVICE_ERROR))
        mixed.failed(MAIL, f"t~{number}", UnitFailed(FailReason.SERVICE_ERROR))
        if number % 6 == 0:
            mixed.failed(MAIL, f"t~other{number}", UnitFailed(FailReason.NETWORK))

    assert not tally.is_denied(MAIL)
    assert not mixed.is_denied(MAIL)


def test_a_request_that_timed_out_among_them_does_not_keep_it_going() -> None:
    """In an outage some answers are lost; those that came all say the same."""
    tally = Tally()
    tally.failed(MAIL, "t~x", UnitFailed(FailReason.TIMEOUT, code="timed_out"))
    for number in range(UNIFORM_FAILURES):
        assert not tally.is_denied(MAIL)
        tally.failed(MAIL, f"t~{number}", UnitFailed(FailReason.SERVICE_ERROR, code="generalException"))

    assert [(line.principal, line.reason) for line in tally.failures()] == [(None, "service_error")]


def test_a_long_row_of_one_failure_condemns_the_dataset_at_last() -> None:
    """A service that goes away in mid-run is not asked for all that is left; a success begins the row anew."""
    tally = Tally()
    gone = UnitFailed(FailReason.NETWORK, code="connection_failed")
    for row in (LATER_FAILURES - 1, LATER_FAILURES):
        tally.done(MAIL)
        assert not tally.is_denied(MAIL)
        for number in range(row):
            tally.failed(MAIL, f"t~{number}", gone)

    assert [(line.principal, line.reason) for line in tally.failures()] == [(None, "network")]


def test_refused_everywhere_means_a_missing_permission() -> None:
    """Graph refuses an excluded mailbox and a missing role alike; nobody readable tells them apart."""
    tally = Tally()
    for number in range(3):
        tally.skipped(MAIL, f"t~{number}", UnitSkipped(SkipReason.OUT_OF_POLICY, code="ErrorAccessDenied"))
    tally.settle()

    assert tally.skips() == []
    assert [(line.principal, line.reason) for line in tally.failures()] == [(None, "permission")]


def test_refused_here_and_there_stays_a_skip() -> None:
    """One readable mailbox shows that the permission is there."""
    tally = Tally()
    tally.skipped(MAIL, "t~1", UnitSkipped(SkipReason.OUT_OF_POLICY, code="ErrorAccessDenied"))
    tally.skipped(MAIL, "t~2", UnitSkipped(SkipReason.OUT_OF_POLICY, code="ErrorAccessDenied"))
    tally.done(MAIL)
    tally.settle()

    assert len(tally.skips()) == 2
    assert tally.failures() == []


def test_people_out_of_scope_say_nothing_about_a_permission() -> None:
    """Nobody was asked; mailboxes that all refuse are still a missing permission."""
    tally = Tally()
    tally.skipped(MAIL, "t~0", UnitSkipped(SkipReason.OUT_OF_SCOPE))
    for number in (1, 2):
        tally.skipped(MAIL, f"t~{number}", UnitSkipped(SkipReason.OUT_OF_POLICY, code="ErrorAccessDenied"))
    tally.settle()

    assert [(line.principal, line.dataset, line.reason) for line in tally.failures()] == [(None, MAIL, "permission")]
