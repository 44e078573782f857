"""The federated credential that lets the chosen host sign in without a secret.

Entra compares issuer, subject and audience of the token that the host presents with the credential, letter by
letter; a wrong subject is accepted when it is entered and fails when it is used.
    https://learn.microsoft.com/entra/workload-id/workload-identity-federation-considerations (checked 2026-11)
    https://learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity
    (checked 2026-11)
"""

from dataclasses import dataclass

from config.auth import (
    AzureAssertion,
    CognitoAssertion,
    EffectiveAuth,
    FileAssertion,
    GcpAssertion,
    StsAssertion,
)
from config.defaults import ASSERTION_AUDIENCE
from config.model import Tenant

GOOGLE_ISSUER = "https://accounts.google.com"
COGNITO_ISSUER = "https://cognito-identity.amazonaws.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One value that Entra compares. `value` is empty where only the operator of the host knows it."""

    value: str = ""
    example: str = ""
    where: str = ""  # where it is found


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedCredential:
    """Which tokens Entra accepts in place of a secret. `host` says whose they are."""

    name: str
    host: str
    issuer: Claim
    subject: Claim
    audience: Claim


def federated_credential(auth: EffectiveAuth, tenant: Tenant) -> FederatedCredential | None:
    """What to enter for the host that `auth.assertion` names; None where the method is another."""
    match auth.assertion if auth.method == "federated" else None:
        case FileAssertion():
            return FederatedCredential(
                name="m365-export-kubernetes",
                host="Kubernetes, AKS with workload identity included",
                issuer=Claim(
                    example="https://oidc.example/cluster-id",
                    where="the cluster's OIDC issuer: kubectl get --raw /.well-known/openid-configuration; on AKS "
                    "az aks show --query oidcIssuerProfile.issuerUrl",
                ),
                subject=Claim(
                    example="system:serviceaccount:m365-export:m365-export",
                    where="system:serviceaccount:NAMESPACE:NAME of the pod's service account",
                ),
                audience=Claim(value=ASSERTION_AUDIENCE, where="`audience` of the projected token must be the same"),
            )
        case CognitoAssertion(identity_pool_id=pool, identity_id=identity):
            return FederatedCredential(
                name="m365-export-aws-cognito",
                host="AWS, with a Cognito identity pool",
                issuer=Claim(value=COGNITO_ISSUER),
                subject=Claim(value=identity, where="the identity's id, from auth.assertion.identity_id"),
                audience=Claim(value=pool, where="the identity pool's id, from auth.assertion.identity_pool_id"),
            )
        case StsAssertion(audience=audience):
            return FederatedCredential(
                name="m365-export-aws-sts",
                host="AWS, with STS outbound identity federation",
                issuer=Claim(
                    example="https://00000000-0000-0000-0000-000000000000.tokens.sts.global.api.aws",
                    where="the account's own issuer: aws iam enable-outbound-web-identity-federation prints it",
                ),
                subject=Claim(
                    example="arn:aws:iam::123456789012:role/m365-export",
                    where="the ARN of the IAM role the exporter runs as",
                ),
                audience=Claim(value=audience),
            )
        case GcpAssertion(audience=audience):
            return FederatedCredential(
                name="m365-export-gcp",
                host="Google Cloud",
                issuer=Claim(value=GOOGLE_ISSUER),
                subject=Claim(
                    example="100000000000000000000",
                    where="the unique id (a number, not the address) of the service account: "
                    "gcloud iam service-accounts describe ADDRESS --format='value(uniqueId)'",
                ),
                audience=Claim(value=audience),
            )
        case AzureAssertion(audience=audience):
            return FederatedCredential(
                name="m365-export-azure",
                host="Azure, with a managed identity",
                issuer=Claim(
                    example=f"https://login.microsoftonline.com/{tenant.id}/v2.0",
                    where="with the tenant id of the directory the managed identity lives in",
                ),
                subject=Claim(
                    example="00000000-0000-0000-0000-000000000000",
                    where="the object (principal) id of the managed identity: az identity show --query principalId",
                ),
                audience=Claim(value=audience),
            )
        case None:
            return None
