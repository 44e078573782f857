"""Faults that only show when several keys are seen together.

They are looked for in the values as given, not in the finished models: a model exists only when each key in
it is right, and an operator wants to hear of everything at once. What cannot be read here is some other
check's fault.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from config.auth import DEFAULT_METHOD, REQUIRED_KEYS, SECRET_KEYS
from config.faults import Fault
from config.locations import Location, parse_location
from config.model import CONNECTOR_NAMES
from config.secrets import Secret, SecretReader, SecretReference, SecretUnavailableError, check_salt

Values = Mapping[str, Any]


def cross_faults(values: Values) -> Iterator[Fault]:
    """What is wrong between keys of the whole settings."""
    yield from _connector_faults(values)
    yield from _auth_faults(values)
    yield from privacy_faults(values)
    yield from _storage_faults(values)
    destination, state = _location(values.get("destination")), _location(values.get("state"))
    if destination and state and destination.contains(state):
        yield Fault(
            "state",
            "the state must not be the destination or lie inside it: readers of one would see the other",
        )


def privacy_faults(values: Values) -> Iterator[Fault]:
    """What is wrong between keys of `privacy`."""
    privacy = _group(values, "privacy")
    if privacy.get("email_domains") == "encrypt" and privacy.get("encryption_key") is None:
        yield Fault("privacy.encryption_key", "required when email_domains is encrypt")


def secret_faults(
    values: Values, *, base_dir: Path, reader: SecretReader, privacy_only: bool = False
) -> Iterator[Fault]:
    """Which of the secrets needed cannot be read or used. Reads each once; the reader keeps them."""
    places = {("privacy", "salt"), ("privacy", "encryption_key")} | (
        set() if privacy_only else set(_auth_secrets(values))
    )
    for place in sorted(places):
        reference = _reference(_group(values, *place[:-1]).get(place[-1]), base_dir=base_dir)
        if reference is None:
            continue
        try:
            secret = reader.read(reference)
        except SecretUnavailableError as error:
            yield Fault(".".join(place), str(error))
            continue
        if place == ("privacy", "salt"):
            fault = _salt_fault(secret, allow_weak=_group(values, "privacy").get("allow_weak_salt") is True)
            if fault:
                yield Fault("privacy.salt", fault)


def file_faults(values: Values, *, base_dir: Path, privacy_only: bool = False) -> Iterator[Fault]:
    """Which files the settings name are not there."""
    named = {f"privacy.rules.{name}": path for name, path in _group(values, "privacy", "rules").items()}
    if not privacy_only:
        named["tenant.ca_file"] = _group(values, "tenant").get("ca_file")
    for key, path in named.items():
        if isinstance(path, str) and path and not (base_dir / path).is_file():
            yield Fault(key, f"there is no file {base_dir / path}")


def _connector_faults(values: Values) -> Iterator[Fault]:
    connectors = values.get("connectors")
    if isinstance(connectors, Mapping) and not connectors:
        yield Fault("connectors", f"name at least one: {', '.join(CONNECTOR_NAMES)}")


def _storage_faults(values: Values) -> Iterator[Fault]:
    storage = _group(values, "storage")
    if storage.get("sse_s3") is not True:
        return
    if storage.get("kms_key") is not None:
        yield Fault("storage.sse_s3", "an object is encrypted with one key; leave out sse_s3 or kms_key")
    places = [place for key in ("destination", "state") if (place := _location(values.get(key)))]
    if places and all(place.scheme != "s3" for place in places):
        yield Fault("storage.sse_s3", "only s3:// has it, and neither destination nor state is there")


def _auth_faults(values: Values) -> Iterator[Fault]:
    for name in _signing_in(values):
        own, common = _group(values, "connectors", name, "auth"), _group(values, "auth")
        method = _method(own, common)
        for key in REQUIRED_KEYS.get(method, ()):
            if own.get(key) is None and common.get(key) is None:
                place = f"connectors.{name}.auth" if own else "auth"
                yield Fault(f"{place}.{key}", f"required by method {method}")


def _salt_fault(salt: Secret, *, allow_weak: bool) -> str | None:
    try:
        return check_salt(salt.reveal_text(), allow_weak=allow_weak)
    except ValueError:
        return "the salt is not UTF-8 text"


def _auth_secrets(values: Values) -> Iterator[tuple[str, ...]]:
    """The places of the secrets that the connectors' methods read."""
    for name in _signing_in(values):
        own, common = _group(values, "connectors", name, "auth"), _group(values, "auth")
        for key in SECRET_KEYS.get(_method(own, common), ()):
            if own.get(key) is not None:
                yield ("connectors", name, "auth", key)
            elif common.get(key) is not None:
                yield ("auth", key)


def _method(own: Values, common: Values) -> str:
    return str(own.get("method") or common.get("method") or DEFAULT_METHOD)


def _signing_in(values: Values) -> list[str]:
    """The connectors as they are named, misspelt ones too; where none is, any, since it would need `auth` as well."""
    return list(_group(values, "connectors")) or [CONNECTOR_NAMES[0]]


def _group(values: Values, *keys: str) -> Values:
    """The mapping at `keys`; an empty one where there is none."""
    group: Any = values
    for key in keys:
        group = group.get(key) if isinstance(group, Mapping) else None
    return group if isinstance(group, Mapping) else {}


def _reference(value: object, *, base_dir: Path) -> SecretReference | None:
    try:
        return SecretReference.parse(value, base_dir=base_dir) if isinstance(value, str) else None
    except ValueError:
        return None


def _location(value: object) -> Location | None:
    try:
        return parse_location(value) if isinstance(value, str) else None
    except ValueError:
        return None
