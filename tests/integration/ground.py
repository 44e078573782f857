"""Where doomed processes write: a folder or S3 over TLS; and what a reader finds there who knows nothing of runs."""

import asyncio
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
import trustme

from connectors.emulator import Emulator
from tests.contract.backends import s3_client
from tests.integration.doomed import Operator
from tests.integration.site import SALT
from tests.servers.s3 import StrictFront, s3_server

KEYS = {
    "entra_users": ("id",),
    "entra_groups": ("id",),
    "entra_group_members": ("id",),
    "mailbox_settings": (),
    "mail_messages": ("id",),
    "mail_contacts": ("id",),
    "calendar_events": ("id",),
    "teams_teams": ("id",),
    "teams_channels": ("id",),
    "teams_channel_messages": ("id", "replyToId"),
    "teams_chats": ("id",),
    "teams_chat_messages": ("chatId", "id"),
    "teams_pstn_calls": ("id",),
    "teams_online_meetings": ("id",),
}
"""What tells the rows of an owner apart, by dataset."""

Row = tuple[str, str | None, tuple[str | None, ...]]
"""Dataset, owner, key."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader of all Parquet files finds, whichever run they are of; no row twice within a run."""

    runs: frozenset[str]
    rows: frozenset[Row]


class Ground(Protocol):
    """A destination and a state of their own for each name."""

    def settings(self, name: str) -> dict[str, object]: ...

    def visible(self, name: str) -> dict[str, bytes]:
        """The destination's objects by key."""
        ...

    def state(self, name: str) -> dict[str, bytes]: ...

    def put_state(self, name: str, key: str, data: bytes) -> None: ...

    def unfinished(self, name: str) -> list[str]:
        """Uploads that take up room and are not visible."""
        ...


@dataclass(frozen=True, slots=True)
class Folders:
    root: Path

    def settings(self, name: str) -> dict[str, object]:
        return {"destination": f"file://{self.root}/{name}/data", "state": f"file://{self.root}/{name}/state"}

    def visible(self, name: str) -> dict[str, bytes]:
        return _files(self.root / name / "data")

    def state(self, name: str) -> dict[str, bytes]:
        return _files(self.root / name / "state")

    def put_state(self, name: str, key: str, data: bytes) -> None:
        (self.root / name / "state" / key).write_bytes(data)

    def unfinished(self, name: str) -> list[str]:
        staged = (self.root / name / "data" / ".staging").glob("*@*")
        return sorted(path.name for path in staged if not path.name.startswith("probe@"))


@dataclass(frozen=True, slots=True)
class S3:
    url: str
    client: Any
    front: StrictFront

    def settings(self, name: str) -> dict[str, object]:
        return {
            "destination": f"s3://export/{name}",
            "state": f"s3://state/{name}",
            "storage": {"endpoint_url": self.url, "region": "us-east-1"},
        }

    def visible(self, name: str) -> dict[str, bytes]:
        return self._objects("export", name)

    def state(self, name: str) -> dict[str, bytes]:
        return self._objects("state", name)

    def put_state(self, name: str, key: str, data: bytes) -> None:
        self.client.put_object(Bucket="state", Key=f"{name}/{key}", Body=data)

    def unfinished(self, name: str) -> list[str]:
        listed = self.client.list_multipart_uploads(Bucket="export").get("Uploads", [])
        return sorted(upload["Key"] for upload in listed if upload["Key"].startswith(f"{name}/"))

    def _objects(self, bucket: str, name: str) -> dict[str, bytes]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{name}/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        found = {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        return {key.removeprefix(f"{name}/"): data for key, data in found.items() if "/_probe/" not in key}


def _files(root: Path) -> dict[str, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file() and ".staging" not in path.parts)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@contextmanager
def s3_ground(folder: Path) -> Iterator[S3]:
    """Two buckets on a server of their own; this process and its children trust it and sign in."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    before = dict(os.environ)
    os.environ.update(cloud_environment(folder))
    try:
        with s3_server(authority) as (url, front):
            client = s3_client(url)
            for bucket in ("export", "state"):
                client.create_bucket(Bucket=bucket)
            yield S3(url, client, front)
            client.close()
    finally:
        os.environ.clear()
        os.environ.update(before)


def cloud_environment(folder: Path) -> dict[str, str]:
    """What lets the SDK sign in and trust the server, and find nothing else."""
    return {
        "AWS_CA_BUNDLE": str(folder / "authority.pem"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def operator(
    folder: Path, emulator: Emulator, ground: Ground, *, place: str = "", keys: Mapping[str, object] | None = None
) -> Operator:
    """Somebody with the settings that export the emulator's tenant to the ground's place (that of the folder's name).

    Call it within `s3_ground`, where the ground is S3.
    """
    folder.mkdir(exist_ok=True)
    settings = {
        "tenant": {
            "id": emulator.tenant_id,
            "authority": emulator.url,
            "graph": emulator.url,
            "ca_file": str(emulator.ca_file),
        },
        "auth": {
            "method": "client-secret",
            "client_id": emulator.client_id,
            "client_secret": "env:M365_EXPORT_CLIENT_SECRET",
        },
        "connectors": {"entra-id": {}, "outlook-mail": {}, "outlook-calendar": {}, "msft-teams": {}},
        "privacy": {"salt": "env:M365_EXPORT_SALT"},
        "initial_lookback": "3d",
        "output": {"part_size": "1B"},  # every unit is a part
        **ground.settings(place or folder.name),
        **(keys or {}),
    }
    (folder / "m365-export.yaml").write_text(json.dumps(settings))
    secrets = {"M365_EXPORT_CLIENT_SECRET": emulator.client_secret, "M365_EXPORT_SALT": SALT}
    amazon = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return Operator(folder, {**secrets, **amazon})


async def seen(ground: Ground, name: str) -> Seen:
    """Raises AssertionError: a row is there twice within a run."""
    return await asyncio.to_thread(lambda: rows_in(ground.visible(name)))


def rows_in(objects: Mapping[str, bytes]) -> Seen:
    """Raises AssertionError: a row is there twice within a run."""
    found: Counter[tuple[str, Row]] = Counter()
    runs = set()
    for key, data in objects.items():
        if not key.endswith(".parquet"):
            continue
        dataset, run_id, _ = key.split("/")
        runs.add(run_id)
        if dataset in KEYS:
            found.update((run_id, row) for row in _rows(dataset, data))
    assert set(found.values()) <= {1}, "a row is there twice within a run"
    return Seen(frozenset(runs), frozenset(row for _, row in found))


def _rows(dataset: str, data: bytes) -> list[Row]:
    table: pa.Table = pq.read_table(io.BytesIO(data), partitioning=None)
    owners = table.column("_owner").to_pylist()
    keys = zip(*(table.column(name).to_pylist() for name in KEYS[dataset]), strict=True)
    return [
        (dataset, owner, key) for owner, key in zip(owners, keys if KEYS[dataset] else [()] * len(owners), strict=True)
    ]
