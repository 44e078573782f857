"""Which store serves a location. A cloud's SDK is imported when a location needs it, not before."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from config.locations import Location
from config.model import Storage
from pipeline.errors import StoreRefused
from pipeline.ports import Destination, DestinationReader, StateStore
from sinks.stores.local import LocalDestination, LocalReader, LocalState


class OpenDestination(Destination, Protocol):
    """A destination at the start and at the end of a command."""

    async def prove(self) -> None:
        """Try every right a run will need. Raises: StoreRefused, which says what to do; StoreUnavailable."""
        ...

    async def close(self) -> None: ...


class OpenState(StateStore, Protocol):
    """A state at the start and at the end of a command."""

    async def prove(self) -> None:
        """Try every right a run will need. Raises: StoreRefused, which says what to do; StoreUnavailable."""
        ...

    async def close(self) -> None: ...


class OpenReader(DestinationReader, Protocol):
    """The read side of a destination, until the end of a command."""

    async def close(self) -> None: ...


def open_destination(location: Location, storage: Storage) -> OpenDestination:
    """The destination at `location`; nothing is asked of it yet.

    Raises:
        StoreRefused: the SDK for this kind of location is not installed.
    """
    match location.scheme:
        case "file":
            return LocalDestination(Path(location.path))
        case "s3":
            with _sdk("s3"):
                from sinks.stores.s3 import S3Destination  # noqa: PLC0415 - imports boto3

            return S3Destination(location, storage)
        case "gs":
            with _sdk("gcs"):
                from sinks.stores.gcs import GcsDestination  # noqa: PLC0415 - imports its SDK

            return GcsDestination(location, storage)


def open_reader(location: Location, storage: Storage) -> OpenReader:
    """The read side of the destination at `location`, which an export itself has no right to.

    Raises:
        StoreRefused: the SDK for this kind of location is not installed.
    """
    match location.scheme:
        case "file":
            return LocalReader(Path(location.path))
        case "s3":
            with _sdk("s3"):
                from sinks.stores.s3 import S3Reader  # noqa: PLC0415 - imports boto3

            return S3Reader(location, storage)
        case "gs":
            with _sdk("gcs"):
                from sinks.stores.gcs import GcsReader  # noqa: PLC0415 - imports its SDK

            return GcsReader(location, storage)


def open_state(location: Location, storage: Storage) -> OpenState:
    """The state at `location`; nothing is asked of it yet.

    Raises:
        StoreRefused: the SDK for this kind of location is not installed.
    """
    match location.scheme:
        case "file":
            return LocalState(Path(location.path))
        case "s3":
            with _sdk("s3"):
                from sinks.stores.s3 import S3State  # noqa: PLC0415 - imports boto3

            return S3State(location, storage)
        case "gs":
            with _sdk("gcs"):
                from sinks.stores.gcs import GcsState  # noqa: PLC0415 - imports its SDK

            return GcsState(location, storage)


@contextmanager
def _sdk(extra: str) -> Iterator[None]:
    """Say how to install what is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise StoreRefused(
            f"{error.name} is not installed; install m365-export with its extra: pip install 'm365-export[{extra}]'"
        ) from None
