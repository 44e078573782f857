"""How a dataset grows from night to night, as its rules and its source say: what absence and repetition mean."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from connectors.registry import declared
from pipeline.ports import Connector, Learning, Source
from pipeline.sanitize.rules import DatasetRules, built_in_rules

# Graph serves a call for 30 days: what is missing from a later backfill of older days was not deleted.
# https://learn.microsoft.com/graph/api/callrecords-cloudcommunications-list-callrecords (checked 2026-11)
SERVED_FOR: Mapping[str, timedelta] = {
    "teams_call_records": timedelta(days=30),
    "teams_pstn_calls": timedelta(days=30),
    "teams_direct_routing_calls": timedelta(days=30),
}


class Growth(StrEnum):
    """The ways in which a dataset grows."""

    SNAPSHOT = "snapshot"
    OVERLAP = "overlap snapshot"
    CHANGES = "window of changes"
    ARRIVALS = "window"
    FOUND = "what the run points to"


class Deletion(StrEnum):
    """How a reader learns that a record is gone."""

    BY_ABSENCE = "absent from a later run that read its owner's data"
    BY_ABSENCE_IN_OVERLAP = "absent from a later run that read its time again"
    BY_ABSENCE_IN_BACKFILL = "absent from a later backfill, which reads everything again; nightly runs do not tell"
    BY_ROW = "comes as a row with `deletedDateTime`"
    NEVER = "not told"


@dataclass(frozen=True, slots=True)
class Semantics:
    """One dataset from night to night."""

    rules: DatasetRules
    source: Source
    growth: Growth

    @property
    def dataset(self) -> str:
        return self.rules.dataset

    @property
    def deletion(self) -> Deletion:
        if self.growth is Growth.SNAPSHOT:
            return Deletion.BY_ABSENCE
        if self.growth is Growth.OVERLAP:
            return Deletion.BY_ABSENCE_IN_OVERLAP
        if any(rule.path == "deletedDateTime" for rule in self.rules.fields):
            return Deletion.BY_ROW
        # A chat belongs to nobody: absent may mean that no reader is in it any more.
        if self.source.from_beginning and self.rules.owner is not None:
            return Deletion.BY_ABSENCE_IN_BACKFILL
        return Deletion.NEVER


def all_semantics() -> list[Semantics]:
    """Of every dataset of the product, connector by connector."""
    rules = built_in_rules()
    connectors = declared({dataset: rule_set.select("psoxy") for dataset, rule_set in rules.items()})
    return [
        Semantics(rule_set, source, _growth(source, _served(connectors)))
        for connector in connectors
        for rule_set in rules.values()
        for source in connector.sources
        if source.dataset == rule_set.dataset
    ]


def _served(connectors: Iterable[Connector]) -> Collection[str]:
    """The datasets that are read only where others pointed to something."""
    learning = [connector for connector in connectors if isinstance(connector, Learning)]
    return {dataset for connector in learning for learner in connector.learners for dataset in learner.serves}


def _growth(source: Source, served: Collection[str]) -> Growth:
    if source.dataset in served:
        return Growth.FOUND
    if not source.windowed:
        return Growth.SNAPSHOT
    if source.overlap:
        return Growth.OVERLAP
    return Growth.CHANGES if len(source.instants) > 1 else Growth.ARRIVALS
