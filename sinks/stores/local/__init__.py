"""Destination and state in folders of this machine or of a mounted volume."""

from sinks.stores.local.destination import LocalDestination, StaleUpload
from sinks.stores.local.reader import LocalReader
from sinks.stores.local.state import LocalState

__all__ = ["LocalDestination", "LocalReader", "LocalState", "StaleUpload"]
