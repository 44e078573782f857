"""Workload identity of Google Cloud: tokens of the machine's metadata service, which end, are refused, and are renewed.

https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity (checked 2026-11)
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.errors import StoreRefused
from tests.contract.backends import gcs_backend
from tests.contract.test_stores import KEY, sealed
from tests.https_server import Asked, Told, served
from tests.servers.gcs import StrictFront

Server = tuple[str, StrictFront]
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/"
FLAVOR = {"Metadata-Flavor": "Google", "Content-Type": "application/text"}


@dataclass
class Metadata:
    """What a pod of GKE finds: the account it may act as, and tokens of that account."""

    lifetimes_s: Iterator[int]
    """Of the tokens, in their order; there is no other token after the last."""
    issued: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Told:
        assert asked.headers.get("metadata-flavor") == "Google" or asked.path == "/"
        if asked.path.endswith("/token"):
            lifetime_s = next(self.lifetimes_s, None)
            if lifetime_s is None:
                return Told(404, "the account is gone", FLAVOR)
            self.issued.append(f"token-{len(self.issued)}")
            body = {"access_token": self.issued[-1], "expires_in": lifetime_s, "token_type": "Bearer"}
            return Told(200, body, FLAVOR | {"Content-Type": "application/json"})
        if asked.path.startswith(ACCOUNT):
            body = {"email": "export@project.iam.gserviceaccount.com", "scopes": ["cloud-platform"], "aliases": []}
            return Told(200, body, FLAVOR | {"Content-Type": "application/json"})
        if asked.path.endswith("/project/project-id"):
            return Told(200, "the-project", FLAVOR)
        return Told(200 if asked.path == "/" else 404, "", FLAVOR)


@contextmanager
def metadata(lifetimes_s: Iterator[int], *, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    """A metadata service where the SDK looks for one."""
    service = Metadata(lifetimes_s)
    with served(service.answer, folder=folder, tls=False) as server:
        host = server.url.removeprefix("http://")
        patch.setenv("GCE_METADATA_IP", host)
        patch.setattr(
            "google.auth.compute_engine._metadata._GCE_METADATA_HOST", host
        )  # of GCE_METADATA_HOST, at import
        # Otherwise a thread asks Google itself where the account may be used from.
        account = "google.auth.compute_engine.credentials.Credentials"
        patch.setattr(f"{account}._is_regional_access_boundary_lookup_required", lambda _: False)
        yield service


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """For the metadata service, whose authority is not that of the store."""
    folder = tmp_path / "metadata"
    folder.mkdir()
    return folder


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def test_a_pods_workload_identity_is_used(
    gcs_tls: Server, stack: AsyncExitStack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One token for all calls of a store, while it holds; requests are billed to the pod's project."""
    url, front = gcs_tls
    with metadata(iter([3_600]), folder=folder, patch=monkeypatch) as service:
        backend = gcs_backend(stack, url, front, requester_pays=True)
        assert await (await sealed(backend.destination(), b"rows")).publish() is True
    assert service.issued == ["token-0"]
    assert set(front.dialect.tokens) == {"token-0"}
    assert "the-project" in {query.get("userProject") for query in front.dialect.queries}


async def test_a_token_that_ends_is_renewed_in_mid_upload(
    gcs_tls: Server, stack: AsyncExitStack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK takes a token that lasts a few minutes for one that ends now, and asks for the next before each call."""
    url, front = gcs_tls
    with metadata(iter([60, 60, 60, 3_600]), folder=folder, patch=monkeypatch) as service:
        destination = gcs_backend(stack, url, front).destination()
        upload = await sealed(destination, b"rows")
        assert await upload.publish() is True
    assert len(service.issued) > 1
    assert front.dialect.tokens[0] != front.dialect.tokens[-1]
    assert set(front.dialect.tokens) <= set(service.issued)


async def test_a_token_that_is_refused_is_renewed(
    gcs_tls: Server, stack: AsyncExitStack, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever end it stated: between the bytes of a part and its publication, and for the state."""
    url, front = gcs_tls
    with metadata(iter([3_600] * 9), folder=folder, patch=monkeypatch):
        backend = gcs_backend(stack, url, front)
        upload, state = await sealed(backend.destination(), b"rows"), backend.state()
        assert await state.create("first", b"") is True
        front.dialect.revoked |= set(front.dialect.tokens)

        assert await upload.publish() is True
        assert await state.create("second", b"") is True

    assert backend.visible() == {KEY: b"rows"}
    assert front.dialect.tokens[-1] not in front.dialect.revoked


@pytest.mark.parametrize("renewals", [0, 9])
async def test_credentials_that_cannot_be_renewed_are_a_refusal(
    gcs_tls: Server, stack: AsyncExitStack, folder: Path, monkeypatch: pytest.MonkeyPatch, renewals: int
) -> None:
    """The account is gone, or the store refuses every token of it: what to do is said, and nothing is visible."""
    url, front = gcs_tls
    with metadata(iter([3_600] * (1 + renewals)), folder=folder, patch=monkeypatch):
        backend = gcs_backend(stack, url, front)
        upload = await sealed(backend.destination(), b"rows")
        front.dialect.revoked |= {f"token-{number}" for number in range(20)}

        with pytest.raises(StoreRefused, match="destination: the credentials are not valid there, or no longer; renew"):
            await upload.publish()

    assert backend.visible() == {}
