"""Whether strangers can read a location is found out by asking as one."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from config.locations import Location, parse_location
from config.model import Storage
from sinks.stores.exposure import Exposure, exposure
from tests.https_server import Asked, Told, served

LISTING = '<?xml version="1.0"?><ListBucketResult><Name>bucket</Name></ListBucketResult>'
DENIED = '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>no</Message></Error>'
S3 = parse_location("s3://bucket/export")
GCS = parse_location("gs://bucket/export")


def s3_answer(*, lists: bool, reads: bool) -> Callable[[Asked], Told]:
    def answer(request: Asked) -> Told:
        allowed = lists if "list-type" in request.query else reads
        return Told(200, LISTING) if allowed else Told(403, DENIED)

    return answer


def made_folder(above: Path, *, mode: int, parent_mode: int) -> Path:
    folder = above / "parent" / "data"
    folder.mkdir(parents=True)
    above.chmod(0o755)
    folder.parent.chmod(parent_mode)
    folder.chmod(mode)
    return folder


@pytest.mark.parametrize(
    ("lists", "reads", "expected"),
    [
        (False, False, Exposure.CLOSED),
        (True, False, Exposure.OPEN),
        (False, True, Exposure.OPEN),
    ],
)
async def test_a_bucket_that_lists_or_serves_strangers_is_open(
    lists: bool, reads: bool, expected: Exposure, tmp_path: Path
) -> None:
    """Listing the bucket or reading one known object is enough; the question carries no credentials."""
    with served(s3_answer(lists=lists, reads=reads), folder=tmp_path, tls=False) as server:
        found = await exposure(S3, Storage(endpoint_url=server.url, region="eu-west-1"))
    assert found is expected
    assert server.asked
    assert not [request for request in server.asked if "authorization" in request.headers]


async def test_an_s3_error_is_no_verdict(tmp_path: Path) -> None:
    """A store that fails has told nothing."""
    with served(lambda _: Told(500, DENIED), folder=tmp_path, tls=False) as server:
        assert await exposure(S3, Storage(endpoint_url=server.url, region="eu-west-1")) is Exposure.UNKNOWN


@pytest.mark.parametrize(
    ("status", "expected"), [(200, Exposure.OPEN), (401, Exposure.CLOSED), (500, Exposure.UNKNOWN)]
)
async def test_a_gcs_bucket_is_asked_as_a_stranger_too(status: int, expected: Exposure, tmp_path: Path) -> None:
    """The same question to Google's store, without credentials."""
    body = {"kind": "storage#objects", "items": []} if status == 200 else {"error": {"code": status}}
    with served(lambda _: Told(status, body), folder=tmp_path, tls=False) as server:
        assert await exposure(GCS, Storage(endpoint_url=server.url)) is expected
    assert not [request for request in server.asked if "authorization" in request.headers]


@pytest.mark.parametrize("location", [S3, GCS])
async def test_a_stranger_takes_the_proxy_of_the_settings(
    location: Location, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where only the proxy leads out, the question goes through it, whatever the environment says of another."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with served(lambda _: Told(403, DENIED), folder=tmp_path, tls=False) as proxy:
        storage = Storage(endpoint_url="http://bucket.example.test", region="eu-west-1", proxy=proxy.url)
        assert await exposure(location, storage) is Exposure.CLOSED
    assert {request.headers["host"] for request in proxy.asked} == {"bucket.example.test"}


@pytest.mark.parametrize(
    ("mode", "parent_mode", "expected"),
    [(0o755, 0o755, Exposure.OPEN), (0o750, 0o755, Exposure.CLOSED), (0o755, 0o700, Exposure.CLOSED)],
)
async def test_a_folder_is_as_closed_as_the_most_closed_above_it(
    mode: int, parent_mode: int, expected: Exposure
) -> None:
    """Everybody may read a folder only if everybody may also walk to it."""
    with TemporaryDirectory(dir="/tmp") as open_to_all:  # pytest's own folders are closed to others
        folder = made_folder(Path(open_to_all), mode=mode, parent_mode=parent_mode)
        assert await exposure(parse_location(f"file://{folder}"), Storage()) is expected


async def test_a_folder_that_is_not_there_is_no_verdict(tmp_path: Path) -> None:
    """Nothing can be said of what does not exist."""
    assert await exposure(parse_location(f"file://{tmp_path}/missing"), Storage()) is Exposure.UNKNOWN
