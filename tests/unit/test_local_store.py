"""What the folder adds to the contract of stores: durability, hiding, and errors an operator can act on."""

import errno
import fcntl
import os
import shutil
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import StoreRefused, StoreUnavailable
from sinks.parquet.encoder import empty_part
from sinks.stores.local import LocalDestination, LocalState
from sinks.stores.local.folder import Folder
from sinks.stores.local.state import DEAD_AFTER_S
from tests.unit.parquet_rows import SCHEMA

KEY = "mail_messages/20261119T020000Z-1f3a/mail_messages-00001-20261118.parquet"


def names(folder: Path, pattern: str = "**/*") -> list[str]:
    """Names of the files below a folder, as pathlib's glob finds them."""
    return [path.name for path in folder.glob(pattern) if path.is_file()]


async def test_first_use_makes_the_folder(tmp_path: Path) -> None:
    """A demo needs no mkdir, and the state is nobody else's to read."""
    out, state = LocalDestination(tmp_path / "a" / "out"), LocalState(tmp_path / "state")
    await out.prove()
    await state.prove()
    await state.create("open/run.json", b"{}")

    assert (tmp_path / "a" / "out").is_dir()
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "state").rglob("*")} == {0}


async def test_a_reader_that_globs_meets_no_unpublished_part(tmp_path: Path) -> None:
    """Neither pathlib nor an engine's recursive glob finds what is still being written."""
    destination = LocalDestination(tmp_path)
    part, _ = empty_part(SCHEMA)
    hidden = await destination.begin(KEY.replace("00001", "00002"))
    await hidden.write(part)
    await hidden.seal()
    upload = await destination.begin(KEY)
    await upload.write(part)
    await upload.seal()
    await upload.publish()

    assert names(tmp_path, "**/*.parquet") == [KEY.rpartition("/")[2]]
    found = duckdb.execute(f"SELECT file FROM glob('{tmp_path}/**/*.parquet')").fetchall()
    assert [Path(file).name for (file,) in found] == [KEY.rpartition("/")[2]]
    await hidden.abort()


async def test_staged_files_of_a_dead_process_are_found_and_removed(tmp_path: Path) -> None:
    """What was never published is listed by key and can be given up, and published objects are untouched."""
    dead = LocalDestination(tmp_path)
    uploads = [await dead.begin(key) for key in (KEY, "entra_users/r/entra_users-00001-20261118.parquet")]
    for upload in uploads:
        await upload.seal()

    destination = LocalDestination(tmp_path)
    stale = await destination.stale_uploads("mail_messages/")
    assert [(each.key, each.token) for each in stale] == [(KEY, uploads[0].token)]
    for each in await destination.stale_uploads():
        await (await destination.attach(each.key, each.token)).abort()

    assert await destination.stale_uploads() == []
    assert names(tmp_path) == []


async def test_state_sweeps_what_died_long_ago(tmp_path: Path) -> None:
    """A staged state file lives for one call; one a day old has no owner."""
    state = LocalState(tmp_path)
    await state.prove()
    for name, age_s in (("state@old", DEAD_AFTER_S + 60), ("state@new", 0)):
        path = tmp_path / ".staging" / name
        path.touch()
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age_s))

    await state.prove()

    assert sorted(path.name for path in (tmp_path / ".staging").glob("state@*")) == ["state@new"]


async def test_folders_of_deleted_state_go_too(tmp_path: Path) -> None:
    """A state location does not fill with empty folders over the years."""
    state = LocalState(tmp_path)
    await state.create("open/run/20261119T020000Z-1f3a/journal/a.json", b"")
    await state.create("open/run/20261119T020000Z-1f3a/run.json", b"")

    await state.delete("open/run/20261119T020000Z-1f3a/journal/a.json")
    await state.delete("open/run/20261119T020000Z-1f3a/run.json")

    assert names(tmp_path) == ["lock"]
    assert not (tmp_path / "open").exists()


async def test_vanished_folder_is_not_an_empty_one(tmp_path: Path) -> None:
    """An unmounted state must not look like a first run, nor a destination be made anew in its place."""
    destination, state = LocalDestination(tmp_path / "out"), LocalState(tmp_path / "state")
    await destination.prove()
    await state.prove()
    upload = await destination.begin(KEY)
    await upload.seal()
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "state")

    for call in (
        state.read("watermarks"), state.keys(""), state.create("k", b""), state.delete("k"),
        state.replace("k", b"", version=None), destination.begin(KEY), upload.publish(),
    ):  # fmt: skip
        with pytest.raises(StoreUnavailable, match="mounted"):
            await call
    assert os.listdir(tmp_path) == []


async def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A file where a dataset's folder belongs is for a person to move."""
    (tmp_path / "mail_messages").write_text("notes")
    upload = await LocalDestination(tmp_path).begin(KEY)
    await upload.seal()

    with pytest.raises(StoreRefused, match="destination folder: a file stands where a folder is needed"):
        await upload.publish()


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (errno.EACCES, StoreRefused, "give the user"),
        (errno.EROFS, StoreRefused, "mount it writable"),
        (errno.EPERM, StoreRefused, "hard links"),
        (errno.ENOSPC, StoreUnavailable, "free some"),
        (errno.EDQUOT, StoreUnavailable, "free some"),
        (errno.ENOENT, StoreUnavailable, "mounted"),
        (errno.EIO, StoreUnavailable, "check it"),
        (errno.ENFILE, StoreUnavailable, "ENFILE"),
    ],
)
def test_system_errors_become_advice(tmp_path: Path, code: int, kind: type[Exception], advice: str) -> None:
    """Each refusal says what to do and shows no path."""
    folder = Folder(tmp_path, name="state", private=True, lock_wait_s=0)

    with pytest.raises(kind, match=advice) as caught, folder.errors():
        raise OSError(code, os.strerror(code), str(tmp_path / "secret"))
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.__cause__ is None


def test_lock_of_another_process_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """A stuck holder of the lock is an error after the wait, and its death frees the lock."""
    folder = Folder(tmp_path, name="state", private=True, lock_wait_s=0)
    folder.prepare()
    with (tmp_path / ".staging" / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="lock"), folder.locked():
            pass

    with folder.locked():
        assert True


async def test_a_sealed_upload_takes_no_more(tmp_path: Path) -> None:
    """Bytes after the seal, and publication before it, are bugs of the caller."""
    destination = LocalDestination(tmp_path)
    upload = await destination.begin(KEY)
    with pytest.raises(ValueError, match="sealed before"):
        await upload.publish()
    await upload.seal()
    with pytest.raises(ValueError, match="no more bytes"):
        await upload.write(b"late")
