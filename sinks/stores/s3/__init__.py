"""Destination and state in S3, or in a store that speaks its language. Imported only where one is used."""

from sinks.stores.s3.destination import S3Destination
from sinks.stores.s3.reader import S3Reader
from sinks.stores.s3.state import S3State

__all__ = ["S3Destination", "S3Reader", "S3State"]
