"""Raw pages to sanitized rows by an operator's rules file: the row engine in the place of the compiled one.

Each record is sanitized as if it were alone in its page, then put into the columns of the dataset. What has no column
does not leave. A value that does not fit its column (a token where a number belongs) is dropped and counted by path.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from pipeline.model import Window
from pipeline.ports import RowFilter
from pipeline.sanitize.columnar import Cleaned, UnreadablePage
from pipeline.sanitize.columns import Node, output_schema, property_tree
from pipeline.sanitize.ledger import FieldLedger, Seen
from pipeline.sanitize.operator_rules import OperatorDataset
from pipeline.sanitize.record_rules import (
    NOT_AN_OBJECT,
    Rejected,
    Row,
    belongs,
    decode_record,
    key_path,
    require_key,
    split_array,
    value_of_type,
)
from pipeline.sanitize.rules import Profile
from pipeline.sanitize.unit_rows import once_per_key


@dataclass(slots=True)
class _Batch:
    rows: list[Row] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    unfit: Counter[str] = field(default_factory=Counter)
    elsewhere: int = 0


class OperatorSanitizer:
    """Applies an operator's rules file to pages of one dataset. Safe to use from several threads."""

    def __init__(self, dataset: OperatorDataset, *, profile: Profile, instants: Sequence[str] = ()) -> None:
        """`instants` are the paths that place a record in a window."""
        self.schema = output_schema(dataset.rules)
        self._dataset = dataset
        self._instants = tuple(instants)
        self._tree = property_tree(dataset.rules.fields)
        self._key = key_path(dataset.rules)
        self._ledger = FieldLedger(dataset.rules, profile=profile)

    def clean(
        self,
        pages: Sequence[bytes],
        *,
        window: Window | None = None,
        row_filter: RowFilter | None = None,
        scan: bool = False,
    ) -> Cleaned:
        """Rows of the records that lie in `window` and pass `row_filter`, in the order of the pages.

        Raises:
            UnreadablePage: a page is no JSON array of records.
        """
        batch = _Batch()
        for text in _split(pages):
            try:
                self._add(text, batch, window, row_filter)
            except Rejected as rejection:
                batch.rejected[rejection.reason] += 1
        scanned = self._ledger.scan_pages(pages) if scan else Seen()
        seen = Seen(scanned.counts + batch.unfit, scanned.records)
        rows = pa.Table.from_pylist(batch.rows, schema=self.schema)
        return Cleaned(rows, batch.rejected, seen, elsewhere=batch.elsewhere)

    def whole(self, batches: Sequence[pa.Table]) -> pa.Table:
        """The rows of a unit, each key once: the one read last."""
        return once_per_key(batches, schema=self.schema, key=self._dataset.rules.key)

    def _add(self, text: bytes, batch: _Batch, window: Window | None, row_filter: RowFilter | None) -> None:
        record = decode_record(text)
        if not isinstance(record, dict):
            raise Rejected(NOT_AN_OBJECT)
        require_key(record, self._key)
        if not belongs(record, instants=self._instants, window=window, row_filter=row_filter):
            batch.elsewhere += 1
            return
        sanitized = self._dataset.engine.sanitize_records(self._dataset.endpoint, [record])
        batch.rejected.update({str(reason): count for reason, count in sanitized.rejected.items()})
        for row in sanitized.rows:
            if not isinstance(row, dict):
                raise Rejected(NOT_AN_OBJECT)
            require_key(row, self._key)
            batch.rows.append(_members(self._tree, row, batch.unfit))


def _split(pages: Sequence[bytes]) -> list[bytes]:
    try:
        return [record for page in pages for record in split_array(page)]
    except ValueError:
        raise UnreadablePage("a page is no JSON array") from None


def _members(node: Node, value: Row, unfit: Counter[str]) -> Row:
    return {name: _fit(child, value.get(name), unfit, name) for name, child in node.children.items()}


def _fit(node: Node, value: Any, unfit: Counter[str], path: str) -> Any:
    """The value as its column holds it; None, counted, where it does not fit."""
    if value is None:
        return None
    if node.many:
        item = Node(node.name, rule=node.rule, children=node.children)
        if isinstance(value, list):
            return [_fit(item, each, unfit, f"{path}[]") for each in value]
    elif node.rule is not None:
        try:
            return value_of_type(node.rule.type, value)
        except Rejected:
            path = node.rule.path
    elif isinstance(value, dict):
        return {name: _fit(child, value.get(name), unfit, f"{path}.{name}") for name, child in node.children.items()}
    unfit[path] += 1
    return None
