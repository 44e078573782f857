"""One Graph answer sanitized with the built-in rules, as JSON: to look at what would leave, before anything does.

What comes out is what the export would write, in the members' old order: properties that stay behind are left out,
instants are in UTC, of the envelope only `value` stays. A pseudonym in the place of an identifier means that the answer
was sanitized before; it is refused, because a hash of a hash joins with nothing.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from config.instants import format_instant
from pipeline.sanitize.columns import Node, property_tree
from pipeline.sanitize.ledger import fate_of
from pipeline.sanitize.record_rules import RecordRules, Rejected, Row
from pipeline.sanitize.rules import DatasetRules, Profile
from pipeline.sanitize.treatments import Treatments

ALREADY_PSEUDONYMIZED = "already_pseudonymized"

_PSEUDONYM = re.compile(r'(?<![A-Za-z0-9])[tp]~[A-Za-z0-9_-]{43}|"hash":"[A-Za-z0-9_-]{43}"')


@dataclass(frozen=True, slots=True)
class Preview:
    """What an answer looks like sanitized, and how many of its records could not be, by reason."""

    document: object
    rejected: Counter[str] = field(default_factory=Counter)


class Previewer:
    """Sanitizes answers that hold records of one dataset."""

    def __init__(self, rules: DatasetRules, *, profile: Profile, treatments: Treatments) -> None:
        self._rules = RecordRules(rules, profile=profile, treatments=treatments)
        self._tree = property_tree(rules.read_fields(profile))
        self._profile = profile

    def sanitize(self, document: dict[str, Any]) -> Preview:
        """A page of records, or one.

        Raises:
            Rejected: it is one record and cannot be sanitized, or it was sanitized before.
        """
        records = document.get("value")
        if not isinstance(records, list):
            return Preview(self._row(document))
        rejected: Counter[str] = Counter()
        rows = []
        for record in records:
            try:
                rows.append(self._row(record))
            except Rejected as rejection:
                if rejection.reason == ALREADY_PSEUDONYMIZED:
                    raise
                rejected[rejection.reason] += 1
        return Preview({"value": rows}, rejected)

    def _row(self, record: object) -> Row:
        row = self._rules.row_of(record)
        if row is None or not isinstance(record, dict):
            raise AssertionError("without window and filter every object is a row")
        for name, node in self._tree.children.items():
            self._refuse_pseudonyms(node, record.get(name))
        return _in_order(self._tree, record, row)

    def _refuse_pseudonyms(self, node: Node, value: Any) -> None:
        if isinstance(value, list):
            for item in value:
                self._refuse_pseudonyms(node, item)
        elif isinstance(value, dict):
            for name, child in node.children.items():
                self._refuse_pseudonyms(child, value.get(name))
        elif isinstance(value, str) and _PSEUDONYM.search(value) and self._makes_pseudonyms(node):
            raise Rejected(ALREADY_PSEUDONYMIZED)

    def _makes_pseudonyms(self, node: Node) -> bool:
        return node.rule is not None and fate_of(node.rule, self._profile) == "pseudonymized"


def _in_order(node: Node, record: Row, row: Row) -> Row:
    """The members of `row` that were in the record, in the record's order."""
    return {
        name: _shown(child, record[name], row[name])
        for name in record
        if (child := node.children.get(name)) is not None
    }


def _shown(node: Node, raw: Any, value: Any) -> Any:
    if value is None:
        return None
    if node.many:
        item = Node(node.name, rule=node.rule, children=node.children)
        return [_shown(item, *pair) for pair in zip(raw, value, strict=True)]
    if node.rule is None:
        return _in_order(node, raw, value)
    if isinstance(value, datetime):
        return format_instant(value)
    return value.isoformat() if isinstance(value, date) else value
