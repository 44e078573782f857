"""The operator's pages say what the code does, and all of it."""

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import ADVICE, FailReason, SkipReason
from pipeline.exits import EXIT_ADVICE, Exit
from pipeline.guide.operations import BEGIN, END, OPERATORS, TELEMETRY, pages, with_reasons
from pipeline.manifest import Manifest, Range
from pipeline.model import RunKind
from pipeline.progress import Usage
from pipeline.telemetry import EVENTS, KEYS, Event, run_facts, usage_facts

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ADDED_BY_THE_LOGGER = {"event", "level", "timestamp", "dropped_keys"}
NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.parametrize("path", [TELEMETRY, OPERATORS])
def test_the_committed_page_is_the_generated_one(path: str) -> None:
    """After a change of events, keys, metrics, reasons or codes: `make docs`."""
    assert (DOCS / path).read_text(encoding="utf-8") == pages(DOCS)[path]


def test_every_event_is_described_and_written_somewhere() -> None:
    """No event without a meaning, none that nobody writes."""
    assert EVENTS.keys() == set(Event)
    assert {name for name, _ in _logged()} == {event.name for event in Event}


def test_every_key_is_described_and_written_somewhere() -> None:
    """A key that is written and not listed would be dropped in silence; one that nobody writes is no key."""
    written = {key for _, keys in _logged() for key in keys}
    assert written | run_facts(_manifest()).keys() | usage_facts(Usage()).keys() | ADDED_BY_THE_LOGGER == KEYS.keys()


def test_every_reason_and_code_says_what_to_do() -> None:
    """One sentence or two of meaning, and of what to do."""
    assert ADVICE.keys() == {*SkipReason, *FailReason}
    assert EXIT_ADVICE.keys() == set(Exit)
    for advice in (*ADVICE.values(), *EXIT_ADVICE.values()):
        assert advice.meaning.endswith(".")
        assert advice.remedy.endswith(".")


def test_what_is_written_by_hand_stays() -> None:
    """Only the part between the marks is made anew, and a second time changes nothing."""
    made = with_reasons(f"# Mine\n\n{BEGIN}\nold\n{END}\n\nAlso mine\n")
    assert made.startswith("# Mine\n")
    assert made.endswith("\n\nAlso mine\n")
    assert "old" not in made
    assert with_reasons(made) == made


def test_a_page_without_marks_is_refused() -> None:
    """Rather than left behind without its tables."""
    with pytest.raises(ValueError, match="marks"):
        with_reasons("# Mine\n")


def _logged() -> Iterator[tuple[str, list[str]]]:
    """Each event that the product logs, with the keys that stand beside it."""
    for path in ROOT.glob("pipeline/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                events = [name for argument in node.args if (name := _event(argument))]
                for name in events:
                    yield name, [keyword.arg for keyword in node.keywords if keyword.arg is not None]


def _event(node: ast.expr) -> str | None:
    """The name of an event's constant, where the expression is one."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Event":
        return node.attr
    return None


def _manifest() -> Manifest:
    return Manifest(
        run_id="20260302T000000Z-0001",
        kind=RunKind.RUN,
        status="complete",
        window=Range(from_=NOW, to=NOW),
        started_at=NOW,
        finished_at=NOW,
        tool_version="0",
        profile="strict",
        rules_fingerprint="f",
        salt_fingerprint="s",
        schema_versions={},
        datasets={},
        skipped=[],
        failed=[],
    )
