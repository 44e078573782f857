"""Pages for the operator, from the code's own tables: `docs/telemetry.md`, and a part of `docs/operators.md`.

No event, key, metric, reason or code is described that does not exist, and none exists that is not described.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.errors import ADVICE, Advice, FailReason, SkipReason
from pipeline.exits import EXIT_ADVICE
from pipeline.metrics.table import METRICS
from pipeline.telemetry import EVENTS, KEYS

TELEMETRY = "telemetry.md"
OPERATORS = "operators.md"
BEGIN, END = "<!-- made by `make docs` from here -->", "<!-- to here -->"


def pages(folder: Path) -> dict[str, str]:
    """Path below `folder` and text of each page; of a page written by hand, the part between the marks is made anew."""
    operators = (folder / OPERATORS).read_text(encoding="utf-8")
    return {TELEMETRY: telemetry_page(), OPERATORS: with_reasons(operators)}


def telemetry_page() -> str:
    """Events, keys and metrics."""
    return "\n".join(
        [
            "# Log lines and metrics",
            "",
            "Made from the code by `make docs`; a test compares. How to switch them on: [operators.md](operators.md).",
            "",
            "## Events",
            "",
            "One line an event on stderr, JSON where stderr is no terminal (`--log-format`). Principals appear as",
            "pseudonyms; no line holds a field value, an address of Graph, or a token.",
            "",
            *_table(("event", "meaning"), ((f"`{event}`", meaning) for event, meaning in EVENTS.items())),
            "",
            "## Keys",
            "",
            "A key that is not listed here is dropped from the line and counted in `dropped_keys`.",
            "",
            *_table(("key", "meaning"), ((f"`{key}`", KEYS[key]) for key in sorted(KEYS))),
            "",
            "## Metrics",
            "",
            "Every sample also has the label `kind`: `run` or `backfill`. Counters begin at 0 with each command.",
            "",
            *_table(
                ("metric", "type", "unit", "labels", "meaning"),
                (
                    (
                        f"`{each.name}`",
                        each.type,
                        each.unit,
                        ", ".join(f"`{label}`" for label in each.labels),
                        each.meaning,
                    )
                    for each in METRICS
                ),
            ),
            "",
        ]
    )


def with_reasons(page: str) -> str:
    """`page` with the tables of exit codes and reasons between its marks.

    Raises:
        ValueError: the page has no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{OPERATORS}: the marks are gone between which the tables stand")
    codes = {f"{int(code)}": advice for code, advice in EXIT_ADVICE.items()}
    made = [
        "",
        "### Exit codes",
        "",
        *_advice("exit", codes),
        "",
        "### Reasons of skips",
        "",
        "Expected; a run that has no other trouble is complete.",
        "",
        *_advice("reason", {f"`{reason}`": ADVICE[reason] for reason in SkipReason}),
        "",
        "### Reasons of failures",
        "",
        "Any of them makes a run partial (exit 4). What failed keeps its watermark, so the next run tries it again.",
        "",
        *_advice("reason", {f"`{reason}`": ADVICE[reason] for reason in FailReason}),
        "",
    ]
    return before + begin + "\n".join(["", *made]) + end + after


def _advice(heading: str, advice: Mapping[str, Advice]) -> list[str]:
    lines = ((name, each.meaning, each.remedy) for name, each in advice.items())
    return _table((heading, "meaning", "what to do"), lines)


def _table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    return [_line(headings), "|" + "---|" * len(headings), *(_line(line) for line in lines)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
