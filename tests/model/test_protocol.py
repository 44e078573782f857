"""No order of deaths, pauses, lost replies and late calls loses a unit or shows it twice.

Without any one of the safeguards some order does.
What is searched is exhaustive within its budget. A failing test prints the shortest way to the broken promise.
"""

import pytest

from tests.model.protocol import Safeguard
from tests.model.search import Found, search
from tests.model.world import Budget, State, World

ALL = frozenset(Safeguard)
MOST_STATES = 2_000_000
LARGE = (pytest.mark.slow, pytest.mark.timeout(400))


def searched(safeguards: frozenset[Safeguard], budget: Budget) -> Found[State]:
    world = World(safeguards)
    return search(world.begin(budget), world.successors, world.violation, most=MOST_STATES)


@pytest.mark.parametrize(
    "budget",
    [
        pytest.param(Budget(handovers=1, late=2, retries=1, failures=1), id="one handover, and a lost reply"),
        pytest.param(Budget(handovers=2, late=2, retries=0, failures=1), id="two handovers"),
        pytest.param(Budget(handovers=1, late=99, retries=0, failures=1), id="one handover, and awake for long"),
        pytest.param(Budget(handovers=2, late=1, retries=1, failures=1), id="everything", marks=LARGE),
    ],
)
def test_with_all_safeguards_no_promise_can_be_broken(budget: Budget) -> None:
    """Every state within the budget is seen, and undisturbed runs bring each of them to its end."""
    found = searched(ALL, budget)

    assert found.violation is None, str(found)
    assert found.states > 40_000, "the search has to reach something"


@pytest.mark.parametrize("missing", Safeguard)
def test_without_any_one_safeguard_a_promise_can_be_broken(missing: Safeguard) -> None:
    """So each of them is needed, and the search is able to notice."""
    found = searched(ALL - {missing}, Budget(handovers=1, late=3, retries=1, failures=1))

    assert found.violation is not None, f"{missing} seems to be redundant: {found}"
    assert found.trace, "nothing has happened yet, so nothing can be wrong"
