"""Refusals in the shapes that the services behind Graph give them.

https://learn.microsoft.com/graph/errors (checked 2026-11): `innerError` is spelled in two ways, may nest, and its
`date` has no zone. Messages are those seen in the field; a client must not depend on them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class GraphError(Exception):
    """An answer other than success. `inner_code` goes into a nested innerError."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        inner_code: str | None = None,
    ) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.inner_code = inner_code

    def body(self, *, date: str, request_id: str, client_request_id: str) -> dict[str, Any]:
        """The JSON of the answer."""
        inner: dict[str, Any] = {"date": date, "request-id": request_id, "client-request-id": client_request_id}
        if self.inner_code is not None:
            inner = {"code": self.inner_code, "innerError": inner}
        spelling = "innererror" if self.status == 403 else "innerError"
        return {"error": {"code": self.code, "message": self.message, spelling: inner}}


def bad_query(message: str, *, code: str = "BadRequest") -> GraphError:
    """400: the query cannot be understood."""
    return GraphError(400, code, message)


def unsupported_query(message: str) -> GraphError:
    """400 of the directory: understood, but not offered, or only in advanced mode."""
    return GraphError(400, "Request_UnsupportedQuery", message)


def not_authenticated(message: str) -> GraphError:
    """401: no token, an expired or a strange one."""
    return GraphError(401, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": 'Bearer realm=""'})


def claims_demanded(claims: str, *, authority: str) -> GraphError:
    """401: a claims challenge of Continuous Access Evaluation; `claims` in base64."""
    challenge = (
        f'Bearer realm="", authorization_uri="{authority}/oauth2/v2.0/authorize", '
        f'error="insufficient_claims", claims="{claims}"'
    )
    message = "Continuous access evaluation resulted in challenge with result: InteractionRequired."
    return GraphError(401, "InvalidAuthenticationToken", message, headers={"WWW-Authenticate": challenge})


def corrupt_data() -> GraphError:
    """500: an item of the page cannot be read, so the page cannot."""
    return GraphError(500, "ErrorCorruptData", "Data is corrupt., Invalid global object ID")


def unknown_segment(name: str) -> GraphError:
    """400: a path that Graph does not have."""
    return GraphError(400, "BadRequest", f"Resource not found for the segment '{name}'.")


def no_directory_object(name: str) -> GraphError:
    """404 of the directory."""
    return GraphError(
        404,
        "Request_ResourceNotFound",
        f"Resource '{name}' does not exist or one of its queried reference-property objects are not present.",
    )


def directory_denied() -> GraphError:
    """403 of the directory: a role is missing."""
    return GraphError(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")


def mailbox_denied() -> GraphError:
    """403 of Exchange: a role is missing, or role-based access control leaves this mailbox out."""
    return GraphError(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")


def teams_denied(needed: Sequence[str], held: Sequence[str]) -> GraphError:
    """403 of Teams: lists the roles that would do."""
    message = (
        f"Missing role permissions on the request. API requires one of '{', '.join(needed)}'. "
        f"Roles on the request '{', '.join(held)}'."
    )
    return GraphError(403, "Forbidden", message, inner_code="AclCheckFailed-Missing role permissions")


def no_meeting_policy() -> GraphError:
    """403 of Teams: no application access policy covers this user."""
    return GraphError(403, "Forbidden", "No application access policy found for this app on the user.")


def throttled(code: str, message: str, *, retry_after_s: int, headers: Mapping[str, str] = _NO_HEADERS) -> GraphError:
    """429 with Retry-After."""
    return GraphError(429, code, message, headers={"Retry-After": str(retry_after_s), **headers})
