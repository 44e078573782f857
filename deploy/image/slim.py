"""Takes out of the installed environment what the exporter never opens: run once while the image is built.

Of pyarrow: headers, tests, Cython sources, and its network service. Of botocore: the
descriptions of the services that are not called. Whatever is removed by mistake, the image's own test would miss.
"""

import shutil
import sysconfig
from pathlib import Path

AWS_SERVICES = frozenset(
    {"s3", "sts", "ssm", "secretsmanager", "cognito-identity", "sso", "sso-oidc", "signin"}
)  # sso and signin: how a person's own credentials are found
ARROW_EXTRAS = ("*flight*", "*.pyx", "*.pxi", "*.pxd", "*.h")


def main() -> None:
    """Remove, and say how much."""
    packages = Path(sysconfig.get_path("purelib"))
    before = _size(packages)
    for folder in ("include", "includes", "tests", "src"):
        shutil.rmtree(packages / "pyarrow" / folder, ignore_errors=True)
    for pattern in ARROW_EXTRAS:
        for path in (packages / "pyarrow").rglob(pattern):
            path.unlink()
    for folder in sorted((packages / "botocore" / "data").iterdir()):
        if folder.is_dir() and folder.name not in AWS_SERVICES:
            shutil.rmtree(folder)
    print(f"{(before - _size(packages)) >> 20} MiB of {before >> 20} MiB removed")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


main()
