"""Whether strangers can read a location: asked as one of them, without credentials, so it takes no right to find out.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html (checked 2026-11)
https://cloud.google.com/storage/docs/public-access-prevention (checked 2026-11)
"""

import asyncio
import stat
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from config.locations import Location
from config.model import Storage

DEADLINE_S = 30.0
CONNECT_S = 5.0
READ_S = 10.0
PROBE_KEY = "_probe/create-only"


class Exposure(StrEnum):
    CLOSED = "closed"
    OPEN = "open"  # anybody can list what is there, or read an object
    UNKNOWN = "unknown"


async def exposure(location: Location, storage: Storage) -> Exposure:
    """What somebody without credentials gets to see; for a folder, every account of this machine."""
    ask = {"file": _folder, "s3": _s3, "gs": _gcs}[location.scheme]
    try:
        async with asyncio.timeout(DEADLINE_S):
            return await asyncio.to_thread(ask, location, storage)
    except TimeoutError:
        return Exposure.UNKNOWN


def _folder(location: Location, _storage: Storage) -> Exposure:
    """A folder is as closed as the most closed one above it."""
    folder = Path(location.path)
    try:
        modes = [each.stat().st_mode for each in (folder, *folder.parents)]
    except OSError:
        return Exposure.UNKNOWN
    is_reachable = all(mode & stat.S_IXOTH for mode in modes)
    return Exposure.OPEN if is_reachable and modes[0] & stat.S_IROTH else Exposure.CLOSED


def _s3(location: Location, storage: Storage) -> Exposure:
    try:
        import boto3  # noqa: PLC0415 - only where AWS is used: it is an optional dependency
        from botocore import UNSIGNED  # noqa: PLC0415 - an SDK that is installed with its extra
        from botocore.config import Config  # noqa: PLC0415 - an SDK that is installed with its extra
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an SDK that is installed with its extra
    except ModuleNotFoundError:
        return Exposure.UNKNOWN
    config = Config(
        signature_version=UNSIGNED,
        connect_timeout=CONNECT_S,
        read_timeout=READ_S,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path" if storage.endpoint_url else "auto"},
        proxies={"http": storage.proxy, "https": storage.proxy} if storage.proxy else None,
    )
    client = boto3.client("s3", endpoint_url=storage.endpoint_url, region_name=storage.region, config=config)

    def answer(operation: str, **parameters: Any) -> Exposure:
        try:
            getattr(client, operation)(Bucket=location.bucket, **parameters)
        except ClientError as refused:
            status = refused.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return Exposure.CLOSED if status in (401, 403, 404) else Exposure.UNKNOWN
        except BotoCoreError:
            return Exposure.UNKNOWN
        return Exposure.OPEN

    return _widest(
        answer("list_objects_v2", Prefix=location.path, MaxKeys=1),
        answer("get_object", Key=_probe(location), Range="bytes=0-0"),
    )


def _gcs(location: Location, storage: Storage) -> Exposure:
    try:
        from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, Unauthorized  # noqa: PLC0415 - as above
        from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415 - an SDK that is installed with its extra
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - an SDK that is installed with its extra

        from sinks.stores.gcs.bucket import connect  # noqa: PLC0415 - imports its SDK
    except ModuleNotFoundError:
        return Exposure.UNKNOWN
    anonymous: Any = AnonymousCredentials  # untyped, like all of google.auth
    session, client = connect(storage, credentials=anonymous(), project="anonymous")
    bucket = client.bucket(location.bucket)

    def answer(ask: Callable[[], object]) -> Exposure:
        try:
            ask()
        except (Forbidden, Unauthorized, NotFound, GoogleAuthError):  # a 401 makes it ask for credentials
            return Exposure.CLOSED
        except (GoogleAPIError, OSError, ValueError):
            return Exposure.UNKNOWN
        return Exposure.OPEN

    timeout = (CONNECT_S, READ_S)
    with session:
        return _widest(
            answer(lambda: list(bucket.list_blobs(prefix=location.path, max_results=1, retry=None, timeout=timeout))),
            answer(lambda: bucket.blob(_probe(location)).reload(retry=None, timeout=timeout)),
        )


def _widest(listing: Exposure, reading: Exposure) -> Exposure:
    answers = (listing, reading)
    return next(each for each in (Exposure.OPEN, Exposure.UNKNOWN, Exposure.CLOSED) if each in answers)


def _probe(location: Location) -> str:
    """The object with which the destination was proven to be create-only; a state has none."""
    return f"{location.path}/{PROBE_KEY}" if location.path else PROBE_KEY
