"""An upload that is sent in parts while it grows and becomes visible when it is completed.

The answer to a completion may be lost, and at the destination nothing need be readable. So a refused
completion that may not have been the first is followed by a question for which the right to put is enough:
does the upload still take a part? If it does, it was not completed, and the key is another's. If it is gone,
it was completed, unless somebody aborted it; this product does not publish what it aborted, and a lifecycle
rule waits for a day at least. Where reading is allowed, the object's metadata says it without doubt.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html (both checked 2026-11)
"""

import time
from datetime import UTC, datetime, timedelta

import msgspec

from pipeline.errors import StoreRefused, StoreUnavailable
from sinks.stores.s3.bucket import CONFLICT, NO_UPLOAD, TAKEN, Answer, Bucket, etag, md5_header
from sinks.stores.s3.conditions import is_open
from sinks.stores.s3.identity import Standing, identify, new_identity, standing

PART_BYTES = 8 * 1024 * 1024  # S3 takes no part below 5 MiB but the last, and at most 10,000 of them
LIFECYCLE_AFTER = timedelta(hours=23)  # rules that abort uploads count whole days; one hour for wrong clocks
CONFLICT_ATTEMPTS = 6
_CONFLICT_WAIT_S = 0.1  # doubled each time


class Token(msgspec.Struct, frozen=True, array_like=True, tag="multipart"):
    """What a later process needs to complete an upload."""

    upload_id: str
    identity: str
    begun_at: datetime
    etags: tuple[str, ...] = ()


class MultipartUpload:
    """One caller at a time."""

    def __init__(self, bucket: Bucket, key: str, token: Token, *, keeps_refused: bool, attached: bool) -> None:
        """`keeps_refused`: the store keeps an upload whose completion it refused."""
        self.key = key
        self._bucket = bucket
        self._path = bucket.path(key)
        self._begun = token
        self._etags = list(token.etags)
        self._keeps_refused = keeps_refused
        self._unsure = attached  # whether an earlier completion may have taken effect
        self._conflicted = False
        self._held = bytearray()
        self._sealed = attached
        self._answer: bool | None = None

    @classmethod
    async def begin(cls, bucket: Bucket, key: str, *, keeps_refused: bool) -> "MultipartUpload":
        """A new upload; nothing is visible of it."""
        path, identity = bucket.path(key), new_identity()
        answer = await bucket.run(
            lambda: bucket.call("create_multipart_upload", Key=path, **identify(identity), **bucket.encryption())
        )
        token = Token(answer.data["UploadId"], identity, datetime.now(UTC))
        return cls(bucket, key, token, keeps_refused=keeps_refused, attached=False)

    @property
    def token(self) -> str:
        """Names this upload to a later process, once it is sealed."""
        return msgspec.json.encode(msgspec.structs.replace(self._begun, etags=tuple(self._etags))).decode()

    @property
    def held_bytes(self) -> int:
        """Bytes written that the store does not have yet."""
        return len(self._held)

    async def write(self, data: bytes) -> None:
        """Append `data`; what fills a part is sent."""
        if self._sealed:
            raise ValueError("a sealed or attached upload takes no more bytes")
        self._held += data
        while len(self._held) >= PART_BYTES:
            await self._send(bytes(self._held[:PART_BYTES]))
            del self._held[:PART_BYTES]

    async def seal(self) -> None:
        """Send the rest: every byte is at the store."""
        if self._held or not self._etags:
            await self._send(bytes(self._held))
            self._held.clear()
        self._sealed = True

    async def publish(self) -> bool:
        """Complete the upload; False when the key is taken by another."""
        if not self._sealed:
            raise ValueError("an upload is sealed before it is published")
        if self._answer is None:
            self._answer = await self._bucket.run(self._publish)
        return self._answer

    async def abort(self) -> None:
        """Give the bytes up; a completed upload is beyond that."""
        await self._bucket.run(
            lambda: self._bucket.call(
                "abort_multipart_upload", expect={NO_UPLOAD}, Key=self._path, UploadId=self._begun.upload_id
            )
        )

    async def _send(self, data: bytes) -> None:
        number = len(self._etags) + 1
        answer = await self._bucket.run(
            lambda: self._bucket.call(
                "upload_part",
                Key=self._path,
                UploadId=self._begun.upload_id,
                PartNumber=number,
                Body=data,
                ContentMD5=md5_header(data),
            )
        )
        self._etags.append(etag(answer))

    def _publish(self) -> bool:
        for attempt in range(CONFLICT_ATTEMPTS):
            unsure, self._unsure = self._unsure, True
            answer = self._complete()
            if answer.code is None:
                return True
            if answer.code == TAKEN and not (unsure or answer.retried):
                return False
            if answer.code != CONFLICT:
                return self._is_ours(refused=answer.code == TAKEN)
            self._conflicted = True
            time.sleep(_CONFLICT_WAIT_S * 2**attempt)  # on a worker thread
        raise StoreUnavailable(f"{self._bucket.name}: somebody else keeps writing this key")

    def _complete(self) -> Answer:
        return self._bucket.call(
            "complete_multipart_upload",
            expect={TAKEN, CONFLICT, NO_UPLOAD},
            Key=self._path,
            UploadId=self._begun.upload_id,
            MultipartUpload={"Parts": [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(self._etags, start=1)]},
            IfNoneMatch="*",
        )

    def _is_ours(self, *, refused: bool) -> bool:
        """Whether an earlier completion of this upload took effect."""
        found = standing(self._bucket, self._path, self._begun.identity)
        if found is Standing.NOTHING:
            raise StoreRefused(f"{self._bucket.name}: an upload was aborted by somebody else")
        if found is not Standing.UNREADABLE:
            return found is Standing.OURS
        number = len(self._etags) + 1
        if refused and is_open(self._bucket, self._path, self._begun.upload_id, part_number=number):
            return False
        # The upload is gone. Only a completion can have done that, if nothing else may have.
        is_recent = datetime.now(UTC) - self._begun.begun_at < LIFECYCLE_AFTER
        if is_recent and self._keeps_refused and not self._conflicted:
            return True
        raise StoreRefused(
            f"{self._bucket.name}: it cannot be known whether an upload was completed; "
            "allow s3:GetObject there until the next run has finished"
        )
