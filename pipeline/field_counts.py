"""What a run counts of its fields, by path: those that left, and those that were met in raw pages and stayed behind.

The counts of a unit join its part: they are written into the part's journal entry. So the side file covers every row
that is published, whichever process wrote it, and nothing that is not: an interrupted, divided or failed unit counts
when its rows do. Names and numbers only; there is no value in any of it.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from pipeline.model import Unit

SAMPLE_SHARE = 0.01  # of the pages that are not the first of their unit
MAX_PATHS = 500  # of one dataset that stayed behind; a record that is a dictionary of ids must not fill the memory
OTHER_PATHS = "*"


class FieldCounts(msgspec.Struct):
    """`kept` counts published values exactly; `left_behind` counts values in the scanned pages alone."""

    kept: dict[str, int] = {}
    left_behind: dict[str, int] = {}
    pages: int = 0
    scanned_pages: int = 0
    scanned_records: int = 0

    def add(self, other: "FieldCounts") -> None:
        """Add what another unit, part or process has counted."""
        _add(self.kept, other.kept)
        self.add_left_behind(other.left_behind, records=other.scanned_records)
        self.pages += other.pages
        self.scanned_pages += other.scanned_pages

    def add_left_behind(self, counts: Mapping[str, int], *, records: int) -> None:
        """Add what a scan of so many records has found."""
        for path, count in counts.items():
            has_room = path in self.left_behind or len(self.left_behind) < MAX_PATHS
            key = path if has_room else OTHER_PATHS
            self.left_behind[key] = self.left_behind.get(key, 0) + count
        self.scanned_records += records


def total(counts: Iterable[FieldCounts]) -> FieldCounts:
    """All counts in one."""
    result = FieldCounts()
    for each in counts:
        result.add(each)
    return result


def is_scanned(run_id: str, unit: Unit, page: int) -> bool:
    """Whether a page, counted from 0 in its unit, is scanned for what stays behind.

    The first page of a unit always is; the choice among the others is the same in every process of a run.
    """
    if page == 0:
        return True
    window = unit.window
    name = f"{run_id}\n{unit.dataset}\n{unit.principal.id}\n{window.start if window else ''}\n{page}"
    draw = int.from_bytes(blake2b(name.encode(), digest_size=8).digest())
    return draw < SAMPLE_SHARE * 2**64


def _add(to: dict[str, int], counts: Mapping[str, int]) -> None:
    for path, count in counts.items():
        to[path] = to.get(path, 0) + count
