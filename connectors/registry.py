"""The connectors by the names the settings give them."""

from collections.abc import Mapping
from typing import Protocol

from connectors import entra_id, msft_teams, outlook_calendar, outlook_mail
from connectors.graph.client import GraphClient
from connectors.graph.connector import Select
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
