"""What a report calls things: reasons explained, numbers and times as people read them, counts of nouns."""

from collections.abc import Mapping
from datetime import datetime

from pipeline.errors import ADVICE

LONGEST_NAME = 80  # characters; nothing a report shows is longer for a good reason

METHODS: Mapping[str, str] = {
    "count": "Graph counted them",
    "enumeration": "one object for each user or team",
    "none": "nobody counts them",
}


def reason_text(reason: str) -> str:
    """What a reason of the manifest means and what to do, empty for one of another version."""
    advice = next((advice for known, advice in ADVICE.items() if known == reason), None)
    return "" if advice is None else f"{advice.meaning} {advice.remedy}".replace("`", "")


def count(number: int, noun: str) -> str:
    """`1 unit`, `2 units`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def were(number: int) -> str:
    """The verb that goes with a count."""
    return "was" if number == 1 else "were"


def duration(seconds: float) -> str:
    """`4.2 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def size(number: int) -> str:
    """Bytes in binary units: `1.4 MiB`."""
    value, unit = float(number), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def cut(name: object) -> str:
    """A name, or the beginning of one that is longer than any should be."""
    shown = str(name)
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…"


def instant(moment: datetime) -> str:
    """To the second: `2026-11-19 02:00:00 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def several(names: list[str], *, shown: int = 3) -> str:
    """`a`, `a and b`, `a, b, c and 4 more`."""
    if len(names) > shown:
        return f"{', '.join(names[:shown])} and {len(names) - shown:,} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
