"""A bucket of S3, or of a store that speaks its language: connection, calls, and what its errors mean.

Credentials, proxies and certificates come from where boto3 looks for them (environment, profile, web
identity, the machine's role); the settings only add what those cannot say. boto3 renews what it knows to end soon;
what was revoked or replaced before, only a new session finds.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (checked 2026-11)
"""

import base64
import hashlib
import re
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    TokenRetrievalError,
)

from config.locations import Location
from config.model import Storage
from pipeline.errors import StoreRefused, StoreUnavailable
from sinks.stores.blocking import BlockingPool
from sinks.stores.keys import check_key

THREADS = 16
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
ATTEMPTS = 4  # of one call, with the SDK's back-off of at most 20 seconds between them
CALL_DEADLINE_S = 300.0

TAKEN = "PreconditionFailed"
CONFLICT = "ConditionalRequestConflict"
NO_UPLOAD = "NoSuchUpload"
NO_KEY = "NoSuchKey"
UNSUPPORTED = "NotImplemented"
DENIED = "AccessDenied"
# A HEAD has no body to carry a code, and some stores answer with the bare status.
_CODE_OF_STATUS = {"403": DENIED, "404": NO_KEY, "409": CONFLICT, "412": TAKEN, "501": UNSUPPORTED}

_CREDENTIALS = "the credentials are not valid there, or no longer; renew them"
_REGION = "the bucket is in another region; set storage.region"
_ADVICE = {
    "NoSuchBucket": "the bucket does not exist; create it or correct its name",
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it",
    "BadDigest": "bytes were changed on their way; look for a proxy that rewrites",
}
_OVER = frozenset({"ExpiredToken", "InvalidToken"})
_SAFE_CODE = re.compile(r"[A-Za-z0-9._]{1,64}")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Answer:
    """`code` is None for success, else one of those the caller said it expects."""

    code: str | None
    data: dict[str, Any] = field(repr=False)
    retried: bool  # an earlier attempt of the same call may have taken effect


class Bucket:
    """A bucket and a prefix in it. `call` blocks; `run` puts what calls it on a thread."""

    def __init__(self, location: Location, storage: Storage, *, name: str, rights: str) -> None:
        """`name` says in messages which store it is, `rights` which rights it needs."""
        self.name = name
        self.single_writer = storage.single_writer
        self._bucket = location.bucket
        self._prefix = f"{location.path}/" if location.path else ""
        self._storage = storage
        self._rights = rights
        self._pool = BlockingPool(store=name, threads=THREADS)
        self._connecting = threading.Lock()
        self._client: Any = None
        self._replaced: list[Any] = []  # clients whose credentials are over; calls of other threads may be under way

    async def run(self, call: Callable[[], Result], *, deadline_s: float = CALL_DEADLINE_S) -> Result:
        """The result of blocking calls. Raises: StoreUnavailable, when they take too long."""
        return await self._pool.run(call, deadline_s=deadline_s)

    async def close(self) -> None:
        """Take no more calls."""
        self._pool.close()
        for client in (*self._replaced, self._client):
            if client is not None:
                client.close()

    def call(self, operation: str, *, expect: Collection[str] = (), **parameters: Any) -> Answer:
        """One operation of the S3 API. A code in `expect` is an answer, every other one an error.

        Credentials that the store takes for expired, whatever end they stated, are looked for anew, once.

        Raises:
            StoreRefused, StoreUnavailable: with what to do about it.
        """
        if self._storage.requester_pays:
            parameters["RequestPayer"] = "requester"
        client = self._connected()
        answer = self._answer(client, operation, {*expect, *_OVER}, parameters)
        if answer.code not in _OVER:
            return answer
        body = parameters.get("Body")
        if body is not None and not isinstance(body, bytes):
            body.seek(0)
        again = self._answer(self._connected(instead_of=client), operation, expect, parameters)
        return replace(again, retried=again.retried or answer.retried)

    def _answer(self, client: Any, operation: str, expect: Collection[str], parameters: Mapping[str, Any]) -> Answer:
        try:
            data = getattr(client, operation)(Bucket=self._bucket, **parameters)
            if operation == "get_object":
                data["Body"] = data["Body"].read()
        except ClientError as error:
            metadata = error.response.get("ResponseMetadata", {})
            code, status = error.response["Error"].get("Code", ""), metadata.get("HTTPStatusCode", 0)
            code = _CODE_OF_STATUS.get(code, code)
            code = _CODE_OF_STATUS.get(str(status), code) if status in {409, 412, 501} else code
            if code in expect:
                return Answer(code, {}, metadata.get("RetryAttempts", 0) > 0)
            raise self._error(code, status) from None
        except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
            raise StoreRefused(f"{self.name}: no credentials for S3 ({type(error).__name__})") from None
        except (CredentialRetrievalError, TokenRetrievalError) as error:
            raise StoreUnavailable(f"{self.name}: no credentials now ({type(error).__name__})") from None
        except SSLError:
            raise StoreRefused(
                f"{self.name}: the store's certificate is not trusted; set AWS_CA_BUNDLE to its authority"
            ) from None
        except BotoCoreError as error:
            raise StoreUnavailable(f"{self.name}: S3 cannot be reached ({type(error).__name__})") from None
        return Answer(None, data, data["ResponseMetadata"].get("RetryAttempts", 0) > 0)

    def path(self, key: str) -> str:
        """The object's full key. Raises: ValueError, when `key` cannot name an object."""
        check_key(key)
        return self._prefix + key

    def listed(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""
        found: list[str] = []
        after: dict[str, str] = {}
        while True:
            data = self.call("list_objects_v2", Prefix=self._prefix + prefix, **after).data
            found += [entry["Key"].removeprefix(self._prefix) for entry in data.get("Contents", ())]
            if not data.get("IsTruncated"):
                return sorted(found)
            after = {"ContinuationToken": data["NextContinuationToken"]}

    def encryption(self) -> dict[str, str]:
        """What a new object is encrypted with; by default the bucket decides."""
        if self._storage.kms_key is not None:
            return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self._storage.kms_key}
        return {"ServerSideEncryption": "AES256"} if self._storage.sse_s3 else {}

    def _connected(self, *, instead_of: Any = None) -> Any:
        """The client, made at first use on a worker thread: it reads files and may ask the machine's metadata.

        A new one `instead_of` one whose credentials are over, unless another thread has made that by now.
        """
        with self._connecting:
            if self._client is instead_of:
                if instead_of is not None:
                    self._replaced.append(instead_of)
                self._client = boto3.session.Session().client(
                    "s3",
                    endpoint_url=self._storage.endpoint_url,
                    region_name=self._storage.region,
                    config=_config(self._storage),
                )
            return self._client

    def _error(self, code: str, status: int) -> StoreRefused | StoreUnavailable:
        shown = code if _SAFE_CODE.fullmatch(code) else "no code"
        if code == DENIED:
            return StoreRefused(f"{self.name}: S3 denies access; {self._rights}")
        if code in _ADVICE:
            return StoreRefused(f"{self.name}: {_ADVICE[code]} ({shown})")
        if code.startswith("KMS."):
            return StoreRefused(f"{self.name}: the KMS key cannot be used ({shown}); check storage.kms_key")
        if 400 <= status < 500 and status not in {408, 409, 429} and code != "RequestTimeout":
            return StoreRefused(f"{self.name}: S3 refuses a request ({shown}, {status})")
        return StoreUnavailable(f"{self.name}: S3 fails for now ({shown}, {status})")


def md5_header(data: bytes) -> str:
    """Content-MD5: the one checksum that every store verifies."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def etag(answer: Answer) -> str:
    """An entity tag without its quotes, as older stores want to see it again."""
    return str(answer.data["ETag"]).strip('"')


def _config(storage: Storage) -> Config:
    return Config(
        signature_version="s3v4",
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        max_pool_connections=THREADS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        # The checksum that boto3 adds by default comes as a trailer, which older stores refuse (411);
        # every body carries Content-MD5 instead.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # Behind an endpoint of one's own there is seldom a host name for each bucket.
        s3={"addressing_style": "path" if storage.endpoint_url else "auto"},
        proxies={"http": storage.proxy, "https": storage.proxy} if storage.proxy else None,
        tcp_keepalive=True,
    )
