"""The run in virtual time: what Microsoft allows is kept, and docs/scaling.md says what comes out. To write its table
after a wanted change, in a minute:

python -m tests.unit.test_simulation
"""

from pathlib import Path

import pytest

from config.model import Limits
from connectors.assumed_tenant import NIGHTLY
from connectors.graph.budgets import Budgets
from connectors.graph.pacing import BudgetPacing
from connectors.graph.traffic import MEETING_TRAFFIC, mailbox_traffic
from connectors.graph.virtual_run import REQUEST_S, Job, VirtualRun
from pipeline.access import simulated_run
from pipeline.cli.forecast import duration_text
from pipeline.cli.simulate import rows

SCALING = Path(__file__).parents[2] / "docs" / "scaling.md"


def virtual_run(*, workers: int = 1, principals_in_flight: int = 32) -> VirtualRun:
    return VirtualRun(budgets=Budgets(), workers=workers, principals_in_flight=principals_in_flight)


def test_a_limit_of_the_tenant_holds_any_number_of_workers() -> None:
    """Twenty a second, less the margin, whoever asks; and the limit is named."""
    phases = [virtual_run(workers=n).phase("x", ([Job(MEETING_TRAFFIC, 3)] for _ in range(2_000))) for n in (1, 16)]
    for phase in phases:
        assert phase.seconds == pytest.approx(6_000 / (20 * 0.96), rel=0.15)
        assert (phase.limit, phase.requests) == ("meeting", 6_000)


def test_mailboxes_are_waited_for_where_nothing_else_holds() -> None:
    """Eight at a time need an eighth of the time of all answers."""
    jobs = ([Job(mailbox_traffic(str(number)), 1)] for number in range(800))
    phase = virtual_run(principals_in_flight=8).phase("x", jobs)
    assert phase.seconds == pytest.approx(800 * REQUEST_S / 8)
    assert phase.limit == "mailboxes in flight"


def test_pacing_says_what_each_limit_takes() -> None:
    """By the same paces as a run: a thousand lookups of meetings at twenty a second."""
    seconds = BudgetPacing(Budgets(), lanes=128).seconds({MEETING_TRAFFIC.kind: 1_000}, answer_s=0.1)
    assert seconds["meeting"] == pytest.approx(1_000 / (20 * 0.96), rel=0.15)
    assert seconds["meetings in flight"] == pytest.approx(1_000 * 0.1 / 8)


def test_the_night_of_mail_and_calendar_is_as_documented() -> None:
    """One line of the table in docs/scaling.md; a long test compares the others."""
    phases = simulated_run(Limits(), NIGHTLY, workers=1, breadth="mail and calendar")
    seconds, requests = (sum(getattr(phase, name) for phase in phases) for name in ("seconds", "requests"))
    assert f"| nightly | mail and calendar | 1 | {requests:,.0f} | {duration_text(seconds)} |" in SCALING.read_text()


@pytest.mark.long
def test_the_documented_table_is_what_the_simulation_gives() -> None:
    """Every line of docs/scaling.md."""
    assert simulated_table() == table_of(SCALING.read_text())


def table_of(page: str) -> str:
    """Its lines of numbers, which stand together."""
    return "".join(line for line in page.splitlines(keepends=True) if line.startswith(("| nightly", "| one year")))


def simulated_table() -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in rows(Limits()))


if __name__ == "__main__":
    page = SCALING.read_text(encoding="utf-8")
    SCALING.write_text(page.replace(table_of(page), simulated_table()), encoding="utf-8")
