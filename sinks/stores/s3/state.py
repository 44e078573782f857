"""The private place that remembers, in S3 or a store that speaks its language.

Creation is `If-None-Match: *`, compare-and-swap is `If-Match` with the entity tag as version. Every write
carries a name of its own, so that one whose answer was lost is recognised when its repetition is refused.

Rights needed: `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject` below the state, `s3:ListBucket` of the
bucket.
"""

import asyncio
import time

from config.locations import Location
from config.model import Storage
from pipeline.errors import StoreRefused, StoreUnavailable
from pipeline.ports import Versioned
from sinks.stores.keys import check_prefix
from sinks.stores.s3.bucket import CONFLICT, NO_KEY, TAKEN, UNSUPPORTED, Bucket, etag, md5_header
from sinks.stores.s3.conditions import refuses_to_overwrite, unconditional
from sinks.stores.s3.identity import identify, is_named, new_identity

RIGHTS = (
    "allow s3:GetObject, s3:PutObject and s3:DeleteObject on the objects below the state, "
    "and s3:ListBucket on its bucket"
)
CONFLICT_ATTEMPTS = 6
_CONFLICT_WAIT_S = 0.1  # doubled each time
_NO_ETAG = "0" * 32


class S3State:
    """Objects below one prefix of one bucket."""

    def __init__(self, location: Location, storage: Storage) -> None:
        self._bucket = Bucket(location, storage, name="state", rights=RIGHTS)
        self._proving = asyncio.Lock()
        self._is_conditional: bool | None = None

    async def prove(self) -> None:
        """Try every right and condition that a run needs; once, however often it is called."""
        await self._proven()

    async def read(self, key: str) -> Versioned | None:
        """The object, or None."""
        path = self._bucket.path(key)
        return await self._bucket.run(lambda: self._read(path))

    async def create(self, key: str, data: bytes) -> bool:
        """Write a new object, durably; False when the key is taken."""
        return await self.replace(key, data, version=None) is not None

    async def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        """Compare and swap; the new version, or None when the swap lost."""
        path = self._bucket.path(key)
        put = self._put if await self._proven() else self._put_vouched
        return await self._bucket.run(lambda: put(path, data, version))

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""
        check_prefix(prefix)
        return await self._bucket.run(lambda: self._bucket.listed(prefix))

    async def delete(self, key: str) -> None:
        """Remove an object; a missing one is fine."""
        path = self._bucket.path(key)
        await self._bucket.run(lambda: self._bucket.call("delete_object", expect={NO_KEY}, Key=path))

    async def close(self) -> None:
        """Take no more calls."""
        await self._bucket.close()

    def _read(self, path: str) -> Versioned | None:
        answer = self._bucket.call("get_object", expect={NO_KEY}, Key=path)
        if answer.code == NO_KEY:
            return None
        return Versioned(answer.data["Body"], etag(answer))

    def _put(self, path: str, data: bytes, version: str | None) -> str | None:
        identity = new_identity()
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        for attempt in range(CONFLICT_ATTEMPTS):
            answer = self._bucket.call(
                "put_object",
                expect={TAKEN, NO_KEY, CONFLICT, UNSUPPORTED},  # no key: what some say of a version of nothing
                Key=path,
                Body=data,
                ContentMD5=md5_header(data),
                **condition,
                **identify(identity),
                **self._bucket.encryption(),
            )
            if answer.code is None:
                return etag(answer)
            if answer.code != CONFLICT:
                return self._own(path, identity) if answer.retried or attempt else None
            time.sleep(_CONFLICT_WAIT_S * 2**attempt)  # on a worker thread
        raise StoreUnavailable(f"{self._bucket.name}: somebody else keeps writing a key")

    def _put_vouched(self, path: str, data: bytes, version: str | None) -> str | None:
        """The same where the store has no conditions and the operator vouches for a single writer."""
        found = self._read(path)
        if (found.version if found is not None else None) != version:
            return None
        answer = self._bucket.call(
            "put_object", Key=path, Body=data, ContentMD5=md5_header(data), **self._bucket.encryption()
        )
        return etag(answer)

    def _own(self, path: str, identity: str) -> str | None:
        """The version of our own write, if that is what stands there."""
        answer = self._bucket.call("head_object", expect={NO_KEY}, Key=path)
        return etag(answer) if answer.code is None and is_named(answer, identity) else None

    async def _proven(self) -> bool:
        async with self._proving:
            if self._is_conditional is None:
                self._is_conditional = await self._bucket.run(self._prove)
            return self._is_conditional

    def _prove(self) -> bool:
        path = self._bucket.path(f"_probe/{new_identity()}")
        creates = refuses_to_overwrite(self._bucket, path)
        swaps = self._put(path, b"lost", _NO_ETAG) is None
        found = self._read(path)
        works = found is not None and self._put(path, b"swapped", found.version) is not None
        self._bucket.listed("_probe/")
        self._bucket.call("delete_object", Key=path)
        if creates and swaps and works:
            return True
        if self._bucket.single_writer:
            return False
        raise StoreRefused(unconditional(self._bucket))
