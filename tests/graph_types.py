"""Checks JSON records against the types that Microsoft Graph declares (tests/golden/graph-metadata).

Partial records, as `$select` makes them, are fine. A problem is a text `path: what`.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

UNDOCUMENTED = {  # sent by the real service although its metadata does not declare them
    "microsoft.graph.event": frozenset({"uid", "occurrenceId"}),
    "microsoft.graph.teamworkUserIdentity": frozenset({"tenantId"}),
    "microsoft.graph.identity": frozenset({"tenantId", "userPrincipalName", "identityProvider", "email"}),
    "microsoft.graph.identitySet": frozenset(
        {"phone", "acsUser", "spoolUser", "acsApplicationInstance", "spoolApplicationInstance"}
    ),
    "microsoft.graph.onlineMeeting": frozenset({"autoAdmittedUsers"}),
}
NOT_DESCRIBED = frozenset(  # group members whose types the excerpt leaves out
    {"#microsoft.graph.device", "#microsoft.graph.orgContact", "#microsoft.graph.servicePrincipal"}
)
_FILE = Path(__file__).parent / "golden" / "graph-metadata" / "types.json"
_COLLECTION = re.compile(r"Collection\((.+)\)")
_INTEGERS = {"Edm.Byte": 8, "Edm.Int16": 16, "Edm.Int32": 32, "Edm.Int64": 64}
_PATTERNS = {
    "Edm.DateTimeOffset": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,12})?)?(Z|[+-]\d\d:\d\d)"),
    "Edm.TimeOfDay": re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?"),
    "Edm.Duration": re.compile(r"-?P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?"),
    "Edm.Guid": re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
}


def problems(record: Any, type_name: str, path: str = "$") -> Iterator[str]:
    """What does not fit the declared type."""
    collection = _COLLECTION.fullmatch(type_name)
    if collection is not None:
        yield from _in_collection(record, collection[1], path)
    elif type_name.startswith("Edm."):
        if not _is_primitive(record, type_name):
            yield f"{path}: {json.dumps(record)[:60]} is no {type_name}"
    elif type_name not in _types():
        yield f"{path}: {type_name} is not in the excerpt"
    elif _types()[type_name]["kind"] == "enum":
        yield from _in_enum(record, type_name, path)
    elif isinstance(record, dict):
        yield from _in_object(record, type_name, path)
    else:
        yield f"{path}: expected an object ({type_name})"


def _in_collection(record: Any, item_type: str, path: str) -> Iterator[str]:
    if not isinstance(record, list):
        yield f"{path}: expected an array"
        return
    for number, item in enumerate(record):
        yield from problems(item, item_type, f"{path}[{number}]")


def _in_enum(record: Any, type_name: str, path: str) -> Iterator[str]:
    declared = _types()[type_name]
    values = record.split(",") if declared.get("isFlags") and isinstance(record, str) else [record]
    for value in values:
        if value not in declared["members"]:
            yield f"{path}: {value!r} is no {type_name}"


def _in_object(record: Mapping[str, Any], type_name: str, path: str) -> Iterator[str]:
    marked = record.get("@odata.type")
    if marked in NOT_DESCRIBED:
        return
    if marked is not None:
        derived = str(marked).removeprefix("#")
        if type_name not in _lineage(derived):
            yield f"{path}: {marked} is no {type_name}"
            return
        type_name = derived
    for name, value in record.items():
        if "@" in name or any(name in UNDOCUMENTED.get(base, ()) for base in _lineage(type_name)):
            continue
        declared = _declaration(type_name, name)
        if declared is None:
            yield f"{path}.{name}: not declared by {type_name}"
        elif value is None:
            if not declared[1]:
                yield f"{path}.{name}: null, but {declared[0]} is not nullable"
        else:
            yield from problems(value, declared[0], f"{path}.{name}")


def _is_primitive(value: Any, type_name: str) -> bool:
    if type_name == "Edm.Boolean":
        return isinstance(value, bool)
    if type_name in _INTEGERS:
        bits = _INTEGERS[type_name]
        return isinstance(value, int) and not isinstance(value, bool) and -(1 << bits - 1) <= value < 1 << bits
    if type_name in ("Edm.Double", "Edm.Single", "Edm.Decimal"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str):
        return False
    if type_name in _PATTERNS:
        return _PATTERNS[type_name].fullmatch(value) is not None
    if type_name == "Edm.Date":
        return _parses(value, date.fromisoformat)
    if type_name == "Edm.Binary":
        return _parses(value, lambda text: base64.b64decode(text, validate=True))
    return True


def _parses(value: str, parse: Any) -> bool:
    try:
        parse(value)
    except (ValueError, binascii.Error):
        return False
    return True


def _declaration(type_name: str, name: str) -> list[Any] | None:
    for base in _lineage(type_name):
        for kind in ("properties", "navigation"):
            found: list[Any] | None = _types()[base].get(kind, {}).get(name)
            if found is not None:
                return found
    return None


def _lineage(type_name: str) -> list[str]:
    """The type and its bases."""
    names = []
    while type_name in _types():
        names.append(type_name)
        type_name = _types()[type_name].get("base", "")
    return names


@cache
def _types() -> dict[str, Any]:
    types: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))["types"]
    return types
