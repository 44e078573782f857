"""One place to keep objects, as several processes and its reader see it."""

import itertools
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from config.locations import Location
from config.model import Storage
from sinks.stores.local import LocalDestination, LocalReader, LocalState
from sinks.stores.memory import MemoryBucket, MemoryReader, MemoryStore
from sinks.stores.registry import (
    OpenDestination,
    OpenReader,
    OpenState,
    open_destination,
    open_reader,
    open_state,
)
from tests.servers.gcs import StrictFront

Store = TypeVar("Store", OpenDestination, OpenState, OpenReader)

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Backend:
    """Each call of `destination` and `state` is another process."""

    destination: Callable[[], OpenDestination]
    state: Callable[[], OpenState]
    reader: Callable[[], OpenReader]
    visible: Callable[[], dict[str, bytes]]  # what a reader of the destination finds, but for probes


def memory_backend() -> Backend:
    """Two buckets in this process."""
    out, state = MemoryBucket(), MemoryBucket()
    return Backend(
        lambda: MemoryStore(out), lambda: MemoryStore(state), lambda: MemoryReader(out), lambda: dict(out.objects)
    )


def local_backend(stack: AsyncExitStack, tmp_path: Path) -> Backend:
    """Two folders."""
    out, state = tmp_path / "out", tmp_path / "state"
    out.mkdir()
    state.mkdir()

    def visible() -> dict[str, bytes]:
        found = (path for path in out.rglob("*") if path.is_file() and ".staging" not in path.parts)
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}

    return Backend(
        lambda: _closing(stack, LocalDestination(out)),
        lambda: _closing(stack, LocalState(state)),
        lambda: _closing(stack, LocalReader(out)),
        visible,
    )


def s3_backend(stack: AsyncExitStack, url: str, **settings: Any) -> Backend:
    """Two new buckets on a server, each with a prefix."""
    storage = Storage(endpoint_url=url, region="us-east-1", **settings)
    number = next(_numbers)
    out, state = Location("s3", f"out-{number}", "m365/export"), Location("s3", f"state-{number}", "")
    client = s3_client(url)
    stack.callback(client.close)
    for location in (out, state):
        client.create_bucket(Bucket=location.bucket)

    def visible() -> dict[str, bytes]:
        prefix = f"{out.path}/"
        listed = client.list_objects_v2(Bucket=out.bucket).get("Contents", [])
        assert all(entry["Key"].startswith(prefix) for entry in listed)
        keys = [entry["Key"] for entry in listed if not entry["Key"].startswith(f"{prefix}_probe/")]
        return {key.removeprefix(prefix): client.get_object(Bucket=out.bucket, Key=key)["Body"].read() for key in keys}

    return Backend(
        lambda: _closing(stack, open_destination(out, storage)),
        lambda: _closing(stack, open_state(state, storage)),
        lambda: _closing(stack, open_reader(out, storage)),
        visible,
    )


def gcs_backend(stack: AsyncExitStack, url: str, front: StrictFront, **settings: Any) -> Backend:
    """Two new buckets on a server, each with a prefix."""
    storage = Storage(endpoint_url=url, **settings)
    number = next(_numbers)
    out, state = Location("gs", f"out-{number}", "m365/export"), Location("gs", f"state-{number}", "")
    for location in (out, state):
        front.storage.create_bucket(location.bucket, {"name": location.bucket})

    def visible() -> dict[str, bytes]:
        prefix, objects = f"{out.path}/", front.objects(out.bucket)
        assert all(name.startswith(prefix) for name in objects)
        found = {name.removeprefix(prefix): content for name, content in objects.items()}
        return {key: content for key, content in found.items() if not key.startswith("_probe/")}

    return Backend(
        lambda: _closing(stack, open_destination(out, storage)),
        lambda: _closing(stack, open_state(state, storage)),
        lambda: _closing(stack, open_reader(out, storage)),
        visible,
    )


def s3_client(url: str, *, key_id: str | None = None, secret: str | None = None) -> Any:
    """A client with the rights of these keys; without any, those the environment has."""
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _closing(stack: AsyncExitStack, store: Store) -> Store:
    stack.push_async_callback(store.close)
    return store
