"""One place to keep objects, as several processes and its reader see it."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from sinks.stores.local import LocalDestination, LocalState
from sinks.stores.memory import MemoryBucket, MemoryStore
from sinks.stores.registry import OpenDestination, OpenState


@dataclass(frozen=True, slots=True)
class Backend:
    """Each call of `destination` and `state` is another process."""

    destination: Callable[[], OpenDestination]
    state: Callable[[], OpenState]
    visible: Callable[[], dict[str, bytes]]  # what a reader of the destination finds


def memory_backend(stack: AsyncExitStack) -> Backend:
    out, state = MemoryBucket(), MemoryBucket()
    return Backend(lambda: MemoryStore(out), lambda: MemoryStore(state), lambda: dict(out.objects))


def local_backend(stack: AsyncExitStack, tmp_path: Path) -> Backend:
    out, state = tmp_path / "out", tmp_path / "state"
    out.mkdir()
    state.mkdir()

    def destination() -> OpenDestination:
        store = LocalDestination(out)
        stack.push_async_callback(store.close)
        return store

    def opened_state() -> OpenState:
        store = LocalState(state)
        stack.push_async_callback(store.close)
        return store

    def visible() -> dict[str, bytes]:
        found = (path for path in out.rglob("*") if path.is_file() and ".staging" not in path.parts)
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}

    return Backend(destination, opened_state, visible)
