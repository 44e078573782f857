"""The stores that the contract is tried on."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme

from tests.contract.backends import Backend, local_backend, memory_backend, s3_backend
from tests.servers.s3 import Dialect, StrictFront, s3_server

BACKENDS = ["memory", "local", "s3"]


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def s3_front(authority: trustme.CA) -> Iterator[tuple[str, StrictFront]]:
    with s3_server(authority) as server:
        yield server


@pytest.fixture
def s3(
    s3_front: tuple[str, StrictFront],
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, StrictFront]:
    """The S3 server with Amazon's behaviour, and an environment in which the SDK finds it trustworthy."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3_front[1].dialect = Dialect()
    return s3_front


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
