"""Which keys an object may have, the same in every store.

What is allowed needs no quoting in a URL, a glob, a signature or a shell. Names that start with a dot are
left to the stores themselves (staging folders), and the length leaves room for a suffix in one file name (255
bytes).
"""

import re

KEY_CHARACTERS_MAX = 200
_SEGMENT = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")
_PREFIX = re.compile(rf"(?:{_SEGMENT}/)*(?:{_SEGMENT})?")


def check_key(key: str) -> None:
    """Raises: ValueError, when `key` cannot name an object."""
    if not _KEY.fullmatch(key) or len(key) > KEY_CHARACTERS_MAX:
        raise ValueError("a key is made of [A-Za-z0-9_.-] between slashes, at most 200 characters long")


def check_prefix(prefix: str) -> None:
    """Raises: ValueError, when no key can start with `prefix`."""
    if not _PREFIX.fullmatch(prefix) or len(prefix) > KEY_CHARACTERS_MAX:
        raise ValueError("a prefix is the beginning of a key")
