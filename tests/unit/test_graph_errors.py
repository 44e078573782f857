"""The error table: every documented refusal, the innermost known code, and nothing personal in a message."""

import json

import pytest

from connectors.graph.errors import (
    ANSWER_FAULTS,
    NETWORK_FAULTS,
    TABLE,
    Disposition,
    End,
    Refusal,
    classify,
    fault,
    outcome,
)
from pipeline.errors import DatasetDenied, FailReason, SkipReason, SourceRefused, UnitFailed, UnitSkipped

D = Disposition

# What Microsoft documents, or others have met: status, code, message, then what is done and how it ends.
CATALOGUE: list[tuple[int, str, str, Disposition, End]] = [
    (400, "BadRequest", "", D.GIVE_UP, End.BAD_REQUEST),
    (400, "Request_BadRequest", "Invalid page size specified: '1000'.", D.GIVE_UP, End.BAD_REQUEST),
    (400, "RequestBroker--ParseUri", "", D.GIVE_UP, End.BAD_REQUEST),
    (400, "invalidRequest", "", D.GIVE_UP, End.BAD_REQUEST),
    (400, "InefficientFilter", "", D.GIVE_UP, End.BAD_REQUEST),
    (400, "", "The limit of '50' for Top query has been exceeded.", D.GIVE_UP, End.BAD_REQUEST),
    (400, "Directory_ExpiredPageToken", "", D.RESTART, End.SERVICE_ERROR),
    (400, "ErrorInvalidIdMalformed", "", D.GIVE_UP, End.BAD_REQUEST),
    (400, "BadRequest", "Parameter 'DeltaToken' not supported for this request", D.GIVE_UP, End.BAD_REQUEST),
    (400, "InvalidVersion", "", D.GIVE_UP, End.BAD_REQUEST),
    (400, "Request_UnsupportedQuery", "", D.GIVE_UP, End.BAD_REQUEST),
    (401, "InvalidAuthenticationToken", "Lifetime validation failed", D.TOKEN, End.REFUSED),
    (401, "", "", D.TOKEN, End.REFUSED),
    (401, "unauthenticated", "", D.TOKEN, End.REFUSED),
    (401, "AuthenticationError", "", D.TOKEN, End.NO_MAILBOX),
    (401, "Unauthorized", "", D.TOKEN, End.NO_MAILBOX),
    (401, "insufficient_claims", "", D.TOKEN, End.REFUSED),
    (401, "Authorization_IdentityNotFound", "", D.GIVE_UP, End.REFUSED),
    (402, "PaymentRequired", "", D.GIVE_UP, End.DENIED),
    (403, "Authorization_RequestDenied", "Insufficient privileges", D.TOKEN, End.DENIED),
    (403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.", D.GIVE_UP, End.OUT_OF_POLICY),
    (403, "ErrorAccessDenied", "Access to OData is disabled.", D.GIVE_UP, End.OUT_OF_POLICY),
    (403, "Forbidden", "Missing role permissions on the request.", D.TOKEN, End.DENIED),
    (403, "Forbidden", "No application access policy found for this app", D.GIVE_UP, End.OUT_OF_POLICY),
    (403, "Unauthorized", "App x is not authorized to perform this", D.GIVE_UP, End.OUT_OF_POLICY),
    (403, "Forbidden", "something else", D.GIVE_UP, End.FORBIDDEN),
    (403, "extensionError", "", D.GIVE_UP, End.ON_PREMISES_MAILBOX),
    (403, "accessDenied", "subscription within the tenant has lapsed", D.GIVE_UP, End.REFUSED),
    (403, "notAllowed", "subscription within the tenant has lapsed", D.GIVE_UP, End.REFUSED),
    (403, "resourceLocked", "subscription within the tenant has lapsed", D.GIVE_UP, End.REFUSED),
    (403, "accessDenied", "", D.GIVE_UP, End.FORBIDDEN),
    (403, "notAllowed", "", D.GIVE_UP, End.FORBIDDEN),
    (403, "resourceLocked", "", D.GIVE_UP, End.FORBIDDEN),
    (403, "", "", D.GIVE_UP, End.FORBIDDEN),
    (403, "quotaLimitReached", "", D.GIVE_UP, End.SERVICE_ERROR),
    (403, "ErrorQuotaExceeded", "", D.GIVE_UP, End.SERVICE_ERROR),
    (404, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive", D.GIVE_UP, End.NO_MAILBOX),
    (404, "MailboxNotSupportedForRESTAPI", "", D.GIVE_UP, End.NO_MAILBOX),
    (404, "ErrorInvalidUser", "The requested user 'x' is invalid.", D.GIVE_UP, End.NO_MAILBOX),
    (404, "ResourceNotFound", "Resource could not be discovered.", D.GIVE_UP, End.NO_MAILBOX),
    (404, "Request_ResourceNotFound", "", D.GIVE_UP, End.DELETED),
    (404, "ErrorItemNotFound", "", D.GIVE_UP, End.ITEM_GONE),
    (404, "itemNotFound", "", D.GIVE_UP, End.ITEM_GONE),
    (404, "ErrorSyncFolderNotFound", "", D.GIVE_UP, End.ITEM_GONE),
    (404, "NotFound", "", D.GIVE_UP, End.ITEM_GONE),
    (404, "UnknownError", "", D.RETRY, End.MAYBE_GONE),
    (404, "", "", D.RETRY, End.MAYBE_GONE),
    (405, "", "", D.GIVE_UP, End.BAD_REQUEST),
    (406, "", "", D.GIVE_UP, End.BAD_REQUEST),
    (408, "", "", D.RETRY, End.TIMEOUT),
    (409, "", "", D.RETRY, End.SERVICE_ERROR),
    (410, "syncStateNotFound", "", D.RESTART, End.SERVICE_ERROR),
    (410, "SyncStateInvalid", "", D.RESTART, End.SERVICE_ERROR),
    (400, "resyncRequired", "", D.RESTART, End.SERVICE_ERROR),
    (410, "", "", D.RESTART, End.SERVICE_ERROR),
    (411, "", "", D.GIVE_UP, End.BAD_REQUEST),
    (412, "", "", D.RETRY, End.SERVICE_ERROR),
    (415, "", "", D.GIVE_UP, End.BAD_REQUEST),
    (423, "", "", D.GIVE_UP, End.SERVICE_ERROR),
    (423, "Locked", "", D.GIVE_UP, End.SERVICE_ERROR),
    (423, "resourceLocked", "", D.GIVE_UP, End.SERVICE_ERROR),
    (423, "notAllowed", "", D.GIVE_UP, End.SERVICE_ERROR),
    (429, "ApplicationThrottled", "over its MailboxConcurrency limit", D.THROTTLE, End.THROTTLED),
    (429, "TooManyRequests", "", D.THROTTLE, End.THROTTLED),
    (429, "activityLimitReached", "", D.THROTTLE, End.THROTTLED),
    (429, "Request_ThrottledTemporarily", "", D.THROTTLE, End.THROTTLED),
    (429, "ErrorExceededConnectionCount", "", D.THROTTLE, End.THROTTLED),
    (429, "throttledRequest", "", D.THROTTLE, End.THROTTLED),
    (429, "", "", D.THROTTLE, End.THROTTLED),
    (500, "", "", D.RETRY, End.SERVICE_ERROR),
    (500, "InternalServerError", "", D.RETRY, End.SERVICE_ERROR),
    (500, "generalException", "", D.RETRY, End.SERVICE_ERROR),
    (500, "UnknownError", "", D.RETRY, End.SERVICE_ERROR),
    (500, "ErrorInternalServerError", "", D.RETRY, End.SERVICE_ERROR),
    (500, "ErrorInternalServerTransientError", "", D.RETRY, End.SERVICE_ERROR),
    (500, "ErrorCorruptData", "Data is corrupt., Invalid global object ID", D.ISOLATE, End.SERVICE_ERROR),
    (500, "ErrorInvalidRecipients", "", D.ISOLATE, End.SERVICE_ERROR),
    (500, "ErrorCannotOpenFileAttachment", "OLE conversion failed", D.ISOLATE, End.SERVICE_ERROR),
    (503, "ErrorMailboxStoreUnavailable", "", D.RETRY, End.SERVICE_ERROR),
    (503, "ErrorServerBusy", "", D.RETRY, End.SERVICE_ERROR),
    (500, "ErrorMailboxMoveInProgress", "", D.RETRY, End.SERVICE_ERROR),
    (503, "ErrorTimeoutExpired", "", D.RETRY, End.SERVICE_ERROR),
    (501, "", "", D.GIVE_UP, End.BAD_REQUEST),
    (501, "NotImplemented", "", D.GIVE_UP, End.BAD_REQUEST),
    (502, "", "", D.SMALLER_PAGE, End.SERVICE_ERROR),
    (502, "BadGateway", "", D.SMALLER_PAGE, End.SERVICE_ERROR),
    (502, "UnknownError", "", D.SMALLER_PAGE, End.SERVICE_ERROR),
    (503, "serviceNotAvailable", "", D.RETRY, End.SERVICE_ERROR),
    (503, "ServiceUnavailable", "", D.RETRY, End.SERVICE_ERROR),
    (503, "UnknownError", "", D.RETRY, End.SERVICE_ERROR),
    (503, "MailboxInfoStale", "", D.RETRY, End.SERVICE_ERROR),
    (503, "", "", D.RETRY, End.SERVICE_ERROR),
    (504, "", "", D.SMALLER_PAGE, End.SERVICE_ERROR),
    (504, "GatewayTimeout", "", D.SMALLER_PAGE, End.SERVICE_ERROR),
    (504, "UnknownError", "", D.SMALLER_PAGE, End.SERVICE_ERROR),
    (507, "", "", D.GIVE_UP, End.SERVICE_ERROR),
    (509, "", "", D.THROTTLE, End.THROTTLED),
]


def _body(code: str, message: str = "", **inner: object) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, **inner}}).encode()


@pytest.mark.parametrize(("status", "code", "message", "then", "end"), CATALOGUE)
def test_every_documented_refusal_has_its_row(
    status: int, code: str, message: str, then: Disposition, end: End
) -> None:
    """Status, code and message lead to the disposition and the end we decided on."""
    refusal = classify(status, _body(code, message))
    assert (refusal.row.then, refusal.row.end) == (then, end)


def test_the_catalogue_covers_the_table() -> None:
    """No row of the table is untested, so that none can be wrong unnoticed."""
    met = {id(classify(status, _body(code, message)).row) for status, code, message, _, _ in CATALOGUE}
    assert [(row.status, row.code, row.fragment) for row in TABLE if id(row) not in met] == []


@pytest.mark.parametrize("spelling", ["innerError", "innererror", "InnerError"])
def test_the_innermost_known_code_wins(spelling: str) -> None:
    """A specific code inside a general one decides, whatever the spelling and the casing."""
    inner = {"code": "unheard_of", spelling: {"code": "mailboxnotenabledforrestapi"}}
    refusal = classify(404, json.dumps({"error": {"code": "UnknownError", spelling: inner}}).encode())
    assert refusal.row.end is End.NO_MAILBOX
    assert refusal.code == "MailboxNotEnabledForRESTAPI"


def test_codes_in_details_and_in_json_text_count() -> None:
    """`details` is searched, and JSON that Teams puts into the message."""
    assert classify(400, _body("BadRequest", details=[{"code": "resyncRequired"}])).row.then is D.RESTART
    text = json.dumps({"errorCode": "NotFound", "message": "gone"})
    assert classify(404, _body("UnknownError", text)).row.end is End.ITEM_GONE


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b'{"error": null}', b'{"error":{"code":7}}', b"\xff"])
def test_bodies_without_sense_fall_back_to_the_status(body: bytes) -> None:
    """Gateways answer with HTML or nothing at all."""
    refusal = classify(503, body)
    assert refusal.row.then is D.RETRY
    assert (refusal.code, refusal.is_known) == ("http_503", True)


def test_deep_nesting_ends() -> None:
    """A body that nests without end is followed a few levels only."""
    for levels in (50, 50_000):
        body = b'{"innerError":' * levels + b"{}" + b"}" * levels
        assert classify(500, body).row.then is D.RETRY


def test_unknown_codes_are_marked() -> None:
    """A code the table lacks keeps its name, and its status decides."""
    refusal = classify(418, _body("SomethingNew"))
    assert (refusal.code, refusal.is_known, refusal.row.then) == ("SomethingNew", False, D.GIVE_UP)
    assert classify(599, _body("SomethingNew")).row.then is D.RETRY


@pytest.mark.parametrize(
    "code",
    ["ada@example.test", "User 5c1f9f8e-0000-0000-0000-000000000001", "5c1f9f8e-1111", "x" * 65, "n123456", "a/b"],
)
def test_codes_that_could_hold_a_value_are_not_repeated(code: str) -> None:
    """Only what looks like a code is one."""
    assert classify(400, _body(code)).code == "unreadable_code"


def test_missing_roles_are_named() -> None:
    """Teams says which permissions would do; the operator reads them."""
    message = (
        "Missing role permissions on the request. API requires one of 'Chat.ReadBasic.All, Chat.Read.All'. "
        "Roles on the request 'User.Read.All'."
    )
    error = outcome(classify(403, _body("Forbidden", message)), roles=("Other.Role",))
    assert isinstance(error, DatasetDenied)
    assert error.needs == ("Chat.ReadBasic.All", "Chat.Read.All")
    silent = outcome(classify(403, _body("Authorization_RequestDenied")), roles=("User.Read.All",))
    assert isinstance(silent, DatasetDenied)
    assert silent.needs == ("User.Read.All",)


@pytest.mark.parametrize("end", list(End))
def test_every_end_becomes_an_error_of_the_run(end: End) -> None:
    """No end is left without a meaning."""
    rows = [row for row in (*TABLE, *NETWORK_FAULTS.values(), *ANSWER_FAULTS.values()) if row.end is end]
    error = outcome(Refusal(rows[0], rows[0].code))
    assert isinstance(error, UnitSkipped | UnitFailed | SourceRefused)


def test_expected_skips_and_failures() -> None:
    """The reasons the run reports."""

    def skip(status: int, code: str, message: str = "") -> SkipReason:
        error = outcome(classify(status, _body(code, message)))
        assert isinstance(error, UnitSkipped)
        return error.reason

    assert skip(404, "MailboxNotEnabledForRESTAPI") is SkipReason.NO_MAILBOX
    assert skip(403, "extensionError") is SkipReason.ON_PREMISES_MAILBOX
    assert skip(403, "ErrorAccessDenied") is SkipReason.OUT_OF_POLICY
    assert skip(404, "Request_ResourceNotFound") is SkipReason.DELETED_PRINCIPAL
    failed = outcome(classify(404, b"", request_id="5c0f-aa"))
    assert isinstance(failed, UnitFailed)
    assert (failed.reason, failed.code, failed.request_id) == (FailReason.UNKNOWN_ERROR, "http_404", "5c0f-aa")


def test_a_lapsed_subscription_refuses_everything() -> None:
    """What no unit can get past stops the run, with a remedy."""
    error = outcome(classify(403, _body("accessDenied", "the subscription within the tenant has lapsed")))
    assert isinstance(error, SourceRefused)
    assert "Renew" in error.remedy


def test_a_failure_with_retry_after_is_a_throttle() -> None:
    """It costs time behind the fence, not attempts."""
    assert classify(503, b"", retry_after_s=5).row.then is D.THROTTLE
    assert classify(504, b"", retry_after_s=5).row.then is D.THROTTLE
    assert classify(404, _body("ErrorInvalidUser"), retry_after_s=5).row.then is D.GIVE_UP


def test_the_directory_says_when_the_whole_application_is_throttled() -> None:
    """x-ms-throttle-scope tells application and tenant apart."""
    assert classify(429, b"", throttle_scope="Application/ReadWrite/a/t").is_app_wide
    assert not classify(429, b"", throttle_scope="Tenant_Application/ReadWrite/a/t").is_app_wide


def test_request_ids_that_are_none_are_dropped() -> None:
    """A header is not trusted to hold what it should."""
    assert classify(500, b"", request_id="ada@example.test").request_id == ""
    assert fault("malformed_json", request_id="x y").request_id == ""


def test_redirects_and_other_successes_are_faults() -> None:
    """Only 200 is an answer."""
    assert classify(302, b"").code == "redirected"
    assert classify(204, b"").code == "unexpected_status"
