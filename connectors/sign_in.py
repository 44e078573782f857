"""From the settings' `auth` to what issues tokens: the one place where connectors meet secrets."""

from config.auth import (
    AzureAssertion,
    CognitoAssertion,
    EffectiveAuth,
    FileAssertion,
    GcpAssertion,
    StsAssertion,
)
from config.clouds import CLOUDS
from config.model import Tenant
from config.secrets import SecretReader, SecretReference
from connectors.graph.credentials import (
    Assertion,
    Certificate,
    ClientSecret,
    Credential,
    ManagedIdentity,
    azure_assertion,
    cognito_assertion,
    file_assertion,
    gcp_assertion,
    sts_assertion,
)
from connectors.graph.issuer import Issuer, MsalIssuer
from connectors.graph.network import Network
from pipeline.errors import ConfigurationError


def issuer_for(auth: EffectiveAuth, tenant: Tenant, *, reader: SecretReader, network: Network) -> Issuer:
    """What gets tokens for `auth`. Blocking where a secret has not been read yet.

    Raises:
        ConfigurationError: a key the method needs is missing.
    """
    cloud = CLOUDS[tenant.cloud]
    return MsalIssuer(
        credential=credential_of(auth, reader),
        client_id=auth.client_id or "",
        tenant_id=tenant.id,
        authority=tenant.authority or f"https://{cloud.authority_host}",
        scope=f"https://{cloud.graph_host}/.default",
        known_authority=tenant.authority is None,
        network=network,
    )


def credential_of(auth: EffectiveAuth, reader: SecretReader) -> Credential:
    """What `auth` proves the application's identity with. Reads secrets: blocking.

    Raises:
        ConfigurationError: a key the method needs is missing.
        SecretUnavailable: from the reader.
    """
    match auth.method:
        case "client-secret":
            return ClientSecret(_secret(auth.client_secret, "client_secret", reader))
        case "certificate":
            password = auth.certificate_password
            return Certificate(
                _secret(auth.certificate, "certificate", reader),
                password=reader.read(password).reveal_text() if password else None,
            )
        case "managed-identity":
            return ManagedIdentity(client_id=auth.client_id)
        case "federated":
            return _assertion(auth)


def _assertion(auth: EffectiveAuth) -> Assertion:
    match auth.assertion:
        case FileAssertion(path=path):
            return file_assertion(path)
        case CognitoAssertion() as cognito:
            return cognito_assertion(
                identity_pool_id=cognito.identity_pool_id,
                identity_id=cognito.identity_id,
                developer_provider=cognito.developer_provider,
                login=cognito.login or auth.client_id or "",
                region=cognito.region,
            )
        case StsAssertion(audience=audience, region=region):
            return sts_assertion(audience, region=region)
        case GcpAssertion(audience=audience):
            return gcp_assertion(audience)
        case AzureAssertion(audience=audience, client_id=client_id):
            return azure_assertion(audience, client_id=client_id)
        case None:
            raise ConfigurationError("auth.assertion: needed by auth.method federated")


def _secret(reference: SecretReference | None, key: str, reader: SecretReader) -> str:
    if reference is None:
        raise ConfigurationError(f"auth.{key}: needed by auth.method")
    return reader.read(reference).reveal_text()
