"""Asks Entra, or the machine's identity service, for one token. Blocking: MSAL uses requests.

MSAL (measured on 1.39) shapes this module:
  it reads the authority's discovery document in its constructor, so that is made late and in the same thread;
  `verify=` is overruled by REQUESTS_CA_BUNDLE, so it gets a session of ours;
  it replays refusals from a cache of its own: 429 and 5xx for their Retry-After or 5 s, a 400 for 60 s;
  a refusal is a dictionary with `error`, a status of 500 and above an exception;
  an answer that is no JSON goes to its log as it is, and may hold a token: its log is not let out.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import msal
import requests
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msal.exceptions import MsalServiceError

from connectors.graph.aadsts import SERVICE_PATIENCE_S, codes_in, refused
from connectors.graph.credentials import (
    Assertion,
    Certificate,
    ClientSecret,
    Credential,
    ManagedIdentity,
    managed_identity_client,
)
from connectors.graph.network import Network, TokenSession
from pipeline.errors import FailReason, SourceRefused

CONNECT_S = 10.0
READ_S = 30.0
REPLAYED_400_S = 61.0  # just longer than MSAL replays what it was answered
REPLAYED_5XX_S = 6.0
LONGEST_REPLAY_S = 3_600.0
NONSENSE = "token_service_makes_no_sense"
CHALLENGES_UNDERSTOOD = "CP1"  # https://learn.microsoft.com/entra/identity-platform/claims-challenge (checked 2026-11)

_msal_log = logging.getLogger("msal")
_msal_log.setLevel(logging.CRITICAL + 1)
_msal_log.propagate = False  # should anybody set its level again


@dataclass(frozen=True, slots=True)
class Issued:
    """A token, valid for `lifetime_s`; `refresh_s` is when Entra suggests to renew it."""

    value: str = field(repr=False)
    lifetime_s: float
    refresh_s: float | None = None


class NotIssued(Exception):
    """No token this time: worth another request after `pause_s`, for `patience_s` in all; 0 is final."""

    def __init__(self, refusal: SourceRefused, *, pause_s: float = 0.0, patience_s: float = 0.0) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal
        self.pause_s = pause_s
        self.patience_s = patience_s


class Issuer(Protocol):
    """Gets one token; blocking, one call at a time. Raises NotIssued."""

    def issue(self, claims: str = "") -> Issued:
        """A token; `claims` is the JSON that a claims challenge demands of it."""
        ...


class MsalIssuer:
    """Client credentials through MSAL; a managed identity where there is one."""

    def __init__(
        self,
        *,
        credential: Credential,
        client_id: str,
        tenant_id: str,
        authority: str,
        scope: str,
        known_authority: bool,
        network: Network,
        continuous_access: bool = False,
    ) -> None:
        """`authority`: scheme and host; `known_authority`: it is one of Microsoft's own, not an override.

        `continuous_access`: tell Entra that we understand claims challenges; off by default, see
        `connectors.graph.challenge`.
        """
        self._credential = credential
        self._client_id = client_id
        self._authority = f"{authority.rstrip('/')}/{tenant_id}"
        self._scope = scope
        self._known_authority = known_authority
        self._network = network
        self._capabilities = [CHALLENGES_UNDERSTOOD] if continuous_access else None
        self._session: TokenSession | None = None
        self._application: msal.ConfidentialClientApplication | None = None

    def issue(self, claims: str = "") -> Issued:
        """A token straight from the service, never from MSAL's cache."""
        try:
            answer = self._ask(claims)
        except SourceRefused as no_assertion:
            raise NotIssued(no_assertion) from None
        except (requests.RequestException, MsalServiceError):
            raise self._unavailable("token_service_unavailable", FailReason.NETWORK) from None
        except ValueError as error:
            if isinstance(error, json.JSONDecodeError) or isinstance(error.__context__, json.JSONDecodeError):
                # Cut off on the way, or a web page of some proxy.
                raise self._unavailable(NONSENSE, FailReason.BAD_ANSWER) from None
            raise self._no_authority(error) from None  # MSAL's constructor: no discovery document
        except (RuntimeError, LookupError, TypeError, AttributeError):  # how MSAL stumbles over a redirect, a list
            raise self._unavailable(NONSENSE, FailReason.BAD_ANSWER) from None
        finally:
            if self._session is not None:
                self._session.close()  # its connections would idle for an hour; the session itself stays usable
        token = answer.get("access_token")
        if not isinstance(token, str):
            raise self._refused(answer)
        return Issued(token, _seconds(answer.get("expires_in")) or 0.0, _seconds(answer.get("refresh_in")))

    def _ask(self, claims: str) -> Mapping[str, object]:
        if isinstance(self._credential, ManagedIdentity):  # Entra does not challenge managed identities
            return self._ask_machine(self._credential)
        return self._ask_entra(self._credential, claims)

    def _ask_entra(self, credential: ClientSecret | Certificate | Assertion, claims: str) -> Mapping[str, object]:
        if self._application is None:
            self._session = self._session or self._network.session(connect_s=CONNECT_S, read_s=READ_S)
            self._application = msal.ConfidentialClientApplication(
                self._client_id,
                client_credential=_msal_form(credential),
                authority=self._authority,
                instance_discovery=None if self._known_authority else False,
                http_client=self._session,
                client_capabilities=self._capabilities,
            )
        self._application.remove_tokens_for_client()
        answer: Mapping[str, object] = self._application.acquire_token_for_client(
            [self._scope], claims_challenge=claims or None
        )
        return answer

    def _ask_machine(self, identity: ManagedIdentity) -> Mapping[str, object]:
        # A metadata service is reached without a proxy; a new client has no cache of earlier answers.
        with TokenSession(Network(), connect_s=CONNECT_S, read_s=READ_S) as session:
            self._session = session
            client = managed_identity_client(identity.client_id, session)
            resource = self._scope.removesuffix("/.default")
            answer: Mapping[str, object] = client.acquire_token_for_client(resource=resource)
            return answer

    def _refused(self, answer: Mapping[str, object]) -> NotIssued:
        code = _code_of(answer)
        refusal, patience_s = refused(code, error=_word(answer.get("error")))
        status = self._session.last_status if self._session else None
        if status == 429 and patience_s == 0:
            return self._unavailable("token_service_throttles", FailReason.THROTTLED)
        return NotIssued(refusal, pause_s=max(REPLAYED_400_S, self._replay_s()), patience_s=patience_s)

    def _no_authority(self, error: ValueError) -> NotIssued:
        status = self._session.last_status if self._session else None
        if status is not None and (status >= 500 or status == 429):
            return self._unavailable("authority_unavailable", FailReason.SERVICE_ERROR)
        codes = codes_in(str(error))
        if codes:
            return NotIssued(refused(codes[0])[0])
        return NotIssued(
            SourceRefused(
                "The authority does not know the tenant, or the credential is malformed",
                remedy="Check tenant.id, tenant.cloud, tenant.authority and the credential under auth",
                code="authority_refused",
            )
        )

    def _unavailable(self, code: str, reason: FailReason) -> NotIssued:
        refusal = SourceRefused(
            "The token service cannot be reached or does not answer",
            remedy="Check the network, the proxy and tenant.ca_file; a passing fault needs nothing but time",
            code=code,
            reason=reason,
        )
        return NotIssued(refusal, pause_s=self._replay_s(), patience_s=SERVICE_PATIENCE_S)

    def _replay_s(self) -> float:
        """How long MSAL would replay the last answer, and a second more."""
        stated = self._session.last_retry_after if self._session else None
        if stated is not None and stated.isdecimal():
            return min(float(stated), LONGEST_REPLAY_S) + 1
        return REPLAYED_5XX_S


def _msal_form(credential: ClientSecret | Certificate | Assertion) -> object:
    match credential:
        case ClientSecret(value):
            return value
        case Certificate(pem, password):
            _check_key(pem, password)
            return {
                "private_key": pem,
                "public_certificate": pem,
                **({"passphrase": password} if password else {}),
            }
        case Assertion(read):
            return {"client_assertion": read}


def _check_key(pem: str, password: str | None) -> None:
    """MSAL signs with PS256, and says of any other key only that something is wrong with it."""
    try:
        key = load_pem_private_key(pem.encode(), password.encode() if password else None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SourceRefused(
            "The private key of the certificate cannot be read",
            remedy="auth.certificate holds certificate and key as PEM; auth.certificate_password opens the key",
            code="certificate_unreadable",
        ) from None
    if not isinstance(key, RSAPrivateKey):
        raise SourceRefused(
            "The certificate's key is not an RSA key",
            remedy="Create a certificate with an RSA key: Entra accepts no other signature here",
            code="certificate_not_rsa",
        )


def _code_of(answer: Mapping[str, object]) -> int | None:
    codes = answer.get("error_codes")
    if isinstance(codes, list) and codes and isinstance(codes[0], int):
        return codes[0]
    described = codes_in(str(answer.get("error_description", "")))
    return described[0] if described else None


def _word(error: object) -> str:
    """An OAuth error word such as invalid_client; anything else is not repeated."""
    return error if isinstance(error, str) and error.replace("_", "").isalpha() and len(error) < 40 else ""


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float | str) and str(value).isdecimal() else None
