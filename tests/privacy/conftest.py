"""The same sites as the integration tests use."""

from tests.integration.conftest import open_site

__all__ = ["open_site"]
