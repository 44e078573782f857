"""What an examination finds: one line each, with what to do about it. No finding holds a secret or a person's id."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    NOTE = "note"  # cannot be told, or was not asked for
    WARNING = "warning"  # a run works, but somebody should look
    ERROR = "error"  # a run would fail, or leave something out


@dataclass(frozen=True, slots=True)
class Finding:
    """`area` is a connector or a part of the surroundings, `remedy` what mends an error or a warning."""

    level: Level
    area: str
    what: str
    remedy: str = ""


def ok(area: str, what: str) -> Finding:
    return Finding(Level.OK, area, what)


def note(area: str, what: str, remedy: str = "") -> Finding:
    return Finding(Level.NOTE, area, what, remedy)


def warning(area: str, what: str, remedy: str) -> Finding:
    return Finding(Level.WARNING, area, what, remedy)


def error(area: str, what: str, remedy: str) -> Finding:
    return Finding(Level.ERROR, area, what, remedy)
