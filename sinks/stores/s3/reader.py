"""The bucket as its consumer sees it.

Rights needed: `s3:GetObject` below the destination and `s3:ListBucket` of its bucket, without which S3 answers that
access is denied where no object is.
"""

from config.locations import Location
from config.model import Storage
from sinks.stores.keys import check_prefix
from sinks.stores.s3.bucket import NO_KEY, Bucket

RIGHTS = "allow s3:GetObject on the objects below the destination, and s3:ListBucket on its bucket"
_PAST_THE_END = "InvalidRange"


class S3Reader:
    """Reads below one prefix of one bucket."""

    def __init__(self, location: Location, storage: Storage) -> None:
        self._bucket = Bucket(location, storage, name="destination", rights=RIGHTS)

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""
        check_prefix(prefix)
        return await self._bucket.run(lambda: self._bucket.listed(prefix))

    async def read(self, key: str, *, start: int, count: int) -> bytes | None:
        """At most `count` bytes from byte `start` on; None: no such object."""
        path = self._bucket.path(key)
        return await self._bucket.run(lambda: self._read(path, start, count))

    async def close(self) -> None:
        """Take no more calls."""
        await self._bucket.close()

    def _read(self, path: str, start: int, count: int) -> bytes | None:
        span = f"bytes={start}-{start + count - 1}"
        answer = self._bucket.call("get_object", expect={NO_KEY, _PAST_THE_END}, Key=path, Range=span)
        if answer.code is not None:
            return None if answer.code == NO_KEY else b""
        return bytes(answer.data["Body"])
