"""The page of the settings, as Markdown: every key from the models, its default from the code, and the example file."""

import types
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.instants import format_duration
from config.locations import Location
from config.model import Settings
from config.secrets import SecretReference

EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "m365-export.yaml"

INTRODUCTION = """\
# Settings

Every key of the settings file, written by `make docs` from the models that read it. The file is `--config FILE`, else
`$M365_EXPORT_CONFIG`, else `./m365-export.yaml`; [a whole one](#a-whole-file) ends this page.

- Every key can come from the environment instead: `tenant.id` is `M365_EXPORT__TENANT__ID`, hyphens become underscores,
  and the value is read as YAML. Flags win over the environment, the environment over the file.
- An unknown key is a fault that names the nearest known one; all faults are told at once, one line each (exit 2).
- A *secret* is a reference, never the value itself: `env:NAME`, `file:PATH`, `aws-ssm:NAME`, `aws-secretsmanager:NAME`,
  `gcp-secret:projects/P/secrets/S`. Its bytes are taken as they are.
- A *duration* is `90s`, `15m`, `6h`, `30d` or ISO 8601 (`PT6H`); a *size* is `128MiB`; a *file* that is relative starts
  at the folder of the settings file.
- *required* keys have no default. A key without a value counts as not given.

"""

_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "number",
    float: "fraction",
    str: "text",
    timedelta: "duration",
    Path: "file",
    Location: "place",
    SecretReference: "secret",
}
_BYTES_OF_MIB = 1024 * 1024
_Group = type[BaseModel]


def settings_page() -> str:
    """The whole page."""
    return INTRODUCTION + "\n".join(_sections()) + _example()


def keys() -> frozenset[str]:
    """The path of every key and section there is, as written in the file."""
    return frozenset(_paths("", Settings))


def _paths(prefix: str, group: _Group) -> Iterator[str]:
    for name, field in group.model_fields.items():
        path = prefix + (field.alias or name)
        yield path
        for inner in _groups(field.annotation):
            yield from _paths(f"{path}.", inner)


def _sections() -> Iterator[str]:
    top = [(name, field) for name, field in Settings.model_fields.items() if not _groups(field.annotation)]
    yield from _table("", top)
    for name, field in Settings.model_fields.items():
        for group in _groups(field.annotation):
            yield f"## {name}"
            yield ""
            yield from _section(name, group)


def _section(path: str, group: _Group) -> Iterator[str]:
    """The keys of a group, those of its inner groups in tables of their own."""
    yield (group.__doc__ or "").strip()
    yield ""
    yield from _table(path, list(group.model_fields.items()))
    for name, field in group.model_fields.items():
        inner = _groups(field.annotation)
        for choice in inner:
            if len(inner) == 1 and choice.__name__ in {"Auth", "Connector"}:
                continue  # told once, in the section of its own or in the table above
            kind = _discriminator(choice)
            yield f"### {path}.{field.alias or name}{f', kind {kind}' if kind else ''}"
            yield ""
            yield from _section(f"{path}.{field.alias or name}", choice)


def _table(path: str, fields: list[tuple[str, FieldInfo]]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in fields:
        if name == "kind":
            continue  # it stands in the heading
        key = f"{path}.{field.alias or name}" if path else field.alias or name
        meaning = " ".join((field.description or _meaning_of_group(field)).split())
        yield f"| `{key}` | {_kind(field)} | {_default(field)} | {meaning} |"
    yield ""


def _meaning_of_group(field: FieldInfo) -> str:
    """What the group itself says of itself."""
    inner = _groups(field.annotation)
    return (inner[0].__doc__ or "").strip() if inner else ""


def _kind(field: FieldInfo) -> str:
    if _groups(field.annotation):
        return "keys"
    if field.alias == "part_size":
        return "size"
    options = _bare(field.annotation)
    words = [_word(option) for option in options]
    return " or ".join(dict.fromkeys(words))


def _word(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "list"
    return _KINDS[kind]


def _bare(annotation: Any) -> list[Any]:
    """The kinds a key may have, without None and what only validates."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [bare for option in get_args(annotation) if option is not types.NoneType for bare in _bare(option)]
    return [annotation]


def _groups(annotation: Any) -> list[_Group]:
    return [kind for kind in _bare(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _discriminator(group: _Group) -> str:
    kind = group.model_fields.get("kind")
    return get_args(kind.annotation)[0] if kind else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.default:
        case None | BaseModel():
            return ""
        case bool() as flag:
            return f"`{str(flag).lower()}`"
        case timedelta() as duration:
            return f"`{format_duration(duration)}`"
        case tuple() as items:
            return f"`{list(items)}`"
        case int() as size if field.alias == "part_size":
            return f"`{size // _BYTES_OF_MIB}MiB`"
        case value:
            return f"`{value}`"


def _example() -> str:
    return f"\n## A whole file\n\n```yaml\n{EXAMPLE.read_text(encoding='utf-8')}```\n"
