"""What Google Cloud Storage adds to the contract: sessions, lost answers, missing rights."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from pipeline.errors import StoreRefused, StoreUnavailable
from sinks.stores.gcs.upload import CHUNK_BYTES
from tests.contract.backends import gcs_backend
from tests.contract.test_stores import KEY, sealed
from tests.servers.gcs import UNIT_BYTES, Fault, Operation, StrictFront

Server = tuple[str, StrictFront]
NO_READING: frozenset[Operation] = frozenset({"get", "download", "list", "delete"})


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def once(
    operation: Operation, fault: Fault, *, after: int = 0, times: int = 1
) -> Callable[[Operation, str], Fault | None]:
    """A fault that lets `after` calls of an operation pass and strikes the next `times`."""
    met = 0

    def strike(seen: Operation, name: str) -> Fault | None:
        nonlocal met
        if seen != operation or "_probe" in name:
            return None
        met += 1
        return fault if after < met <= after + times else None

    return strike


@pytest.mark.parametrize("fault", ["lose", "drop"])
async def test_lost_answer_to_the_last_bytes_is_our_own_success(
    gcs: Server, stack: AsyncExitStack, fault: Fault
) -> None:
    """The session knows that it was completed, for this process and for a later one, without reading."""
    url, front = gcs
    backend = gcs_backend(stack, url, front)
    upload = await sealed(backend.destination(), b"rows")
    front.dialect.forbids = NO_READING
    front.dialect.fault = once("finish", fault)

    assert await upload.publish() is True
    assert await (await backend.destination().attach(KEY, upload.token)).publish() is True
    assert backend.visible() == {KEY: b"rows"}


@pytest.mark.parametrize("refuses_with", [412, 403])
async def test_lost_answer_to_a_refusal_is_a_refusal(gcs: Server, stack: AsyncExitStack, refuses_with: int) -> None:
    """A taken key is told as such, also by a service that says 403 to whoever may not delete."""
    url, front = gcs
    front.dialect.refuses_with = refuses_with
    backend = gcs_backend(stack, url, front)
    loser = await sealed(backend.destination(), b"second")
    assert await (await sealed(backend.destination(), b"first")).publish() is True
    front.dialect.fault = once("finish", "lose")

    assert await loser.publish() is False
    assert await (await backend.destination().attach(KEY, loser.token)).publish() is False
    assert backend.visible() == {KEY: b"first"}


async def test_missing_right_to_create_is_no_taken_key(gcs: Server, stack: AsyncExitStack) -> None:
    """A 403 while nothing may be created any more is a refusal that names the right."""
    url, front = gcs
    upload = await sealed(gcs_backend(stack, url, front).destination(), b"rows")
    front.dialect.forbids = frozenset({"begin", "finish"})

    with pytest.raises(StoreRefused, match=r"destination: .*storage\.objects\.create"):
        await upload.publish()


async def test_destination_needs_no_right_but_to_create(gcs: Server, stack: AsyncExitStack) -> None:
    """A whole life of an upload reads, lists and deletes nothing."""
    url, front = gcs
    destination = gcs_backend(stack, url, front).destination()
    front.dialect.forbids = NO_READING
    await destination.prove()
    winner, loser = [await sealed(destination, bytes(UNIT_BYTES + 1)) for _ in range(2)]

    assert [await winner.publish(), await loser.publish()] == [True, False]
    await loser.abort()

    # The SDK looks at its bucket in the background, so a state of another test may still be seen.
    seen = {operation for bucket, operation in front.dialect.calls if bucket.startswith("out-")}
    assert seen == {"begin", "send", "finish", "cancel"}


@pytest.mark.parametrize("fault", ["fail", "lose", "drop"])
@pytest.mark.parametrize("chunk", range(3))
async def test_bytes_are_sent_while_they_grow_and_again_after_a_failure(
    gcs: Server, stack: AsyncExitStack, chunk: int, fault: Fault
) -> None:
    """Whole chunks leave at once; what a failed request left behind is found out, not sent twice, at every chunk."""
    url, front = gcs
    backend = gcs_backend(stack, url, front)
    content = bytes(range(256)) * (2 * CHUNK_BYTES // 256 + 5000)
    upload = await backend.destination().begin(KEY)
    front.dialect.fault = once("send", fault, after=chunk)
    sent_again = 0 if fault in {"lose", "drop"} else 1

    await upload.write(content)
    assert front.dialect.seen.count("send") == 2 + (sent_again if chunk < 2 else 0)
    await upload.seal()
    assert front.dialect.seen.count("send") == 3 + sent_again
    assert await upload.publish() is True
    assert backend.visible() == {KEY: content}


@pytest.mark.parametrize("size", [UNIT_BYTES - 1, UNIT_BYTES, UNIT_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES + 1])
async def test_the_token_holds_less_than_a_unit(gcs: Server, stack: AsyncExitStack, size: int) -> None:
    """Sealed bytes are at the service but for the last ones, with which a later process publishes all."""
    url, front = gcs
    backend = gcs_backend(stack, url, front)
    upload = await sealed(backend.destination(), bytes(size))

    assert len(upload.token) < UNIT_BYTES * 3 // 2
    assert await (await backend.destination().attach(KEY, upload.token)).publish() is True
    assert backend.visible() == {KEY: bytes(size)}


async def test_a_forgotten_session_is_read_about_or_not_guessed(gcs: Server, stack: AsyncExitStack) -> None:
    """After the week that a session lasts, the object says whose it is; where it may not be read, nobody."""
    url, front = gcs
    backend = gcs_backend(stack, url, front)
    upload = await sealed(backend.destination(), b"rows")
    front.dialect.forgets_sessions = True
    assert await upload.publish() is True

    attached = await backend.destination().attach(KEY, upload.token)
    assert await attached.publish() is True
    front.dialect.forbids = NO_READING
    with pytest.raises(StoreRefused, match="cannot be known"):
        await (await backend.destination().attach(KEY, upload.token)).publish()


async def test_changed_bytes_are_not_published(gcs: Server, stack: AsyncExitStack) -> None:
    """The service checks what it got against the checksum of what was written."""
    url, front = gcs
    backend = gcs_backend(stack, url, front)
    upload = await sealed(backend.destination(), b"rows")
    damaged = upload.token.replace("cm93cw==", "cm93cg==")
    assert damaged != upload.token

    with pytest.raises(StoreRefused, match="BadRequest"):
        await (await backend.destination().attach(KEY, damaged)).publish()
    assert backend.visible() == {}


async def test_lost_answers_of_the_state_are_recognised(gcs: Server, stack: AsyncExitStack) -> None:
    """Our own write is not taken for another's, and another's not for ours."""
    url, front = gcs
    state = gcs_backend(stack, url, front).state()

    front.dialect.fault = once("insert", "lose")
    assert await state.create("k", b"1") is True
    found = await state.read("k")
    assert found is not None
    front.dialect.fault = once("insert", "lose")
    version = await state.replace("k", b"2", version=found.version)
    assert version is not None
    assert (await state.read("k")) == type(found)(b"2", version)
    front.dialect.fault = once("insert", "lose")
    assert await state.create("k", b"3") is False


async def test_long_listings_are_read_to_their_end(gcs: Server, stack: AsyncExitStack) -> None:
    """Where an answer of the service ends, the next one is asked for."""
    url, front = gcs
    state = gcs_backend(stack, url, front).state()
    keys = [f"journal/{number}" for number in range(7)]
    for key in keys:
        await state.create(key, b"")
    front.dialect.items_per_listing = 3
    front.dialect.calls.clear()

    assert await state.keys("journal/") == keys
    assert front.dialect.seen.count("list") == 3


async def test_refusals_say_what_to_do(gcs: Server, stack: AsyncExitStack) -> None:
    """A denied right and a missing bucket are named."""
    url, front = gcs
    backend = gcs_backend(stack, url, front)
    front.dialect.fault = once("insert", "deny")
    with pytest.raises(StoreRefused, match=r"state: .*storage\.objects\.create"):
        await backend.state().create("k", b"")

    front.dialect.fault = once("begin", "deny")
    with pytest.raises(StoreRefused, match=r"destination: .*storage\.objects\.create"):
        await backend.destination().begin(KEY)


async def test_an_upload_that_keeps_failing_is_given_up(
    gcs: Server, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that is down for long is unavailable, not waited for."""
    url, front = gcs
    monkeypatch.setattr("sinks.stores.gcs.session._WAIT_S", 0.0)
    upload = await sealed(gcs_backend(stack, url, front).destination(), b"rows")
    front.dialect.fault = lambda operation, name: "fail"

    with pytest.raises(StoreUnavailable, match="keeps failing"):
        await upload.publish()
    front.dialect.fault = lambda operation, name: None
    assert await upload.publish() is True


async def test_kms_key_and_payer_go_with_the_writes(gcs: Server, stack: AsyncExitStack) -> None:
    """The key and the project that pays are named where an object is begun."""
    url, front = gcs
    backend = gcs_backend(stack, url, front, kms_key="projects/p/key", requester_pays=True)
    front.dialect.queries.clear()

    await backend.destination().begin(KEY)
    await backend.state().create("k", b"")

    begun = [query for query in front.dialect.queries if "uploadType" in query]
    assert [(query["kmsKeyName"], query["userProject"]) for query in begun] == 2 * [("projects/p/key", "none")]
