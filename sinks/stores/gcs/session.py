"""A resumable upload session: bytes are kept by the service until the last of them makes the object visible.

Every request but the last carries whole units of 256 KiB. What arrived is asked for after a lost answer; a
session that was completed says so for a week. A precondition named when the session is made is checked when
it completes.

https://cloud.google.com/storage/docs/performing-resumable-uploads
https://cloud.google.com/storage/docs/request-preconditions (both checked 2026-11)
"""

import base64
import re
import time
from enum import StrEnum
from typing import Any

import google_crc32c
import requests
from google.api_core import exceptions as api

from pipeline.errors import StoreUnavailable
from sinks.stores.gcs.bucket import Bucket

UNIT_BYTES = 256 * 1024
ATTEMPTS = 6
_WAIT_S = 0.25  # doubled each time
_RANGE = re.compile(r"bytes=0-([0-9]+)")


class Outcome(StrEnum):
    """Where a session stands."""

    OPEN = "open"
    DONE = "done"
    TAKEN = "taken"  # the object exists already
    GONE = "gone"  # cancelled, or older than a week


def begin_session(bucket: Bucket, path: str, identity: str) -> str:
    """The URL of a new session that creates the object and nothing else. Blocks.

    Asked of the service directly: the SDK would look at the bucket's metadata besides, for which a destination
    gives no right.
    """
    for attempt in range(ATTEMPTS):
        try:
            answer = bucket.request("POST", **bucket.session_request(path, identity))
        except (requests.ConnectionError, requests.Timeout):
            answer = None
        if answer is not None and not _is_passing(answer.status_code):
            if answer.status_code != 200:
                raise _error_of(answer)
            return answer.headers["Location"]
        time.sleep(_WAIT_S * 2**attempt)  # on a worker thread
    raise StoreUnavailable(f"{bucket.name}: Google Cloud Storage begins no upload for now")


class Session:
    """Sends bytes to one session. Blocks; one caller at a time."""

    def __init__(self, bucket: Bucket, path: str, url: str) -> None:
        self.url = url
        self._bucket = bucket
        self._path = path

    def send(self, data: bytes, *, at: int, total: int | None, crc32c: int = 0) -> Outcome:
        """Send `data`, which begins at byte `at`; with a `total` it is the last, `crc32c`
        is checked, and the object appears.

        Raises:
            StoreUnavailable: after several attempts.
        """
        start, end = at, at + len(data)
        for attempt in range(ATTEMPTS):
            try:
                answer = self._put(data[start - at :], start, total, crc32c)
            except (requests.ConnectionError, requests.Timeout):
                answer = None
            if answer is not None and not _is_passing(answer.status_code):
                outcome = self._outcome(answer)
                start = _persisted(answer)
                if outcome is not Outcome.OPEN or (start >= end and total is None):
                    return outcome
            else:
                time.sleep(_WAIT_S * 2**attempt)  # on a worker thread
                outcome, start = self.status(total)
                if outcome is not Outcome.OPEN or (start >= end and total is None):
                    return outcome
            if not at <= start <= end:
                raise StoreUnavailable(f"{self._bucket.name}: Google Cloud Storage lost part of an upload")
        raise StoreUnavailable(f"{self._bucket.name}: Google Cloud Storage keeps failing an upload")

    def status(self, total: int | None) -> tuple[Outcome, int]:
        """Where the session stands, and how many bytes it has."""
        for attempt in range(ATTEMPTS):
            try:
                answer = self._put(b"", None, total)
            except (requests.ConnectionError, requests.Timeout):
                answer = None
            if answer is not None and not _is_passing(answer.status_code):
                return self._outcome(answer), _persisted(answer)
            time.sleep(_WAIT_S * 2**attempt)  # on a worker thread
        raise StoreUnavailable(f"{self._bucket.name}: Google Cloud Storage keeps failing an upload")

    def cancel(self) -> None:
        """Give the bytes up. A completed or forgotten session is beyond that."""
        answer = self._bucket.request("DELETE", self.url, headers={"Content-Length": "0"})
        if _is_passing(answer.status_code):
            raise StoreUnavailable(f"{self._bucket.name}: Google Cloud Storage fails for now")

    def _put(self, data: bytes, start: int | None, total: int | None, crc32c: int = 0) -> requests.Response:
        """`start` None asks for the status."""
        size = "*" if total is None else str(total)
        span = "*" if start is None or not data else f"{start}-{start + len(data) - 1}"
        headers = {"Content-Range": f"bytes {span}/{size}", "Content-Length": str(len(data))}
        if start is not None and total is not None:
            headers["X-Goog-Hash"] = f"crc32c={base64.b64encode(crc32c.to_bytes(4, 'big')).decode()}"
        return self._bucket.request("PUT", self.url, data=data, headers=headers)

    def _outcome(self, answer: requests.Response) -> Outcome:
        match answer.status_code:
            case 308:
                return Outcome.OPEN
            case 200 | 201:
                return Outcome.DONE
            case 412:
                return Outcome.TAKEN
            case 403 if self._may_create():
                # Without the right to delete, some answer that the object cannot be overwritten.
                return Outcome.TAKEN
            case 404 | 410 | 499:
                return Outcome.GONE
            case _:
                raise _error_of(answer)

    def _may_create(self) -> bool:
        """Whether a new session is granted, which is cancelled at once."""
        try:
            url = begin_session(self._bucket, self._path, "probe")
        except api.PreconditionFailed:
            return True
        except api.Forbidden:
            return False
        Session(self._bucket, self._path, url).cancel()
        return True


def extended_crc32c(crc32c: int, data: bytes) -> int:
    """The checksum of everything before and of `data`."""
    return int(google_crc32c.extend(crc32c, data))


def _error_of(answer: requests.Response) -> api.GoogleAPICallError:
    from_response: Any = api.from_http_response  # without declared types
    error: api.GoogleAPICallError = from_response(answer)
    return error


def _persisted(answer: requests.Response) -> int:
    """How many bytes a session says it has."""
    found = _RANGE.fullmatch(answer.headers.get("Range", ""))
    return int(found[1]) + 1 if found else 0


def _is_passing(status: int) -> bool:
    return status in {408, 429} or status >= 500
