"""The memory store shows a commit every way a process can fail."""

import asyncio

import pytest

from pipeline.errors import StoreUnavailable
from sinks.stores.memory import MemoryBucket, MemoryStore, Step


class Crash(BaseException):
    """The process is gone."""


async def test_every_call_has_two_sides() -> None:
    """The hook sees each call before and after it takes effect, with its key."""
    steps: list[Step] = []

    async def hook(step: Step) -> None:
        steps.append(step)

    store = MemoryStore(hook=hook)
    upload = await store.begin("a/b")
    await upload.write(b"x")
    await upload.seal()
    await upload.publish()
    await upload.abort()
    await (await store.attach("a/b", upload.token)).publish()
    await store.create("c", b"")
    await store.read("c")
    await store.replace("c", b"", version=None)
    await store.keys("c")
    await store.delete("c")

    assert [(step.action, step.key) for step in steps[::2]] == [
        ("begin", "a/b"), ("write", "a/b"), ("seal", "a/b"), ("publish", "a/b"), ("abort", "a/b"),
        ("attach", "a/b"), ("publish", "a/b"), ("create", "c"), ("read", "c"), ("replace", "c"),
        ("keys", "c"), ("delete", "c"),
    ]  # fmt: skip
    assert {step.when for step in steps[::2]} == {"before"}
    assert {step.when for step in steps[1::2]} == {"after"}


@pytest.mark.parametrize("fault", [StoreUnavailable("no answer"), Crash()])
@pytest.mark.parametrize(("when", "visible"), [("before", False), ("after", True)])
async def test_a_fault_strikes_before_or_after_the_effect(fault: BaseException, when: str, visible: bool) -> None:
    """A call that failed did nothing; a call whose reply was lost did everything, and may be repeated."""
    struck = False

    async def hook(step: Step) -> None:
        nonlocal struck
        if step.action == "publish" and step.when == when and not struck:
            struck = True
            raise fault

    bucket = MemoryBucket()
    upload = await MemoryStore(bucket, hook=hook).begin("k")
    await upload.seal()

    with pytest.raises(type(fault)):
        await upload.publish()

    assert ("k" in bucket.objects) is visible
    assert await (await MemoryStore(bucket).attach("k", upload.token)).publish() is True


async def test_a_late_call_meets_what_happened_meanwhile() -> None:
    """A publication that was on the wire when its process was given up loses to the one that took its place."""
    arrive = asyncio.Event()

    async def late(step: Step) -> None:
        if step.action == "publish" and step.when == "before":
            await arrive.wait()

    bucket = MemoryBucket()
    dead = await MemoryStore(bucket, hook=late).begin("k")
    await dead.seal()
    on_the_wire = asyncio.create_task(dead.publish())
    fence = await MemoryStore(bucket).begin("k")
    await fence.seal()
    assert await fence.publish() is True

    arrive.set()

    assert await on_the_wire is False


async def test_unsealed_uploads_do_not_become_visible() -> None:
    """Half an upload cannot be published by whoever knows its token."""
    store = MemoryStore()
    upload = await store.begin("k")
    with pytest.raises(ValueError, match="sealed before"):
        await upload.publish()
    await upload.seal()
    with pytest.raises(ValueError, match="no more bytes"):
        await upload.write(b"late")
