"""The pages that are written from the code say what the product does."""

from pathlib import Path

import pytest

from pipeline.guide.__main__ import pages
from pipeline.guide.semantics import Deletion, Growth, all_semantics
from pipeline.sanitize.rules import built_in_rules

DOCS = Path(__file__).parents[2] / "docs"
FILES = pages(DOCS)


@pytest.mark.parametrize("path", FILES)
def test_the_committed_page_is_the_generated_one(path: str) -> None:
    """After a change of rules, connectors, settings or options: `make docs`."""
    assert (DOCS / path).read_text(encoding="utf-8") == FILES[path]


def test_no_generated_page_is_left_over() -> None:
    """Of a dataset that is gone."""
    assert {f"queries/current/{path.name}" for path in (DOCS / "queries/current").iterdir()} <= FILES.keys()


def test_every_dataset_and_column_is_described() -> None:
    """Each leaf with its treatments, in the section of its dataset."""
    page = FILES["datasets.md"]
    for dataset, rules in built_in_rules().items():
        section = page.partition(f"\n## {dataset}\n")[2].partition("\n## ")[0]
        lines = [line for line in section.splitlines() if line.startswith("| `")]
        assert [line.split("`")[1] for line in lines] == [rule.path for rule in rules.fields]
        assert all(line.count(" | ") == 5 for line in lines), "a cell holds a bar"
        assert rules.source in section


def test_how_each_dataset_grows() -> None:
    """As its connector reads it, and what absence means then."""
    grown = {each.dataset: (each.growth, each.deletion) for each in all_semantics()}
    snapshot = (Growth.SNAPSHOT, Deletion.BY_ABSENCE)
    overlap = (Growth.OVERLAP, Deletion.BY_ABSENCE_IN_OVERLAP)
    found = (Growth.FOUND, Deletion.NEVER)
    assert grown == {
        "entra_users": snapshot,
        "entra_groups": snapshot,
        "entra_group_members": snapshot,
        "mailbox_settings": snapshot,
        "mail_messages": (Growth.ARRIVALS, Deletion.NEVER),
        "mail_contacts": (Growth.CHANGES, Deletion.BY_ABSENCE_IN_BACKFILL),
        "calendar_events": overlap,
        "teams_teams": snapshot,
        "teams_channels": snapshot,
        "teams_channel_messages": (Growth.CHANGES, Deletion.BY_ROW),
        "teams_chats": (Growth.CHANGES, Deletion.NEVER),
        "teams_chat_messages": (Growth.CHANGES, Deletion.BY_ROW),
        "teams_call_records": overlap,
        "teams_pstn_calls": overlap,
        "teams_direct_routing_calls": overlap,
        "teams_online_meetings": found,
        "teams_attendance_reports": found,
    }
