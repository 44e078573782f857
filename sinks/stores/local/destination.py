"""A folder the consumer reads.

An upload is a file below `.staging`, where a reader that globs `**/*.parquet` never meets it; publishing
gives it its name with a hard link, which fails when the name is taken.
"""

import io
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pipeline.errors import StoreRefused
from sinks.stores.blocking import BlockingPool
from sinks.stores.keys import check_key, check_prefix
from sinks.stores.local.folder import CALL_DEADLINE_S, LOCK_WAIT_S, THREADS, Folder, sync_folder, write_all

SEAL_DEADLINE_S = 300.0  # a whole part goes to the device

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class StaleUpload:
    """An upload that was neither published nor given up; `attach` it to do either."""

    key: str
    token: str
    modified_at: datetime


class LocalDestination:
    """A folder the consumer reads."""

    def __init__(self, root: Path) -> None:
        self._folder = Folder(root, name="destination", private=False, lock_wait_s=LOCK_WAIT_S)
        self._pool = BlockingPool(store="destination", threads=THREADS)

    async def prove(self) -> None:
        """Make the folder where it is missing and try what a run needs of it."""
        await self._pool.run(self._folder.prepare, deadline_s=CALL_DEADLINE_S)

    async def begin(self, key: str) -> "LocalUpload":
        """A new upload of `key`; nothing is visible of it."""
        check_key(key)
        return await self._pool.run(
            lambda: LocalUpload.begin(self._folder, self._pool, key), deadline_s=CALL_DEADLINE_S
        )

    async def attach(self, key: str, token: str) -> "LocalUpload":
        """The sealed upload an earlier process began."""
        check_key(key)
        return LocalUpload(self._folder, self._pool, key, token)

    async def stale_uploads(self, prefix: str = "") -> list[StaleUpload]:
        """Uploads below `prefix` that somebody left behind, or that a living process still fills."""
        check_prefix(prefix)
        return await self._pool.run(lambda: _staged(self._folder, prefix), deadline_s=CALL_DEADLINE_S)

    async def close(self) -> None:
        """Take no more calls."""
        self._pool.close()


class LocalUpload:
    """A staged file. By the inode in its token a later process knows it again after publication."""

    def __init__(self, folder: Folder, pool: BlockingPool, key: str, token: str, file: io.FileIO | None = None) -> None:
        self.key = key
        self.token = token
        self._folder = folder
        self._pool = pool
        self._file = file
        name, _, inode = token.partition("-")
        self._staged = folder.staging / f"{key.replace('/', '@')}@{name}"
        self._inode = int(inode)
        self._final = folder.root / key
        self._lock = threading.Lock()  # a call that was given up may still be at work when the next one comes

    @classmethod
    def begin(cls, folder: Folder, pool: BlockingPool, key: str) -> "LocalUpload":
        """Stage an empty file. Blocks."""
        with folder.errors():
            staged = folder.stage(key.replace("/", "@"))
            file = io.FileIO(staged, "wb")
            return cls(folder, pool, key, f"{staged.name.rpartition('@')[2]}-{os.fstat(file.fileno()).st_ino}", file)

    @property
    def held_bytes(self) -> int:
        """Bytes written that the store does not have yet."""
        return 0

    async def write(self, data: bytes) -> None:
        """Append `data`."""
        await self._run(lambda: write_all(self._open_file().fileno(), data), CALL_DEADLINE_S)

    async def seal(self) -> None:
        """Everything written is on the device."""
        await self._run(self._seal, SEAL_DEADLINE_S)

    async def publish(self) -> bool:
        """Give the file its name; False when another upload has it."""
        return await self._run(self._publish, CALL_DEADLINE_S)

    async def abort(self) -> None:
        """Remove the staged file. The published one is another name of it and stays."""
        await self._run(self._abort, CALL_DEADLINE_S)

    async def _run(self, call: Callable[[], Result], deadline_s: float) -> Result:
        def guarded() -> Result:
            with self._lock, self._folder.errors():
                return call()

        return await self._pool.run(guarded, deadline_s=deadline_s)

    def _open_file(self) -> io.FileIO:
        if self._file is None:
            raise ValueError("a sealed or attached upload takes no more bytes")
        return self._file

    def _seal(self) -> None:
        file = self._open_file()
        os.fsync(file.fileno())
        file.close()
        self._file = None

    def _publish(self) -> bool:
        if self._file is not None:
            raise ValueError("an upload is sealed before it is published")
        with suppress(FileExistsError, FileNotFoundError):
            self._folder.link(self._staged, self._final)
        try:
            won = self._final.stat().st_ino == self._inode
        except FileNotFoundError:
            if not self._folder.root.is_dir():
                raise
            raise StoreRefused("the destination folder: a staged upload was removed by somebody else") from None
        if won:
            sync_folder(self._final.parent)  # of a link whose maker may have died before it did
            self._staged.unlink(missing_ok=True)
        return won

    def _abort(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        self._staged.unlink(missing_ok=True)


def _staged(folder: Folder, prefix: str) -> list[StaleUpload]:
    uploads = []
    with folder.errors(), suppress(FileNotFoundError):
        for entry in os.scandir(folder.staging):
            name, _, random = entry.name.rpartition("@")
            key = name.replace("@", "/")
            if not name or not key.startswith(prefix):
                continue
            with suppress(FileNotFoundError):  # published or given up this moment
                status = entry.stat()
                modified_at = datetime.fromtimestamp(status.st_mtime, UTC)
                uploads.append(StaleUpload(key, f"{random}-{status.st_ino}", modified_at))
    return sorted(uploads, key=lambda upload: (upload.key, upload.token))
