"""The benchmarks work, at sizes that mean nothing; `make bench` measures."""

import gzip
import json
import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import collector, end_to_end, nightly, page, size
from benchmarks.__main__ import main
from benchmarks.answers import Answers, Scene
from benchmarks.results import Answer, Claim, Results, line
from benchmarks.workloads import METADATA_MAIL


@pytest.mark.slow
@pytest.mark.parametrize("question", ["contenders", "sanitize", "regression"])
def test_a_question_is_answered(question: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever takes part has done the whole job, which the benchmark itself asserts; figures are above zero."""
    figures = answered(question, capsys)

    assert figures
    assert all(figure > 0 for figure in figures)


@pytest.mark.slow
def test_the_cost_of_guard_and_ledger_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a difference of two times, which at this size may well be nothing or less."""
    assert answered("guard", capsys)


def answered(question: str, capsys: pytest.CaptureFixture[str]) -> list[float]:
    """Every figure of the table that is printed."""
    main(["--quick", "--only", question])

    rows = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\| [\w`]", line)]
    return [float(cell.replace(",", "")) for row in rows for cell in row.strip("| ").split(" | ")[1:]]


@pytest.mark.slow
def test_the_collector_is_measured_in_three_settings() -> None:
    """Off is off; as Python does, it is so busy that even a small export shows it."""
    _, usual, off = collector.measure(quick=True).lines
    heading = "% of it in the collector"
    assert off[heading] == 0 < usual[heading]


def test_memory_that_grows_all_the_time_is_seen() -> None:
    """The first fifth does not count: caches fill."""
    assert collector.halves([0, 0, 100, 100, 100, 100, 100, 100, 100, 100]) == (100, 100)
    earlier, later = collector.halves([float(each) for each in range(100)])
    assert later > 1.4 * earlier


@pytest.mark.slow
def test_every_workload_is_exported_whole() -> None:
    """Mail, bodies, events, chats: as many rows as were served."""
    assert [each.name.partition(",")[0] for each in end_to_end.measure(quick=True).lines] == [
        "metadata mail",
        "metadata mail in `psoxy`",
        "mail with bodies",
        "events",
        "chats",
    ]


@pytest.mark.slow
def test_a_night_and_all_sizes_are_measured() -> None:
    """Idle mailboxes over HTTPS and in process, chats, and a night in which few got mail."""
    assert len(size.measure(quick=True).lines) == 5
    assert "80 rows" in nightly.measure(quick=True).text


def test_a_mailbox_serves_its_pages_once_each() -> None:
    """Following the links gives as many records as the count says, and an idle mailbox says that it has none."""
    sizes = {"page_items": 4, "pages": 3, "stock": 6, "users": 20}
    answers = Answers(Scene(workload=METADATA_MAIL.name, mailboxes=2, busy_every=2, sizes=sizes))
    busy, idle = re.findall(rb'"id": "([^"]+)"', answers.to("/v1.0/users", {}).body)

    assert follow(answers, f"/v1.0/users/{busy.decode()}/messages?$count=true&$top=3") == (12, 12)
    assert follow(answers, f"/v1.0/users/{idle.decode()}/messages?$count=true&$top=3") == (0, 0)


def follow(answers: Answers, link: str) -> tuple[int, int]:
    """How many different records there are behind a link and those after it, and how many the first page counted."""
    pages: list[dict[str, Any]] = []
    while link:
        answer = answers.to(link, {})
        pages.append(json.loads(gzip.decompress(answer.body) if answer.is_packed else answer.body))
        link = pages[-1].get("@odata.nextLink", "")
    return len({record["id"] for page in pages for record in page["value"]}), pages[0]["@odata.count"]


def test_results_are_laid_out_as_table_and_drawing() -> None:
    """A row for each line with median and spread, a bar for each, and what is claimed with its verdict."""
    rounds = [{"rows / CPU s": rate} for rate in (900.0, 1_000.0, 1_200.0)]
    answer = Answer("How fast?", "Over <HTTP>.", [line("mail & more", rounds)], [Claim("fast", "1,000", holds=False)])
    results = Results("2026-03-02", "abc", "a machine", "Python", {"end_to_end": answer})

    table, drawing = page.tables(results), page.drawing(results)

    assert "| mail & more | 1,000 (900–1,200) |" in table
    assert "fast: 1,000, **does not hold**" in table
    shapes = ET.fromstring(drawing)
    assert len(shapes.findall(".//{http://www.w3.org/2000/svg}rect")) == 1
