"""The connectors by the names the settings give them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from connectors import entra_id, msft_teams, outlook_calendar, outlook_mail
from connectors.graph.client import GraphClient
from connectors.graph.connector import Select
from connectors.graph.network import Network
from connectors.graph.throttle import Governor
from connectors.options import ConnectorOptions
from pipeline.ports import Connector


class Factory(Protocol):
    """Makes a connector that asks for the properties in `select`."""

    def __call__(self, client: GraphClient, *, select: Select, options: ConnectorOptions) -> Connector: ...


CONNECTORS: Mapping[str, Factory] = {
    entra_id.NAME: entra_id.connector,
    outlook_mail.NAME: outlook_mail.connector,
    outlook_calendar.NAME: outlook_calendar.connector,
    msft_teams.NAME: msft_teams.connector,
}


def build(name: str, *, client: GraphClient, select: Select, options: ConnectorOptions) -> Connector:
    """The connector of that name; `select` holds the properties to keep, by dataset.

    Raises: KeyError, for a name that is not in CONNECTORS.
    """
    return CONNECTORS[name](client, select=select, options=options)


def declared(select: Select) -> Sequence[Connector]:
    """Every connector with the default options, to be looked at: none of them can ask Graph anything."""
    client = GraphClient(
        graph="https://graph.microsoft.com", tokens=_NoTokens(), governor=Governor(), network=Network()
    )
    return [build(name, client=client, select=select, options=ConnectorOptions()) for name in CONNECTORS]


class _NoTokens:
    """Of an application that does not exist."""

    async def token(self) -> str:
        raise RuntimeError("a connector that was only declared was asked to read")

    def invalidate(self, refused: str, *, claims: str = "") -> None:
        del refused, claims
