"""Files that survive a power cut and appear whole or not at all: the blocking half of the local store.

Rests on POSIX: link(2) fails when the name is taken and rename(2) replaces atomically, both within one file
system; a new name is durable once its directory is synced.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import StoreRefused, StoreUnavailable

STAGING = ".staging"  # below the root, so that it is the same file system; no key starts with a dot
THREADS = 8  # a disk gains nothing from more
CALL_DEADLINE_S = 60.0
LOCK_WAIT_S = 30.0  # the lock is held for one small file
_LOCK = "lock"
_LOCK_POLL_S = 0.01

_REFUSALS = {
    errno.EACCES: "permission denied; give the user that runs m365-export the right to create files there",
    errno.EPERM: "permission denied, or a file system without hard links; use a local file system",
    errno.EROFS: "the file system is read-only; mount it writable or choose another folder",
    errno.ENOTSUP: "the file system has no hard links; use a local file system",
    errno.EMLINK: "the file system has no hard links; use a local file system",
    errno.EXDEV: "the folder spans several file systems; keep it on one",
    errno.ENOTDIR: "a file stands where a folder is needed; move it away",
    errno.EISDIR: "a folder stands where a file is needed; move it away",
    errno.ELOOP: "symbolic links form a circle; mend them",
    errno.ENAMETOOLONG: "the path is too long for this file system; choose a shorter one",
}
_FAILURES = {
    errno.ENOSPC: "no space left; free some, the next run continues",
    errno.EDQUOT: "the quota is used up; free some space, the next run continues",
    errno.ENOENT: "the folder has vanished; is the volume mounted?",
    errno.ESTALE: "the network file system lost the folder; is it mounted?",
    errno.EIO: "the device reports an error; check it",
}


class Folder:
    """One root directory. Every method blocks, and raises StoreRefused or StoreUnavailable."""

    def __init__(self, root: Path, *, name: str, private: bool, lock_wait_s: float) -> None:
        """`name` says in messages which folder it is; nobody else can read what a private one holds."""
        self.root = root
        self.staging = root / STAGING
        self._name = name
        self._file_mode = 0o600 if private else 0o666
        self._folder_mode = 0o700 if private else 0o777
        self._lock_wait_s = lock_wait_s

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Say in the operator's words what the system refused."""
        try:
            yield
        except OSError as error:
            code = error.errno or 0
            if code in _REFUSALS:
                raise StoreRefused(f"the {self._name} folder: {_REFUSALS[code]}") from None
            reason = _FAILURES.get(code, f"the system answered {errno.errorcode.get(code, 'an unknown error')}")
            raise StoreUnavailable(f"the {self._name} folder: {reason}") from None

    def prepare(self) -> None:
        """Make the folder where it is missing, and try everything that a run will need of it."""
        with self.errors():
            self.root.mkdir(mode=self._folder_mode, parents=True, exist_ok=True)
            self._make_folders(self.staging)
            first, second = self.stage("probe"), self.staging / f"probe@{os.getpid()}"
            try:
                with suppress(FileExistsError):  # of a process with this number that died here
                    os.link(first, second)
            finally:
                first.unlink(missing_ok=True)
                second.unlink(missing_ok=True)

    def must_exist(self) -> None:
        """A missing file means nothing when the whole folder is missing. Raises FileNotFoundError."""
        self.root.stat()

    def stage(self, name: str, data: bytes = b"") -> Path:
        """A new durable file in the staging folder, its name made of `name` and a random suffix."""
        self._make_folders(self.staging)
        path = self.staging / f"{name}@{os.urandom(12).hex()}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self._file_mode)
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        except OSError:
            path.unlink()  # what is left of it would keep a full disk full
            raise
        finally:
            os.close(descriptor)
        return path

    def link(self, staged: Path, final: Path) -> None:
        """Give a staged file its final name. Raises FileExistsError when it is taken."""
        self._make_folders(final.parent)
        os.link(staged, final)
        sync_folder(final.parent)

    def rename(self, staged: Path, final: Path) -> None:
        """Put a staged file in the place of another."""
        self._make_folders(final.parent)
        staged.replace(final)
        sync_folder(final.parent)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process or thread that asks for the lock changes anything meanwhile."""
        self._make_folders(self.staging)
        descriptor = os.open(self.staging / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._file_mode)
        try:
            self._lock(descriptor)
            yield
        finally:
            os.close(descriptor)  # releases the lock, as the death of the process would

    def _lock(self, descriptor: int) -> None:
        until = time.monotonic() + self._lock_wait_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise StoreUnavailable(f"the {self._name} folder: another process holds its lock") from None
                time.sleep(_LOCK_POLL_S)  # on a worker thread
            else:
                return

    def _make_folders(self, folder: Path) -> None:
        """Durably make what is missing below the root; a root that vanished is not made again."""
        missing = []
        while not folder.is_dir() and folder != self.root:
            missing.append(folder)
            folder = folder.parent
        for each in reversed(missing):
            with suppress(FileExistsError):
                each.mkdir(mode=self._folder_mode)
            sync_folder(each.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: the system may take fewer than it was given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keys_below(folder: Folder, prefix: str) -> list[str]:
    """All keys that start with `prefix`, sorted; names that start with a dot are no keys. Blocks."""
    folder.must_exist()
    root = folder.root
    found = []
    for parent, folders, files in os.walk(root / prefix.rpartition("/")[0], onerror=_raise_unless_missing):
        folders[:] = [name for name in folders if not name.startswith(".")]
        keys = ((Path(parent) / name).relative_to(root).as_posix() for name in files)
        found += [key for key in keys if key.startswith(prefix)]
    return sorted(found)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
