"""An upload that is kept here and sent by one put, for stores that ignore conditions on multipart uploads.

Nothing of it is at the store before it is published. A small one, as the empty part of a fence is, travels
inside its token, so that a later process can publish it; of a larger one only its fate can be learnt. Whether
a lost answer meant success is read from the object, so this way needs the right to read at the destination.
"""

import base64
import hashlib
import io
import tempfile
import time
import weakref
from typing import IO

import msgspec

from pipeline.errors import StoreRefused, StoreUnavailable
from sinks.stores.s3.bucket import CONFLICT, TAKEN, Answer, Bucket
from sinks.stores.s3.identity import Standing, identify, new_identity, standing

SPOOL_BYTES = 16 * 1024 * 1024  # kept in memory; more goes to a file without a name
EMBEDDED_BYTES = 64 * 1024  # an empty part has a few thousand
CONFLICT_ATTEMPTS = 6
_CONFLICT_WAIT_S = 0.1  # doubled each time


class Token(msgspec.Struct, frozen=True, array_like=True, tag="single"):
    """`content` is empty for an upload that is too large to travel."""

    identity: str
    content: bytes | None = None


class SingleUpload:
    """One caller at a time."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        token: Token,
        *,
        spool: IO[bytes],
        vouched: bool,
        attached: bool,
    ) -> None:
        """`spool` is empty and closed once it is known what became of the upload."""
        self.key = key
        self._bucket = bucket
        self._path = bucket.path(key)
        self._token = token
        self._vouched = vouched
        self._unsure = attached  # whether an earlier put may have taken effect
        self._sealed = attached
        self._spool: IO[bytes] = spool
        self._digest = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._answer: bool | None = None
        self._append(token.content or b"")

    @classmethod
    def begin(cls, bucket: Bucket, key: str, *, vouched: bool) -> "SingleUpload":
        """A new upload. `vouched`: the store has no conditions, the operator vouches for a single writer."""
        spool = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 - lives with the upload
        upload = cls(bucket, key, Token(new_identity()), spool=spool, vouched=vouched, attached=False)
        weakref.finalize(upload, spool.close)
        return upload

    @classmethod
    def attach(cls, bucket: Bucket, key: str, token: Token, *, vouched: bool) -> "SingleUpload":
        """The upload of an earlier process."""
        return cls(bucket, key, token, spool=io.BytesIO(), vouched=vouched, attached=True)

    @property
    def token(self) -> str:
        """Names this upload to a later process, once it is sealed."""
        return msgspec.json.encode(self._token).decode()

    @property
    def held_bytes(self) -> int:
        """Bytes written that are in memory: the rest is in a file."""
        return min(self._size, SPOOL_BYTES)

    async def write(self, data: bytes) -> None:
        """Append `data`."""
        if self._sealed:
            raise ValueError("a sealed or attached upload takes no more bytes")
        await self._bucket.run(lambda: self._append(data))

    async def seal(self) -> None:
        """No more bytes follow. They stay in this process."""
        if self._size <= EMBEDDED_BYTES:
            self._spool.seek(0)
            self._token = msgspec.structs.replace(self._token, content=self._spool.read())
        self._sealed = True

    async def publish(self) -> bool:
        """Put the object; False when the key is taken by another."""
        if not self._sealed:
            raise ValueError("an upload is sealed before it is published")
        if self._answer is None:
            self._answer = await self._bucket.run(self._publish)
            self._spool.close()
        return self._answer

    async def abort(self) -> None:
        """Give the bytes up."""
        self._spool.close()

    def _append(self, data: bytes) -> None:
        self._spool.write(data)
        self._digest.update(data)
        self._size += len(data)

    def _publish(self) -> bool:
        for attempt in range(CONFLICT_ATTEMPTS):
            unsure, self._unsure = self._unsure, True
            if unsure or self._vouched:
                found = standing(self._bucket, self._path, self._token.identity)
                if found is Standing.UNREADABLE:
                    raise StoreRefused(needs_reading(self._bucket))
                if found is not Standing.NOTHING:
                    return found is Standing.OURS
            answer = self._put()
            if answer.code is None:
                return True
            if answer.code == TAKEN and not (unsure or answer.retried):
                return False
            time.sleep(_CONFLICT_WAIT_S * 2**attempt)  # on a worker thread; then look whose it is
        raise StoreUnavailable(f"{self._bucket.name}: somebody else keeps writing this key")

    def _put(self) -> Answer:
        if self._spool.closed or (self._size == 0 and self._token.content is None):
            raise StoreRefused(f"{self._bucket.name}: an upload ended with the process that made it")
        self._spool.seek(0)
        condition = {} if self._vouched else {"IfNoneMatch": "*"}
        return self._bucket.call(
            "put_object",
            expect={TAKEN, CONFLICT},
            Key=self._path,
            Body=self._spool,
            ContentLength=self._size,
            ContentMD5=base64.b64encode(self._digest.digest()).decode(),
            **condition,
            **identify(self._token.identity),
            **self._bucket.encryption(),
        )


def needs_reading(bucket: Bucket) -> str:
    """What a store without conditional multipart uploads asks of the operator."""
    return (
        f"{bucket.name}: this store has no conditional multipart uploads, so whether an object is our own "
        "must be read from it; allow s3:GetObject there"
    )
