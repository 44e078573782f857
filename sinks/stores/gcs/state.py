"""The private place that remembers, in Google Cloud Storage: the generation of an object is its version.

Every write carries a name of its own, so that one whose answer was lost is recognised when its repetition is
refused.

Rights needed: `storage.objects.create`, `get`, `list`, `update` and `delete` (role Storage Object User).
"""

from google.api_core import exceptions as api

from config.locations import Location
from config.model import Storage
from pipeline.errors import StoreRefused, StoreUnavailable
from pipeline.ports import Versioned
from sinks.stores.gcs.bucket import RETRY, TIMEOUT_S, Bucket, is_named, new_identity
from sinks.stores.keys import check_prefix

RIGHTS = "allow storage.objects.create, get, list and delete on the state (role Storage Object User)"
READ_ATTEMPTS = 5  # an object may be replaced between the question for its generation and that for its bytes
_MISSING = 0  # the generation of what does not exist


class GcsState:
    """Objects below one prefix of one bucket."""

    def __init__(self, location: Location, storage: Storage) -> None:
        self._bucket = Bucket(location, storage, name="state", rights=RIGHTS)

    async def prove(self) -> None:
        """Try every right and condition that a run needs."""
        await self._bucket.run(self._prove)

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
        if version is not None and not version.isdecimal():
            return None  # no generation, so nothing stands there under it
        expected = _MISSING if version is None else int(version)
        return await self._bucket.run(lambda: self._put(path, data, expected))

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""
        check_prefix(prefix)
        return await self._bucket.run(lambda: self._bucket.listed(prefix))

    async def delete(self, key: str) -> None:
        """Remove an object; a missing one is fine."""
        path = self._bucket.path(key)
        await self._bucket.run(lambda: self._delete(path))

    async def close(self) -> None:
        """Take no more calls."""
        await self._bucket.close()

    def _read(self, path: str) -> Versioned | None:
        for _ in range(READ_ATTEMPTS):
            blob = self._bucket.found(path)
            if blob is None:
                return None
            generation = blob.generation  # the download's answer may not name it again
            try:
                data = blob.download_as_bytes(
                    if_generation_match=generation, raw_download=True, retry=RETRY, timeout=TIMEOUT_S
                )
            except (api.NotFound, api.PreconditionFailed):
                continue
            return Versioned(data, str(generation))
        raise StoreUnavailable(f"{self._bucket.name}: an object changes faster than it can be read")

    def _put(self, path: str, data: bytes, expected: int) -> str | None:
        identity = new_identity()
        blob = self._bucket.blob(path, identity=identity)
        try:
            blob.upload_from_string(
                data,
                content_type="application/octet-stream",
                if_generation_match=expected,
                checksum="crc32c",
                retry=RETRY,
                timeout=TIMEOUT_S,
            )
        except api.PreconditionFailed:
            found = self._bucket.found(path)  # our own, when an answer was lost and the SDK tried again
            return str(found.generation) if found is not None and is_named(found, identity) else None
        return str(blob.generation)

    def _delete(self, path: str) -> None:
        try:
            self._bucket.blob(path).delete(retry=RETRY, timeout=TIMEOUT_S)
        except api.NotFound:
            return

    def _prove(self) -> None:
        self._bucket.listed("_probe/")  # a missing bucket is told from a missing object only here
        path = self._bucket.path(f"_probe/{new_identity()}")
        made = self._put(path, b"made", _MISSING)
        again = self._put(path, b"again", _MISSING)
        found = self._read(path)
        swapped = found is not None and self._put(path, b"swapped", int(found.version))
        self._delete(path)
        if made is None or again is not None or not swapped:
            raise StoreRefused("state: this store ignores preconditions and overwrites; use another")
