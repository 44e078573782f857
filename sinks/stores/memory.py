"""Destination and state in memory, with a hook at every step: for the demo, and to try what a commit
survives.

A `MemoryBucket` is the service and outlives its clients; each `MemoryStore` on it stands for a process. The
hook is awaited before and after every call. What it does there decides what the process saw of it:

    raises an Exception before      the call failed, nothing happened
    raises an Exception after       it happened, but the reply was lost
    raises a BaseException          the process died, before or after the call took effect
    waits before                    the call arrives late, perhaps after the process was given up for dead
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Literal

from pipeline.errors import StoreRefused
from pipeline.ports import Versioned
from sinks.stores.keys import check_key, check_prefix

Action = Literal[
    "read", "create", "replace", "keys", "delete",
    "begin", "attach", "write", "seal", "publish", "abort",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Step:
    """One side of one call."""

    action: Action
    key: str
    when: Literal["before", "after"]


Hook = Callable[[Step], Awaitable[None]]


@dataclass(slots=True)
class _Staged:
    data: bytearray = field(default_factory=bytearray)
    sealed: bool = False


class MemoryBucket:
    """What the service holds. `objects` is what a reader sees."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.versions: dict[str, str] = {}
        self.published_by: dict[str, str] = {}  # key to the token of the upload that made it
        self.staged: dict[str, _Staged] = {}
        self.given_up: set[str] = set()  # tokens
        self._numbers = count(1)

    def next_name(self) -> str:
        """A version or token that was never used before."""
        return f"{next(self._numbers)}"

    def put(self, key: str, data: bytes) -> str:
        """Set an object, whatever was there; its new version."""
        self.objects[key] = data
        self.versions[key] = version = self.next_name()
        return version


async def _nothing(_step: Step) -> None:
    """No faults."""


class MemoryStore:
    """One process's view of a bucket, as destination and as state."""

    def __init__(self, bucket: MemoryBucket | None = None, *, hook: Hook = _nothing) -> None:
        self.bucket = bucket if bucket is not None else MemoryBucket()
        self._hook = hook

    async def prove(self) -> None:
        """Everything is allowed."""

    async def close(self) -> None:
        """The bucket stays."""

    async def read(self, key: str) -> Versioned | None:
        """The object, or None."""
        check_key(key)
        async with self.step("read", key):
            if key not in self.bucket.objects:
                return None
            return Versioned(self.bucket.objects[key], self.bucket.versions[key])

    async def create(self, key: str, data: bytes) -> bool:
        """Write a new object; False when the key is taken."""
        check_key(key)
        async with self.step("create", key):
            if key in self.bucket.objects:
                return False
            self.bucket.put(key, data)
            return True

    async def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        """Compare and swap; the new version, or None when the swap lost."""
        check_key(key)
        async with self.step("replace", key):
            if self.bucket.versions.get(key) != version:
                return None
            return self.bucket.put(key, data)

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""
        check_prefix(prefix)
        async with self.step("keys", prefix):
            return sorted(key for key in self.bucket.objects if key.startswith(prefix))

    async def delete(self, key: str) -> None:
        """Remove an object; a missing one is fine."""
        check_key(key)
        async with self.step("delete", key):
            self.bucket.objects.pop(key, None)
            self.bucket.versions.pop(key, None)

    async def begin(self, key: str) -> "MemoryUpload":
        """A new upload of `key`; nothing is visible of it."""
        check_key(key)
        async with self.step("begin", key):
            token = self.bucket.next_name()
            self.bucket.staged[token] = _Staged()
            return MemoryUpload(self, key, token)

    async def attach(self, key: str, token: str) -> "MemoryUpload":
        """The sealed upload an earlier process began."""
        check_key(key)
        async with self.step("attach", key):
            return MemoryUpload(self, key, token)

    @asynccontextmanager
    async def step(self, action: Action, key: str) -> AsyncIterator[None]:
        """The hook before and after the body, which must not wait: it is the moment at the service."""
        await self._hook(Step(action, key, "before"))
        yield
        await self._hook(Step(action, key, "after"))


class MemoryReader:
    """What a reader of a bucket sees."""

    def __init__(self, bucket: MemoryBucket) -> None:
        self._objects = bucket.objects

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""
        check_prefix(prefix)
        return sorted(key for key in self._objects if key.startswith(prefix))

    async def read(self, key: str, *, start: int, count: int) -> bytes | None:
        """At most `count` bytes from byte `start` on; None: no such object."""
        check_key(key)
        found = self._objects.get(key)
        return None if found is None else found[start : start + count]

    async def close(self) -> None:
        """The bucket stays."""


class MemoryUpload:
    """Bytes on their way to a bucket."""

    def __init__(self, store: MemoryStore, key: str, token: str) -> None:
        self.key = key
        self.token = token
        self._store = store
        self._bucket = store.bucket

    @property
    def held_bytes(self) -> int:
        """None: the bucket has them, which belongs to nobody's account."""
        return 0

    async def write(self, data: bytes) -> None:
        """Append `data`."""
        async with self._store.step("write", self.key):
            staged = self._staged()
            if staged.sealed:
                raise ValueError("a sealed or attached upload takes no more bytes")
            staged.data += data

    async def seal(self) -> None:
        """Everything written is kept."""
        async with self._store.step("seal", self.key):
            self._staged().sealed = True

    async def publish(self) -> bool:
        """Make the object visible; False when another upload did."""
        async with self._store.step("publish", self.key):
            if self.token in self._bucket.given_up:
                raise StoreRefused("an upload that was given up cannot be published any more")
            if self.key in self._bucket.objects:
                return self._bucket.published_by.get(self.key) == self.token
            staged = self._staged()
            if not staged.sealed:
                raise ValueError("an upload is sealed before it is published")
            del self._bucket.staged[self.token]
            self._bucket.put(self.key, bytes(staged.data))
            self._bucket.published_by[self.key] = self.token
            return True

    async def abort(self) -> None:
        """Give the bytes up; after a publication nothing happens."""
        async with self._store.step("abort", self.key):
            if self._bucket.published_by.get(self.key) != self.token:
                self._bucket.given_up.add(self.token)
            self._bucket.staged.pop(self.token, None)

    def _staged(self) -> _Staged:
        staged = self._bucket.staged.get(self.token)
        if staged is None:
            raise StoreRefused("a staged upload was removed by somebody else")
        return staged
