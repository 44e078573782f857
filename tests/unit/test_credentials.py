"""Assertions of the platforms, against local imitations of their services."""

from pathlib import Path

import pytest

from connectors.graph.credentials import (
    azure_assertion,
    cognito_assertion,
    gcp_assertion,
    sts_assertion,
)
from pipeline.errors import SourceRefused
from tests.https_server import Asked, Told, served

AUDIENCE = "api://AzureADTokenExchange"


@pytest.fixture
def _aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that are none, and no profile of the machine."""
    for key, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(key, value)


def test_google_gives_an_identity_token(tmp_path: Path) -> None:
    """The metadata server wants its header and the audience, and answers with the bare token."""

    def answer(asked: Asked) -> Told:
        is_right = asked.headers.get("metadata-flavor") == "Google" and asked.query["audience"] == AUDIENCE
        return Told(body="gcp-jwt\n") if is_right else Told(403, "no")

    with served(answer, folder=tmp_path, tls=False) as server:
        assert gcp_assertion(AUDIENCE, metadata=server.url).read() == "gcp-jwt"
    assert server.asked[0].path == "/computeMetadata/v1/instance/service-accounts/default/identity"


def test_google_may_be_absent(tmp_path: Path) -> None:
    """Off Google's cloud the operator reads what is missing; no exception of a library comes through."""
    with (
        served(lambda _: Told(404, "no"), folder=tmp_path, tls=False) as server,
        pytest.raises(SourceRefused, match="metadata server") as refused,
    ):
        gcp_assertion(AUDIENCE, metadata=server.url).read()
    assert refused.value.code == "no_assertion"


def test_azure_gives_a_token_of_its_managed_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the audience of the federated credential, as the identity that was named."""
    told = Told(body={"access_token": "azure-jwt", "expires_on": "9999999999", "resource": AUDIENCE})
    with served(lambda _: told, folder=tmp_path, tls=False) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "h")
        assert azure_assertion(AUDIENCE, client_id="mine").read() == "azure-jwt"
    assert server.asked[0].query["resource"] == AUDIENCE
    assert server.asked[0].query["client_id"] == "mine"


def test_azure_may_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An identity that does not exist ends in a remedy."""
    with served(lambda _: Told(400, {"error": "x"}), folder=tmp_path, tls=False) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "h")
        with pytest.raises(SourceRefused, match="managed identity"):
            azure_assertion(AUDIENCE).read()


@pytest.mark.usefixtures("_aws")
def test_cognito_gives_a_developer_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The region is the one the pool's id begins with."""
    told = Told(body={"Token": "cognito-jwt"}, headers={"Content-Type": "application/x-amz-json-1.1"})
    with served(lambda _: told, folder=tmp_path, tls=False) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_COGNITO_IDENTITY", server.url)
        assertion = cognito_assertion(
            identity_pool_id="eu-west-1:11111111-2222-3333-4444-555555555555",
            identity_id="eu-west-1:99999999-2222-3333-4444-555555555555",
            developer_provider="exporter",
            login="app",
        )
        assert assertion.read() == "cognito-jwt"
    assert server.asked[0].headers["x-amz-target"].endswith("GetOpenIdTokenForDeveloperIdentity")
    assert "/eu-west-1/" in server.asked[0].headers["authorization"]


@pytest.mark.usefixtures("_aws")
def test_sts_gives_a_web_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed with RS256, the only signature Entra supports for external tokens."""
    xml = (
        '<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        "<GetWebIdentityTokenResult><WebIdentityToken>sts-jwt</WebIdentityToken></GetWebIdentityTokenResult>"
        "</GetWebIdentityTokenResponse>"
    )
    with served(lambda _: Told(body=xml), folder=tmp_path, tls=False) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        assert sts_assertion(AUDIENCE, region="eu-west-1").read() == "sts-jwt"
    form = server.asked[0].form
    assert (form["Audience.member.1"], form["SigningAlgorithm"]) == (AUDIENCE, "RS256")


@pytest.mark.usefixtures("_aws")
def test_aws_may_refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role without the right gets a remedy; AWS's text, which names accounts, is not repeated."""
    error = "<Code>AccessDenied</Code><Message>arn:aws:iam::123456789012</Message>"
    xml = f"<ErrorResponse><Error>{error}</Error></ErrorResponse>"
    with served(lambda _: Told(403, xml), folder=tmp_path, tls=False) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        with pytest.raises(SourceRefused, match="AWS gives no token") as refused:
            sts_assertion(AUDIENCE, region="eu-west-1").read()
    assert "123456789012" not in str(refused.value)
