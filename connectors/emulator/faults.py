"""Faults on demand: which requests go wrong, in which way, how often.

A fault file is a YAML list; each entry has the fields of `Fault`, all optional:

    - kind: messages           # or: users, calendarView, chatMessages, token, ... ; any kind when left out
      mailbox: 0a1b...         # user id
      path: "*/messages*"      # glob over the path without its query, in lower case
      after: 2                 # let so many matching requests pass first
      every: 10                # then hit only each tenth
      times: 3                 # so often at most; for ever when left out
      from_s: 30               # not in the first seconds after the rules came into force
      until_s: 90              # and no longer than so; an outage that ends
      page_above: 100          # only pages asked for with more items than this
      item: AAMk...            # effect poison: only pages that would hold this record
      status: 429
      retry_after: 5           # or "date:5" (HTTP date), "120,120", "2.5"; none when left out
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml


class Effect(StrEnum):
    """What happens to the request."""

    ANSWER = "answer"  # an error answer with `status`, `code`, `message`, `retry_after`, `body`
    RESET = "reset"  # the connection is cut before any header
    RESET_BODY = "reset_body"  # the connection is cut in the middle of the body
    TRUNCATE = "truncate"  # 200 with half of the JSON
    CONTROL_CHARACTER = "control_character"  # 200 with a raw control character inside a string
    HTML = "html"  # 200 with a page of some proxy
    SLOW = "slow"  # the proper answer after `seconds`
    SLOW_BODY = "slow_body"  # half of the proper answer at once, the rest after `seconds`
    HOLD = "hold"  # the proper answer when the test says so (Emulator.release)
    CLOSE = "close"  # the proper answer, then the connection is closed
    FOREIGN_LINK = "foreign_link"  # the next link points to another host
    BROKEN_LINK = "broken_link"  # the next link has lost the user id
    LOST_LINK = "lost_link"  # the next link is left out, although more follows
    NEW_PROPERTY = "new_property"  # every record carries a property nobody knows, at every depth
    POISON = "poison"  # 500 ErrorCorruptData for a page that would hold `item`; others are answered
    EMPTY_PAGE = "empty_page"  # a page without records, and a next link to what it should have held


class Body(StrEnum):
    """What an error answer holds."""

    JSON = "json"
    EMPTY = "empty"
    HTML = "html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One rule; see the module for the fields that choose requests."""

    kind: str | None = None
    mailbox: str | None = None
    path: str | None = None
    after: int = 0
    every: int = 1
    times: int | None = None
    from_s: float = 0.0
    until_s: float | None = None
    page_above: int | None = None
    item: str | None = None
    effect: Effect = Effect.ANSWER
    status: int = 503
    code: str = "ServiceUnavailable"
    message: str = "The service is temporarily unavailable."
    retry_after: str | int | float | None = None
    body: Body = Body.JSON
    seconds: float = 0.0


class FaultError(ValueError):
    """A fault list that cannot be read; says which entry and which field."""


class Faults:
    """The rules in force; the first that matches a request decides."""

    def __init__(self, rules: Iterable[Fault] = (), *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.replace(rules)

    def replace(self, rules: Iterable[Fault]) -> None:
        """New rules, with new counts."""
        self._rules = tuple(rules)
        self._since = self._monotonic()
        self._seen = [0] * len(self._rules)
        self._hit = [0] * len(self._rules)

    def clear(self) -> None:
        """No faults any more."""
        self.replace(())

    def strike(self, *, kind: str, path: str, mailbox: str | None, page: int | None = None) -> Fault | None:
        """The fault that befalls this request, if any; counts it. `page`: the items it asks for, where it says so."""
        age = self._monotonic() - self._since
        for number, rule in enumerate(self._rules):
            if age < rule.from_s or (rule.until_s is not None and age >= rule.until_s):
                continue
            if not _matches(rule, kind=kind, path=path, mailbox=mailbox, page=page):
                continue
            self._seen[number] += 1
            due = self._seen[number] > rule.after and (self._seen[number] - rule.after - 1) % rule.every == 0
            if due and (rule.times is None or self._hit[number] < rule.times):
                self._hit[number] += 1
                return rule
        return None


def load_faults(path: Path) -> Faults:
    """The rules of a YAML file. Raises FaultError."""
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FaultError("not YAML") from error
    return Faults(parse_faults(entries or []))


def parse_faults(entries: Any) -> list[Fault]:
    """Rules from plain data. Raises FaultError."""
    if not isinstance(entries, list):
        raise FaultError("a fault file is a list")
    return [_parse(number, entry) for number, entry in enumerate(entries)]


def _parse(number: int, entry: Any) -> Fault:
    if not isinstance(entry, dict):
        raise FaultError(f"[{number}]: an entry is a mapping")
    known = {field.name for field in fields(Fault)}
    for name in entry:
        if name not in known:
            raise FaultError(f"[{number}].{name}: no such field; there are {', '.join(sorted(known))}")
    try:
        rule = Fault(**entry)
        return replace(rule, effect=Effect(rule.effect), body=Body(rule.body))
    except ValueError as error:
        raise FaultError(f"[{number}]: {error}") from error


def _matches(rule: Fault, *, kind: str, path: str, mailbox: str | None, page: int | None) -> bool:
    return (
        (rule.kind is None or rule.kind == kind)
        and (rule.mailbox is None or rule.mailbox == mailbox)
        and (rule.path is None or fnmatchcase(path.lower(), rule.path.lower()))
        and (rule.page_above is None or (page is not None and page > rule.page_above))
    )
