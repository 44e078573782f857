"""What an exporter does, call by call: the protocol of `pipeline.run`, `journal` and `seal` without the data.

An exporter is a generator: it yields its calls and is sent the answers. Each call is one moment at a store; what the
world does between two of them stands in `tests.model.world`. There is one dataset with two units of two rows each.
"""

from collections.abc import Generator
from enum import StrEnum, auto
from itertools import combinations
from typing import Any, Literal, NamedTuple

UNITS = frozenset({"u1", "u2"})
ROWS_OF = {unit: frozenset({f"{unit}-a", f"{unit}-b"}) for unit in UNITS}


class Safeguard(StrEnum):
    """What the protocol rests on. The model can do without each of them, and must then break a promise."""

    ONE_SLOT = auto()  # which run is open stands in one place, swapped for the version that was read
    SLOT_READ_FIRST = auto()  # that version is read before the lease is looked at, not after
    SLOT_KEEPS_LAST = auto()  # a run that ends leaves its name there, so that no version comes back
    LEASE_CHECK = auto()  # the lease is looked at before anything becomes visible, and nothing else comes between
    JOURNAL_FIRST = auto()  # a part is journalled before it is published
    JOURNAL_CREATE_ONLY = auto()  # a journal entry of another exporter is never overwritten
    PUBLISH_CREATE_ONLY = auto()  # a published object is never overwritten
    MARK_AFTER_PUBLISHING = auto()  # the outcome of a part is written down when its publication was answered
    WHOLE_UNITS = auto()  # a unit lies in one part
    FENCE = auto()  # a unit of an unsettled part is read again only when an empty part has taken its place
    FENCE_RECORDED = auto()  # the name of the fence's upload is written down before it is published
    ONE_OUTCOME = auto()  # what became of a part is written down once, and that counts, whatever was heard since
    GIVEN_UP_LAST = auto()  # the upload of a dead exporter is given up when the outcome of its part is written down
    FENCE_SHARED = auto()  # whoever finds another's fence recorded publishes that one
    MARK_BEFORE_ABORT = auto()  # a refused fence is given up when its answer is written down and the lease still held
    MANIFEST_RECORDED = auto()  # manifest and watermarks are decided in the state before anything of them is visible
    SEAL_BARRED = auto()  # who takes a run up makes sure that no predecessor decides how it ends later on
    HISTORY_CHECK = auto()  # a run whose manifest is in the history is only forgotten
    HISTORY_AFTER_BAR = auto()  # and the history is looked at after that, not before
    WATERMARKS_LAST = auto()  # watermarks move after the manifest is published


class Call(NamedTuple):
    """What an exporter asks of a store, of its lease (`check`), or of chance (`choose`)."""

    action: Literal[
        "create", "swap", "put", "read", "keys", "forget", "publish", "abort", "advance", "check", "choose"
    ]  # fmt: skip
    key: tuple[str, ...] = ()
    value: Any = None


class Upload(NamedTuple):
    """What is published: whose upload it is, and what is in it."""

    token: str
    content: Any


class Entry(NamedTuple):
    """A line of the journal."""

    units: frozenset[str]
    rows: frozenset[str]


class Slot(NamedTuple):
    """Which run is open, if any, and which was the last."""

    open: str = ""
    last: str = ""


class Swap(NamedTuple):
    """What is to stand in a place of the state instead of what was read there."""

    known: Any
    new: Any


class Seal(NamedTuple):
    """What a run ends with: the rows of each part by its number, and the units whose watermarks move."""

    parts: frozenset[tuple[str, frozenset[str]]]
    units: frozenset[str]


class Stop(Exception):
    """The lease is lost, or an answer tells that somebody else is at work."""


Exporter = Generator[Call, Any, None]
HOLLOW = Entry(frozenset(), frozenset())
BARRED = ""
PUBLISHED, FENCED = "published", "fenced"
SLOT = ("slot",)


class Program:
    """One command, as exporter `me` would run it with the safeguards it has."""

    def __init__(self, me: str, safeguards: frozenset[Safeguard]) -> None:
        self._me = me
        self._has = safeguards
        self._attempt = 1  # how many exporters have worked at the run that is being worked at, this one included

    def run(self) -> Exporter:
        """Everything after the lease was taken (`pipeline.run`: `_work`)."""
        open_runs = yield from self._open_runs()
        for run in open_runs:
            yield from self._take_up(run)
        if not open_runs:
            yield from self._open()
            yield from self._work(self._me, {})

    def _open_runs(self) -> Generator[Call, Any, list[str]]:
        """The runs that were begun and are not sealed (`pipeline.journal`: `open_run`)."""
        if Safeguard.ONE_SLOT not in self._has:
            return [key[1] for key in (yield Call("keys", ("open",))) if key[2] == "run"]
        slot = yield Call("read", SLOT)
        return [slot.open] if slot is not None and slot.open else []

    def _open(self) -> Exporter:
        """`Journal.open`."""
        if Safeguard.ONE_SLOT not in self._has:
            yield from self._check()
            yield from self._insist(Call("create", ("open", self._me, "run"), ""))
            return
        if Safeguard.SLOT_READ_FIRST not in self._has:
            yield from self._check()
        slot = yield Call("read", SLOT)
        if Safeguard.SLOT_READ_FIRST in self._has:
            yield from self._check()
        if slot is not None and slot.open:
            raise Stop
        opened = Slot(open=self._me, last=slot.last if slot is not None else "")
        if not (yield Call("swap", SLOT, Swap(slot, opened))) and (yield Call("read", SLOT)) != opened:
            raise Stop

    def _take_up(self, run: str) -> Exporter:
        """`pipeline.run`: `_take_up`."""
        self._attempt = 1
        is_sealed = False
        if Safeguard.HISTORY_AFTER_BAR not in self._has:
            is_sealed = (yield Call("read", ("history", run))) is not None
        seal = yield from self._recorded_seal(run)
        if Safeguard.HISTORY_AFTER_BAR in self._has:
            is_sealed = (yield Call("read", ("history", run))) is not None
        if is_sealed and Safeguard.HISTORY_CHECK in self._has:
            yield from self._close(run)
        elif seal is not None:
            yield from self._finish_seal(run, seal)
        else:
            entries = yield from self._recover(run)
            yield from self._work(run, entries)

    def _work(self, run: str, entries: dict[str, Entry]) -> Exporter:
        """Read what is due and not done, publish it in parts, seal (`pipeline.execution`)."""
        known = (yield Call("read", ("watermarks",))) or frozenset()
        left = UNITS - known - _units(entries)
        while left:
            read, failed = yield Call("choose", value=_outcomes(left))
            left = left - read - failed
            for part in self._parts(read):
                number = f"{1 + max(map(int, entries), default=0)}"
                yield from self._publish(run, number, part)
                entries = entries | {number: part}
        seal = Seal(frozenset((number, entry.rows) for number, entry in entries.items()), _units(entries))
        yield from self._record_seal(run, seal)
        yield from self._finish_seal(run, seal)

    def _parts(self, units: frozenset[str]) -> list[Entry]:
        rows = frozenset(row for unit in units for row in ROWS_OF[unit])
        if not rows:
            return []
        if Safeguard.WHOLE_UNITS in self._has:
            return [Entry(units, rows)]
        first = frozenset(row for row in rows if row.endswith("a"))
        return [Entry(frozenset(), first), Entry(units, rows - first)]

    def _publish(self, run: str, number: str, part: Entry) -> Exporter:
        """`Journal.publish`."""
        key = ("open", run, "entries", number)
        write: Literal["create", "put"] = "create" if Safeguard.JOURNAL_CREATE_ONLY in self._has else "put"
        journal = [Call(write, (*key, "entry"), part), Call("check")]
        publication = [Call("publish", ("part", run, number), Upload(f"upload of {self._me}", part.rows))]
        if Safeguard.MARK_AFTER_PUBLISHING not in self._has:
            yield from self._outcome(key, PUBLISHED)
        for call in journal + publication if Safeguard.JOURNAL_FIRST in self._has else publication + journal:
            yield from self._insist(call)
        if Safeguard.MARK_AFTER_PUBLISHING in self._has and (yield from self._outcome(key, PUBLISHED)) != PUBLISHED:
            raise Stop

    def _outcome(self, key: tuple[str, ...], outcome: str) -> Generator[Call, Any, str]:
        """Write down what became of a part; what counts (`Journal._outcome`)."""
        if Safeguard.ONE_OUTCOME not in self._has:
            yield Call("put", (*key, "outcome"), outcome)
            return outcome
        if (yield Call("create", (*key, "outcome"), outcome)):
            return outcome
        found: str | None = yield Call("read", (*key, "outcome"))
        if found is None:
            raise Stop
        return found

    def _recover(self, run: str) -> Generator[Call, Any, dict[str, Entry]]:
        """Settle every part of an interrupted run; what is visible (`Journal.recover`)."""
        keys = yield Call("keys", ("open", run, "entries"))
        entries = {}
        for number in [key[3] for key in keys if key[-1] == "entry"]:
            entry = yield Call("read", ("open", run, "entries", number, "entry"))
            if entry is not None:
                marks = {key[-1] for key in keys if key[3] == number}
                if Safeguard.GIVEN_UP_LAST not in self._has:
                    yield from self._give_up(run, number)
                entries[number] = yield from self._settle(run, number, entry, marks)
        if Safeguard.GIVEN_UP_LAST in self._has:
            for number in entries:
                yield from self._give_up(run, number)
        return entries

    def _give_up(self, run: str, number: str) -> Exporter:
        """Abort the upload of the exporter that began the run (`Journal.give_up_uploads`)."""
        if run != self._me:
            yield from self._check()
            yield Call("abort", ("part", run, number), f"upload of {run}")

    def _settle(self, run: str, number: str, entry: Entry, marks: set[str]) -> Generator[Call, Any, Entry]:
        """Whether a part is there, learnt by putting an empty one in its place (`Journal._settle`)."""
        key, path = ("open", run, "entries", number), ("part", run, number)
        if "outcome" in marks:
            recorded = yield Call("read", (*key, "outcome"))
            if recorded is None:
                raise Stop
            return entry if recorded == PUBLISHED else HOLLOW
        if Safeguard.FENCE not in self._has:
            return HOLLOW
        token = yield from self._fence((*key, "fence"), marks)
        is_fenced = yield Call("publish", path, Upload(token, frozenset()))
        if not is_fenced and Safeguard.MARK_BEFORE_ABORT not in self._has:
            yield Call("abort", path, token)
        outcome = yield from self._outcome(key, FENCED if is_fenced else PUBLISHED)
        if outcome == PUBLISHED and Safeguard.MARK_BEFORE_ABORT in self._has:
            yield from self._check()
            yield Call("abort", path, token)
        return entry if outcome == PUBLISHED else HOLLOW

    def _fence(self, key: tuple[str, ...], marks: set[str]) -> Generator[Call, Any, str]:
        """The name of the upload to publish (`Journal._fence`)."""
        mine = f"fence of {self._me}"
        if Safeguard.FENCE_RECORDED not in self._has:
            return mine
        if "fence" not in marks and ((yield Call("create", key, mine)) or Safeguard.FENCE_SHARED not in self._has):
            return mine
        recorded: str | None = yield Call("read", key)
        if recorded is None:
            raise Stop
        return recorded

    def _recorded_seal(self, run: str) -> Generator[Call, Any, Seal | None]:
        """What an earlier exporter decided; when it is nothing, it will stay nothing (`Journal.decided`)."""
        key = ("open", run, "seal")
        seal: Seal | str | None = BARRED
        if Safeguard.SEAL_BARRED not in self._has:
            seal = yield Call("read", (*key, f"{self._attempt}"))
        while seal == BARRED:
            if (yield Call("create", (*key, f"{self._attempt}"), BARRED)):
                seal = None
            else:
                seal = yield Call("read", (*key, f"{self._attempt}"))
                if seal is None:
                    raise Stop
            self._attempt += 1
        return seal if isinstance(seal, Seal) else None

    def _record_seal(self, run: str, seal: Seal) -> Exporter:
        """`Journal.decide`."""
        if Safeguard.MANIFEST_RECORDED in self._has:
            key = ("open", run, "seal", f"{self._attempt}")
            yield from self._check()
            if not (yield Call("create", key, seal)) and (yield Call("read", key)) != seal:
                raise Stop

    def _finish_seal(self, run: str, seal: Seal) -> Exporter:
        """`seal.finish_seal`."""
        steps = [
            Call("publish", ("manifest", run), Upload("seal", seal)),
            Call("advance", ("watermarks",), seal.units),  # read and swap until the swap wins: one moment
        ]
        for step in steps if Safeguard.WATERMARKS_LAST in self._has else steps[::-1]:
            yield from self._check()
            yield step
        yield Call("create", ("history", run), "")
        yield from self._close(run)

    def _close(self, run: str) -> Exporter:
        """Forget the run, its slot last (`Journal.close`)."""
        yield Call("forget", ("open", run, "entries"))
        yield Call("forget", ("open", run, "seal"))
        if Safeguard.ONE_SLOT not in self._has:
            yield Call("forget", ("open", run, "run"))
            return
        slot = yield Call("read", SLOT)
        if slot is not None and slot.open == run:
            closed = Slot(last=run) if Safeguard.SLOT_KEEPS_LAST in self._has else None
            yield Call("swap", SLOT, Swap(slot, closed))

    def _check(self) -> Exporter:
        yield from self._insist(Call("check"))

    def _insist(self, call: Call) -> Exporter:
        if not (yield call):
            raise Stop


def _units(entries: dict[str, Entry]) -> frozenset[str]:
    return frozenset(unit for entry in entries.values() for unit in entry.units)


def _outcomes(left: frozenset[str]) -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    """Which units come next into one part (first of all: every one), or which cannot be read."""
    nothing: frozenset[str] = frozenset()
    some = [frozenset(each) for size in range(len(left), 0, -1) for each in combinations(sorted(left), size)]
    return (*((each, nothing) for each in some), *((nothing, each) for each in some))
