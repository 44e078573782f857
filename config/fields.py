"""Kinds of values a setting can have, each read from its YAML form by one function with one clear complaint.

A value that already has its kind is taken as it is, so that models can be built in code.
Relative paths start at the folder of the settings file, which the loader passes as the validation context.
"""

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypedDict
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    ValidationInfo,
    model_validator,
)

from config.instants import parse_duration
from config.locations import Location, parse_location
from config.secrets import SecretReference
from config.sizes import parse_size

_GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_ADDRESS = re.compile(r"[^\s@]+@[^\s@]+")


class ReadContext(TypedDict):
    """What validation needs to know besides the values."""

    base_dir: Path


class Group(BaseModel):
    """Keys that belong together. A key without a value (`region:`) counts as not given."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in data.items() if value is not None or key not in known}


def _text(value: object) -> str:
    """Text as it is; anything else becomes a text that no parser accepts, so that each has one complaint."""
    return value if isinstance(value, str) else ""


def _duration(value: object) -> timedelta:
    return value if isinstance(value, timedelta) else parse_duration(_text(value))


def _size_bytes(value: object) -> int:
    return parse_size(_text(value))


def _location(value: object) -> Location:
    return value if isinstance(value, Location) else parse_location(_text(value))


def _secret_reference(value: object, info: ValidationInfo) -> SecretReference:
    if isinstance(value, SecretReference):
        return value
    return SecretReference.parse(_text(value), base_dir=_base_dir(info))


def _path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    if not _text(value):
        raise ValueError("a path is expected")
    return _base_dir(info) / _text(value)


def _guid(value: object) -> str:
    guid = _text(value).lower()
    if not _GUID.fullmatch(guid):
        raise ValueError("a GUID such as 11111111-2222-3333-4444-555555555555 is expected")
    return guid


def _directory_name(value: object) -> str:
    """As it was written: only the directory knows in which letter case it has it."""
    name = _text(value)
    if not _GUID.fullmatch(name.lower()) and not _ADDRESS.fullmatch(name):
        raise ValueError("an object id (a GUID) or an address such as name@example.org is expected")
    return name


def _origin(value: object) -> str:
    """A scheme and host, without a slash at the end."""
    url = _http_url(value)
    if url.path.strip("/"):
        raise ValueError("scheme and host only, without a path")
    if url.scheme == "http" and not _is_loopback(url.hostname or ""):
        raise ValueError("plain http is accepted on loopback only; use https")
    return f"{url.scheme}://{url.netloc}"


def _endpoint(value: object) -> str:
    return _http_url(value).geturl().rstrip("/")


def _http_url(value: object) -> SplitResult:
    expected = "a URL such as https://host.example is expected"
    try:
        url = urlsplit(_text(value))
        has_host = bool(url.hostname) and url.port != 0  # reading the port checks it
    except ValueError:
        raise ValueError(expected) from None
    if url.scheme not in {"http", "https"} or not has_host or re.search(r"\s", url.geturl()):
        raise ValueError(expected)
    if "@" in url.netloc:
        raise ValueError("a URL here carries no user or password")
    if url.query or url.fragment:
        raise ValueError("a URL here carries no query and no fragment")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _base_dir(info: ValidationInfo) -> Path:
    context: ReadContext | None = info.context
    return context["base_dir"] if context else Path.cwd()


Flag = StrictBool
Text = Annotated[str, Field(min_length=1)]
Count = Annotated[StrictInt, Field(gt=0)]
Port = Annotated[StrictInt, Field(ge=1, le=65_535)]
Duration = Annotated[timedelta, PlainValidator(_duration)]
SizeBytes = Annotated[int, PlainValidator(_size_bytes)]
Place = Annotated[Location, PlainValidator(_location)]
SecretRef = Annotated[SecretReference, PlainValidator(_secret_reference)]
LocalPath = Annotated[Path, BeforeValidator(_path)]
Guid = Annotated[str, PlainValidator(_guid)]
DirectoryName = Annotated[str, PlainValidator(_directory_name)]
Origin = Annotated[str, PlainValidator(_origin)]
Endpoint = Annotated[str, PlainValidator(_endpoint)]
