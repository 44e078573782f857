"""The settings as they take effect, for looking at: every key with its value, secrets and people masked."""

from datetime import timedelta
from typing import Any

from config.fields import Group
from config.instants import format_duration
from config.model import Settings
from config.secrets import SecretReference

_PEOPLE = frozenset({"scope.exclude_users"})  # object ids of persons: how many is enough


def echo(settings: Settings) -> dict[str, str]:
    """Dotted key -> value as text, in the order of the file; keys without a value are left out."""
    return dict(_lines(settings, ""))


def _lines(group: Group, prefix: str) -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for name, field in type(group).model_fields.items():
        key = f"{prefix}{field.alias or name}"
        value = getattr(group, name)
        if isinstance(value, Group):
            nested = _lines(value, f"{key}.")
            lines += nested or [(key, "{}")]
        elif value is not None:
            lines.append((key, _text(key, value)))
    return lines


def _text(key: str, value: Any) -> str:
    match value:
        case SecretReference():
            return f"Secret(…) from {value}"
        case tuple() if key in _PEOPLE:
            return f"{len(value)} not shown" if value else "[]"
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case bool():
            return str(value).lower()
        case timedelta():
            return format_duration(value)
        case _:
            return str(value)
