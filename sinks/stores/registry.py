"""Which store serves a location. A cloud's SDK is imported when a location needs it, not before."""

from pathlib import Path
from typing import Protocol

from config.locations import Location
from config.model import Storage
from pipeline.ports import Destination, StateStore
from sinks.stores.local import LocalDestination, LocalState


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


def open_destination(location: Location, storage: Storage) -> OpenDestination:
    """The destination at `location`; nothing is asked of it yet.

    Raises:
        StoreRefused: the SDK for this kind of location is not installed.
    """
    match location.scheme:
        case "file":
            return LocalDestination(Path(location.path))
        case _:
            raise NotImplementedError(storage)


def open_state(location: Location, storage: Storage) -> OpenState:
    """The state at `location`; nothing is asked of it yet.

    Raises:
        StoreRefused: the SDK for this kind of location is not installed.
    """
    match location.scheme:
        case "file":
            return LocalState(Path(location.path))
        case _:
            raise NotImplementedError(storage)
