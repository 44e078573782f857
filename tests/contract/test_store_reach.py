"""How the buckets are reached: through the proxy of the settings, in their region, with what credentials are around."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.auth import external_account

from config.locations import Location
from config.model import Storage
from pipeline.errors import StoreRefused
from sinks.stores.registry import open_state
from tests.contract.test_gcs_credentials import metadata
from tests.https_server import Asked, Told, served, tunnelling

WEB_IDENTITY = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIAPOD</AccessKeyId>
<SecretAccessKey>secret</SecretAccessKey><SessionToken>of-the-pod</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""


def denied(_asked: Asked) -> Told:
    return Told(403, "<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "application/xml"})


async def read_something(scheme: str, storage: Storage) -> None:
    """Ask for one object; whoever answers denies it."""
    state = open_state(Location(scheme, "bucket", ""), storage)  # type: ignore[arg-type]  # one of the schemes
    with pytest.raises(StoreRefused, match="denies access"):
        await state.read("k")
    await state.close()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is around but keys in the environment."""
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("scheme", ["s3", "gs"])
async def test_the_proxy_of_the_settings_is_used(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request for a host that does not exist arrives at the proxy, and at no other that the environment names."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with served(denied, folder=tmp_path, tls=False) as proxy:
        storage = Storage(endpoint_url="http://bucket.example.test", region="eu-north-1", proxy=proxy.url)
        await read_something(scheme, storage)
        assert proxy.asked
        assert {asked.headers["host"] for asked in proxy.asked} == {"bucket.example.test"}


async def test_googles_tokens_come_through_the_proxy_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the bucket is reached through a proxy only, so is whoever issues tokens for it."""

    def answer(asked: Asked) -> Told:
        if asked.path == "/token":
            return Told(body={"access_token": "of-the-account", "expires_in": 3600, "token_type": "Bearer"})
        return denied(asked)

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "client_email": "export@project.iam.example.test",
        "token_uri": "https://localhost:1/token",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with served(answer, folder=tmp_path) as cloud, tunnelling(cloud) as (proxy, tunnels):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cloud.ca_file))
        await read_something("gs", Storage(endpoint_url="https://localhost:2", proxy=proxy))
    assert tunnels == ["localhost:1", "localhost:2"]
    assert cloud.asked[-1].headers["authorization"] == "Bearer of-the-account"


async def test_the_project_of_federated_credentials_is_asked_for_through_the_proxy_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK does so when it makes them, with a token that it has to exchange first."""

    def answer(asked: Asked) -> Told:
        if asked.path == "/token":
            kind = "urn:ietf:params:oauth:token-type:access_token"
            token = {"access_token": "federated", "issued_token_type": kind, "expires_in": 3600, "token_type": "Bearer"}
            return Told(body=token)
        return Told(body={"projectId": "export"}) if asked.path == "/projects/123456" else denied(asked)

    pool = "//iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/pool/providers/cluster"
    (tmp_path / "subject").write_text("of-the-pod")
    federation = {
        "type": "external_account",
        "audience": pool,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": "https://localhost:1/token",
        "credential_source": {"file": str(tmp_path / "subject")},
    }
    (tmp_path / "federation.json").write_text(json.dumps(federation))
    monkeypatch.setattr(external_account, "_CLOUD_RESOURCE_MANAGER", "https://localhost:3/projects/")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "federation.json"))
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with served(answer, folder=tmp_path) as cloud, tunnelling(cloud) as (proxy, tunnels):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cloud.ca_file))
        await read_something("gs", Storage(endpoint_url="https://localhost:2", proxy=proxy))
    assert list(dict.fromkeys(tunnels)) == ["localhost:1", "localhost:3", "localhost:2"]
    assert cloud.asked[-1].headers["authorization"] == "Bearer federated"


async def test_the_metadata_of_the_machine_is_asked_without_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the settings does not know it."""
    (tmp_path / "metadata").mkdir()
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with (
        metadata(iter([3_600]), folder=tmp_path / "metadata", patch=monkeypatch),
        served(denied, folder=tmp_path) as cloud,
        tunnelling(cloud) as (proxy, tunnels),
    ):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cloud.ca_file))
        await read_something("gs", Storage(endpoint_url="https://localhost:2", proxy=proxy))
    assert tunnels == ["localhost:2"]
    assert cloud.asked[-1].headers["authorization"] == "Bearer token-0"


@pytest.mark.usefixtures("keys")
async def test_the_region_of_the_settings_is_signed_for(tmp_path: Path) -> None:
    """A bucket elsewhere refuses what is signed for the region of the machine."""
    with served(denied, folder=tmp_path, tls=False) as bucket:
        await read_something("s3", Storage(endpoint_url=bucket.url, region="eu-north-1"))
        assert "/eu-north-1/s3/aws4_request" in bucket.asked[0].headers["authorization"]


def temporary(role: str) -> Told:
    """Credentials of a role, good for an hour."""
    ends = datetime.now(UTC) + timedelta(hours=1)
    return Told(
        body={
            "Code": "Success",
            "AccessKeyId": f"ASIA{role.upper()}",
            "SecretAccessKey": "secret",
            "Token": f"of-the-{role}",
            "Expiration": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        }
    )


@pytest.fixture
def no_keys(keys: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is around at all."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("no_keys")
async def test_an_instances_profile_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a virtual machine is given: the credentials of its role, from its metadata, for a session with a token."""

    def answer(asked: Asked) -> Told:
        if asked.path == "/latest/api/token":
            assert asked.method == "PUT"
            return Told(200, "session of the machine", {"x-aws-ec2-metadata-token-ttl-seconds": "21600"})
        if asked.path.startswith("/latest/meta-data/iam/security-credentials/"):
            assert asked.headers["x-aws-ec2-metadata-token"] == "session of the machine"
            return temporary("machine") if asked.path.endswith("/export-role") else Told(200, "export-role")
        return denied(asked)

    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    with served(answer, folder=tmp_path, tls=False) as cloud:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", cloud.url)
        await read_something("s3", Storage(endpoint_url=cloud.url, region="eu-north-1"))
    assert cloud.asked[-1].headers["x-amz-security-token"] == "of-the-machine"
    assert "ASIAMACHINE" in cloud.asked[-1].headers["authorization"]


@pytest.mark.usefixtures("no_keys")
async def test_a_tasks_role_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a container is given (ECS, EKS Pod Identity): an address to ask, and a token that it shows there."""

    def answer(asked: Asked) -> Told:
        if asked.path == "/v1/credentials":
            assert asked.headers["authorization"] == "token of the task"
            return temporary("task")
        return denied(asked)

    (tmp_path / "token").write_text("token of the task")
    with served(answer, folder=tmp_path, tls=False) as cloud:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{cloud.url}/v1/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
        await read_something("s3", Storage(endpoint_url=cloud.url, region="eu-north-1"))
    assert cloud.asked[-1].headers["x-amz-security-token"] == "of-the-task"
    assert "ASIATASK" in cloud.asked[-1].headers["authorization"]


@pytest.mark.usefixtures("no_keys")
async def test_a_pods_web_identity_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a service account of Kubernetes is given: a token in a file, and a role that it opens."""

    def answer(asked: Asked) -> Told:
        if asked.form.get("Action") == "AssumeRoleWithWebIdentity":
            assert asked.form["WebIdentityToken"] == "token of the pod"
            return Told(200, WEB_IDENTITY, {"Content-Type": "text/xml"})
        return denied(asked)

    (tmp_path / "token").write_text("token of the pod")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/export")
    with served(answer, folder=tmp_path, tls=False) as cloud:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", cloud.url)
        await read_something("s3", Storage(endpoint_url=cloud.url, region="eu-north-1"))
        assert cloud.asked[-1].headers["x-amz-security-token"] == "of-the-pod"
        assert "ASIAPOD" in cloud.asked[-1].headers["authorization"]
