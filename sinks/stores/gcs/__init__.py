"""Destination and state in Google Cloud Storage. Imported only where one is used."""

from sinks.stores.gcs.destination import GcsDestination
from sinks.stores.gcs.reader import GcsReader
from sinks.stores.gcs.state import GcsState

__all__ = ["GcsDestination", "GcsReader", "GcsState"]
