"""How the exporter proves to Entra who it is: one application for all connectors, or one each.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
https://learn.microsoft.com/entra/workload-id/workload-identity-federation (both checked 2026-11)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import Field

from config.defaults import ASSERTION_AUDIENCE
from config.fields import Group, LocalPath, SecretRef, Text
from config.secrets import SecretReference

AuthMethod = Literal["federated", "certificate", "client-secret", "managed-identity"]
DEFAULT_METHOD: AuthMethod = "federated"  # the only one that works everywhere and leaves no secret to steal

# What a method cannot do without, and the secrets it reads when they are given.
REQUIRED_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "federated": ("client_id", "assertion"),
        "certificate": ("client_id", "certificate"),
        "client-secret": ("client_id", "client_secret"),
        "managed-identity": (),  # client_id chooses a user-assigned identity
    }
)
SECRET_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"certificate": ("certificate", "certificate_password"), "client-secret": ("client_secret",)}
)


class FileAssertion(Group):
    """A token in a file that something else renews, as Kubernetes projects it; read anew for each use."""

    kind: Literal["file"]
    path: LocalPath
    """The file; on AKS with workload identity /var/run/secrets/azure/tokens/azure-identity-token."""


class CognitoAssertion(Group):
    """AWS: a token of a Cognito identity pool with developer-authenticated identities."""

    kind: Literal["aws-cognito"]
    identity_pool_id: Text
    """The pool, `region:guid`; the audience of the federated credential."""
    identity_id: Text
    """The identity in the pool, `region:guid`; the subject of the federated credential."""
    developer_provider: Text
    """The pool's developer provider name."""
    login: Text | None = None
    """The login the identity was made with; by default the application's client id."""
    region: Text | None = None
    """By default the region the pool's id begins with."""


class StsAssertion(Group):
    """AWS: a token of STS outbound identity federation; its subject is the IAM role."""

    kind: Literal["aws-sts"]
    audience: Text = ASSERTION_AUDIENCE
    """The audience of the federated credential."""
    region: Text | None = None
    """The region whose STS is asked; by default the one AWS is configured with."""


class GcpAssertion(Group):
    """Google Cloud: an identity token of the default service account, from the metadata server."""

    kind: Literal["gcp"]
    audience: Text = ASSERTION_AUDIENCE
    """The audience of the federated credential."""


class AzureAssertion(Group):
    """Azure: a managed identity's token as the assertion of an application, perhaps of another tenant."""

    kind: Literal["azure"]
    audience: Text = ASSERTION_AUDIENCE
    """The audience of the federated credential."""
    client_id: Text | None = None
    """A user-assigned identity; by default the system-assigned one."""


Assertion = Annotated[
    FileAssertion | CognitoAssertion | StsAssertion | GcpAssertion | AzureAssertion,
    Field(discriminator="kind"),
]


class Auth(Group):
    """Proof of identity. Every key may be left out here and given per connector, or the other way round."""

    method: AuthMethod | None = None
    """How the exporter proves who it is; by default federated, which leaves no secret to steal."""
    client_id: Text | None = None
    """The application (client) id; with managed-identity the id of a user-assigned identity."""
    client_secret: SecretRef | None = None
    """The value of a client secret; for method client-secret."""
    certificate: SecretRef | None = None
    """PEM with certificate and private key; for method certificate."""
    certificate_password: SecretRef | None = None
    """The password of that private key, when it has one."""
    assertion: Assertion | None = None
    """Where the token comes from that Entra trusts; for method federated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveAuth:
    """What one connector uses: its own keys, the common ones where it has none."""

    method: AuthMethod
    client_id: str | None
    client_secret: SecretReference | None
    certificate: SecretReference | None
    certificate_password: SecretReference | None
    assertion: FileAssertion | CognitoAssertion | StsAssertion | GcpAssertion | AzureAssertion | None


def combine(common: Auth, own: Auth | None) -> EffectiveAuth:
    """The keys of `own`, each falling back to `common`, the method to the default."""
    own = own or Auth()
    return EffectiveAuth(
        method=own.method or common.method or DEFAULT_METHOD,
        client_id=own.client_id or common.client_id,
        client_secret=own.client_secret or common.client_secret,
        certificate=own.certificate or common.certificate,
        certificate_password=own.certificate_password or common.certificate_password,
        assertion=own.assertion or common.assertion,
    )
