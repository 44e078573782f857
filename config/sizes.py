"""Sizes in bytes as people write them: `128MiB`, `1GiB`, `64kB`."""

import re

_SIZE = re.compile(r"([0-9]{1,15})(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)")
_BYTES_OF_UNIT = {
    "B": 1,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
}


def parse_size(text: str) -> int:
    """The number of bytes `text` names. The unit is required and its spelling exact: MB is not MiB.

    Raises ValueError otherwise.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("a size is a whole number and a unit: 128MiB (also B, KiB, GiB, TiB, kB, MB, GB, TB)")
    return int(match[1]) * _BYTES_OF_UNIT[match[2]]
