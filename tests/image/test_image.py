"""The container keeps its promises: nobody's user, nothing written, memory bounded, stopped in good order."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.exits import Exit
from pipeline.sanitize.rules import built_in_rules
from tests.image.conftest import Podman

pytestmark = pytest.mark.image

CLOSED = ("--network", "none", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL")
IMAGE = "localhost/m365-export"
DAYS = timedelta(days=60)  # enough to be stopped in; meetings of years would take their limit's quarter of an hour


def test_it_runs_as_nobody_and_writes_nothing(podman: Podman) -> None:
    """With a read-only root, no temporary folder, no capability and no network the exporter says its version."""
    said = podman.run("podman", "run", "--rm", *CLOSED, IMAGE, "--version")
    assert said.stdout.startswith("m365-export ")
    user = podman.run("podman", "image", "inspect", "--format", "{{.Config.User}}", IMAGE)
    assert user.stdout.strip() == "65532:65532"


def test_a_whole_export_fits_a_closed_container(podman: Podman, volume: str) -> None:
    """The demo exports every dataset within 512 MiB, writing to the one mounted folder only."""
    podman.run(
        *("podman", "run", "--rm", *CLOSED, "--memory", "512m", "--tmpfs", "/tmp"),
        *("--volume", f"{volume}:/var/lib/m365-export", IMAGE),
        *("demo", "--users", "20", "--out", "/var/lib/m365-export/demo"),
    )
    listed = podman.run(
        *("podman", "run", "--rm", *CLOSED, "--volume", f"{volume}:/data:ro", "--entrypoint", "/usr/bin/find"),
        *(IMAGE, "/data/demo/data", "-name", "*.parquet"),
    )
    assert {line.split("/")[4] for line in listed.stdout.splitlines()} == set(built_in_rules())


def test_the_bill_of_materials_lists_what_is_inside(podman: Podman) -> None:
    """The image carries a CycloneDX document that names the exporter and what it is made of."""
    said = podman.run(
        "podman", "run", "--rm", *CLOSED, "--entrypoint", "/bin/cat", IMAGE, "/opt/m365-export/sbom.cdx.json"
    )
    document = json.loads(said.stdout)
    assert document["bomFormat"] == "CycloneDX"
    assert {"m365-export", "pyarrow", "aiohttp", "msal"} <= {each["name"] for each in document["components"]}


def test_the_image_holds_no_build_tool(podman: Podman) -> None:
    """Neither pip nor the build's own environment is left in the exporter's."""
    said = podman.run(
        *("podman", "run", "--rm", *CLOSED, "--entrypoint", "/opt/m365-export/bin/python", IMAGE),
        *("-c", "import importlib.util as u; print([n for n in ('pip', 'hatchling', 'pytest') if u.find_spec(n)])"),
    )
    assert said.stdout.strip() == "[]"


def test_compose_exports_into_both_buckets_and_survives_what_happens_to_containers(podman: Podman) -> None:
    """One `up` fills both buckets; SIGTERM is exit 5, a kill for memory is survived, and the next run completes."""
    podman.run("podman-compose", "down", "--volumes", check=False)
    try:
        podman.run("podman-compose", "up", "--detach", "--no-build", timeout=300)
        for service in ("export-s3", "export-gcs"):
            waited = podman.run("podman", "wait", _container(service), timeout=600)
            log = podman.run("podman", "logs", _container(service), check=False)
            assert int(waited.stdout) == Exit.COMPLETE, log.stderr[-2000:]
            status = podman.run("podman-compose", "run", "-T", "--rm", "--no-deps", service, "status")
            assert "complete" in status.stdout
            for dataset in ("mail_messages", "calendar_events", "teams_chat_messages"):
                assert dataset in status.stdout
        assert _backfill(podman, "--memory", "100m") == 137, "no whole export fits into so little"
        assert _backfill(podman, stop=True) == Exit.INTERRUPTED
        assert _backfill(podman) == Exit.COMPLETE
    finally:
        podman.run("podman-compose", "down", "--volumes", check=False)


def _container(service: str) -> str:
    return f"m365-export-test_{service}_1"


def _backfill(podman: Podman, *limits: str, stop: bool = False) -> int:
    """The exit code of a backfill into the S3 bucket; `stop` sends SIGTERM once it has begun to read."""
    name = "m365-export-test-backfill"
    like = json.loads(podman.run("podman", "inspect", _container("export-s3")).stdout)[0]
    environment = [
        part for each in like["Config"]["Env"] if "EXPORT" in each or "AWS" in each for part in ("--env", each)
    ]
    mounts = [
        part
        for mount in like["Mounts"]
        for part in ("--volume", f"{mount.get('Name') or mount['Source']}:{mount['Destination']}:ro")
    ]
    (network,) = like["NetworkSettings"]["Networks"]
    today = datetime.now(UTC).date()
    podman.run("podman", "rm", "--force", name, check=False)
    podman.run(
        *("podman", "run", "--detach", "--name", name, "--network", network, "--read-only", *limits, *environment),
        *(*mounts, IMAGE, "--log-format", "json", "backfill", "--from", str(today - DAYS), "--to", str(today)),
    )
    if stop:
        _until_logged(podman, name, "units_planned")
        podman.run("podman", "kill", "--signal", "TERM", name)
    code = int(podman.run("podman", "wait", name, timeout=600).stdout)
    podman.run("podman", "rm", "--force", name, check=False)
    return code


def _until_logged(podman: Podman, container: str, event: str) -> None:
    """Until its log has the event; it ends by itself at the latest when the container does."""
    follow = f"podman logs --follow {container} 2>&1 | grep --quiet --max-count=1 {event}"
    podman.run("bash", "-c", follow, timeout=120)
