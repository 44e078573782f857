"""Where the exporters of the model live: the stores, the lease, everything that can go wrong, and what must hold.

Between two calls of an exporter anything may happen:

- its lease passes on. It was paused for too long, or is dead; the next exporter starts. It may take further steps at
  any time afterwards, until it looks at its lease. A death is a pause that never ends; a call of the dead that was on
  the wire and arrives late is one more step.
- a creation takes effect, its reply is lost, and the repetition is told that the key is taken. A reply that is lost
  for good ends the exporter: that is a pause that never ends, too.
- units cannot be read.

What the stores promise (`pipeline.ports`) is assumed here and proven by the contract tests. Clocks are assumed to
agree.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

from tests.model.protocol import (
    ROWS_OF,
    SLOT,
    UNITS,
    Call,
    Entry,
    Program,
    Safeguard,
    Seal,
    Slot,
    Stop,
    Swap,
    Upload,
)

EXPORTERS = "ABC"  # started in this order
AFTERWARDS = "WXYZ"  # these run alone and undisturbed, to see what the next nights would make of a state

Key = tuple[str, ...]


class Running:
    """An exporter at work. What it does next follows from the answers it got, so these are what it is."""

    def __init__(self, name: str, safeguards: frozenset[Safeguard], answers: tuple[Any, ...] = ()) -> None:
        self.name = name
        self._safeguards = safeguards
        self._answers = answers
        self._told: dict[Any, Running] = {}
        self.call = self._next_call()  # None: it has ended

    def told(self, answer: Any) -> "Running":
        """The same exporter after the answer to its call: the same object for the same answers."""
        if answer not in self._told:
            self._told[answer] = Running(self.name, self._safeguards, (*self._answers, answer))
        return self._told[answer]

    def _next_call(self) -> Call | None:
        program = Program(self.name, self._safeguards).run()
        try:
            call = next(program)
            for answer in self._answers:
                call = program.send(answer)
        except (Stop, StopIteration):
            return None
        return call


class Store:
    """What destination and state hold. One object for each content there is."""

    def __init__(self, held: frozenset[tuple[Key, Any]], others: "dict[frozenset[tuple[Key, Any]], Store]") -> None:
        self.held = dict(held)
        self._others = others
        self._applied: dict[tuple[Call, bool], tuple[Store, Any]] = {}

    def applied(self, call: Call, *, create_only: bool) -> "tuple[Store, Any]":
        """One call at its moment: the store afterwards, and the answer."""
        known = self._applied.get((call, create_only))
        if known is None:
            held, answer = _applied(dict(self.held), call, create_only=create_only)
            content = frozenset(held.items())
            if content not in self._others:
                self._others[content] = Store(content, self._others)
            known = self._applied[call, create_only] = self._others[content], answer
        return known

    @cached_property
    def open_runs(self) -> list[str]:
        slot = self.held.get(SLOT) or Slot()
        in_slot = [slot.open] if slot.open else []
        return [key[1] for key in self.held if key[0] == "open" and key[2] == "run"] + in_slot

    @property
    def is_done(self) -> bool:
        """Whether a further exporter would find nothing to do."""
        return not self.open_runs and self.held.get(("watermarks",)) == UNITS

    @cached_property
    def violation(self) -> str | None:
        """Which promise is broken for somebody who looks at the stores now."""
        parts = {key[1:]: upload.content for key, upload in self.held.items() if key[0] == "part"}
        manifests = {key[1]: dict(upload.content.parts) for key, upload in self.held.items() if key[0] == "manifest"}
        if len(self.open_runs) > 1:
            return "two runs are open at once"
        if any(run < sealed for run in self.open_runs for sealed in manifests):
            return "a run is open that began before one that is sealed"
        every = [row for content in parts.values() for row in content]
        for run in sorted({run for run, _ in parts}):
            rows = [row for (of, _), content in parts.items() if of == run for row in content]
            if len(rows) > len(set(rows)):
                return f"a row twice within run {run}"
            if any(len(of_unit & set(rows)) == 1 for of_unit in ROWS_OF.values()):
                return f"half a unit in run {run}"
        if len(every) > len(set(every)):
            return "a row in two runs"
        for run, listed in manifests.items():
            if listed != {number: content for (of, number), content in parts.items() if of == run}:
                return f"the manifest of run {run} does not list what is visible"
        sealed = {row for listed in manifests.values() for content in listed.values() for row in content}
        if any(not ROWS_OF[unit] <= sealed for unit in self.held.get(("watermarks",), ())):
            return "a watermark is ahead of what is sealed"
        return None


def _applied(held: dict[Key, Any], call: Call, *, create_only: bool) -> tuple[dict[Key, Any], Any]:
    key, value = call.key, call.value
    answer: Any = True
    match call.action:
        case "publish":
            answer = _publish(held, key, value, create_only=create_only)
        case "read":
            answer = held.get(key)
        case "keys":
            answer = tuple(sorted(each for each in held if each[: len(key)] == key))
        case "create":
            answer = _swap(held, key, Swap(None, value))
        case "swap":
            answer = _swap(held, key, value)
        case "put":
            held[key] = value
        case "forget":
            held = {each: kept for each, kept in held.items() if each[: len(key)] != key}
        case "advance":
            held[key] = held.get(key, frozenset()) | value
        case "abort":
            held["aborted", *key, value] = True
    return held, answer


def _swap(held: dict[Key, Any], key: Key, value: Swap) -> bool:
    if held.get(key) != value.known:
        return False
    held[key] = value.new
    return True


def _publish(held: dict[Key, Any], key: Key, value: Upload, *, create_only: bool) -> bool:
    if key not in held or not create_only:
        held[key] = value
    # An S3 upload that was given up cannot be told from one that was completed.
    return held[key].token == value.token or ("aborted", *key, value.token) in held


class Budget(NamedTuple):
    """How often what may still go wrong."""

    handovers: int = 2  # the lease passes from an exporter that has not ended
    late: int = 3  # steps of exporters whose lease has passed on
    retries: int = 1  # a creation or a swap took effect, but its repetition is told that it did not
    failures: int = 1  # units cannot be read


class State(NamedTuple):
    """One moment of the whole model."""

    budget: Budget
    store: Store
    running: tuple[Running, ...] = ()
    holder: str = ""  # of the lease
    started: int = 0


class World:
    """Exporters with some of the safeguards, and all that can happen to them."""

    def __init__(self, safeguards: frozenset[Safeguard]) -> None:
        self._safeguards = safeguards
        self._create_only = Safeguard.PUBLISH_CREATE_ONLY in safeguards
        self._first = {name: Running(name, safeguards) for name in EXPORTERS + AFTERWARDS}
        self._stores: dict[frozenset[tuple[Key, Any]], Store] = {}
        self._afterwards: dict[Store, str | None] = {}

    def begin(self, budget: Budget) -> State:
        """Nothing has happened yet."""
        return State(budget, Store(frozenset(), self._stores))

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        """Every next moment, and what happens there."""
        for running in state.running:
            if _call(running).action == "choose":  # concerns nobody else, so nothing need come between
                yield from self._choices(state, running)
                return
        for running in state.running:
            yield from self._moves(state, running)
        if state.holder and state.budget.handovers:
            yield f"the lease of {state.holder} passes on", self._robbed(state)
        if not state.holder and state.started < len(EXPORTERS) and not state.store.is_done:
            name = EXPORTERS[state.started]
            at_work = (*state.running, self._first[name])
            yield f"{name} takes the lease", state._replace(holder=name, started=state.started + 1, running=at_work)

    def violation(self, state: State) -> str | None:
        """Which promise is broken, or would be after undisturbed runs."""
        store = state.store
        if store not in self._afterwards:
            self._afterwards[store] = store.violation or self._violation_afterwards(store)
        return self._afterwards[store]

    def _choices(self, state: State, running: Running) -> Iterator[tuple[str, State]]:
        for read, failed in _call(running).value:
            budget = state.budget._replace(failures=state.budget.failures - bool(failed))
            # As long as there was one exporter only, it makes no difference which unit is which.
            is_mirrored = state.started == 1 and len(read | failed) < len(UNITS) and "u2" in read | failed
            if budget.failures >= 0 and not is_mirrored:
                step = (
                    f"{running.name} cannot read {shown(failed)}" if failed else f"{running.name} reads {shown(read)}"
                )
                yield step, self._told(state._replace(budget=budget), running, (read, failed))

    def _moves(self, state: State, running: Running) -> Iterator[tuple[str, State]]:
        call = _call(running)
        if running.name != state.holder and call.action != "check":
            state = state._replace(budget=state.budget._replace(late=state.budget.late - 1))
        step = f"{running.name}: {call.action} {'/'.join(call.key)} {shown(call.value)}".rstrip()
        if call.action == "check":
            yield step, self._told(state, running, self._passes(state, running))
            return
        store, answer = state.store.applied(call, create_only=self._create_only)
        after = state._replace(store=store)
        yield f"{step} -> {shown(answer)}", self._told(after, running, answer)
        if call.action in {"create", "swap"} and answer and state.budget.retries:
            after = after._replace(budget=state.budget._replace(retries=state.budget.retries - 1))
            yield f"{step} -> done, but a repetition hears: no", self._told(after, running, False)

    def _passes(self, state: State, running: Running) -> bool:
        return state.holder == running.name or Safeguard.LEASE_CHECK not in self._safeguards

    def _told(self, state: State, running: Running, answer: Any) -> State:
        wiser = running.told(answer)
        others = tuple(
            wiser if each is running else each for each in state.running if each is not running or wiser.call
        )
        has_ended = wiser.call is None and state.holder == running.name
        return self._without_losers(state._replace(running=others, holder="" if has_ended else state.holder))

    def _robbed(self, state: State) -> State:
        budget = state.budget._replace(handovers=state.budget.handovers - 1)
        return self._without_losers(state._replace(budget=budget, holder=""))

    def _without_losers(self, state: State) -> State:
        """Whoever is about to look at a lease it has lost is as good as ended."""
        left = tuple(
            each
            for each in state.running
            if each.name == state.holder
            or (state.budget.late and (_call(each).action != "check" or self._passes(state, each)))
        )
        return state if len(left) == len(state.running) else state._replace(running=left)

    def _violation_afterwards(self, store: Store) -> str | None:
        for name in AFTERWARDS:
            if store.is_done:
                return store.violation
            running = self._first[name]
            while running.call is not None:
                answer: Any = True  # to a check
                if running.call.action == "choose":
                    answer = running.call.value[0]
                elif running.call.action != "check":
                    store, answer = store.applied(running.call, create_only=self._create_only)
                running = running.told(answer)
        return None if store.is_done else f"{len(AFTERWARDS)} undisturbed runs do not bring it to an end"


def _call(running: Running) -> Call:
    assert running.call is not None
    return running.call


def shown(value: Any) -> str:
    """A value as a trace shows it."""
    match value:
        case Upload():
            return f"{value.token}: {shown(value.content)}"
        case Entry():
            return shown(value.rows)
        case Swap():
            return f"{shown(value.known)} by {shown(value.new)}"
        case Slot():
            return f"open: {value.open or 'none'}, last: {value.last or 'none'}"
        case Seal():
            return f"[{', '.join(f'part {number} {shown(rows)}' for number, rows in sorted(value.parts))}]"
        case frozenset() | tuple():
            return f"{{{' '.join(sorted(each if isinstance(each, str) else '/'.join(each) for each in value))}}}"
        case bool():
            return "yes" if value else "no"
        case _:
            return "nothing" if value is None else str(value)
