"""The bucket as its consumer sees it.

Rights needed: `storage.objects.get` and `list` (role Storage Object Viewer).
"""

from google.api_core import exceptions as api

from config.locations import Location
from config.model import Storage
from sinks.stores.gcs.bucket import RETRY, TIMEOUT_S, Bucket
from sinks.stores.keys import check_prefix

RIGHTS = "allow storage.objects.get and list on the destination (role Storage Object Viewer)"


class GcsReader:
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
        try:
            # The service's checksum is that of the whole object, so it says nothing about a piece of one.
            piece: bytes = self._bucket.blob(path).download_as_bytes(
                start=start, end=start + count - 1, raw_download=True, checksum=None, retry=RETRY, timeout=TIMEOUT_S
            )
        except api.RequestRangeNotSatisfiable:
            return b""
        except api.NotFound:
            self._bucket.listed("_manifests/")  # a missing bucket is told from a missing object only here
            return None
        return piece
