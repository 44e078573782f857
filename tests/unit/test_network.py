"""Proxies and trust: from the environment that was handed over, the same for tokens and for data."""

from pathlib import Path

import pytest
import requests

from connectors.graph.network import Network
from tests.https_server import Told, served


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "http://lower:1", "HTTPS_PROXY": "http://upper:2"}, "http://lower:1"),
        ({"HTTPS_PROXY": "proxy:3128"}, "http://proxy:3128"),
        ({"ALL_PROXY": "http://all:1"}, "http://all:1"),
        ({"HTTP_PROXY": "http://plain:1"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "graph.microsoft.com"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".microsoft.com,localhost"}, None),
        ({"HTTPS_PROXY": "http://p:1", "no_proxy": "*"}, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "example.test"}, "http://p:1"),
    ],
)
def test_proxies_of_the_environment(environ: dict[str, str], proxy: str | None) -> None:
    """HTTPS_PROXY, ALL_PROXY and NO_PROXY, lower case first."""
    assert Network.from_environment(environ).proxy_for("https://graph.microsoft.com/v1.0") == proxy


def test_the_process_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not handed over does not count."""
    monkeypatch.setenv("HTTPS_PROXY", "http://process:1")
    assert Network.from_environment({}).proxy_for("https://graph.microsoft.com") is None


def test_a_proxy_password_is_not_shown() -> None:
    """Proxies carry credentials in their URL."""
    network = Network.from_environment({"HTTPS_PROXY": "http://user:pw@proxy:1"})
    assert "pw" not in repr(network)


def test_the_token_session_uses_the_proxy(tmp_path: Path) -> None:
    """A plain request goes to the proxy instead of the host it names."""
    with served(lambda _: Told(body="via proxy"), folder=tmp_path, tls=False) as proxy:
        network = Network.from_environment({"HTTP_PROXY": proxy.url})
        with network.session(connect_s=5, read_s=5) as session:
            assert session.get("http://login.example.test/x").text == "via proxy"
        assert session.last_status == 200


def test_the_token_session_does_not_wait_without_end(tmp_path: Path) -> None:
    """Every request has a timeout, also where the caller gives none."""
    with Network().session(connect_s=0.01, read_s=0.01) as session, pytest.raises(requests.ConnectionError):
        session.get("http://127.0.0.1:9/")  # the discard port: nobody listens


def test_ca_file_adds_to_the_system(tmp_path: Path) -> None:
    """The extra authority is trusted besides the others, not instead of them."""
    with served(lambda _: Told(body="ok"), folder=tmp_path) as server:
        network = Network(ca_file=server.ca_file)
        with network.session(connect_s=5, read_s=5) as session:
            assert session.get(server.url).text == "ok"
    plain, extended = Network().tls().cert_store_stats(), network.tls().cert_store_stats()
    assert extended["x509_ca"] == plain["x509_ca"] + 1
