"""A property Microsoft adds tomorrow: it is in every record and every structure, whatever `$select` says."""

from typing import Any

import msgspec

from connectors.emulator.words import MARKER

NEW_PROPERTY = "personalMotto"
NEW_TEXT = f"{MARKER}motto of a person, motto@personal.example, +49 30 5550199"


def with_new_property(records: Any) -> Any:
    """The same records, with the property added at every depth."""
    return _added(msgspec.json.decode(msgspec.json.encode(records)))


def _added(value: Any) -> Any:
    if isinstance(value, list):
        return [_added(item) for item in value]
    if isinstance(value, dict):
        return {name: _added(inner) for name, inner in value.items()} | {NEW_PROPERTY: NEW_TEXT}
    return value
