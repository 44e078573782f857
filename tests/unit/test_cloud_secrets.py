"""The clouds' secret stores are asked as their APIs want it, and their refusals are told without their words.

Each store is a small HTTP server on this machine that records requests and answers from a list; the real SDKs
talk to it.
"""

import base64
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from config.cloud_secrets import read_gcp_secret, read_secrets_manager, read_ssm_parameter
from config.secrets import SecretReader, SecretReference, SecretUnavailableError
from tests.servers.serving import serving

VALUE = "s3cret välue\n"


class Store(ThreadingHTTPServer):
    """Answers each path (or AWS operation) with a status and a JSON document."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        self.requests: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _answer(self, body: str) -> None:
        key = self.headers.get("X-Amz-Target", self.path)
        self.server.requests.append((key, body))
        status, document = self.server.answers.get(key, (404, {}))
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def store() -> Iterator[Store]:
    server = Store()
    with serving(server):
        yield server


@pytest.fixture
def aws(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store as AWS: credentials, region and endpoint as the SDK reads them."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": store.url,
        "AWS_CONFIG_FILE": "/nonexistent",
    }.items():
        monkeypatch.setenv(name, value)
    return store


@pytest.fixture
def gcp(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """The store as Google: a service account whose tokens the store issues."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "project_id": "acme",
        "client_email": "exporter@acme.example",
        "token_uri": f"{store.url}/token",
        "private_key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    store.answers["/token"] = (200, {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"})
    return store


def test_an_ssm_parameter_is_read_decrypted(aws: Store) -> None:
    """The parameter's value comes back byte for byte, decrypted by the service."""
    aws.answers["AmazonSSM.GetParameter"] = (200, {"Parameter": {"Value": VALUE}})
    reader = SecretReader(environ={})
    assert reader.read(SecretReference("aws-ssm", "/m365/salt")).reveal() == VALUE.encode()
    assert [json.loads(body) for _, body in aws.requests] == [{"Name": "/m365/salt", "WithDecryption": True}]


@pytest.mark.parametrize(
    "answer", [{"SecretString": VALUE}, {"SecretBinary": base64.b64encode(VALUE.encode()).decode()}]
)
def test_secrets_manager_text_and_bytes_are_read(aws: Store, answer: dict[str, str]) -> None:
    """Both forms a secret can have there give the same bytes."""
    aws.answers["secretsmanager.GetSecretValue"] = (200, answer)
    assert SecretReader(environ={}).read(SecretReference("aws-secretsmanager", "salt")).reveal() == VALUE.encode()
    assert json.loads(aws.requests[0][1]) == {"SecretId": "salt"}


@pytest.mark.parametrize("read", [read_ssm_parameter, read_secrets_manager])
def test_a_refusal_of_aws_is_told_by_its_code(aws: Store, read: Callable[[str], bytes]) -> None:
    """The operator sees the error code, not the service's sentence with accounts and roles in it."""
    refusal = (
        400,
        {"__type": "AccessDeniedException", "message": "arn:aws:iam::123456789012:role/x may not"},
    )
    aws.answers = {"AmazonSSM.GetParameter": refusal, "secretsmanager.GetSecretValue": refusal}
    with pytest.raises(SecretUnavailableError, match="cannot read /salt: AccessDeniedException") as error:
        read("/salt")
    assert "123456789012" not in str(error.value)


def test_an_arn_brings_its_region(aws: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret named by ARN is found without any region configured; a bare name then is not."""
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    aws.answers["AmazonSSM.GetParameter"] = (200, {"Parameter": {"Value": VALUE}})
    assert read_ssm_parameter("arn:aws:ssm:eu-west-1:123456789012:parameter/salt") == VALUE.encode()
    with pytest.raises(SecretUnavailableError, match="NoRegionError"):
        read_ssm_parameter("/salt")


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("projects/acme/secrets/salt", "/v1/projects/acme/secrets/salt/versions/latest:access"),
        ("projects/acme/secrets/salt/versions/7", "/v1/projects/acme/secrets/salt/versions/7:access"),
    ],
)
def test_a_gcp_secret_is_read(gcp: Store, resource: str, path: str) -> None:
    """The payload is decoded; without a version the latest is asked for."""
    gcp.answers[path] = (200, {"payload": {"data": base64.b64encode(VALUE.encode()).decode()}})
    assert read_gcp_secret(resource, endpoint=gcp.url) == VALUE.encode()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((403, {"error": {"message": "exporter@acme.example lacks permission"}}), "HTTP 403"),
        ((200, {}), "no payload"),
        ((200, {"payload": {"data": "%%%"}}), "no payload"),
    ],
)
def test_a_refusal_of_gcp_is_told_by_its_status(gcp: Store, answer: tuple[int, dict[str, Any]], reason: str) -> None:
    """The operator sees the status, not Google's sentence with accounts in it."""
    gcp.answers["/v1/projects/acme/secrets/salt/versions/latest:access"] = answer
    with pytest.raises(SecretUnavailableError, match=reason) as error:
        read_gcp_secret("projects/acme/secrets/salt", endpoint=gcp.url)
    assert "exporter@" not in str(error.value)


def test_gcp_without_credentials_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing credentials are a reason, not a traceback."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent.json")
    with pytest.raises(SecretUnavailableError, match="DefaultCredentialsError"):
        read_gcp_secret("projects/acme/secrets/salt")
