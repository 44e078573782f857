"""Tokens from real MSAL against a local authority: every kind of credential, every way to be refused."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from connectors.graph.aadsts import CAUSES
from connectors.graph.credentials import (
    Assertion,
    Certificate,
    ClientSecret,
    Credential,
    ManagedIdentity,
    file_assertion,
)
from connectors.graph.issuer import MsalIssuer, NotIssued
from connectors.graph.network import Network
from pipeline.errors import FailReason
from tests.https_server import Asked, Served, Told, served

TENANT = "11111111-2222-3333-4444-555555555555"
SCOPE = "https://graph.microsoft.com/.default"
GOOD = Told(body={"token_type": "Bearer", "expires_in": 3599, "access_token": "token-1"})


@contextmanager
def _authority(folder: Path, token: Callable[[Asked], Told] = lambda _: GOOD) -> Iterator[Served]:
    def answer(asked: Asked) -> Told:
        if asked.path.endswith("/.well-known/openid-configuration"):
            base = f"https://{asked.headers['host']}/{TENANT}"
            return Told(
                body={
                    "issuer": f"{base}/v2.0",
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                }
            )
        return token(asked)

    with served(answer, folder=folder) as server:
        yield server


def _issuer(server: Served, credential: Credential, **changes: Any) -> MsalIssuer:
    return MsalIssuer(
        **{
            "credential": credential,
            "client_id": "app",
            "tenant_id": TENANT,
            "authority": server.url,
            "scope": SCOPE,
            "known_authority": False,
            "network": Network(ca_file=server.ca_file),
            **changes,
        }
    )


def _forms(server: Served) -> list[dict[str, str]]:
    return [asked.form for asked in server.asked if asked.method == "POST"]


def test_a_client_secret_gets_a_token(tmp_path: Path) -> None:
    """The form Entra expects, and what it answers."""
    with _authority(tmp_path) as server:
        issued = _issuer(server, ClientSecret("s3cr3t")).issue()
    (form,) = _forms(server)
    assert (issued.value, issued.lifetime_s, issued.refresh_s) == ("token-1", 3599, None)
    assert (form["grant_type"], form["client_secret"]) == ("client_credentials", "s3cr3t")
    assert form["scope"] == SCOPE
    assert "token-1" not in repr(issued)


def test_every_call_asks_the_service(tmp_path: Path) -> None:
    """MSAL's own cache is passed by: the caller keeps the token."""
    with _authority(tmp_path) as server:
        issuer = _issuer(server, ClientSecret("s3cr3t"))
        issuer.issue()
        issuer.issue()
    assert len(_forms(server)) == 2


def test_an_extra_authority_is_trusted_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REQUESTS_CA_BUNDLE would overrule `verify`; our own context does not listen to it."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    with _authority(tmp_path) as server:
        assert _issuer(server, ClientSecret("s")).issue().value == "token-1"


def test_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    """Without `ca_file` the certificate is refused, and the secret is never sent."""
    with _authority(tmp_path) as server, pytest.raises(NotIssued) as refused:
        _issuer(server, ClientSecret("s"), network=Network()).issue()
    assert refused.value.refusal.code == "token_service_unavailable"
    assert server.asked == []


def _pem(key_type: trustme.KeyType, password: str | None = None) -> str:
    leaf = trustme.CA().issue_cert("exporter.example.test", key_type=key_type)
    key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
    encryption: KeySerializationEncryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return (text + leaf.cert_chain_pems[0].bytes()).decode()


@pytest.mark.parametrize("password", [None, "pw"])
def test_a_certificate_signs_an_assertion(tmp_path: Path, password: str | None) -> None:
    """PEM with key, encrypted or not."""
    certificate = Certificate(_pem(trustme.KeyType.RSA, password), password=password)
    with _authority(tmp_path) as server:
        _issuer(server, certificate).issue()
    (form,) = _forms(server)
    assert form["client_assertion_type"].endswith("jwt-bearer")
    assert form["client_assertion"].count(".") == 2


@pytest.mark.parametrize(
    ("pem", "password", "code"),
    [
        (_pem(trustme.KeyType.RSA, "pw"), "wrong", "certificate_unreadable"),
        (_pem(trustme.KeyType.RSA, "pw"), None, "certificate_unreadable"),
        ("no certificate", None, "certificate_unreadable"),
        (_pem(trustme.KeyType.ECDSA), None, "certificate_not_rsa"),
    ],
)
def test_a_certificate_that_cannot_sign_says_why(tmp_path: Path, pem: str, password: str | None, code: str) -> None:
    """Wrong password, no key, or a kind of key Entra does not take."""
    with _authority(tmp_path) as server, pytest.raises(NotIssued) as refused:
        _issuer(server, Certificate(pem, password=password)).issue()
    assert (refused.value.refusal.code, refused.value.patience_s) == (code, 0)


def test_a_token_file_is_read_anew_for_each_token(tmp_path: Path) -> None:
    """The platform rotates it."""
    file = tmp_path / "token"
    with _authority(tmp_path) as server:
        issuer = _issuer(server, file_assertion(file))
        for text in ("jwt-1\n", "jwt-2"):
            file.write_text(text)
            issuer.issue()
    assert [form["client_assertion"] for form in _forms(server)] == ["jwt-1", "jwt-2"]


def test_a_missing_token_file_names_its_setting(tmp_path: Path) -> None:
    """The operator learns where to look, and nothing is asked of Entra."""
    with _authority(tmp_path) as server, pytest.raises(NotIssued) as refused:
        _issuer(server, file_assertion(tmp_path / "none")).issue()
    assert "auth.assertion.path" in refused.value.refusal.what
    assert _forms(server) == []


@pytest.mark.parametrize("code", sorted(CAUSES))
def test_each_known_code_has_cause_and_remedy(tmp_path: Path, code: int) -> None:
    """The code travels, with what it means and whether waiting may help; Entra's own text does not."""

    def refuse(_: Asked) -> Told:
        text = f"AADSTS{code}: Application 'ada@example.test' was refused. Trace ID: 2f1a"
        return Told(400, {"error": "invalid_client", "error_description": text, "error_codes": [code]})

    with _authority(tmp_path, refuse) as server, pytest.raises(NotIssued) as refused:
        _issuer(server, ClientSecret("s")).issue()
    refusal = refused.value.refusal
    assert refusal.code == f"AADSTS{code}"
    assert (refusal.what, refusal.remedy) == (CAUSES[code].what, CAUSES[code].remedy)
    assert refused.value.patience_s == CAUSES[code].patience_s
    assert refused.value.pause_s > 60  # MSAL would replay the same answer for a minute
    assert "ada" not in str(refused.value)


def test_an_unknown_code_is_named(tmp_path: Path) -> None:
    """Taken from the text where the list is missing."""

    def refuse(_: Asked) -> Told:
        return Told(401, {"error": "invalid_client", "error_description": "AADSTS7654321: Something new."})

    with _authority(tmp_path, refuse) as server, pytest.raises(NotIssued) as refused:
        _issuer(server, ClientSecret("s")).issue()
    assert refused.value.refusal.code == "AADSTS7654321"
    assert "AADSTS7654321" in str(refused.value)


@pytest.mark.parametrize(
    ("told", "pause_s"),
    [
        (Told(503, ""), 6),
        (Told(503, "", {"Retry-After": "30"}), 31),
        (Told(429, {"error": "temporarily_unavailable"}, {"Retry-After": "40"}), 41),
        (Told(429, "slow down"), 6),
        (Told(500, "<html>"), 6),
    ],
)
def test_an_unavailable_service_is_waited_for(tmp_path: Path, told: Told, pause_s: float) -> None:
    """Longer than MSAL replays the refusal from its own cache."""
    with _authority(tmp_path, lambda _: told) as server, pytest.raises(NotIssued) as refused:
        _issuer(server, ClientSecret("s")).issue()
    assert refused.value.patience_s == 600
    assert refused.value.pause_s == pause_s


def test_an_unknown_tenant_fails_in_discovery(tmp_path: Path) -> None:
    """MSAL's constructor raises a ValueError there; the operator reads a remedy."""

    def answer(_: Asked) -> Told:
        return Told(400, {"error": "invalid_tenant", "error_description": "AADSTS90002: Tenant 'x' not found."})

    with served(answer, folder=tmp_path) as server, pytest.raises(NotIssued) as refused:
        _issuer(server, ClientSecret("s")).issue()
    assert refused.value.patience_s == 0
    assert "tenant.id" in refused.value.refusal.remedy


def test_nobody_listening_is_waited_for(tmp_path: Path) -> None:
    """A network fault passes, or the patience ends."""
    with _authority(tmp_path) as server:
        pass
    with pytest.raises(NotIssued) as refused:
        _issuer(server, ClientSecret("s")).issue()
    assert refused.value.refusal.code == "token_service_unavailable"
    assert refused.value.refusal.reason is FailReason.NETWORK
    assert refused.value.patience_s == 600


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    """The secret goes to the token endpoint and nowhere else."""

    def redirect(asked: Asked) -> Told:
        return Told(307, "", {"Location": f"https://{asked.headers['host']}/elsewhere"})

    with _authority(tmp_path, redirect) as server, pytest.raises(NotIssued):
        _issuer(server, ClientSecret("s")).issue()
    assert [asked.path for asked in server.asked if asked.path == "/elsewhere"] == []


def test_a_managed_identity_asks_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The App Service form: endpoint and header from the environment, a resource instead of a scope."""

    def answer(asked: Asked) -> Told:
        if asked.headers.get("x-identity-header") != "h":
            return Told(401, {"message": "no"})
        return Told(body={"access_token": "mi-token", "expires_on": "9999999999", "resource": "r"})

    with served(answer, folder=tmp_path, tls=False) as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "h")
        issued = _issuer(server, ManagedIdentity(client_id="user-assigned")).issue()
    assert issued.value == "mi-token"
    assert issued.lifetime_s > 0
    assert server.asked[0].query["resource"] == "https://graph.microsoft.com"


def test_credentials_do_not_show_themselves() -> None:
    """Secrets and keys stay out of every representation."""
    shown = repr([ClientSecret("s3cr3t"), Certificate("pem", password="s3cr3t"), Assertion(lambda: "s3cr3t")])
    assert "s3cr3t" not in shown
    assert "pem" not in shown


_CUT_OFF = '{"token_type":"Bearer","expires_in":3599,"access_token":"secret-token"'


@pytest.mark.parametrize(
    "body",
    ["<html>Sign in", "", "[]", "null", "7", _CUT_OFF, _CUT_OFF.replace("secret", "secret\x0b") + "}"],
)
@pytest.mark.parametrize("status", [200, 302])
@pytest.mark.parametrize("place", ["discovery", "token"])
def test_an_answer_without_sense_may_pass_and_is_never_repeated(
    place: str, status: int, body: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut off, or some proxy's page: worth another request. What it held, a token maybe, is in no log and no error."""

    def answer(asked: Asked) -> Told:
        is_here = asked.path.endswith("/token") == (place == "token")
        base = f"https://{asked.headers['host']}/{TENANT}"
        names = {"token_endpoint": "/oauth2/v2.0/token", "authorization_endpoint": "/oauth2/v2.0/authorize"}
        document = {"issuer": f"{base}/v2.0", **{name: base + path for name, path in names.items()}}
        return Told(status=status, body=body) if is_here else Told(body=document)

    with served(answer, folder=tmp_path) as server, pytest.raises(NotIssued) as failed:
        _issuer(server, ClientSecret("s3cr3t")).issue()
    assert failed.value.patience_s > 0
    assert "secret" not in caplog.text + "".join(traceback.format_exception(failed.value))
