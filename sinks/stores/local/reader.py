"""A folder as its consumer sees it; nothing is made or changed there."""

from pathlib import Path

from sinks.stores.blocking import BlockingPool
from sinks.stores.keys import check_key, check_prefix
from sinks.stores.local.folder import CALL_DEADLINE_S, LOCK_WAIT_S, THREADS, Folder, keys_below


class LocalReader:
    """Reads what was published in a folder."""

    def __init__(self, root: Path) -> None:
        self._folder = Folder(root, name="destination", private=False, lock_wait_s=LOCK_WAIT_S)
        self._pool = BlockingPool(store="destination", threads=THREADS)

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start with `prefix`, sorted. Staged uploads have none."""
        check_prefix(prefix)

        def listed() -> list[str]:
            with self._folder.errors():
                return keys_below(self._folder, prefix)

        return await self._pool.run(listed, deadline_s=CALL_DEADLINE_S)

    async def read(self, key: str, *, start: int, count: int) -> bytes | None:
        """At most `count` bytes from byte `start` on; None: no such object."""
        check_key(key)
        return await self._pool.run(lambda: self._read(key, start, count), deadline_s=CALL_DEADLINE_S)

    async def close(self) -> None:
        """Take no more calls."""
        self._pool.close()

    def _read(self, key: str, start: int, count: int) -> bytes | None:
        with self._folder.errors():
            try:
                with (self._folder.root / key).open("rb") as file:
                    file.seek(start)
                    return file.read(count)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                self._folder.must_exist()
                return None
