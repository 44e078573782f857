"""The bucket turns read-only while a run is at work, and comes back: nothing is lost, and the operator is told."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.contract.backends import s3_client
from tests.integration.test_kill import NOW, Served, emulator, write_settings
from tests.servers.s3 import Dialect, Fault, Operation, StrictFront, s3_server

WRITES: frozenset[Operation] = frozenset({"put", "begin", "part", "complete", "abort"})
BUCKET = "export"


@contextmanager
def bucket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, StrictFront, Any]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    for name, value in {
        "AWS_CA_BUNDLE": str(folder / "authority.pem"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with s3_server(authority) as (url, front):
        client = s3_client(url)
        client.create_bucket(Bucket=BUCKET)
        yield url, front, client
        client.close()


def call(served: Served, settings: Path, *arguments: str, salt: bool = True) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    if salt:
        environ |= {"M365_EXPORT_SALT": "read-only-salt-0123456", "M365_EXPORT_CLIENT_SECRET": served.about["secret"]}
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "--config", str(settings), *arguments],
        capture_output=True, text=True, timeout=100, env=environ, check=False,
    )  # fmt: skip


def parts_of(client: Any) -> dict[str, bytes]:
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    keys = [entry["Key"] for entry in listed if entry["Key"].endswith(".parquet")]
    return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


@pytest.mark.timeout(300)
def test_a_bucket_that_turns_read_only_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 3 and what to do; what was published stays as it is, and once the bucket is back `verify` passes on all."""
    with bucket(tmp_path, monkeypatch) as (url, front, client), emulator(tmp_path) as served:
        settings = write_settings(served, tmp_path)
        text = settings.read_text().replace(f"file://{tmp_path}/data", f"s3://{BUCKET}/m365")
        settings.write_text(f"{text}storage: {{endpoint_url: {url!r}, region: us-east-1}}\n")
        published = 0

        def read_only_after_three_parts(operation: Operation, key: str) -> Fault | None:
            nonlocal published
            if published >= 3 and operation in WRITES:
                return "deny"
            published += operation in {"put", "complete"} and key.endswith(".parquet")
            return None

        front.dialect = Dialect(fault=read_only_after_three_parts)
        refused = call(served, settings, "run", "--until", NOW)

        assert refused.returncode == 3, refused.stderr
        assert "destination: S3 denies access; allow s3:PutObject and s3:AbortMultipartUpload" in refused.stderr
        assert "What was published so far stays valid" in refused.stderr
        before = parts_of(client)
        assert len(before) == 3

        front.dialect = Dialect()
        assert "open: run" in call(served, settings, "status").stdout
        continued = call(served, settings, "run", "--until", NOW)
        assert continued.returncode == 0, continued.stderr
        after = parts_of(client)
        assert before.items() <= after.items()
        assert client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []

        checked = call(served, settings, "verify", salt=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert f"{len(after)} parts" in checked.stdout
