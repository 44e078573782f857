"""How we reach Microsoft: trusted certificates and proxies, the same for tokens (requests) and data
(aiohttp).

Both libraries would read the environment themselves, each in its own way: requests lets REQUESTS_CA_BUNDLE
overrule a configured certificate authority, aiohttp takes credentials from ~/.netrc. So both are told
explicitly.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it

import certifi
import requests
from requests.adapters import HTTPAdapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """`ca_file` is trusted besides the system's authorities; `proxies` has values for http, https, no."""

    ca_file: Path | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold a proxy's password

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, ca_file: Path | None = None) -> Self:
        """With the proxies of HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY; the lower-case names win."""
        found = {
            kind: environ.get(f"{kind}_proxy") or environ.get(f"{kind}_proxy".upper(), "")
            for kind in ("http", "https", "all", "no")
        }
        for kind in ("http", "https"):
            found[kind] = found[kind] or found["all"]
        del found["all"]
        return cls(ca_file=ca_file, proxies={kind: value for kind, value in found.items() if value})

    def proxy_for(self, url: str) -> str | None:
        """The proxy for a URL, or None where none is set or NO_PROXY names the host."""
        parts = urlsplit(url)
        if proxy_bypass_environment(parts.netloc.rpartition("@")[2], dict(self.proxies)):
            return None
        proxy = self.proxies.get(parts.scheme)
        return proxy if proxy is None or "://" in proxy else f"http://{proxy}"

    def tls(self) -> ssl.SSLContext:
        """Trusts the system's authorities (certifi's where there are none) and `ca_file`."""
        context = ssl.create_default_context()
        if context.cert_store_stats()["x509_ca"] == 0:
            context.load_verify_locations(certifi.where())
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        return context

    def session(self, *, connect_s: float, read_s: float) -> "TokenSession":
        """A blocking session for the token service; the caller closes it."""
        return TokenSession(self, connect_s=connect_s, read_s=read_s)


class TokenSession(requests.Session):
    """A requests session that takes nothing from the environment and never waits without end."""

    def __init__(self, network: Network, *, connect_s: float, read_s: float) -> None:
        super().__init__()
        self.trust_env = False
        self._network = network
        self._timeout = (connect_s, read_s)
        self.last_status: int | None = None
        self.last_retry_after: str | None = None
        self.mount("https://", _TrustAdapter(network.tls()))

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """As requests has it, with our timeout and proxy, and following no redirect."""
        proxy = self._network.proxy_for(url.decode() if isinstance(url, bytes) else url)
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        kwargs["proxies"] = {"http": proxy, "https": proxy} if proxy else {}
        kwargs["allow_redirects"] = False  # a token request holds the secret: it goes to its address only
        self.last_status = self.last_retry_after = None
        answer = super().request(method, url, *args, **kwargs)
        self.last_status, self.last_retry_after = answer.status_code, answer.headers.get("Retry-After")
        return answer


class _TrustAdapter(HTTPAdapter):
    """Verifies with our TLS context, directly and through proxies."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, ssl_context=self._context, **kwargs)
