"""From settings to credentials: every method, every kind of assertion."""

from pathlib import Path
from typing import Any

import pytest

from config.auth import (
    AzureAssertion,
    CognitoAssertion,
    EffectiveAuth,
    FileAssertion,
    GcpAssertion,
    StsAssertion,
)
from config.secrets import SecretReader, SecretReference
from connectors.graph.credentials import Assertion, Certificate, ClientSecret, ManagedIdentity
from connectors.sign_in import credential_of
from pipeline.errors import ConfigurationError

READER = SecretReader(environ={"SECRET": "s3cr3t", "PEM": "pem", "PASSWORD": "pw"})


def _auth(method: str, **given: Any) -> EffectiveAuth:
    nothing = dict.fromkeys(("client_secret", "certificate", "certificate_password", "assertion"))
    return EffectiveAuth(**{"method": method, "client_id": "app", **nothing, **given})


def _reference(name: str) -> SecretReference:
    return SecretReference.parse(f"env:{name}")


def test_secrets_are_read_where_the_settings_point() -> None:
    """A client secret, and a certificate with or without password."""
    secret = credential_of(_auth("client-secret", client_secret=_reference("SECRET")), READER)
    plain = credential_of(_auth("certificate", certificate=_reference("PEM")), READER)
    locked = credential_of(
        _auth("certificate", certificate=_reference("PEM"), certificate_password=_reference("PASSWORD")), READER
    )
    assert secret == ClientSecret("s3cr3t")
    assert plain == Certificate("pem")
    assert locked == Certificate("pem", password="pw")


def test_a_managed_identity_needs_no_secret() -> None:
    """The client id names a user-assigned one."""
    assert credential_of(_auth("managed-identity", client_id=None), READER) == ManagedIdentity()
    assert credential_of(_auth("managed-identity"), READER) == ManagedIdentity(client_id="app")


@pytest.mark.parametrize(
    "assertion",
    [
        FileAssertion(kind="file", path=Path("/token")),
        CognitoAssertion(kind="aws-cognito", identity_pool_id="eu-west-1:a", identity_id="b", developer_provider="c"),
        StsAssertion(kind="aws-sts"),
        GcpAssertion(kind="gcp"),
        AzureAssertion(kind="azure"),
    ],
)
def test_every_kind_of_assertion_has_a_reader(assertion: Any) -> None:
    """Nothing is asked of the platform before a token is needed."""
    assert isinstance(credential_of(_auth("federated", assertion=assertion), READER), Assertion)


def test_a_token_file_is_the_one_of_the_settings(tmp_path: Path) -> None:
    """Its content without the line end."""
    file = tmp_path / "token"
    file.write_text("jwt\n")
    credential = credential_of(_auth("federated", assertion=FileAssertion(kind="file", path=file)), READER)
    assert isinstance(credential, Assertion)
    assert credential.read() == "jwt"


@pytest.mark.parametrize("method", ["client-secret", "certificate", "federated"])
def test_a_method_without_its_key_is_a_configuration_error(method: str) -> None:
    """Named by its path, should the settings have let it through."""
    with pytest.raises(ConfigurationError, match=r"^auth\."):
        credential_of(_auth(method), READER)
