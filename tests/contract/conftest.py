"""The stores that the contract is tried on."""

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from tests.contract.backends import Backend, gcs_backend, local_backend, memory_backend, s3_backend
from tests.servers import gcs as gcs_servers
from tests.servers.ceph import ceph_server, is_installed
from tests.servers.s3 import Dialect, StrictFront, s3_server

BACKENDS = ["memory", "local", "s3", "gcs", pytest.param("ceph", marks=pytest.mark.long)]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def s3_front(authority: trustme.CA) -> Iterator[tuple[str, StrictFront]]:
    with s3_server(authority) as server:
        yield server


@pytest.fixture
def aws_environment(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lets the SDK sign in and trust the servers of these tests, and find nothing else."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def s3(s3_front: tuple[str, StrictFront], aws_environment: None) -> tuple[str, StrictFront]:
    """The S3 server with Amazon's behaviour."""
    s3_front[1].dialect = Dialect()
    return s3_front


@pytest.fixture(scope="session")
def ceph_url(authority: trustme.CA) -> Iterator[str]:
    if not is_installed():
        pytest.skip("needs Debian's packages radosgw ceph-mon ceph-osd ceph-common curl")
    with ceph_server(authority) as url:
        yield url


@pytest.fixture
def ceph(ceph_url: str, aws_environment: None) -> str:
    """The URL of a Ceph gateway."""
    return ceph_url


@pytest.fixture(scope="session")
def gcs_front() -> Iterator[tuple[str, gcs_servers.StrictFront]]:
    with gcs_servers.gcs_server() as server:
        yield server


@pytest.fixture
def gcs(gcs_front: tuple[str, gcs_servers.StrictFront]) -> tuple[str, gcs_servers.StrictFront]:
    """The Google Cloud Storage server, behaving well."""
    gcs_front[1].dialect = gcs_servers.Dialect()
    return gcs_front


@pytest.fixture(scope="session")
def gcs_tls_front(authority: trustme.CA) -> Iterator[tuple[str, gcs_servers.StrictFront]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with gcs_servers.gcs_server(tls=context) as server:
        yield server


@pytest.fixture
def gcs_tls(
    gcs_tls_front: tuple[str, gcs_servers.StrictFront],
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, gcs_servers.StrictFront]:
    """The same behind TLS, so that it is shown credentials; it is trusted, and there are none around."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    gcs_tls_front[1].dialect = gcs_servers.Dialect()
    return gcs_tls_front


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "memory":
                yield memory_backend()
            case "local":
                yield local_backend(stack, tmp_path)
            case "s3":
                url, _ = request.getfixturevalue("s3")
                yield s3_backend(stack, url)
            case "gcs":
                yield gcs_backend(stack, *request.getfixturevalue("gcs"))
            case "ceph":
                yield s3_backend(stack, request.getfixturevalue("ceph"))
