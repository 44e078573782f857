"""Microsoft Teams: a module for each kind of thing that is read, and the connector that joins them."""

from connectors.msft_teams.connector import TeamsConnector, connector
from connectors.msft_teams.names import NAME

__all__ = ["NAME", "TeamsConnector", "connector"]
