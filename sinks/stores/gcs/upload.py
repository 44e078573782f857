"""An upload that is sent while it grows and becomes visible with its last bytes.

Those last bytes, less than one unit of 256 KiB, must travel with the publishing request, so they stay here
until then and inside the token, with which a later process can send them.
"""

import msgspec
from google.api_core import exceptions as api

from pipeline.errors import StoreRefused
from sinks.stores.gcs.bucket import Bucket, is_named, new_identity
from sinks.stores.gcs.session import UNIT_BYTES, Outcome, Session, begin_session, extended_crc32c

CHUNK_BYTES = 32 * UNIT_BYTES


class Token(msgspec.Struct, frozen=True, array_like=True):
    """What a later process needs to publish an upload. The URL alone gives the right to: keep it private."""

    url: str
    identity: str
    sent: int = 0
    rest: bytes = b""
    crc32c: int = 0


class GcsUpload:
    """One caller at a time."""

    def __init__(self, bucket: Bucket, key: str, token: Token, *, attached: bool) -> None:
        self.key = key
        self._bucket = bucket
        self._path = bucket.path(key)
        self._session = Session(bucket, self._path, token.url)
        self._identity = token.identity
        self._sent = token.sent
        self._held = bytearray(token.rest)
        self._crc32c = token.crc32c
        self._sealed = attached
        self._unsure = attached  # whether an earlier publication may have taken effect
        self._answer: bool | None = None

    @classmethod
    async def begin(cls, bucket: Bucket, key: str) -> "GcsUpload":
        """A new upload; nothing is visible of it."""
        path, identity = bucket.path(key), new_identity()
        url = await bucket.run(lambda: begin_session(bucket, path, identity))
        return cls(bucket, key, Token(url, identity), attached=False)

    @property
    def token(self) -> str:
        """Names this upload to a later process, once it is sealed."""
        token = Token(self._session.url, self._identity, self._sent, bytes(self._held), self._crc32c)
        return msgspec.json.encode(token).decode()

    @property
    def held_bytes(self) -> int:
        """Bytes written that the store does not have yet."""
        return len(self._held)

    async def write(self, data: bytes) -> None:
        """Append `data`; whole chunks are sent."""
        if self._sealed:
            raise ValueError("a sealed or attached upload takes no more bytes")
        self._held += data
        self._crc32c = extended_crc32c(self._crc32c, data)
        while len(self._held) > CHUNK_BYTES:
            await self._send(CHUNK_BYTES)

    async def seal(self) -> None:
        """Send all but the last bytes, of which at least one has to remain."""
        whole_units = max(len(self._held) - 1, 0) // UNIT_BYTES * UNIT_BYTES
        if whole_units:
            await self._send(whole_units)
        self._sealed = True

    async def publish(self) -> bool:
        """Send the last bytes; False when the key is taken by another."""
        if not self._sealed:
            raise ValueError("an upload is sealed before it is published")
        if self._answer is None:
            self._answer = await self._bucket.run(self._publish)
        return self._answer

    async def abort(self) -> None:
        """Give the bytes up; a completed upload is beyond that."""
        await self._bucket.run(self._session.cancel)

    async def _send(self, count: int) -> None:
        data, at = bytes(self._held[:count]), self._sent
        outcome = await self._bucket.run(lambda: self._session.send(data, at=at, total=None))
        if outcome is not Outcome.OPEN:
            raise StoreRefused(f"{self._bucket.name}: an upload was cancelled by somebody else")
        del self._held[:count]
        self._sent += count

    def _publish(self) -> bool:
        total = self._sent + len(self._held)
        unsure, self._unsure = self._unsure, True
        outcome = self._session.status(total)[0] if unsure else Outcome.OPEN
        if outcome is Outcome.OPEN:
            outcome = self._session.send(bytes(self._held), at=self._sent, total=total, crc32c=self._crc32c)
        match outcome:
            case Outcome.DONE:
                return True
            case Outcome.TAKEN:
                return False
            case _:
                return self._is_ours()

    def _is_ours(self) -> bool:
        """Whose the object is that stands there, now that the session is forgotten; needs the right to read."""
        try:
            found = self._bucket.found(self._path)
        except api.Forbidden:
            raise StoreRefused(
                f"{self._bucket.name}: it cannot be known whether an upload was completed; "
                "allow storage.objects.get there until the next run has finished"
            ) from None
        if found is None:
            raise StoreRefused(f"{self._bucket.name}: an upload was cancelled by somebody else")
        return is_named(found, self._identity)


def decode_token(token: str) -> Token:
    """What `GcsUpload.token` wrote."""
    return msgspec.json.decode(token, type=Token)
