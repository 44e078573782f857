"""What S3 adds to the contract: odd stores, lost answers, missing rights."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.errors import StoreRefused, StoreUnavailable
from tests.contract.backends import s3_backend, s3_client
from tests.contract.test_stores import KEY, sealed
from tests.servers.s3 import Fault, Operation, StrictFront

NO_READING: frozenset[Operation] = frozenset({"get", "head", "list", "delete"})


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def once(operation: Operation, fault: Fault, *, times: int = 1) -> Callable[[Operation, str], Fault | None]:
    """A fault that strikes the first `times` calls of an operation."""
    left = times

    def strike(seen: Operation, key: str) -> Fault | None:
        nonlocal left
        if seen != operation or not left or "_probe" in key:
            return None
        left -= 1
        return fault

    return strike


@pytest.mark.parametrize("recompletion", ["repeats", "gone", "taken"])
@pytest.mark.parametrize("forbids", [frozenset(), NO_READING])
async def test_lost_answer_to_a_completion_is_our_own_success(
    s3: tuple[str, StrictFront], stack: AsyncExitStack, recompletion: str, forbids: frozenset[Operation]
) -> None:
    """However the store answers a second completion, and without reading: the object is known for ours."""
    url, front = s3
    backend = s3_backend(stack, url)
    upload = await sealed(backend.destination(), b"rows")
    front.dialect.recompletion = recompletion  # type: ignore[assignment] # a parameter is a plain string
    front.dialect.forbids = forbids
    front.dialect.fault = once("complete", "lose")

    assert await upload.publish() is True
    assert await (await backend.destination().attach(KEY, upload.token)).publish() is True

    front.dialect.forbids = frozenset()
    assert backend.visible() == {KEY: b"rows"}


async def test_an_upload_older_than_lifecycle_rules_is_read_or_not_guessed(
    s3: tuple[str, StrictFront], stack: AsyncExitStack
) -> None:
    """After a day a vanished upload may have been aborted by a rule, so it is no proof any more."""
    url, front = s3
    backend = s3_backend(stack, url)
    upload = await sealed(backend.destination(), b"rows")
    assert await upload.publish() is True
    front.dialect.recompletion = "gone"
    name, upload_id, identity, _, etags = json.loads(upload.token)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    old = json.dumps([name, upload_id, identity, yesterday, etags])

    assert await (await backend.destination().attach(KEY, old)).publish() is True
    front.dialect.forbids = NO_READING
    assert await (await backend.destination().attach(KEY, upload.token)).publish() is True
    with pytest.raises(StoreRefused, match="cannot be known"):
        await (await backend.destination().attach(KEY, old)).publish()


@pytest.mark.parametrize("forbids", [frozenset(), NO_READING])
async def test_lost_answer_to_a_refusal_is_a_refusal(
    s3: tuple[str, StrictFront], stack: AsyncExitStack, forbids: frozenset[Operation]
) -> None:
    """A key that another took is not mistaken for ours, when the first answer was lost nor by a later process."""
    url, front = s3
    backend = s3_backend(stack, url)
    loser = await sealed(backend.destination(), b"second")
    assert await (await sealed(backend.destination(), b"first")).publish() is True
    front.dialect.forbids = forbids
    front.dialect.fault = once("complete", "lose")

    assert await loser.publish() is False
    assert await (await backend.destination().attach(KEY, loser.token)).publish() is False


async def test_destination_needs_no_right_but_to_put_and_abort(
    s3: tuple[str, StrictFront], stack: AsyncExitStack
) -> None:
    """A whole life of an upload reads, lists and deletes nothing."""
    url, front = s3
    backend = s3_backend(stack, url)
    front.dialect.seen.clear()
    front.dialect.forbids = NO_READING
    destination = backend.destination()
    await destination.prove()
    winner, loser = [await sealed(destination, b"rows") for _ in range(2)]

    assert [await winner.publish(), await loser.publish()] == [True, False]
    await loser.abort()

    assert set(front.dialect.seen) == {"put", "begin", "part", "complete", "abort"}


async def test_store_that_ignores_the_condition_on_completion_gets_single_puts(
    s3: tuple[str, StrictFront], stack: AsyncExitStack
) -> None:
    """Parts are then kept here and put at once, create-only, also when the answer is lost."""
    url, front = s3
    front.dialect.ignores_multipart_condition = True
    backend = s3_backend(stack, url)
    winner, loser = [await sealed(backend.destination(), word) for word in (b"first", b"second")]
    front.dialect.seen.clear()
    front.dialect.fault = once("put", "lose")

    assert [await winner.publish(), await loser.publish()] == [True, False]

    assert "complete" not in front.dialect.seen
    assert backend.visible() == {KEY: b"first"}
    attached = [await backend.destination().attach(KEY, upload.token) for upload in (winner, loser)]
    assert [await upload.publish() for upload in attached] == [True, False]


async def test_small_single_upload_travels_in_its_token(s3: tuple[str, StrictFront], stack: AsyncExitStack) -> None:
    """A fence can be raised by a later process; a large upload ended with the process that made it."""
    url, front = s3
    front.dialect.ignores_multipart_condition = True
    backend = s3_backend(stack, url)
    small, large = [await sealed(backend.destination(), bytes(size)) for size in (60_000, 70_000)]

    with pytest.raises(StoreRefused, match="ended with the process"):
        await (await backend.destination().attach(KEY, large.token)).publish()
    assert await (await backend.destination().attach(KEY, small.token)).publish() is True
    assert backend.visible() == {KEY: bytes(60_000)}
    for upload in (small, large):
        await upload.abort()


async def test_single_puts_need_reading(s3: tuple[str, StrictFront], stack: AsyncExitStack) -> None:
    """A store that needs single puts is refused at the start where its objects may not be read."""
    url, front = s3
    front.dialect.ignores_multipart_condition = True
    front.dialect.forbids = NO_READING
    backend = s3_backend(stack, url)

    with pytest.raises(StoreRefused, match="GetObject"):
        await backend.destination().prove()


async def test_store_without_conditions_is_refused(s3: tuple[str, StrictFront], stack: AsyncExitStack) -> None:
    """Neither destination nor state start on a store that overwrites; the reason names the way out."""
    url, front = s3
    front.dialect.ignores_conditions = True
    backend = s3_backend(stack, url)

    with pytest.raises(StoreRefused, match=r"destination: .*storage\.single_writer"):
        await backend.destination().prove()
    with pytest.raises(StoreRefused, match=r"state: .*storage\.single_writer"):
        await backend.state().create("lease", b"")


async def test_single_writer_can_be_vouched_for(s3: tuple[str, StrictFront], stack: AsyncExitStack) -> None:
    """Then what is there is looked at before it is written, and all else stays the same."""
    url, front = s3
    front.dialect.ignores_conditions = True
    backend = s3_backend(stack, url, single_writer=True)
    winner, loser = [await sealed(backend.destination(), word) for word in (b"first", b"second")]
    state = backend.state()

    assert [await winner.publish(), await loser.publish(), await winner.publish()] == [True, False, True]
    assert [await state.create("k", b"1"), await state.create("k", b"2")] == [True, False]
    found = await state.read("k")
    assert found is not None
    assert await state.replace("k", b"3", version=found.version) is not None
    assert await state.replace("k", b"4", version=found.version) is None
    assert backend.visible() == {KEY: b"first"}


async def test_store_that_drops_refused_uploads_is_read_or_not_guessed(
    s3: tuple[str, StrictFront], stack: AsyncExitStack
) -> None:
    """Where a vanished upload proves nothing, the object is read; where it may not be, nothing is claimed."""
    url, front = s3
    front.dialect.drops_refused_uploads = True
    backend = s3_backend(stack, url)
    winner, loser = [await sealed(backend.destination(), word) for word in (b"first", b"second")]
    assert [await winner.publish(), await loser.publish()] == [True, False]

    assert await (await backend.destination().attach(KEY, loser.token)).publish() is False
    front.dialect.forbids = NO_READING
    with pytest.raises(StoreRefused, match="cannot be known"):
        await (await backend.destination().attach(KEY, loser.token)).publish()


@pytest.mark.parametrize("times", [1, 2])
async def test_conflicts_are_tried_again(s3: tuple[str, StrictFront], stack: AsyncExitStack, times: int) -> None:
    """A conflict is no refusal: somebody else was at work at that moment."""
    url, front = s3
    backend = s3_backend(stack, url)
    upload, state = await sealed(backend.destination(), b"rows"), backend.state()
    await state.prove()

    front.dialect.fault = once("complete", "conflict", times=times)
    assert await upload.publish() is True
    front.dialect.fault = once("put", "conflict", times=times)
    assert await state.create("k", b"") is True


async def test_lost_answers_of_the_state_are_recognised(s3: tuple[str, StrictFront], stack: AsyncExitStack) -> None:
    """Our own write is not taken for another's, and another's not for ours."""
    url, front = s3
    state = s3_backend(stack, url).state()
    await state.prove()

    front.dialect.fault = once("put", "lose")
    assert await state.create("k", b"1") is True
    found = await state.read("k")
    assert found is not None
    front.dialect.fault = once("put", "lose")
    version = await state.replace("k", b"2", version=found.version)
    assert version is not None
    assert (await state.read("k")) == type(found)(b"2", version)
    front.dialect.fault = once("put", "lose")
    assert await state.create("k", b"3") is False


async def test_large_parts_are_sent_while_they_grow(s3: tuple[str, StrictFront], stack: AsyncExitStack) -> None:
    """What fills a part of the upload leaves at once; a failing call is repeated."""
    url, front = s3
    backend = s3_backend(stack, url)
    upload = await backend.destination().begin(KEY)
    front.dialect.seen.clear()
    front.dialect.fault = once("part", "fail")

    await upload.write(bytes(20 * 1024 * 1024))

    assert front.dialect.seen.count("part") == 3  # one of them twice
    await upload.seal()
    assert await upload.publish() is True
    assert backend.visible() == {KEY: bytes(20 * 1024 * 1024)}


async def test_long_listings_are_read_to_their_end(s3: tuple[str, StrictFront], stack: AsyncExitStack) -> None:
    """Where an answer of the service ends, the next one is asked for."""
    url, front = s3
    state = s3_backend(stack, url).state()
    keys = [f"journal/{number}" for number in range(7)]
    for key in keys:
        await state.create(key, b"")
    front.dialect.keys_per_listing = 3
    front.dialect.seen.clear()

    assert await state.keys("journal/") == keys
    assert front.dialect.seen == ["list", "list", "list"]


@pytest.mark.parametrize(
    ("operation", "fault", "kind", "message"),
    [
        ("put", "deny", StoreRefused, "allow s3:GetObject, s3:PutObject"),
        ("put", "fail", StoreUnavailable, "SlowDown"),
    ],
)
async def test_errors_say_what_to_do(
    s3: tuple[str, StrictFront],
    stack: AsyncExitStack,
    operation: Operation,
    fault: Fault,
    kind: type[Exception],
    message: str,
) -> None:
    """A refusal names the right that is missing; a failure is for later."""
    url, front = s3
    state = s3_backend(stack, url).state()
    await state.prove()
    front.dialect.fault = once(operation, fault, times=99)

    with pytest.raises(kind, match=f"state: .*{message}"):
        await state.create("k", b"")


async def test_missing_bucket_and_credentials_are_refusals(
    s3: tuple[str, StrictFront], stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an operator has to mend is not tried again all night."""
    url, _ = s3
    backend = s3_backend(stack, url)
    client = s3_client(url)
    for bucket in client.list_buckets()["Buckets"][-2:]:
        client.delete_bucket(Bucket=bucket["Name"])
    client.close()
    with pytest.raises(StoreRefused, match="bucket does not exist"):
        await backend.destination().prove()

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StoreRefused, match="no credentials"):
        await backend.state().read("k")


async def test_untrusted_certificate_is_a_refusal(
    s3: tuple[str, StrictFront], stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable that would make it trusted."""
    url, _ = s3
    backend = s3_backend(stack, url)
    monkeypatch.delenv("AWS_CA_BUNDLE")

    with pytest.raises(StoreRefused, match="AWS_CA_BUNDLE"):
        await backend.state().read("k")


async def test_encryption_and_payer_go_with_the_writes(s3: tuple[str, StrictFront], stack: AsyncExitStack) -> None:
    """The KMS key is named where an object is begun, the payer everywhere, and every body has its digest."""
    url, front = s3
    backend = s3_backend(stack, url, kms_key="alias/export", requester_pays=True)
    destination = backend.destination()
    await destination.prove()
    front.dialect.seen.clear()
    front.dialect.headers.clear()

    await (await sealed(destination, b"rows")).publish()
    await backend.state().create("k", b"")

    calls = list(zip(front.dialect.seen, front.dialect.headers, strict=True))
    assert {headers["HTTP_X_AMZ_REQUEST_PAYER"] for _, headers in calls} == {"requester"}
    keyed = [operation for operation, headers in calls if "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION" in headers]
    assert set(keyed) == {"begin", "put"}
    assert all("HTTP_CONTENT_MD5" in headers for operation, headers in calls if operation in {"put", "part"})


async def test_keys_of_s3_itself_are_asked_for(s3: tuple[str, StrictFront], stack: AsyncExitStack) -> None:
    """SSE-S3 is named where an object is begun, so that a bucket policy that insists on it is content."""
    url, front = s3
    backend = s3_backend(stack, url, sse_s3=True)
    destination = backend.destination()
    await (await sealed(destination, b"rows")).publish()
    await backend.state().create("k", b"")

    asked = {
        (operation, headers.get("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"))
        for operation, headers in zip(front.dialect.seen, front.dialect.headers, strict=True)
    }
    assert asked >= {("begin", "AES256"), ("put", "AES256")}
    assert not asked & {("begin", None), ("put", None)}


@pytest.mark.long
async def test_an_older_store_gets_single_puts_with_real_refusals(ceph: str, stack: AsyncExitStack) -> None:
    """Ceph 16 ignores the condition on completion: it is found out, and its conditional puts are used."""
    backend = s3_backend(stack, ceph)
    winner, loser = [await sealed(backend.destination(), word) for word in (b"first", b"second")]
    assert winner.token.startswith('["single"')

    assert [await winner.publish(), await loser.publish()] == [True, False]
    assert backend.visible() == {KEY: b"first"}
