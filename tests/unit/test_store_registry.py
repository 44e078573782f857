"""Which store serves which location, and what is loaded for it."""

import subprocess
import sys
from pathlib import Path

import pytest

from config.locations import parse_location
from config.model import Storage
from pipeline.errors import StoreRefused
from sinks.stores.gcs import GcsDestination, GcsState
from sinks.stores.local import LocalDestination, LocalState
from sinks.stores.registry import open_destination, open_state
from sinks.stores.s3 import S3Destination, S3State


@pytest.mark.parametrize(
    ("url", "destination", "state"),
    [
        ("file:///srv/export", LocalDestination, LocalState),
        ("s3://bucket/prefix", S3Destination, S3State),
        ("gs://bucket/prefix", GcsDestination, GcsState),
    ],
)
async def test_scheme_chooses_the_store(url: str, destination: type, state: type) -> None:
    """Opening asks nothing of the store yet: no such bucket or folder needs to be."""
    opened_destination = open_destination(parse_location(url), Storage())
    opened_state = open_state(parse_location(url), Storage())

    assert (type(opened_destination), type(opened_state)) == (destination, state)
    await opened_destination.close()
    await opened_state.close()


def test_no_sdk_is_loaded_before_it_is_needed() -> None:
    """A local export starts without either cloud's SDK."""
    program = (
        "import sys, sinks.stores.registry;"
        "print([name for name in ('boto3', 'botocore', 'google.cloud.storage') if name in sys.modules])"
    )

    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("url", "package", "extra"), [("s3://bucket", "boto3", "s3"), ("gs://bucket", "google.auth", "gcs")]
)
def test_missing_sdk_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, extra: str
) -> None:
    """An installation without the extra names it."""
    for name in list(sys.modules):
        if name == package or name.startswith(f"sinks.stores.{extra}"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(StoreRefused, match=rf"m365-export\[{extra}\]"):
        open_destination(parse_location(url), Storage())
