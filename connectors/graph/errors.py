"""What Graph's refusals mean: one table from status, code and fragment of the message to what we do.

Codes are compared without regard to case, since their casing differs between services, and are looked for on
every level of `innerError` and in `details`; the innermost known one wins. Messages are looked at only where
one code stands for two things. A code the table does not know is a class of its own: its status decides, and
it is counted.
    https://learn.microsoft.com/graph/errors (checked 2026-11)
    https://learn.microsoft.com/graph/resolve-auth-errors (checked 2026-11)
    https://learn.microsoft.com/graph/auth-limit-mailbox-access (checked 2026-11)

No error made here holds an identifier, a URL, or text of Microsoft's other than a code and names of
permissions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum, auto

from connectors.graph.error_body import Stated, checked_request_id, safe_code
from pipeline.errors import (
    DatasetDenied,
    ExportError,
    FailReason,
    SkipReason,
    SourceRefused,
    UnitFailed,
    UnitSkipped,
)


class Disposition(StrEnum):
    """What the client does with a refusal, before it gives up."""

    RETRY = "retry"  # the same request again, with back-off
    SMALLER_PAGE = "smaller_page"  # the same, and after two failures half the page
    ISOLATE = "isolate"  # an item is damaged: smaller pages until it is alone, and on behind it
    THROTTLE = "throttle"  # wait behind the fence; costs time, not attempts
    TOKEN = "token"  # noqa: S105 - a word, not a secret: drop the token, get a new one, try once more
    RESTART = "restart"  # read the collection anew from its first page
    GIVE_UP = "give_up"


class End(Enum):
    """What a unit becomes when the client gave up."""

    NO_MAILBOX = auto()
    ON_PREMISES_MAILBOX = auto()
    OUT_OF_POLICY = auto()
    DELETED = auto()  # the principal itself is gone
    ITEM_GONE = auto()  # an item or a folder is gone; the caller may know better than to skip
    MAYBE_GONE = auto()  # a 404 that does not say what is missing
    DENIED = auto()  # the dataset: a permission is missing
    FORBIDDEN = auto()  # this principal only, for a reason that is not expected
    REFUSED = auto()  # everything: the application or the tenant has no access
    SERVICE_ERROR = auto()
    THROTTLED = auto()
    NETWORK = auto()
    TIMEOUT = auto()
    BAD_ANSWER = auto()
    BAD_REQUEST = auto()  # our mistake, or Graph changed


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `status` None: any status; `code` "": any code; `fragment`: in lower case."""

    status: int | None
    code: str
    then: Disposition
    end: End
    fragment: str = ""
    retries: int | None = None  # None: as many as the retry policy grants
    pause_s: float = 0.0  # back-off never shorter than this


RETRY, SMALLER_PAGE, ISOLATE, THROTTLE, TOKEN, RESTART, GIVE_UP = Disposition

BUSY_STORE_PAUSE_S = 20.0  # a mailbox is moved, or its store is busy: a matter of minutes
BANDWIDTH_PAUSE_S = 120.0
UNKNOWN_404_RETRIES = 2
DAMAGED_ITEM_RETRIES = 1
CONFLICT_RETRIES = 1

UNTRUSTED = "untrusted_certificate"
CLAIMS_CHALLENGE = "insufficient_claims"  # said by the header WWW-Authenticate, not by the body

TABLE: tuple[Row, ...] = (
    # 400: our mistake, except a page token that died
    Row(400, "", GIVE_UP, End.BAD_REQUEST),
    Row(400, "BadRequest", GIVE_UP, End.BAD_REQUEST),
    Row(400, "Request_BadRequest", GIVE_UP, End.BAD_REQUEST),
    Row(400, "RequestBroker--ParseUri", GIVE_UP, End.BAD_REQUEST),
    Row(400, "invalidRequest", GIVE_UP, End.BAD_REQUEST),
    Row(None, "InefficientFilter", GIVE_UP, End.BAD_REQUEST),
    Row(None, "InvalidVersion", GIVE_UP, End.BAD_REQUEST),
    Row(None, "Request_UnsupportedQuery", GIVE_UP, End.BAD_REQUEST),
    Row(None, "Directory_ExpiredPageToken", RESTART, End.SERVICE_ERROR),
    Row(None, "ErrorInvalidIdMalformed", GIVE_UP, End.BAD_REQUEST),
    # 401: the token, or nothing we may ever read
    Row(401, "", TOKEN, End.REFUSED),
    Row(None, "InvalidAuthenticationToken", TOKEN, End.REFUSED),
    Row(401, "unauthenticated", TOKEN, End.REFUSED),
    Row(401, CLAIMS_CHALLENGE, TOKEN, End.REFUSED),
    Row(None, "Authorization_IdentityNotFound", GIVE_UP, End.REFUSED),
    Row(401, "AuthenticationError", TOKEN, End.NO_MAILBOX),  # Exchange's catch-all for users without a licence
    Row(401, "Unauthorized", TOKEN, End.NO_MAILBOX),
    # 402: metering remnants or a missing licence
    Row(402, "", GIVE_UP, End.DENIED),
    # 403
    Row(403, "", GIVE_UP, End.FORBIDDEN),
    Row(403, "Authorization_RequestDenied", TOKEN, End.DENIED),  # consent may be newer than the token
    Row(403, "ErrorAccessDenied", GIVE_UP, End.OUT_OF_POLICY),
    Row(403, "ErrorAccessDenied", GIVE_UP, End.OUT_OF_POLICY, fragment="access to odata is disabled"),
    Row(403, "Forbidden", GIVE_UP, End.FORBIDDEN),
    Row(403, "Forbidden", TOKEN, End.DENIED, fragment="missing role permissions"),
    Row(403, "Forbidden", GIVE_UP, End.OUT_OF_POLICY, fragment="no application access policy found"),
    Row(403, "Unauthorized", GIVE_UP, End.OUT_OF_POLICY, fragment="is not authorized to"),
    Row(403, "extensionError", GIVE_UP, End.ON_PREMISES_MAILBOX),
    Row(403, "accessDenied", GIVE_UP, End.FORBIDDEN),
    Row(403, "accessDenied", GIVE_UP, End.REFUSED, fragment="has lapsed"),
    Row(403, "notAllowed", GIVE_UP, End.FORBIDDEN),
    Row(403, "notAllowed", GIVE_UP, End.REFUSED, fragment="has lapsed"),
    Row(403, "resourceLocked", GIVE_UP, End.FORBIDDEN),
    Row(403, "resourceLocked", GIVE_UP, End.REFUSED, fragment="has lapsed"),
    Row(None, "quotaLimitReached", GIVE_UP, End.SERVICE_ERROR),
    Row(None, "ErrorQuotaExceeded", GIVE_UP, End.SERVICE_ERROR),
    # 404: no mailbox, no principal, no item
    Row(404, "", RETRY, End.MAYBE_GONE, retries=UNKNOWN_404_RETRIES),
    Row(404, "UnknownError", RETRY, End.MAYBE_GONE, retries=UNKNOWN_404_RETRIES),
    Row(None, "MailboxNotEnabledForRESTAPI", GIVE_UP, End.NO_MAILBOX),
    Row(None, "MailboxNotSupportedForRESTAPI", GIVE_UP, End.NO_MAILBOX),
    Row(None, "ErrorInvalidUser", GIVE_UP, End.NO_MAILBOX),
    Row(404, "ResourceNotFound", GIVE_UP, End.NO_MAILBOX),
    Row(404, "Request_ResourceNotFound", GIVE_UP, End.DELETED),
    Row(404, "ErrorItemNotFound", GIVE_UP, End.ITEM_GONE),
    Row(404, "itemNotFound", GIVE_UP, End.ITEM_GONE),
    Row(404, "ErrorSyncFolderNotFound", GIVE_UP, End.ITEM_GONE),
    Row(404, "NotFound", GIVE_UP, End.ITEM_GONE),
    # other client errors
    Row(405, "", GIVE_UP, End.BAD_REQUEST),
    Row(406, "", GIVE_UP, End.BAD_REQUEST),
    Row(408, "", RETRY, End.TIMEOUT),
    Row(409, "", RETRY, End.SERVICE_ERROR, retries=CONFLICT_RETRIES),
    Row(410, "", RESTART, End.SERVICE_ERROR),
    Row(None, "syncStateNotFound", RESTART, End.SERVICE_ERROR),
    Row(None, "SyncStateInvalid", RESTART, End.SERVICE_ERROR),
    Row(None, "resyncRequired", RESTART, End.SERVICE_ERROR),
    Row(411, "", GIVE_UP, End.BAD_REQUEST),
    Row(412, "", RETRY, End.SERVICE_ERROR, retries=CONFLICT_RETRIES),
    Row(415, "", GIVE_UP, End.BAD_REQUEST),
    Row(423, "", GIVE_UP, End.SERVICE_ERROR),
    Row(423, "Locked", GIVE_UP, End.SERVICE_ERROR),
    Row(423, "resourceLocked", GIVE_UP, End.SERVICE_ERROR),
    Row(423, "notAllowed", GIVE_UP, End.SERVICE_ERROR),
    # throttled, whatever the status says
    Row(429, "", THROTTLE, End.THROTTLED),
    Row(None, "ApplicationThrottled", THROTTLE, End.THROTTLED),
    Row(None, "TooManyRequests", THROTTLE, End.THROTTLED),
    Row(None, "activityLimitReached", THROTTLE, End.THROTTLED),
    Row(None, "Request_ThrottledTemporarily", THROTTLE, End.THROTTLED),
    Row(None, "ErrorExceededConnectionCount", THROTTLE, End.THROTTLED),
    Row(None, "throttledRequest", THROTTLE, End.THROTTLED),
    Row(509, "", THROTTLE, End.THROTTLED, pause_s=BANDWIDTH_PAUSE_S),
    # 5xx: the service, mostly for a moment
    Row(500, "", RETRY, End.SERVICE_ERROR),
    Row(500, "InternalServerError", RETRY, End.SERVICE_ERROR),
    Row(500, "generalException", RETRY, End.SERVICE_ERROR),
    Row(500, "UnknownError", RETRY, End.SERVICE_ERROR),
    Row(None, "ErrorInternalServerError", RETRY, End.SERVICE_ERROR),
    Row(None, "ErrorInternalServerTransientError", RETRY, End.SERVICE_ERROR),
    Row(None, "ErrorCorruptData", ISOLATE, End.SERVICE_ERROR, retries=DAMAGED_ITEM_RETRIES),
    Row(None, "ErrorInvalidRecipients", ISOLATE, End.SERVICE_ERROR, retries=DAMAGED_ITEM_RETRIES),
    Row(None, "ErrorCannotOpenFileAttachment", ISOLATE, End.SERVICE_ERROR, retries=DAMAGED_ITEM_RETRIES),
    Row(None, "ErrorMailboxStoreUnavailable", RETRY, End.SERVICE_ERROR, pause_s=BUSY_STORE_PAUSE_S),
    Row(None, "ErrorServerBusy", RETRY, End.SERVICE_ERROR, pause_s=BUSY_STORE_PAUSE_S),
    Row(None, "ErrorMailboxMoveInProgress", RETRY, End.SERVICE_ERROR, pause_s=BUSY_STORE_PAUSE_S),
    Row(None, "ErrorTimeoutExpired", RETRY, End.SERVICE_ERROR, pause_s=BUSY_STORE_PAUSE_S),
    Row(501, "", GIVE_UP, End.BAD_REQUEST),
    Row(501, "NotImplemented", GIVE_UP, End.BAD_REQUEST),
    Row(502, "", SMALLER_PAGE, End.SERVICE_ERROR),
    Row(502, "BadGateway", SMALLER_PAGE, End.SERVICE_ERROR),
    Row(502, "UnknownError", SMALLER_PAGE, End.SERVICE_ERROR),
    Row(503, "", RETRY, End.SERVICE_ERROR),
    Row(503, "serviceNotAvailable", RETRY, End.SERVICE_ERROR),
    Row(503, "ServiceUnavailable", RETRY, End.SERVICE_ERROR),
    Row(503, "UnknownError", RETRY, End.SERVICE_ERROR),
    Row(503, "MailboxInfoStale", RETRY, End.SERVICE_ERROR),  # persistent only where a mailbox is addressed by name
    Row(504, "", SMALLER_PAGE, End.SERVICE_ERROR),
    Row(504, "GatewayTimeout", SMALLER_PAGE, End.SERVICE_ERROR),
    Row(504, "UnknownError", SMALLER_PAGE, End.SERVICE_ERROR),
    Row(507, "", GIVE_UP, End.SERVICE_ERROR),
)

# What the client itself finds wrong; the words become codes in the run's report.
NETWORK_FAULTS: Mapping[str, Row] = {
    "connection_failed": Row(None, "connection_failed", RETRY, End.NETWORK),
    "connection_broken": Row(None, "connection_broken", RETRY, End.NETWORK),
    "proxy_failed": Row(None, "proxy_failed", RETRY, End.NETWORK),
    "timed_out": Row(None, "timed_out", SMALLER_PAGE, End.TIMEOUT),
    UNTRUSTED: Row(None, UNTRUSTED, GIVE_UP, End.REFUSED),
}
ANSWER_FAULTS: Mapping[str, Row] = {
    "malformed_json": Row(200, "malformed_json", RETRY, End.BAD_ANSWER),
    "missing_value": Row(200, "missing_value", RETRY, End.BAD_ANSWER),
    "error_in_success": Row(200, "error_in_success", RETRY, End.BAD_ANSWER),
    "html_page": Row(200, "html_page", RETRY, End.BAD_ANSWER),  # a captive proxy
    "body_too_large": Row(200, "body_too_large", SMALLER_PAGE, End.BAD_ANSWER),
    "redirected": Row(None, "redirected", RETRY, End.BAD_ANSWER),
    "unexpected_status": Row(None, "unexpected_status", RETRY, End.BAD_ANSWER),
    "foreign_next_link": Row(200, "foreign_next_link", GIVE_UP, End.BAD_ANSWER),
    "next_link_without_user": Row(200, "next_link_without_user", RESTART, End.BAD_ANSWER),
    "repeated_next_link": Row(200, "repeated_next_link", GIVE_UP, End.BAD_ANSWER),
    "endless_empty_pages": Row(200, "endless_empty_pages", GIVE_UP, End.BAD_ANSWER),
}

_OTHER_CLIENT_ERROR = Row(None, "", GIVE_UP, End.BAD_REQUEST)
_OTHER_SERVER_ERROR = Row(None, "", RETRY, End.SERVICE_ERROR)


class GraphError(Exception):
    """Root of what stays inside `connectors`; the run knows only `pipeline.errors`."""


@dataclass(eq=False)
class Refusal(GraphError):
    """One refused attempt; `outcome` turns it into what the run knows."""

    row: Row
    code: str
    is_known: bool = True
    status: int | None = None
    request_id: str = ""
    roles: tuple[str, ...] = ()
    retry_after_s: float | None = None
    is_app_wide: bool = False  # the throttle concerns the application in all tenants
    claims: str = field(default="", repr=False)  # JSON that a new token has to be asked for with

    def __str__(self) -> str:
        return f"{self.status or 'no answer'} {self.code}"


def fault(word: str, *, status: int | None = None, request_id: str = "") -> Refusal:
    """A refusal for something the client found wrong itself: a key of NETWORK_FAULTS or ANSWER_FAULTS."""
    row = NETWORK_FAULTS.get(word) or ANSWER_FAULTS[word]
    return Refusal(row, word, status=status, request_id=checked_request_id(request_id))


def classify(
    status: int,
    body: bytes,
    *,
    request_id: str = "",
    retry_after_s: float | None = None,
    throttle_scope: str = "",
    claims: str = "",
) -> Refusal:
    """What an answer other than 200 means. `throttle_scope`: the header x-ms-throttle-scope of the directory.
    `claims`: those that a claims challenge demands.

    A failure that names a Retry-After is a throttle: it costs time behind the fence, not attempts.
    """
    if 300 <= status < 400:
        return fault("redirected", status=status, request_id=request_id)
    if status < 300:
        return fault("unexpected_status", status=status, request_id=request_id)
    stated = Stated.of(body)
    if claims:
        stated = replace(stated, codes=(*stated.codes, CLAIMS_CHALLENGE))
    row = _row_for(status, stated)
    code = row.code if row else safe_code(stated.codes[-1]) if stated.codes else f"http_{status}"
    is_known = row is not None or not stated.codes
    row = row or _ROWS_BY_STATUS.get(status) or (_OTHER_SERVER_ERROR if status >= 500 else _OTHER_CLIENT_ERROR)
    if retry_after_s is not None and row.then in (RETRY, SMALLER_PAGE):
        row = replace(row, then=THROTTLE)
    return Refusal(
        row,
        code,
        is_known=is_known,
        status=status,
        request_id=checked_request_id(request_id),
        roles=stated.roles,
        retry_after_s=retry_after_s,
        is_app_wide=throttle_scope.lower().startswith("application/"),
        claims=claims,
    )


def outcome(refusal: Refusal, *, roles: tuple[str, ...] = ()) -> ExportError:
    """The error the run acts on. `roles` would do for the dataset, where Graph does not name any itself."""
    facts = {"code": refusal.code, "request_id": refusal.request_id}
    match refusal.row.end:
        case End.NO_MAILBOX:
            return UnitSkipped(SkipReason.NO_MAILBOX, code=refusal.code)
        case End.ON_PREMISES_MAILBOX:
            return UnitSkipped(SkipReason.ON_PREMISES_MAILBOX, code=refusal.code)
        case End.OUT_OF_POLICY:
            return UnitSkipped(SkipReason.OUT_OF_POLICY, code=refusal.code)
        case End.DELETED | End.ITEM_GONE:
            return UnitSkipped(SkipReason.DELETED_PRINCIPAL, code=refusal.code)
        case End.DENIED:
            return DatasetDenied(needs=refusal.roles or roles, **facts)
        case End.REFUSED:
            what, remedy = _REFUSED.get(refusal.code.lower(), _REFUSED[""])
            reason = FailReason.NETWORK if refusal.code == UNTRUSTED else FailReason.PERMISSION
            return SourceRefused(what, remedy=remedy, code=refusal.code, reason=reason)
        case end:
            return UnitFailed(_FAIL_REASONS[end], **facts)


_FAIL_REASONS = {
    End.MAYBE_GONE: FailReason.UNKNOWN_ERROR,
    End.BAD_REQUEST: FailReason.UNKNOWN_ERROR,
    End.FORBIDDEN: FailReason.PERMISSION,
    End.SERVICE_ERROR: FailReason.SERVICE_ERROR,
    End.THROTTLED: FailReason.THROTTLED,
    End.NETWORK: FailReason.NETWORK,
    End.TIMEOUT: FailReason.TIMEOUT,
    End.BAD_ANSWER: FailReason.BAD_ANSWER,
}

_REFUSED: Mapping[str, tuple[str, str]] = {
    "": (
        "Microsoft Graph refuses every request of this application",
        "Check that tenant.cloud, tenant.graph and the application registration belong together",
    ),
    "invalidauthenticationtoken": (
        "Microsoft Graph does not accept the token, not even a fresh one",
        "Check that tenant.cloud matches the tenant: a token of one cloud is refused by another",
    ),
    "authorization_identitynotfound": (
        "The application is not known in this tenant",
        "Grant admin consent, so that the tenant has a service principal for the application",
    ),
    "accessdenied": (
        "The tenant's subscription has lapsed",
        "Renew the Microsoft 365 subscription of the tenant, or remove the tenant from the configuration",
    ),
    CLAIMS_CHALLENGE: (
        "Microsoft Graph refuses the application although its token is new",
        "Look in Entra whether the application is disabled or risky, or kept out by Conditional Access",
    ),
    UNTRUSTED: (
        "The TLS certificate of Microsoft Graph, or of a proxy in between, is not trusted",
        "Name the proxy's certificate authority in tenant.ca_file",
    ),
}
_REFUSED = {**_REFUSED, "notallowed": _REFUSED["accessdenied"], "resourcelocked": _REFUSED["accessdenied"]}

_ROWS_BY_CODE: dict[str, list[Row]] = {}
_ROWS_BY_STATUS: dict[int, Row] = {}
for _row in TABLE:
    if _row.code:
        _ROWS_BY_CODE.setdefault(_row.code.lower(), []).append(_row)
    elif _row.status is not None:
        _ROWS_BY_STATUS[_row.status] = _row


def _row_for(status: int, stated: Stated) -> Row | None:
    """The table's row for the innermost code it knows, the one that fits status and message best."""
    for code in reversed(stated.codes):
        rows = [
            row
            for row in _ROWS_BY_CODE.get(code.lower(), ())
            if row.status in (None, status) and row.fragment in stated.text
        ]
        if rows:
            return max(rows, key=lambda row: (len(row.fragment), row.status is not None))
    return None
