"""How units are partition among workers."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.model import Principal, PrincipalKind, Unit
from pipeline.workers.partition import LARGEST, partition


def principals(sizes: list[int]) -> list[list[Unit]]:
    return [
        [Unit(f"dataset-{index}", Principal(PrincipalKind.USER, str(place))) for index in range(size)]
        for place, size in enumerate(sizes)
    ]


@given(st.lists(st.integers(0, 40), max_size=200), st.integers(1, 40))
def test_every_unit_is_in_one_group_and_no_principal_in_two(sizes: list[int], slots: int) -> None:
    """Whatever the sizes: nothing is left out, nothing partition that belongs to one principal."""
    given_ = principals(sizes)
    groups = partition(given_, slots=slots)
    assert sorted(units[0].principal.id for group in groups for units in group) == sorted(
        units[0].principal.id for units in given_ if units
    )
    assert sum(len(units) for group in groups for units in group) == sum(sizes)


def test_groups_shrink_towards_the_end() -> None:
    """The last groups are small, so that nobody waits long for the slowest; none is larger than a death may cost."""
    groups = partition(principals([6] * 20_000), slots=8)
    weights = [sum(map(len, group)) for group in groups]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] == LARGEST // 6 * 6
    assert weights[-1] < 20
    assert len(groups) < 150


def test_few_principals_still_keep_every_lane_busy() -> None:
    """A small tenant is not put into one worker's hands."""
    assert len(partition(principals([6] * 24), slots=6)) >= 12
