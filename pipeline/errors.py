"""The errors of an export, grouped by what the run does about them.

    ExportError
    ├── ConfigurationError     the command cannot start; exit 2
    ├── SourceRefused          nothing can be read: no token, no role anywhere; exit 3
    ├── StoreRefused           destination or state refuses us; exit 3
    ├── StoreUnavailable       destination or state cannot be reached for now; exit 3, nothing is lost
    ├── EngineLost             the engine of the workers, or all of them, cannot be reached; exit 3, nothing is lost
    ├── LeaseHeld              another run of this kind is at work; exit 6
    ├── LeaseLost              another run took over; this one publishes nothing more; exit 6
    ├── UnitSkipped            this principal has no such data, for a listed reason; exit 0
    ├── UnitFailed             this unit could not be read; its watermark stays; exit 4
    ├── DatasetDenied          the application lacks a permission; the dataset fails, others go on; exit 4
    ├── UnitReadAgain          reading broke off half-way; what was read of the unit is dropped, and it is read anew
    └── WindowTooLarge         the unit holds more than memory allows; it is divided and read again

Facts travel as attributes. No message holds a field value, an identifier of a person, a URL or a token:
a principal is named by its pseudonym, which the run adds when it reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class SkipReason(StrEnum):
    """Expected reasons to leave a unit out; they do not make a run partial."""

    NO_MAILBOX = "no_mailbox"
    ON_PREMISES_MAILBOX = "on_premises_mailbox"
    OUT_OF_POLICY = "out_of_policy"
    DELETED_PRINCIPAL = "deleted_principal"
    OUT_OF_SCOPE = "out_of_scope"


class FailReason(StrEnum):
    """Reasons why a unit could not be read; any of them makes a run partial."""

    PERMISSION = "permission"
    SERVICE_ERROR = "service_error"
    THROTTLED = "throttled"
    NETWORK = "network"
    TIMEOUT = "timeout"
    BAD_ANSWER = "bad_answer"
    UNKNOWN_ERROR = "unknown_error"
    EGRESS_GUARD = "egress_guard"
    INCOMPLETE = "incomplete"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Advice:
    """What something means to an operator, and what to do about it; a sentence each."""

    meaning: str
    remedy: str


ADVICE: Mapping[SkipReason | FailReason, Advice] = {
    SkipReason.NO_MAILBOX: Advice(
        "The user has no mailbox, or none that is licensed.",
        "Nothing; assign an Exchange licence if there should be one.",
    ),
    SkipReason.ON_PREMISES_MAILBOX: Advice(
        "The mailbox lies on a server of your own, where Graph does not reach.",
        "Nothing; it is read once it has been moved to Exchange Online.",
    ),
    SkipReason.OUT_OF_POLICY: Advice(
        "An access policy of Exchange or Teams does not let the application read this one. Of `teams_chats`: the "
        "chats are there, but another organisation keeps the members of some (`rows_withheld` in the log).",
        "Nothing if that is intended; else add the user to the policy's group (`m365-export setup` prints how).",
    ),
    SkipReason.DELETED_PRINCIPAL: Advice(
        "The user, group or team was deleted between being listed and being read.",
        "Nothing.",
    ),
    SkipReason.OUT_OF_SCOPE: Advice(
        "The settings leave the principal out.",
        "Nothing if that is intended; else change `scope`.",
    ),
    FailReason.PERMISSION: Advice(
        "The application lacks a permission for the dataset, or the administrator's consent to it.",
        "Run `m365-export doctor`: it names the permission; `m365-export setup` prints how to grant it.",
    ),
    FailReason.SERVICE_ERROR: Advice(
        "Microsoft answered with errors until the retries of the unit were spent.",
        "Nothing at first, the next run tries again; if it stays, open a support case with `request_id` from the log.",
    ),
    FailReason.THROTTLED: Advice(
        "Microsoft held the scope off for longer than one unit may wait.",
        "Nothing at first, the next run tries again; if it stays, lower `limits.mailboxes_in_flight`, or find out "
        "which other application uses up the tenant's limits.",
    ),
    FailReason.NETWORK: Advice(
        "There was no connection to Microsoft, or it broke off again and again.",
        "Run `m365-export doctor`: it tries name, proxy, certificate and connection.",
    ),
    FailReason.TIMEOUT: Advice(
        "The unit took longer than one unit may take.",
        "Nothing at first, the next run tries again; a `backfill` over a shorter range makes smaller units.",
    ),
    FailReason.BAD_ANSWER: Advice(
        "An answer was no JSON, or not of the shape that Microsoft documents.",
        "Look for a proxy that rewrites answers; else report it with `code` from the log.",
    ),
    FailReason.UNKNOWN_ERROR: Advice(
        "Microsoft refused with a code that this version does not know.",
        "Report `code` and `request_id` from the log; the next run tries again.",
    ),
    FailReason.EGRESS_GUARD: Advice(
        "The rows of the unit held a name, address or number that must not leave; they were not written.",
        "Look at dataset, column and rule in `code` of the log, then treat the field in the rules.",
    ),
    FailReason.INCOMPLETE: Advice(
        "Fewer or more records came than Microsoft counts, and nothing explains it; what came is written.",
        "Nothing at first: runs read it again. The third run that finds it is the last, and moves on: compare with the "
        "mailbox itself, and repeat the range with `backfill`.",
    ),
    FailReason.ABANDONED: Advice(
        "An interrupted run was sealed as it was, because the settings or the range had changed meanwhile.",
        "Nothing after a `run`; repeat a `backfill` over its range.",
    ),
}
"""What each reason means, and what to do; docs/operators.md is made of it."""


class ExportError(Exception):
    """Root of all errors this product raises on purpose."""


class ConfigurationError(ExportError):
    """Something an operator wrote is wrong; `faults` has one line each, with the key's path."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class SourceRefused(ExportError):
    """Microsoft refuses us altogether, or is out of reach; `remedy` says what to do about it.

    `reason` stands in the manifest where a run meets this half-way.
    """

    def __init__(
        self, what: str, *, remedy: str, code: str | None = None, reason: FailReason = FailReason.PERMISSION
    ) -> None:
        super().__init__(f"{what}. {remedy}")
        self.what = what
        self.remedy = remedy
        self.code = code
        self.reason = reason


class StoreRefused(ExportError):
    """The destination or the state location refuses a right the export needs."""


class StoreUnavailable(ExportError):
    """The destination or the state location cannot be reached for now."""


class EngineLost(ExportError):
    """The engine that brings work to other machines has no worker for us."""


class LeaseHeld(ExportError):
    """Another run of this kind holds the lease."""

    def __init__(self, *, kind: str, holder: str, since: datetime, until: datetime) -> None:
        super().__init__(
            f"another {kind} holds the lease: {holder}, since {since:%Y-%m-%dT%H:%M:%SZ}, "
            f"until {until:%Y-%m-%dT%H:%M:%SZ} unless it is renewed"
        )
        self.since = since
        self.until = until


class LeaseLost(ExportError):
    """This run no longer holds its lease and publishes nothing more."""


class UnitSkipped(ExportError):
    """The principal has no such data, for a known and listed reason."""

    def __init__(self, reason: SkipReason, *, code: str = "") -> None:
        super().__init__(f"skipped: {reason}" + (f" ({code})" if code else ""))
        self.reason = reason
        self.code = code


class UnitFailed(ExportError):
    """The unit could not be read in its budget; the next run tries again."""

    def __init__(self, reason: FailReason, *, code: str = "", request_id: str = "") -> None:
        facts = ", ".join(fact for fact in (code, f"request-id {request_id}" if request_id else "") if fact)
        super().__init__(f"failed: {reason}" + (f" ({facts})" if facts else ""))
        self.reason = reason
        self.code = code
        self.request_id = request_id


class DatasetDenied(UnitFailed):
    """The application lacks the permission for a whole dataset; `needs` names the roles that would do."""

    def __init__(self, *, needs: tuple[str, ...], code: str = "", request_id: str = "") -> None:
        super().__init__(FailReason.PERMISSION, code=code, request_id=request_id)
        self.needs = needs


class UnitReadAgain(ExportError):
    """A collection broke off after some of its pages: drop them and call `Source.pages` for the unit once more.

    A source raises this a bounded number of times for one unit, then `UnitFailed`.
    """


class WindowTooLarge(ExportError):
    """A unit holds more rows than memory allows; its window has to be divided."""
