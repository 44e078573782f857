"""Keeps the bytes of a run, from socket to Parquet, within what there is of memory.

Every byte that is held for longer than a moment is on one of these accounts:

    under way     answers as they arrive, still packed (told by the client)
    units         pages waiting to be cleaned and sanitized rows, each on the account (`Hold`) of its unit
    parts         rows in the encoders of open parts, and bytes that the stores have not sent yet
    working       copies made by a function on a worker thread while it runs

A unit begins when there is room for what units of its dataset have lately come to, so that fewer are read at a time;
one that comes to more asks for room again before each page. Where it is tight pages get smaller and the largest open
part is closed. Nobody waits for ever: the unit that began first never waits, so it ends, gives back what it held, and
then another one is the first. What it alone may take beyond the limit is bounded by dividing units
(`largest_unit_bytes`), for which room is kept.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHARES_OF_A_UNIT = 6  # a unit that takes more than this part of the limit is divided
SHARES_OF_A_ROW_GROUP = 2
SORTING_SHARE = 0.5  # of a row group is held beside it while it is sorted, column by column, and written
SHARES_OF_A_PAGE = 16  # a page larger than this part of the limit is too large
TIGHT_SHARES_OF_A_PAGE = 24  # the same where memory is tight; the least limit still takes 1,000 records of metadata
PARTS_SHARE = 0.5  # of the limit; with less than that, closing a part early makes small parts and little room
TIGHT_SHARE = 0.75  # of what units and parts may take together; beyond it pages get smaller and parts are closed
SHARES_OF_A_PAGE_ASKED_FOR = 2  # it comes packed to a tenth, and half of it becomes rows
SHARES_KEPT_FOR_PEAKS = 10  # of the process's memory, for what comes and goes between two looks at it
LEAST_SHARES = 8  # of the process's memory: so much pages and rows get, with less nothing would get on
LATELY = 0.25  # weight of the newest one in what is expected of the next


class Memory:
    """The accounts of one run. All but `working` is for the event loop alone."""

    def __init__(self, limit_bytes: int, *, process_bytes: int | None = None) -> None:
        """`process_bytes`: what the whole process may take, where `heed` is to keep it to that."""
        self.limit_bytes = limit_bytes
        self._process_bytes = process_bytes
        self._reserved = 0  # of what units have on their accounts: not taken yet
        self.most_used_bytes = 0
        self._under_way = 0
        self._units = 0
        self._parts = 0
        self._working = 0
        self._most_working = 0
        self._working_lock = threading.Lock()
        self._holds: dict[Hold, None] = {}  # in the order in which they began
        self._pages_lately: dict[str, int] = {}  # bytes of one, by dataset
        self._units_lately: dict[str, int] = {}

    @property
    def used_bytes(self) -> int:
        return self._held_bytes + self._working

    @property
    def largest_unit_bytes(self) -> int:
        """What one unit may hold; one that takes more is divided."""
        return self.limit_bytes // SHARES_OF_A_UNIT

    @property
    def row_group_bytes(self) -> int:
        """How many bytes of rows an open part may gather before it writes them."""
        return self.limit_bytes // SHARES_OF_A_ROW_GROUP

    @property
    def page_bytes(self) -> int:
        """What a page should not exceed."""
        return self.limit_bytes // (TIGHT_SHARES_OF_A_PAGE if self.is_tight else SHARES_OF_A_PAGE)

    @property
    def is_tight(self) -> bool:
        return self._held_bytes > self._most_held_bytes * TIGHT_SHARE

    @property
    def parts_are_in_the_way(self) -> bool:
        """Whether reading waits, or soon will, for what open parts hold."""
        return self.is_tight and self._parts > self.limit_bytes * PARTS_SHARE

    @contextmanager
    def hold(self, dataset: str) -> Iterator["Hold"]:
        """The account of one unit, from its first request until its rows are in a part."""
        hold = Hold(self, dataset)
        self._holds[hold] = None
        try:
            yield hold
        finally:
            del self._holds[hold]
            hold.clear()

    @contextmanager
    def working(self, size_bytes: int) -> Iterator[None]:
        """Copies that a function makes while it runs. On any thread."""
        with self._working_lock:
            self._working += size_bytes
            self._most_working = max(self._most_working, self._working)
        try:
            yield
        finally:
            with self._working_lock:
                self._working -= size_bytes

    def weigh(self, change_bytes: int) -> None:
        """So many more bytes of answers are under way, or fewer."""
        self._under_way += change_bytes
        self._note(change_bytes)

    def charge_parts(self, change_bytes: int) -> None:
        """Open parts hold so many bytes more, or fewer."""
        self._parts += change_bytes
        self._note(change_bytes)

    def charge_units(self, change_bytes: int) -> None:
        """Units hold so many bytes more, or fewer; told by their `Hold`."""
        self._units += change_bytes
        self._note(change_bytes)

    def charge_reserved(self, change_bytes: int) -> None:
        """So much of what units are charged with is still to come."""
        self._reserved += change_bytes

    def is_outgrown(self, resident_bytes: int) -> bool:
        """Whether the process takes more beside the accounts than was left for it."""
        return self._left(resident_bytes) < self.limit_bytes

    def heed(self, resident_bytes: int) -> None:
        """Lower the limit where the process has outgrown it; with time it does."""
        self.limit_bytes = min(self.limit_bytes, self._left(resident_bytes))

    def _left(self, resident_bytes: int) -> int:
        """For the accounts, of what the process may take."""
        if self._process_bytes is None:
            return self.limit_bytes
        beside = resident_bytes - (self.used_bytes - self._reserved)
        left = self._process_bytes - beside - self._process_bytes // SHARES_KEPT_FOR_PEAKS
        return max(left, self._process_bytes // LEAST_SHARES)

    def has_room(self, size_bytes: int) -> bool:
        """Whether so many more bytes fit."""
        return self._held_bytes + size_bytes <= self._most_held_bytes

    def is_first(self, hold: "Hold") -> bool:
        return next(iter(self._holds)) is hold

    def expected_page(self, dataset: str) -> int:
        """Bytes of the next page of a dataset, unpacked; of the first one, what a page may have."""
        return self._pages_lately.get(dataset, self.limit_bytes // SHARES_OF_A_PAGE)

    def expected_unit(self, dataset: str) -> int:
        """Bytes of the rows of a unit; nothing before there was one."""
        return self._units_lately.get(dataset, 0)

    def note_page(self, dataset: str, size_bytes: int) -> None:
        """A page came: the next ones will be like it, or like larger ones before."""
        self._pages_lately[dataset] = max(size_bytes, _followed(self._pages_lately.get(dataset), size_bytes))

    def note_unit(self, dataset: str, size_bytes: int) -> None:
        """A unit was read."""
        self._units_lately[dataset] = _followed(self._units_lately.get(dataset), size_bytes)

    @property
    def _held_bytes(self) -> int:
        return self._under_way + self._units + self._parts

    @property
    def _most_held_bytes(self) -> int:
        """Room is kept for the unit that goes first, and for all that running work has ever needed at once.

        That is the writing of a row group at least, which comes sooner or later.
        """
        working = max(self._most_working, int(SORTING_SHARE * self.row_group_bytes))
        return self.limit_bytes - working - self.largest_unit_bytes

    def _note(self, change_bytes: int) -> None:
        if change_bytes > 0:
            self.most_used_bytes = max(self.most_used_bytes, self.used_bytes)
        else:
            self.hand_out()

    def hand_out(self) -> None:
        """Let go on who may, those who began first before the others."""
        refused: set[str] = set()  # datasets whose units cannot begin now: one that waits to wants as much as the next
        for hold in self._holds:
            if hold.has_begun:
                if hold.is_waiting:
                    hold.admit()
            elif hold.dataset not in refused and hold.is_waiting and not hold.admit():
                refused.add(hold.dataset)


def _followed(before: int | None, size_bytes: int) -> int:
    """An average in which the newest value counts most."""
    return size_bytes if before is None else int(before + (size_bytes - before) * LATELY)


class Hold:
    """The account of one unit: pages that wait to be cleaned, rows, and room reserved for what is to come."""

    def __init__(self, memory: Memory, dataset: str) -> None:
        self._memory = memory
        self.dataset = dataset
        self._pages = 0
        self._rows = 0
        self._reserved = 0
        self.has_begun = False
        self._turn: asyncio.Future[None] | None = None

    @property
    def bytes(self) -> int:
        return self._pages + self._rows + self._reserved

    @property
    def is_waiting(self) -> bool:
        return self._turn is not None and not self._turn.done()

    async def room(self) -> None:
        """Wait until the next page fits; before the first one, until such a unit does."""
        if self.admit():
            return
        self._turn = asyncio.get_running_loop().create_future()
        try:
            await self._turn
        finally:
            self._turn = None

    def admit(self) -> bool:
        """Reserve the room if there is any, or none is needed because the unit goes first."""
        memory = self._memory
        wanted = memory.expected_page(self.dataset) // SHARES_OF_A_PAGE_ASKED_FOR
        if not self.has_begun:
            wanted = max(wanted, memory.expected_unit(self.dataset))
        more = wanted - self._reserved
        if more > 0:
            if not (memory.has_room(more) or memory.is_first(self)):
                return False
            self._set(reserved=wanted)
        self.has_begun = True
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)
        return True

    def arrived(self, page_bytes: int) -> None:
        """A page is there, unpacked."""
        self._memory.note_page(self.dataset, page_bytes)
        self._set(pages=self._pages + page_bytes)

    def cleaned(self, page_bytes: int, *, rows_bytes: int) -> None:
        """Pages became rows."""
        self._set(
            pages=self._pages - page_bytes,
            rows=self._rows + rows_bytes,
            reserved=max(0, self._reserved - rows_bytes),
        )

    def ended(self) -> None:
        """No page is to come: the unit is whole."""
        self._memory.note_unit(self.dataset, self._rows)
        self._set(reserved=0)

    def clear(self) -> None:
        """The unit holds nothing any more."""
        self.has_begun = False
        self._set(pages=0, rows=0, reserved=0)

    def _set(self, *, pages: int | None = None, rows: int | None = None, reserved: int | None = None) -> None:
        before, reserved_before = self.bytes, self._reserved
        self._pages = self._pages if pages is None else pages
        self._rows = self._rows if rows is None else rows
        self._reserved = self._reserved if reserved is None else reserved
        self._memory.charge_reserved(self._reserved - reserved_before)
        self._memory.charge_units(self.bytes - before)
