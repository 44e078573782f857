"""`--engine`: who does the work besides this process. What it takes to lead workers is imported when it is asked for.

dask://HOST:PORT   the workers of a Dask scheduler that runs already
local:N            N workers on this machine, for as long as the command runs
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.workers.coordinator import Engine

MOST_LOCAL = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where workers are: so many of this machine, or at a scheduler."""

    local: int = 0
    address: str = ""


def parse_engine(text: str) -> Place:
    """Raises: ValueError, when it is no engine, or what it takes is not installed."""
    kind, _, rest = text.partition(":")
    host, _, port = rest.removeprefix("//").rpartition(":")
    if kind == "local" and rest.isdecimal() and 1 <= int(rest) <= MOST_LOCAL:
        place = Place(local=int(rest))
    elif kind == "dask" and rest.startswith("//") and host and port.isdecimal() and 0 < int(port) < 1 << 16:
        place = Place(address=f"{host}:{port}")
    else:
        raise ValueError(f"dask://HOST:PORT or local:N (N from 1 to {MOST_LOCAL}) is expected")
    if find_spec("distributed") is None:
        raise ValueError("workers need the extra `dask`: pip install 'm365-export[dask]'")
    return place


@asynccontextmanager
async def open_engine(place: Place | None, *, settings_file: Path | None) -> AsyncIterator[Engine | None]:
    """The engine at a place, None where the command does all work itself.

    Raises:
        EngineLost: no scheduler answers.
    """
    if place is None:
        yield None
        return
    from pipeline.cli.dask_engine import open_local, open_remote  # noqa: PLC0415 - imports Dask

    environment = {} if settings_file is None else {"M365_EXPORT_CONFIG": str(settings_file)}
    workers = open_local(place.local, environment=environment) if place.local else open_remote(place.address)
    async with workers as engine:
        yield engine
