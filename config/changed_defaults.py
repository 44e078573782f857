"""Defaults that decide which data leaves, and how they changed from version to version.

Whoever left such a key out relied on its default. When a later version has another one, the rows of tonight would
differ from those of last night without anybody's decision: the run is refused until the key is written into the
settings, or the change is accepted. A change is announced in CHANGELOG.md as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from config.model import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultChange:
    """`key` had the default `was` up to the version before `since`, and has `now` from then on, as written in YAML."""

    since: str
    key: str
    was: str
    now: str


CHANGES: tuple[DefaultChange, ...] = ()

DECIDING = (
    "connectors.outlook-mail.folders",
    "connectors.entra-id.members",
    "initial_lookback",
    "windows.settle.teams",
    "windows.settle.calls",
    "windows.overlap.calls",
    "windows.overlap.calendar",
    "windows.calendar_ahead",
    "scope.include_guests",
    "scope.include_shared",
    "scope.suppress",
    "privacy.profile",
    "privacy.groups",
    "privacy.group_original",
    "privacy.email_canonicalization",
    "privacy.email_domains",
    "output.layout",
)
"""The keys with a default that decides which data leaves, or in which form."""


def relied_upon(settings: Settings, changes: Sequence[DefaultChange] = CHANGES) -> tuple[DefaultChange, ...]:
    """The changes that concern these settings, because their key is left out."""
    return tuple(change for change in changes if not _is_given(settings, change.key.split(".")))


def is_later(version: str, than: str) -> bool:
    """Whether a version of this tool is later than another; both are numbers with dots."""
    return _numbers(version) > _numbers(than)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _is_given(group: Any, keys: Sequence[str]) -> bool:
    """Whether a file or the environment has the key; one of a source that is not configured concerns nobody."""
    if group is None:
        return True
    name, *rest = keys
    fields = type(group).model_fields
    attribute = next(attribute for attribute, field in fields.items() if name in {attribute, field.alias})
    value = getattr(group, attribute)
    if rest and isinstance(value, BaseModel | None):
        return _is_given(value, rest)
    return attribute in group.model_fields_set
