"""The bucket the consumer reads, in S3 or a store that speaks its language.

Rights needed: `s3:PutObject` and `s3:AbortMultipartUpload` (and the use of the KMS key, where one is set).
Stores without conditional multipart uploads also need `s3:GetObject`.
"""

import asyncio

import msgspec

from config.locations import Location
from config.model import Storage
from pipeline.errors import StoreRefused
from pipeline.ports import Upload
from sinks.stores.keys import check_key
from sinks.stores.s3 import multipart, single
from sinks.stores.s3.bucket import Bucket
from sinks.stores.s3.conditions import PROBE_KEY, Conditions, Publishing, prove_conditions
from sinks.stores.s3.identity import Standing, new_identity, standing

RIGHTS = "allow s3:PutObject and s3:AbortMultipartUpload on the objects below the destination"


class S3Destination:
    """Uploads into one prefix of one bucket."""

    def __init__(self, location: Location, storage: Storage) -> None:
        self._bucket = Bucket(location, storage, name="destination", rights=RIGHTS)
        self._proving = asyncio.Lock()
        self._conditions: Conditions | None = None

    async def prove(self) -> None:
        """Try every kind of write that a run needs; once, however often it is called."""
        await self._proven()

    async def begin(self, key: str) -> Upload:
        """A new upload of `key`; nothing is visible of it."""
        check_key(key)
        conditions = await self._proven()
        if conditions.publishing is Publishing.MULTIPART:
            keeps_refused = conditions.keeps_refused_uploads
            return await multipart.MultipartUpload.begin(self._bucket, key, keeps_refused=keeps_refused)
        vouched = conditions.publishing is Publishing.VOUCHED
        return single.SingleUpload.begin(self._bucket, key, vouched=vouched)

    async def attach(self, key: str, token: str) -> Upload:
        """The sealed upload an earlier process began."""
        check_key(key)
        conditions = await self._proven()
        known = msgspec.json.decode(token, type=multipart.Token | single.Token)
        if isinstance(known, multipart.Token):
            keeps_refused = conditions.keeps_refused_uploads
            return multipart.MultipartUpload(self._bucket, key, known, keeps_refused=keeps_refused, attached=True)
        vouched = conditions.publishing is Publishing.VOUCHED
        return single.SingleUpload.attach(self._bucket, key, known, vouched=vouched)

    async def close(self) -> None:
        """Take no more calls."""
        await self._bucket.close()

    async def _proven(self) -> Conditions:
        async with self._proving:
            if self._conditions is None:
                self._conditions = await self._bucket.run(self._prove)
            return self._conditions

    def _prove(self) -> Conditions:
        conditions = prove_conditions(self._bucket)
        if conditions.publishing is not Publishing.MULTIPART:
            probe = standing(self._bucket, self._bucket.path(PROBE_KEY), new_identity())
            if probe is Standing.UNREADABLE:
                raise StoreRefused(single.needs_reading(self._bucket))
        return conditions
