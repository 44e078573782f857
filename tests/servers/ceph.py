"""A real object store of an older S3 dialect: Ceph's gateway, started by `ceph_rgw.sh`."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

_SCRIPT = Path(__file__).with_name("ceph_rgw.sh")
_PROGRAMS = ("radosgw", "radosgw-admin", "ceph", "ceph-mon", "ceph-osd", "curl")


def is_installed() -> bool:
    """Whether the programs are there (Debian: radosgw ceph-mon ceph-osd ceph-common)."""
    return all(shutil.which(program) for program in _PROGRAMS)


@contextmanager
def ceph_server(authority: trustme.CA) -> Iterator[str]:
    """A gateway behind TLS on loopback; yields its URL. Takes a quarter of a minute to start."""
    # The daemons' sockets allow no long path, so this is not pytest's own temporary folder.
    with tempfile.TemporaryDirectory(prefix="rgw-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "tls.pem"))
        port = _free_ports()
        try:
            subprocess.run([_SCRIPT, "start", folder, str(port), folder / "tls.pem"], check=True, timeout=300)
            yield f"https://127.0.0.1:{port}"
        except subprocess.CalledProcessError as error:
            error.add_note((folder / "start.log").read_text(errors="replace")[-2000:])  # it goes with the folder
            raise
        finally:
            subprocess.run([_SCRIPT, "stop", folder], check=False, timeout=60)


def _free_ports() -> int:
    """A port that is free, and the next one too."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
