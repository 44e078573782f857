"""The bucket the consumer reads, in Google Cloud Storage.

The one right needed is `storage.objects.create` (role Storage Object Creator). Foreign writers are kept out
by the precondition that no generation of the object exists.
"""

from config.locations import Location
from config.model import Storage
from pipeline.errors import StoreRefused
from sinks.stores.gcs.bucket import Bucket
from sinks.stores.gcs.upload import GcsUpload, decode_token

RIGHTS = "allow storage.objects.create on the destination (role Storage Object Creator)"
PROBE_KEY = "_probe/create-only"
_PROBE = b"m365-export tries here whether this store refuses to overwrite. The object may stay.\n"


class GcsDestination:
    """Uploads into one prefix of one bucket."""

    def __init__(self, location: Location, storage: Storage) -> None:
        self._bucket = Bucket(location, storage, name="destination", rights=RIGHTS)

    async def prove(self) -> None:
        """Publish a probe that may exist already, and one that must exist by then."""
        await self._probe()
        if await self._probe():
            raise StoreRefused("destination: this store ignores preconditions and overwrites; use another")

    async def begin(self, key: str) -> GcsUpload:
        """A new upload of `key`; nothing is visible of it."""
        return await GcsUpload.begin(self._bucket, key)

    async def attach(self, key: str, token: str) -> GcsUpload:
        """The sealed upload an earlier process began."""
        return GcsUpload(self._bucket, key, decode_token(token), attached=True)

    async def close(self) -> None:
        """Take no more calls."""
        await self._bucket.close()

    async def _probe(self) -> bool:
        upload = await self.begin(PROBE_KEY)
        await upload.write(_PROBE)
        await upload.seal()
        created = await upload.publish()
        await upload.abort()
        return created
