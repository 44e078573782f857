"""What is wrong with the settings, said all at once: one line per fault, each with the key's path.

No message holds a value: what stands where it should not may be a secret.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import NamedTuple


class Fault(NamedTuple):
    """One thing to mend. `path` is a key such as `privacy.salt`, or the file when that cannot be read."""

    path: str
    message: str

    def __str__(self) -> str:
        """The line an operator reads."""
        return f"{self.path}: {self.message}"


class SettingsError(Exception):
    """The settings cannot be used; `faults` lists every reason, in the order of their paths' discovery."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(dict.fromkeys(faults))
        super().__init__("\n".join(map(str, self.faults)))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, however far; None only when nothing is known."""
    folded = _fold(word)
    return max(known, key=lambda other: SequenceMatcher(a=_fold(other), b=folded).ratio(), default=None)


def unknown_key(path: str, known: Iterable[str]) -> Fault:
    """The fault of a key nobody knows, naming the nearest of those `known` at its place."""
    match = nearest(path.rpartition(".")[2], known)
    return Fault(path, f"unknown key; did you mean {match}?" if match else "unknown key; no keys belong here")


def _fold(word: str) -> str:
    return word.lower().replace("-", "_")
