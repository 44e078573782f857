"""The token service: who asks, with which proof, and the short-lived token that results.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and .../certificate-credentials
(checked 2026-11). Access tokens expire by the tenant's clock; assertions are dated by the real one, because the
client's library dates them so.
"""

import time
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import msgspec

from connectors.emulator import jose
from connectors.emulator.apps import FEDERATED_AUDIENCE, AppRegistration
from connectors.emulator.clock import Clock

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_GRAPH_AUDIENCES = ("https://graph.microsoft.com", "https://graph.microsoft.us", "https://dod-graph.microsoft.us")
_CHINA_AUDIENCE = "https://microsoftgraph.chinacloudapi.cn"


class TokenRefusal(Exception):
    """An OAuth error answer: status and the AADSTS number."""

    def __init__(self, status: int, error: str, code: int, message: str) -> None:
        super().__init__(f"AADSTS{code}")
        self.status = status
        self.error = error
        self.code = code
        self.message = message

    def body(self, *, timestamp: str) -> dict[str, Any]:
        """The JSON of the answer."""
        trace, correlation = str(uuid4()), str(uuid4())
        description = f"AADSTS{self.code}: {self.message} Trace ID: {trace} Correlation ID: {correlation}"
        return {
            "error": self.error,
            "error_description": f"{description} Timestamp: {timestamp}",
            "error_codes": [self.code],
            "timestamp": timestamp,
            "trace_id": trace,
            "correlation_id": correlation,
            "error_uri": f"https://login.microsoftonline.com/error?code={self.code}",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a valid access token allows."""

    app: AppRegistration = field(repr=False)
    roles: tuple[str, ...]
    expires_at: float
    understands_challenges: bool = False  # its request announced the client capability CP1


@dataclass(slots=True, kw_only=True)
class TokenKnobs:
    """How the token service behaves beyond the ordinary."""

    lifetime_s: int = 3600
    refresh_in_s: int | None = None
    assertion_failures: int = 0  # so many federated requests fail with 70021, as right after a set-up
    audience: str = _GRAPH_AUDIENCES[0]


class TokenService:
    """Issues and checks access tokens for the apps of one tenant."""

    def __init__(
        self,
        *,
        tenant_id: str,
        domain: str,
        clock: Clock,
        knobs: TokenKnobs,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._tenant_names = (tenant_id, domain)
        self._tenant_id = tenant_id
        self._clock = clock
        self._wall_clock = wall_clock
        self.knobs = knobs
        self._apps: dict[str, AppRegistration] = {}
        self._secret = uuid4().bytes
        self._used_ids: set[str] = set()
        self._grants: dict[str, Grant] = {}
        self._challenged: set[str] = set()
        self._demanded: dict[str, Any] = {}  # claims of a challenge; empty before any
        self._is_final = False

    def register(self, app: AppRegistration) -> None:
        """Makes an app known."""
        self._apps[app.client_id] = app

    def discovery(self, tenant: str, *, base: str) -> dict[str, Any]:
        """The openid-configuration. Raises TokenRefusal for another tenant."""
        self._check_tenant(tenant)
        root = f"{base}/{tenant}"
        return {
            "issuer": f"{root}/v2.0",
            "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
            "token_endpoint": f"{root}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": f"{root}/discovery/v2.0/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
        }

    def issue(
        self, tenant: str, form: Mapping[str, str], *, endpoint: str, authorization: str | None = None
    ) -> dict[str, Any]:
        """The answer to a token request; unknown fields are ignored. Raises TokenRefusal."""
        self._check_tenant(tenant)
        form = {**form, **_basic(authorization)}
        if not form.get("grant_type"):
            raise _missing("grant_type")
        if form["grant_type"] != "client_credentials":
            raise TokenRefusal(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        if not form.get("client_id"):
            raise _missing("client_id")
        self._check_scope(form.get("scope", ""))
        app = self._apps.get(form["client_id"].lower())
        if app is None:
            message = f"Application with identifier '{form['client_id']}' was not found in the directory 'Alderbrook'."
            raise TokenRefusal(400, "unauthorized_client", 700016, message)
        self._check_credential(app, form, endpoint=endpoint)
        return self._answer(app, claims=_claims_asked_for(form.get("claims", "")))

    def check(self, authorization: str | None) -> Grant | None:
        """What the bearer of this header may do; None where the token is missing, foreign or expired."""
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        grant = self._grants.get(text)
        if grant is None or self._clock.now.timestamp() >= grant.expires_at:
            return None
        return grant

    def challenge(self, authorization: str) -> str | None:
        """The claims, in base64, that a new token has to be asked for with; None where this one is no such case."""
        is_challenged = authorization.partition(" ")[2] in self._challenged
        return b64encode(msgspec.json.encode(self._demanded)).decode() if is_challenged else None

    def revoke_all(self, *, for_good: bool = False) -> None:
        """Every token issued so far is worth nothing any more; `for_good`: nor are later ones of clients that knew.

        A client that announced to understand claims challenges gets one, others a plain 401.
        """
        self._demanded = {"access_token": {"nbf": {"essential": True, "value": uuid4().hex}}}
        self._is_final = for_good
        self._challenged |= {token for token, grant in self._grants.items() if grant.understands_challenges}
        self._grants.clear()

    def _answer(self, app: AppRegistration, *, claims: Mapping[str, Any]) -> dict[str, Any]:
        lifetime, now = self.knobs.lifetime_s, self._clock.now.timestamp()
        contents = {
            "aud": self.knobs.audience,
            "iss": f"https://sts.windows.net/{self._tenant_id}/",
            "iat": int(now),
            "nbf": int(now),
            "exp": int(now) + lifetime,
            "appid": app.client_id,
            "idtyp": "app",
            "oid": app.object_id,
            "tid": self._tenant_id,
            "uti": uuid4().hex,
            "ver": "1.0",
        }
        if app.roles:
            contents["roles"] = list(app.roles)
        token = jose.sign_with_secret(contents, secret=self._secret)
        understands = "CP1" in claims.get("xms_cc", {}).get("values", ())
        if understands and (self._is_final or not self._demanded.get("access_token", {}).items() <= claims.items()):
            self._challenged.add(token)
        else:
            self._grants[token] = Grant(
                app=app, roles=tuple(app.roles), expires_at=now + lifetime, understands_challenges=understands
            )
        answer = {"token_type": "Bearer", "expires_in": lifetime - 1, "ext_expires_in": lifetime - 1}
        if self.knobs.refresh_in_s is not None:
            answer["refresh_in"] = self.knobs.refresh_in_s
        return {**answer, "access_token": token}

    def _check_tenant(self, tenant: str) -> None:
        if tenant.lower() not in self._tenant_names:
            message = f"Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
            raise TokenRefusal(400, "invalid_request", 90002, message)

    def _check_scope(self, scope: str) -> None:
        if not scope:
            raise _missing("scope")
        if scope.split() != [f"{self.knobs.audience}/.default"]:
            resource = scope.removesuffix("/.default")
            if resource in (*_GRAPH_AUDIENCES, _CHINA_AUDIENCE) and scope.endswith("/.default"):
                message = f"The resource principal named {resource} was not found in the tenant."
                raise TokenRefusal(400, "invalid_resource", 500011, message)
            message = f"The provided request must include a 'scope' input parameter. The scope {scope} is not valid."
            raise TokenRefusal(400, "invalid_scope", 70011, message)

    def _check_credential(self, app: AppRegistration, form: Mapping[str, str], *, endpoint: str) -> None:
        assertion = form.get("client_assertion")
        if assertion is not None:
            if form.get("client_assertion_type") != JWT_BEARER:
                raise _missing("client_assertion_type")
            self._check_assertion(app, assertion, endpoint=endpoint)
            return
        secret = form.get("client_secret")
        if secret is None:
            raise TokenRefusal(
                401, "invalid_client", 7000218, "The request body must contain: 'client_assertion' or 'client_secret'."
            )
        if secret == app.expired_secret:
            raise TokenRefusal(401, "invalid_client", 7000222, "The provided client secret keys are expired.")
        if secret != app.client_secret:
            message = f"Invalid client secret provided for app '{app.client_id}'."
            raise TokenRefusal(401, "invalid_client", 7000215, message)

    def _check_assertion(self, app: AppRegistration, text: str, *, endpoint: str) -> None:
        try:
            token = jose.take_apart(text)
        except ValueError as error:
            raise TokenRefusal(401, "invalid_client", 50027, "JWT token is invalid or malformed.") from error
        if token.claims.get("iss") == app.client_id or token.claims.get("sub") == app.client_id:
            self._check_certificate(app, token, endpoint=endpoint)
        else:
            self._check_federation(app, token)

    def _check_certificate(self, app: AppRegistration, token: jose.Token, *, endpoint: str) -> None:
        known = jose.is_thumbprint(token.header, app.certificate_der)
        if not known or not jose.is_signed_with_key(token, key=app.certificate_key.public_key()):
            message = "The certificate with identifier used to sign the client assertion is not registered."
            raise TokenRefusal(401, "invalid_client", 700027, message)
        if token.claims.get("sub") != token.claims.get("iss"):
            raise TokenRefusal(401, "invalid_client", 50048, "SubjectMismatchesIssuer.")
        if token.claims.get("aud") != endpoint:
            message = "The audience of the client assertion is not this token endpoint."
            raise TokenRefusal(401, "invalid_client", 700212, message)
        self._check_dates(token)
        assertion_id = str(token.claims.get("jti"))
        if assertion_id in self._used_ids:
            raise TokenRefusal(401, "invalid_client", 50027, "The client assertion was used before.")
        self._used_ids.add(assertion_id)

    def _check_federation(self, app: AppRegistration, token: jose.Token) -> None:
        if self.knobs.assertion_failures > 0:
            self.knobs.assertion_failures -= 1
            raise TokenRefusal(400, "invalid_request", 70021, "No matching federated identity record found.")
        for claim, wanted, code in (
            ("iss", app.federated_issuer, 700211),
            ("aud", FEDERATED_AUDIENCE, 700212),
            ("sub", app.federated_subject, 700213),
        ):
            if token.claims.get(claim) != wanted:
                message = f"No matching federated identity record found for presented assertion {claim}."
                raise TokenRefusal(401, "invalid_client", code, message)
        if token.header.get("alg") != "RS256":
            raise TokenRefusal(400, "invalid_request", 70021, "No matching federated identity record found.")
        if not jose.is_signed_with_key(token, key=app.federation_key.public_key()):
            raise TokenRefusal(401, "invalid_client", 50013, "Assertion failed signature validation.")
        self._check_dates(token)

    def _check_dates(self, token: jose.Token) -> None:
        now = self._wall_clock()
        if not float(token.claims.get("nbf", 0)) <= now + 300 or not now < float(token.claims.get("exp", 0)):
            message = "Client assertion is not within its valid time range."
            raise TokenRefusal(401, "invalid_client", 700024, message)


def timestamp_now() -> str:
    """The time as error answers write it."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def claims_of(access_token: str) -> dict[str, Any]:
    """The claims of an access token, for looking at."""
    return dict(jose.take_apart(access_token).claims)


def _claims_asked_for(text: str) -> Mapping[str, Any]:
    """What a token request says about the access token it wants. Raises TokenRefusal."""
    try:
        claims = msgspec.json.decode(text, type=dict[str, dict[str, Any]]) if text else {}
    except msgspec.DecodeError:
        raise TokenRefusal(400, "invalid_request", 90093, "The claims parameter is not well-formed.") from None
    return claims.get("access_token", {})


def _missing(name: str) -> TokenRefusal:
    message = f"The request body must contain the following parameter: '{name}'."
    return TokenRefusal(400, "invalid_request", 900144, message)


def _basic(authorization: str | None) -> dict[str, str]:
    """Client id and secret of HTTP Basic authentication (RFC 6749, 2.3.1)."""
    scheme, _, text = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        name, _, secret = b64decode(text).decode().partition(":")
    except (Base64Error, UnicodeDecodeError):
        return {}
    return {"client_id": unquote(name), "client_secret": unquote(secret)}
