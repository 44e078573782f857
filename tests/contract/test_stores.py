"""What every store promises, tried on each of them alike."""

import asyncio
import contextlib
import random

import pytest

from pipeline.errors import StoreRefused
from pipeline.ports import Destination, Upload
from tests.contract.backends import Backend

KEY = "mail_messages/20261119T020000Z-1f3a/mail_messages-00001-20261118.parquet"
WRITERS = 32
PROCESSES = 4
BAD_KEYS = [
    "",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "a/../b",
    "../a",
    ".staging/a",
    "a/.b",
    "a b",
    "a@b",
    "ä",
    "a\n",
    "a\\b",
    "k" * 201,
]


async def sealed(destination: Destination, content: bytes, key: str = KEY) -> Upload:
    upload = await destination.begin(key)
    await upload.write(content)
    await upload.seal()
    return upload


async def test_published_upload_is_visible_byte_for_byte(backend: Backend) -> None:
    """Nothing is seen before publication, everything after it."""
    upload = await sealed(backend.destination(), b"rows")
    assert backend.visible() == {}

    assert await upload.publish() is True

    assert backend.visible() == {KEY: b"rows"}


async def test_one_of_many_racing_publications_wins(backend: Backend) -> None:
    """Of 32 uploads of one key exactly one becomes visible, and it alone is told so."""
    processes = [backend.destination() for _ in range(PROCESSES)]
    uploads = [await sealed(processes[n % PROCESSES], b"writer %d" % n) for n in range(WRITERS)]

    won = await asyncio.gather(*(upload.publish() for upload in uploads))

    assert won.count(True) == 1
    assert backend.visible() == {KEY: b"writer %d" % won.index(True)}


async def test_publishing_again_gives_the_same_answer(backend: Backend) -> None:
    """Winner and loser hear the same however often they ask."""
    winner = await sealed(backend.destination(), b"first")
    loser = await sealed(backend.destination(), b"second")
    assert [await winner.publish(), await loser.publish()] == [True, False]

    assert [await winner.publish(), await loser.publish(), await winner.publish()] == [True, False, True]
    assert backend.visible() == {KEY: b"first"}


async def test_equal_bytes_of_two_uploads_are_told_apart(backend: Backend) -> None:
    """Two uploads of the same content, as two fences are, have one winner."""
    first, second = [await sealed(backend.destination(), b"same") for _ in range(2)]

    assert [await first.publish(), await second.publish()] == [True, False]
    assert [await first.publish(), await second.publish()] == [True, False]


async def test_a_later_process_publishes_a_sealed_upload(backend: Backend) -> None:
    """The token is enough to finish what another process began."""
    token = (await sealed(backend.destination(), b"rows")).token

    upload = await backend.destination().attach(KEY, token)

    assert upload.token == token
    assert await upload.publish() is True
    assert backend.visible() == {KEY: b"rows"}


async def test_a_later_process_hears_the_answer_of_the_earlier_one(backend: Backend) -> None:
    """Attaching to an upload that was published, or had lost, repeats its answer."""
    winner = await sealed(backend.destination(), b"first")
    loser = await sealed(backend.destination(), b"second")
    await winner.publish()
    await loser.publish()

    attached = [await backend.destination().attach(KEY, upload.token) for upload in (winner, loser)]

    assert [await upload.publish() for upload in attached] == [True, False]


async def test_processes_that_publish_one_upload_together_all_win(backend: Backend) -> None:
    """The same upload published from several processes at once is one publication."""
    token = (await sealed(backend.destination(), b"rows")).token
    uploads = [await backend.destination().attach(KEY, token) for _ in range(8)]

    assert all(await asyncio.gather(*(upload.publish() for upload in uploads)))
    assert backend.visible() == {KEY: b"rows"}


async def test_aborted_upload_leaves_nothing(backend: Backend) -> None:
    """What is given up never appears, and its key stays free."""
    for seal in (False, True):
        upload = await backend.destination().begin(KEY)
        await upload.write(b"half")
        if seal:
            await upload.seal()
        await upload.abort()
        await upload.abort()

    assert backend.visible() == {}
    assert await (await sealed(backend.destination(), b"whole")).publish() is True


async def test_abort_after_publication_takes_nothing_back(backend: Backend) -> None:
    """A published object stays, also when a later process aborts its upload."""
    upload = await sealed(backend.destination(), b"rows")
    await upload.publish()

    await upload.abort()
    await (await backend.destination().attach(KEY, upload.token)).abort()

    assert backend.visible() == {KEY: b"rows"}


async def test_a_lost_upload_is_no_lost_race(backend: Backend) -> None:
    """Where neither the upload nor another object is there, the answer is an error, not `taken`."""
    upload = await sealed(backend.destination(), b"rows")
    token = upload.token
    await upload.abort()

    with contextlib.suppress(StoreRefused):
        assert await (await backend.destination().attach(KEY, token)).publish() is True
        assert backend.visible() == {KEY: b"rows"}  # the token of a small upload may hold all of it


async def test_large_upload_in_odd_pieces(backend: Backend) -> None:
    """Pieces of any size, also none, come out as they went in."""
    source = random.Random(7)
    sizes = [0, 1, 5 * 1024 * 1024 - 1, 3, 9_000_001, 0, 262_144, 777_777]
    pieces = [source.randbytes(size) for size in sizes]
    upload = await backend.destination().begin(KEY)
    for piece in pieces:
        await upload.write(piece)
    await upload.seal()

    assert await upload.publish() is True
    assert backend.visible() == {KEY: b"".join(pieces)}


async def test_empty_upload(backend: Backend) -> None:
    """An object without bytes is an object."""
    upload = await backend.destination().begin(KEY)
    await upload.seal()

    assert await upload.publish() is True
    assert backend.visible() == {KEY: b""}


async def test_uploads_of_several_keys_at_once(backend: Backend) -> None:
    """Uploads do not mix."""
    destination = backend.destination()
    keys = [f"d/{n}/part.parquet" for n in range(12)]

    async def export(key: str) -> bool:
        return await (await sealed(destination, key.encode(), key)).publish()

    assert all(await asyncio.gather(*map(export, keys)))
    assert backend.visible() == {key: key.encode() for key in keys}


async def test_proving_a_store_twice_leaves_it_usable(backend: Backend) -> None:
    """Every command proves the stores anew, and what that leaves behind is no part."""
    for _ in range(2):
        await backend.destination().prove()
        await backend.state().prove()

    assert await (await sealed(backend.destination(), b"rows")).publish() is True
    assert not [key for key in backend.visible() if key.endswith(".parquet") and key != KEY]


@pytest.mark.parametrize("key", BAD_KEYS)
async def test_bad_keys_are_refused(backend: Backend, key: str) -> None:
    """A key that could leave its place, or needs quoting, is a bug of the caller."""
    destination, state = backend.destination(), backend.state()

    with pytest.raises(ValueError, match="key"):
        await destination.begin(key)
    with pytest.raises(ValueError, match="key"):
        await state.create(key, b"")
    with pytest.raises(ValueError, match="key"):
        await state.read(key)


async def test_state_remembers(backend: Backend) -> None:
    """What one process creates another reads, with a version to replace it by."""
    assert await backend.state().read("a/b.json") is None

    assert await backend.state().create("a/b.json", b"one") is True

    found = await backend.state().read("a/b.json")
    assert found is not None
    assert found.data == b"one"
    assert await backend.state().replace("a/b.json", b"two", version=found.version) is not None


async def test_one_of_many_racing_creations_wins(backend: Backend) -> None:
    """A lease is created by one of 32 processes."""
    processes = [backend.state() for _ in range(PROCESSES)]

    won = await asyncio.gather(*(processes[n % PROCESSES].create("lease", b"writer %d" % n) for n in range(WRITERS)))

    found = await backend.state().read("lease")
    assert won.count(True) == 1
    assert found is not None
    assert found.data == b"writer %d" % won.index(True)


async def test_one_of_many_racing_swaps_wins(backend: Backend) -> None:
    """Of 32 swaps that name one version exactly one happens."""
    await backend.state().create("watermarks", b"old")
    old = await backend.state().read("watermarks")
    assert old is not None
    processes = [backend.state() for _ in range(PROCESSES)]

    versions = await asyncio.gather(
        *(processes[n % PROCESSES].replace("watermarks", b"writer %d" % n, version=old.version) for n in range(WRITERS))
    )

    won = [n for n, version in enumerate(versions) if version is not None]
    found = await backend.state().read("watermarks")
    assert len(won) == 1
    assert found is not None
    assert (found.data, found.version) == (b"writer %d" % won[0], versions[won[0]])


async def test_swap_without_an_object(backend: Backend) -> None:
    """`version=None` expects nothing there; a version expects something."""
    state = backend.state()

    assert await state.replace("k", b"one", version="0123456789abcdef0123456789abcdef") is None
    first = await state.replace("k", b"one", version=None)
    assert first is not None
    assert await state.replace("k", b"two", version=None) is None
    second = await state.replace("k", b"two", version=first)
    assert second is not None
    assert await state.replace("k", b"three", version=first) is None
    found = await state.read("k")
    assert found is not None
    assert (found.data, found.version) == (b"two", second)


async def test_keys_are_listed_by_prefix_in_order(backend: Backend) -> None:
    """A prefix is a beginning of the key, not a folder."""
    state = backend.state()
    for key in ("open/run/2/run.json", "open/run/10/run.json", "open/run/10/journal/a", "open-x", "lease"):
        await state.create(key, b"")

    assert await state.keys("") == [
        "lease", "open-x", "open/run/10/journal/a", "open/run/10/run.json", "open/run/2/run.json",
    ]  # fmt: skip
    assert await state.keys("open/run/1") == ["open/run/10/journal/a", "open/run/10/run.json"]
    assert await state.keys("open") == [
        "open-x", "open/run/10/journal/a", "open/run/10/run.json", "open/run/2/run.json",
    ]  # fmt: skip
    assert await state.keys("none/") == []


async def test_many_keys_are_listed_in_full(backend: Backend) -> None:
    """A listing goes on where one answer of the service ends."""
    state = backend.state()
    keys = [f"journal/{n:05d}" for n in range(30)]
    await asyncio.gather(*(state.create(key, b"") for key in keys))

    assert await state.keys("journal/") == keys


async def test_deleting_is_repeatable(backend: Backend) -> None:
    """A deleted object is gone, its neighbours stay, and deleting nothing is fine."""
    state = backend.state()
    await state.create("run/a", b"1")
    await state.create("run/b/c", b"2")

    await state.delete("run/b/c")
    await state.delete("run/b/c")

    assert await state.keys("") == ["run/a"]
    assert await state.create("run/b/c", b"again") is True


async def test_a_reader_sees_what_is_published_and_nothing_else(backend: Backend) -> None:
    """Keys are listed by prefix, in order; uploads that are not published have none."""
    destination, reader = backend.destination(), backend.reader()
    for key in ("d/2/b.parquet", "d/10/a.parquet", "e/1.json"):
        await (await sealed(destination, key.encode(), key)).publish()
    await sealed(destination, b"not yet", "d/3/c.parquet")

    assert await reader.keys("d/") == ["d/10/a.parquet", "d/2/b.parquet"]
    assert await reader.keys("d/1") == ["d/10/a.parquet"]
    assert await reader.keys("none/") == []
    assert await reader.read("d/3/c.parquet", start=0, count=10) is None


async def test_a_reader_reads_pieces(backend: Backend) -> None:
    """Any piece, a shorter one at the end, none beyond it; what is not there is told from what is empty."""
    await (await sealed(backend.destination(), b"0123456789")).publish()
    await (await sealed(backend.destination(), b"", "empty")).publish()
    reader = backend.reader()

    assert await reader.read(KEY, start=0, count=4) == b"0123"
    assert await reader.read(KEY, start=4, count=4) == b"4567"
    assert await reader.read(KEY, start=8, count=4) == b"89"
    assert await reader.read(KEY, start=10, count=4) == b""
    assert await reader.read("empty", start=0, count=4) == b""
    assert await reader.read("missing", start=0, count=4) is None
    with pytest.raises(ValueError, match="key"):
        await reader.read("../a", start=0, count=4)
