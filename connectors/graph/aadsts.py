"""Entra's error codes: what each means here, what the operator does about it, and whether waiting may help.

https://learn.microsoft.com/entra/identity-platform/reference-error-codes (checked 2026-11)
https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations (checked 2026-11)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import SourceRefused

SERVICE_PATIENCE_S = 600.0  # how long an unavailable token service is waited for
NEW_CREDENTIAL_PATIENCE_S = 300.0  # a new federated credential takes minutes to reach all of Entra
STALE_ASSERTION_PATIENCE_S = 90.0  # long enough to read a token file once more


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason why there is no token. `patience_s`: how long it may pass by itself; 0 is final."""

    what: str
    remedy: str
    patience_s: float = 0.0


_WRONG_SCOPE = Cause(
    "Entra does not know the resource the token is asked for",
    "Check tenant.cloud: each cloud has a Microsoft Graph host of its own",
)
_WRONG_CERTIFICATE = Cause(
    "Entra does not accept the certificate's signature",
    "Upload the certificate that belongs to the private key in auth.certificate to the application",
)
_NO_CONSENT = Cause(
    "The application has no service principal in the tenant, or it is disabled",
    "Grant admin consent, and enable the enterprise application",
)
_NETWORK = Cause(
    "A proxy's tenant restrictions do not allow this tenant",
    "Ask the network team to let the exporter sign in to this tenant",
)
_BROKEN_REQUEST = Cause("The token request lacks a field", "Check auth: a value is empty that the method needs")
_UNAVAILABLE = Cause(
    "Entra's token service is unavailable", "Try again later; nothing is wrong here", SERVICE_PATIENCE_S
)

CAUSES: Mapping[int, Cause] = {
    7000215: Cause(
        "The client secret is wrong", "Copy the secret's value, not its id, to where auth.client_secret points"
    ),
    7000222: Cause("The client secret has expired", "Create a new one, or use auth.method federated"),
    700016: Cause(
        "The application is unknown in this tenant",
        "Check auth.client_id (the application id, not an object id) and tenant.id, and grant admin consent",
    ),
    90002: Cause("The tenant is unknown", "Check tenant.id and tenant.cloud"),
    900023: Cause("The tenant id is malformed", "Correct tenant.id"),
    50034: Cause("The tenant does not know this identity", "Check tenant.id and auth.client_id"),
    500011: _WRONG_SCOPE,
    70011: _WRONG_SCOPE,
    1002012: _WRONG_SCOPE,
    70021: Cause(
        "No federated credential of the application matches the assertion",
        "Compare issuer, subject and audience of the credential with those of the assertion",
        NEW_CREDENTIAL_PATIENCE_S,
    ),
    700211: Cause(
        "No federated credential has the assertion's issuer", "Correct the issuer of the federated credential"
    ),
    700212: Cause(
        "No federated credential has the assertion's audience",
        "Ask for the assertion with the audience of the federated credential",
    ),
    700213: Cause(
        "No federated credential has the assertion's subject",
        "Correct the subject of the federated credential",
        NEW_CREDENTIAL_PATIENCE_S,
    ),
    700024: Cause(
        "The assertion is outside its time of validity",
        "Check the clock, and that the file with the assertion is renewed",
        STALE_ASSERTION_PATIENCE_S,
    ),
    500133: Cause(
        "The assertion is outside its time of validity",
        "Check the clock, and that the file with the assertion is renewed",
        STALE_ASSERTION_PATIENCE_S,
    ),
    700027: _WRONG_CERTIFICATE,
    50012: _WRONG_CERTIFICATE,
    50048: Cause(
        "Issuer and subject of the assertion disagree", "Check auth.client_id: with a certificate both are it"
    ),
    7000112: _NO_CONSENT,
    7000229: _NO_CONSENT,
    53003: Cause(
        "Conditional Access blocks the application",
        "Exempt the exporter's addresses in the policy for workload identities",
    ),
    500021: _NETWORK,
    500022: _NETWORK,
    900144: _BROKEN_REQUEST,
    90014: _BROKEN_REQUEST,
    90033: _UNAVAILABLE,
    90006: _UNAVAILABLE,
    50033: _UNAVAILABLE,
    90024: _UNAVAILABLE,
    90055: _UNAVAILABLE,
}

_CODE_IN_TEXT = re.compile(r"AADSTS(\d{4,8})")


def codes_in(text: str) -> tuple[int, ...]:
    """The AADSTS codes a message of Entra names, in order."""
    return tuple(int(code) for code in _CODE_IN_TEXT.findall(text))


def refused(code: int | None, *, error: str = "") -> tuple[SourceRefused, float]:
    """The error for a refused token request, and how long waiting may help. `error` is the OAuth word."""
    cause = CAUSES.get(code) if code is not None else None
    name = f"AADSTS{code}" if code is not None else error
    if cause is None:
        cause = Cause(
            "Entra refuses a token to the application" + (f" ({name})" if name else ""),
            "Look the code up at https://login.microsoftonline.com/error, and check auth and tenant",
        )
    return SourceRefused(cause.what, remedy=cause.remedy, code=name or None), cause.patience_s
