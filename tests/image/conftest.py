"""Containers with podman: set up once, built once. Nothing is pulled; the base is made by debootstrap."""

import os
import shlex
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_SCRIPT = ROOT / "tests" / "servers" / "podman.sh"
_WORKSHOP = Path(os.environ.get("PODMAN_DIR", "/var/tmp/m365-export-podman"))
BASE = "localhost/python-base"


@dataclass(frozen=True)
class Podman:
    """podman, buildah and podman-compose in one environment."""

    environment: dict[str, str] = field(repr=False)

    def run(self, *command: str | Path, check: bool = True, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """What a command says; an error with its words if it fails and may not."""
        answer = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or answer.returncode == 0, f"{shlex.join(answer.args)}\n{answer.stdout}\n{answer.stderr}"
        return answer


@pytest.fixture(scope="session")
def podman() -> Podman:
    """The programs, installed where they are missing, and the two images, built from this checkout."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("needs Debian, as root: podman is installed, and nested networks are made")
    subprocess.run([_SCRIPT, "setup", _WORKSHOP], check=True, timeout=1200)
    tools = _WORKSHOP / "compose"
    if not (tools / "bin" / "podman-compose").exists():
        subprocess.run([sys.executable, "-m", "venv", tools], check=True, timeout=120)
        subprocess.run([tools / "bin" / "pip", "install", "--quiet", "podman-compose"], check=True, timeout=300)
    built = Podman(
        {
            **os.environ,
            "PATH": f"{tools / 'bin'}:{os.environ['PATH']}",
            "CONTAINERS_STORAGE_CONF": str(_WORKSHOP / "storage.conf"),
            "CONTAINERS_CONF": str(_WORKSHOP / "containers.conf"),
            "BASE_IMAGE": BASE,
            "COMPOSE_PROJECT_NAME": "m365-export-test",
        }
    )
    for target, name in (("run", "m365-export"), ("stores", "m365-export-stores")):
        built.run(
            *("buildah", "bud", "--layers", "--isolation", "chroot", "--build-arg", f"BASE_IMAGE={BASE}"),
            *_trust_of_this_machine(),
            *("--target", target, "--tag", name, "."),
            timeout=1500,
        )
    return built


def _trust_of_this_machine() -> tuple[str, ...]:
    """Where a proxy inspects TLS, pip inside the build has to trust what it trusts outside."""
    bundle = os.environ.get("PIP_CERT")
    if bundle is None:
        return ()
    settings = _WORKSHOP / "pip.conf"
    settings.write_text("[global]\ncert = /trust.pem\n", encoding="utf-8")
    return ("--volume", f"{bundle}:/trust.pem:ro", "--volume", f"{settings}:/etc/pip.conf:ro")


@pytest.fixture
def volume(podman: Podman) -> Iterator[str]:
    """A named volume that is gone afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    podman.run("podman", "volume", "create", name)
    yield name
    podman.run("podman", "volume", "rm", "--force", name)
