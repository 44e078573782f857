"""A private folder that remembers: one file per key.

A lock file makes compare-and-swap atomic between processes, and the digest of the content is the version.
"""

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pipeline.ports import Versioned
from sinks.stores.blocking import BlockingPool
from sinks.stores.keys import check_key, check_prefix
from sinks.stores.local.folder import (
    CALL_DEADLINE_S,
    LOCK_WAIT_S,
    THREADS,
    Folder,
    keys_below,
    sync_folder,
)

DEAD_AFTER_S = 24 * 3600  # a file that was staged longer ago belongs to a process that died

Result = TypeVar("Result")


class LocalState:
    """A private folder that remembers."""

    def __init__(self, root: Path) -> None:
        self._folder = Folder(root, name="state", private=True, lock_wait_s=LOCK_WAIT_S)
        self._pool = BlockingPool(store="state", threads=THREADS)

    async def prove(self) -> None:
        """Make the folder where it is missing, try what a run needs of it, and sweep after dead processes."""

        def prepare() -> None:
            self._folder.prepare()
            _sweep(self._folder)

        await self._run(prepare)

    async def read(self, key: str) -> Versioned | None:
        """The object, or None."""
        check_key(key)
        return await self._run(lambda: _read(self._folder, key))

    async def create(self, key: str, data: bytes) -> bool:
        """Write a new object, durably; False when the key is taken."""
        check_key(key)
        return await self._run(lambda: self._create(key, data))

    async def replace(self, key: str, data: bytes, *, version: str | None) -> str | None:
        """Compare and swap; the new version, or None when the swap lost."""
        check_key(key)
        return await self._run(lambda: self._replace(key, data, version))

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted."""
        check_prefix(prefix)
        return await self._run(lambda: keys_below(self._folder, prefix))

    async def delete(self, key: str) -> None:
        """Remove an object; a missing one is fine."""
        check_key(key)
        await self._run(lambda: self._delete(key))

    async def close(self) -> None:
        """Take no more calls."""
        self._pool.close()

    async def _run(self, call: Callable[[], Result]) -> Result:
        def guarded() -> Result:
            with self._folder.errors():
                return call()

        return await self._pool.run(guarded, deadline_s=CALL_DEADLINE_S)

    def _create(self, key: str, data: bytes) -> bool:
        with self._folder.locked():  # folders that become empty are removed under the same lock
            staged = self._folder.stage("state", data)
            try:
                self._folder.link(staged, self._folder.root / key)
            except FileExistsError:
                return False
            finally:
                staged.unlink(missing_ok=True)
            return True

    def _replace(self, key: str, data: bytes, version: str | None) -> str | None:
        with self._folder.locked():
            found = _read(self._folder, key)
            if (found.version if found is not None else None) != version:
                return None
            self._folder.rename(self._folder.stage("state", data), self._folder.root / key)
            return _version(data)

    def _delete(self, key: str) -> None:
        path = self._folder.root / key
        with self._folder.locked(), suppress(FileNotFoundError):
            path.unlink()
            sync_folder(path.parent)
            _prune(path.parent, self._folder.root)


def _version(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(folder: Folder, key: str) -> Versioned | None:
    try:
        data = (folder.root / key).read_bytes()
    except (
        FileNotFoundError,
        IsADirectoryError,
        NotADirectoryError,
    ):  # `a/b` exists, but neither `a` nor `a/b/c`
        folder.must_exist()
        return None
    return Versioned(data, _version(data))


def _prune(folder: Path, root: Path) -> None:
    with suppress(OSError):  # not empty
        while folder != root:
            folder.rmdir()
            folder = folder.parent


def _sweep(folder: Folder) -> None:
    """Remove what processes that died left in the staging folder of the state."""
    now = time.time()
    for entry in os.scandir(folder.staging):
        with suppress(FileNotFoundError):
            if "@" in entry.name and now - entry.stat().st_mtime > DEAD_AFTER_S:
                Path(entry.path).unlink()
