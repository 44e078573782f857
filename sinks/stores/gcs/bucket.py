"""A bucket of Google Cloud Storage: connection, objects, and what its errors mean.

Credentials are the application's default ones (workload identity, service account, attached account). They
are never sent over plain http: an endpoint without TLS is an emulator and is called without any.

https://cloud.google.com/storage/docs/retry-strategy
https://cloud.google.com/docs/authentication/application-default-credentials (both checked 2026-11)
"""

import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import google.auth
import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter

from config.locations import Location
from config.model import Storage
from pipeline.errors import StoreRefused, StoreUnavailable
from sinks.stores.blocking import BlockingPool
from sinks.stores.keys import check_key

THREADS = 16
TIMEOUT_S = (10.0, 60.0)  # to connect, and between two pieces of an answer
RETRY_FOR_S = 90.0  # of one call that may be repeated
CALL_DEADLINE_S = 300.0
TOKEN_RETRIES = 3  # of a connection that fails; as many as google-auth's own sessions make
RETRY = DEFAULT_RETRY.with_timeout(RETRY_FOR_S)

ENDPOINT = "https://storage.googleapis.com"

_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_METADATA = "m365-export-upload"

Result = TypeVar("Result")


class Bucket:
    """A bucket and a prefix in it. Everything but `run` and `close` blocks."""

    def __init__(self, location: Location, settings: Storage, *, name: str, rights: str) -> None:
        """`name` says in messages which store it is, `rights` which rights it needs."""
        self.name = name
        self._location = location
        self._prefix = f"{location.path}/" if location.path else ""
        self._settings = settings
        self._rights = rights
        self._pool = BlockingPool(store=name, threads=THREADS)
        self._connecting = threading.Lock()
        self._connected: tuple[Any, storage.Client] | None = None

    async def run(self, call: Callable[[], Result], *, deadline_s: float = CALL_DEADLINE_S) -> Result:
        """The result of blocking calls. Raises: StoreRefused, StoreUnavailable."""

        def guarded() -> Result:
            with self.errors():
                return call()

        return await self._pool.run(guarded, deadline_s=deadline_s)

    async def close(self) -> None:
        """Take no more calls."""
        self._pool.close()
        if self._connected is not None:
            self._connected[0].close()

    def path(self, key: str) -> str:
        """The object's full name. Raises: ValueError, when `key` cannot name an object."""
        check_key(key)
        return self._prefix + key

    def blob(self, path: str, *, identity: str | None = None) -> storage.Blob:
        """A handle of an object; `identity` names the write that it is for."""
        _, client = self._connection()
        project = client.project if self._settings.requester_pays else None
        bucket = client.bucket(self._location.bucket, user_project=project)
        blob = bucket.blob(path, kms_key_name=self._settings.kms_key)
        if identity is not None:
            blob.metadata = {_METADATA: identity}
        return blob

    def session_request(self, path: str, identity: str) -> dict[str, Any]:
        """The request that begins an upload session which only creates, as arguments of `request`."""
        _, client = self._connection()
        base = (self._settings.endpoint_url or ENDPOINT).rstrip("/")
        query = {"uploadType": "resumable", "ifGenerationMatch": "0"}
        if self._settings.kms_key is not None:
            query["kmsKeyName"] = self._settings.kms_key
        if self._settings.requester_pays:
            query["userProject"] = client.project
        return {
            "url": f"{base}/upload/storage/v1/b/{self._location.bucket}/o",
            "params": query,
            "json": {"name": path, "metadata": {_METADATA: identity}},
        }

    def found(self, path: str) -> storage.Blob | None:
        """The object with its properties, or None. Needs the right to read."""
        blob = self.blob(path)
        try:
            blob.reload(retry=RETRY, timeout=TIMEOUT_S)
        except api.NotFound:
            return None
        return blob

    def listed(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""
        bucket = self.blob(self._prefix + "_").bucket
        blobs = bucket.list_blobs(
            prefix=self._prefix + prefix, fields="items(name),nextPageToken", retry=RETRY, timeout=TIMEOUT_S
        )
        return sorted(blob.name.removeprefix(self._prefix) for blob in blobs)

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """One request on a session's URL, with credentials and a deadline; any status is an answer."""
        session, _ = self._connection()
        answer: requests.Response = session.request(method, url, timeout=TIMEOUT_S[1], allow_redirects=False, **options)
        return answer

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say in the operator's words what the service or the SDK raised."""
        try:
            yield
        except auth.DefaultCredentialsError:
            raise StoreRefused(f"{self.name}: no credentials for Google Cloud") from None
        except (auth.RefreshError, api.Unauthorized):
            raise StoreRefused(f"{self.name}: the credentials are not valid there, or no longer; renew them") from None
        except api.Forbidden:
            raise StoreRefused(f"{self.name}: Google Cloud Storage denies access; {self._rights}") from None
        except api.NotFound:
            raise StoreRefused(f"{self.name}: the bucket does not exist; create it") from None
        except (api.TooManyRequests, api.ServerError, api.RetryError) as error:
            raise StoreUnavailable(
                f"{self.name}: Google Cloud Storage fails for now ({type(error).__name__})"
            ) from None
        except api.GoogleAPICallError as error:
            raise StoreRefused(
                f"{self.name}: Google Cloud Storage refuses a request ({type(error).__name__})"
            ) from None
        except requests.exceptions.SSLError:
            raise StoreRefused(f"{self.name}: the store's certificate is not trusted; set REQUESTS_CA_BUNDLE") from None
        except (
            requests.RequestException, auth.GoogleAuthError, ConnectionError, DataCorruption, InvalidResponse,
        ) as error:  # fmt: skip
            raise StoreUnavailable(
                f"{self.name}: Google Cloud Storage cannot be reached ({type(error).__name__})"
            ) from None

    def _connection(self) -> tuple[Any, storage.Client]:
        """Made at first use on a worker thread: credentials may come from the machine's metadata."""
        with self._connecting:
            if self._connected is None:
                credentials, project = _credentials(self._settings)
                self._connected = connect(self._settings, credentials=credentials, project=project)
            return self._connected


def new_identity() -> str:
    """A name that no other write has."""
    return secrets.token_hex(16)


def is_named(blob: storage.Blob, identity: str) -> bool:
    """Whether an object was written under this name."""
    return bool((blob.metadata or {}).get(_METADATA) == identity)


def connect(settings: Storage, *, credentials: Any, project: str) -> tuple[Any, storage.Client]:
    """A session that reaches the store as the settings say, for as many threads as a bucket has, and a client on it."""
    session = _Session(credentials, auth_request=_token_request(settings))
    session.mount("https://", HTTPAdapter(pool_maxsize=THREADS))
    session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
    if settings.proxy is not None:
        session.proxies_first = {"http": settings.proxy, "https": settings.proxy}
    client = storage.Client(
        project=project,
        credentials=credentials,
        _http=session,
        client_options={"api_endpoint": settings.endpoint_url} if settings.endpoint_url else None,
    )
    return session, client


class _Proxied:
    """A session with proxies of its own, by scheme, which requests would let the environment's overrule."""

    proxies_first: Mapping[str, str] = MappingProxyType({})

    def merge_environment_settings(self, url: str, proxies: Any, stream: Any, verify: Any, cert: Any) -> dict[str, Any]:
        """What `requests` calls for each request."""
        merging: Any = super()
        merged: dict[str, Any] = merging.merge_environment_settings(url, proxies, stream, verify, cert)
        merged["proxies"] = {**merged["proxies"], **self.proxies_first}
        return merged


_Authorized: Any = AuthorizedSession


class _Session(_Proxied, _Authorized):  # type: ignore[misc] # of Any: google-auth declares few types
    """Talks to the store."""


class _TokenSession(_Proxied, requests.Session):  # type: ignore[misc] # the stubs of `requests` have narrower types
    """Talks to whoever issues tokens."""


def _token_request(settings: Storage) -> Any:
    """How tokens are asked for: through the same proxy, but for what has no TLS: the machine's own metadata."""
    session = _TokenSession()
    session.mount("https://", HTTPAdapter(max_retries=TOKEN_RETRIES))
    if settings.proxy is not None:
        session.proxies_first = {"https": settings.proxy}
    request: Any = Request
    return request(session)


def _credentials(settings: Storage) -> tuple[Any, str]:
    if settings.endpoint_url is not None and settings.endpoint_url.startswith("http:"):
        anonymous: Any = AnonymousCredentials
        return anonymous(), "none"
    # Which project federated credentials belong to is asked for, too. Without a proxy the SDK knows best how.
    request = None if settings.proxy is None else _token_request(settings)
    credentials, project = google.auth.default(scopes=_SCOPES, request=request)
    if project is None and settings.requester_pays:
        raise StoreRefused("storage.requester_pays needs a project to bill; set GOOGLE_CLOUD_PROJECT")
    return credentials, project or "none"  # without a name the client would look for one again
