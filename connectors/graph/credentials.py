"""How the application proves who it is, and where a federated one gets its assertion from.

An assertion is read anew for every token: token files rotate, and platform tokens live for minutes to an hour.
    https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow (checked 2026-11)
    https://learn.microsoft.com/entra/workload-id/workload-identity-federation (checked 2026-11)
Readers block: they run in the thread that asks for the token.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msal
import requests

from pipeline.errors import SourceRefused

PLATFORM_TIMEOUT_S = 10.0  # metadata servers answer from the same machine
ASSERTION_LIFETIME_S = 600  # asked for where the platform lets us choose; one token request takes seconds
GCP_METADATA = "http://metadata.google.internal"


@dataclass(frozen=True, slots=True)
class ClientSecret:
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """`pem` holds the certificate and its private key."""

    pem: str = field(repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Assertion:
    """A JWT that an identity provider trusted by the application issued; `read` gets a fresh one."""

    read: Callable[[], str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ManagedIdentity:
    """The identity of the Azure machine we run on; `client_id` names a user-assigned one."""

    client_id: str | None = None


Credential = ClientSecret | Certificate | Assertion | ManagedIdentity


def file_assertion(path: Path) -> Assertion:
    """From a file that the platform renews, such as a projected Kubernetes service account token."""

    def read() -> str:
        try:
            return path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise _no_assertion("the file of auth.assertion.path cannot be read") from None

    return Assertion(read)


def gcp_assertion(audience: str, *, metadata: str = GCP_METADATA) -> Assertion:
    """From Google's metadata server: an identity token of the service account we run as.

    https://cloud.google.com/compute/docs/instances/verifying-instance-identity (checked 2026-11)
    """
    url = f"{metadata}/computeMetadata/v1/instance/service-accounts/default/identity"

    def read() -> str:
        try:
            with _platform_session() as session:
                answer = session.get(
                    url,
                    params={"audience": audience, "format": "full"},
                    headers={"Metadata-Flavor": "Google"},
                    timeout=PLATFORM_TIMEOUT_S,
                )
                answer.raise_for_status()
        except requests.RequestException:
            raise _no_assertion("Google's metadata server gives no identity token") from None
        return answer.text.strip()

    return Assertion(read)


def azure_assertion(audience: str, *, client_id: str | None = None) -> Assertion:
    """From Azure: a token of a managed identity, for an application (of another tenant, say) that trusts it.

    https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
    (checked 2026-11)
    """

    def read() -> str:
        with _platform_session() as session:
            answer = managed_identity_client(client_id, session).acquire_token_for_client(resource=audience)
        if "access_token" not in answer:
            raise _no_assertion("Azure gives no token of the managed identity")
        return str(answer["access_token"])

    return Assertion(read)


def cognito_assertion(
    *, identity_pool_id: str, identity_id: str, developer_provider: str, login: str, region: str | None = None
) -> Assertion:
    """From an AWS Cognito identity pool with developer-authenticated identities.

    https://docs.aws.amazon.com/cognitoidentity/latest/APIReference/API_GetOpenIdTokenForDeveloperIdentity.html
    (checked 2026-11)
    """

    def read() -> str:
        client = _aws_client("cognito-identity", region or identity_pool_id.partition(":")[0])
        answer = _aws_call(
            client.get_open_id_token_for_developer_identity,
            IdentityPoolId=identity_pool_id,
            IdentityId=identity_id,
            Logins={developer_provider: login},
            TokenDuration=ASSERTION_LIFETIME_S,
        )
        return str(answer["Token"])

    return Assertion(read)


def sts_assertion(audience: str, *, region: str | None = None) -> Assertion:
    """From AWS STS outbound identity federation; Entra accepts RS256 signatures.

    https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html (checked 2026-11)
    """

    def read() -> str:
        client = _aws_client("sts", region)
        answer = _aws_call(
            client.get_web_identity_token,
            Audience=[audience],
            SigningAlgorithm="RS256",
            DurationSeconds=ASSERTION_LIFETIME_S,
        )
        return str(answer["WebIdentityToken"])

    return Assertion(read)


def managed_identity_client(client_id: str | None, session: requests.Session) -> msal.ManagedIdentityClient:
    """MSAL's client of the machine's identity service."""
    identity = (
        msal.UserAssignedManagedIdentity(client_id=client_id) if client_id else msal.SystemAssignedManagedIdentity()
    )
    return msal.ManagedIdentityClient(identity, http_client=session)


def _platform_session() -> requests.Session:
    """A session without proxies: metadata services are reached directly."""
    session = requests.Session()
    session.trust_env = False
    return session


def _aws_client(service: str, region: str | None) -> Any:
    try:
        import boto3  # noqa: PLC0415 - only where AWS is used: it is an optional dependency
    except ModuleNotFoundError:
        raise _no_assertion("auth.assertion needs boto3: install m365-export[s3]") from None
    make: Any = boto3.client  # boto3's stubs know it by one overload per service
    return make(service, region_name=region)


def _aws_call(call: Callable[..., Any], **arguments: object) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above

    try:
        return call(**arguments)
    except (BotoCoreError, ClientError):
        raise _no_assertion("AWS gives no token") from None


def _no_assertion(what: str) -> SourceRefused:
    return SourceRefused(
        f"There is no assertion to get a token with: {what}",
        remedy="Check auth.assertion and the rights of the identity the exporter runs as",
        code="no_assertion",
    )
