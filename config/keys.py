"""The tree of keys the settings can have, read from the models; serves environment names and complaints."""

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

from config.model import Settings

Models = tuple[type[BaseModel], ...]  # several where a key takes one of several shapes
ROOT: Models = (Settings,)


def keys_of(models: Models) -> dict[str, Models]:
    """Every key the models know, as the file spells it, with the models of its value (none: plain)."""
    known: dict[str, Models] = {}
    for model in models:
        for name, field in model.model_fields.items():
            known[field.alias or name] = _models_in(field.annotation)
    return known


def resolve_folded(segments: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """The keys that `segments` of an environment name stand for (hyphens as underscores, any case).

    Answers the keys found, the first segment that is none (None: all are) and the keys known at that place.
    """
    found: list[str] = []
    models = ROOT
    for segment in segments:
        known = keys_of(models)
        key = next((key for key in known if key.replace("-", "_") == segment.lower()), None)
        if key is None:
            return found, segment.lower(), list(known)
        found.append(key)
        models = known[key]
    return found, None, []


def resolve_location(location: Sequence[str | int]) -> tuple[str, list[str]]:
    """The key path of a place in a validation error, and the keys known where its last key stands.

    Where a key takes one of several shapes, pydantic puts the chosen one's tag next; it is left out.
    """
    path = ""
    models, known = ROOT, keys_of(ROOT)
    for element in location:
        if isinstance(element, int):
            path += f"[{element}]"
        elif len(models) > 1:
            models = tuple(model for model in models if _tag(model) == element)
        else:
            known = keys_of(models)
            models = known.get(element, ())
            path += f".{element}" if path else element
    return path, list(known)


def _models_in(annotation: Any) -> Models:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    return tuple(model for argument in get_args(annotation) for model in _models_in(argument))


def _tag(model: type[BaseModel]) -> str | None:
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation)[0] if kind else None
