"""Who is read at all, learnt from some and taken to be so of all."""

from collections import Counter

import pytest

from pipeline.admission import Admission
from pipeline.errors import DatasetDenied, FailReason, UnitFailed
from pipeline.estimate import Observation, Stratum
from pipeline.metering import told
from pipeline.model import Principal, PrincipalKind
from pipeline.ports import RequestKind

KIND = RequestKind("directory")
TEAMS = [Principal(PrincipalKind.TEAM, f"{number:03}") for number in range(100)]


class Door:
    """Admits every fourth; counts who asked."""

    def __init__(self) -> None:
        self.asked: Counter[Principal] = Counter()

    async def admits(self, principal: Principal) -> bool:
        told(KIND, seconds=0.1)
        self.asked[principal] += 1
        return int(principal.id) % 4 == 0


def admission(door: Door) -> Admission:
    return Admission(TEAMS, door.admits, datasets=["teams_teams"], offset=0.3)


async def test_some_are_asked_and_stand_for_all() -> None:
    """As many as may be, spread evenly; a stratum takes a quarter of what it would take, within its own range."""
    door = Door()
    some = admission(door)
    await some.ask_some(requests=40, at_once=8)
    assert sum(door.asked.values()) == len(door.asked) == 40
    stratum = Stratum("teams_teams", 100, [Observation({KIND: 3}, 5, 1)] * 4)
    some.tell([stratum])
    assert abs(stratum.total - 75) <= 2 * stratum.deviation() < 75
    assert some.asking.total == 100


async def test_nobody_is_asked_twice() -> None:
    """Nor is anything uncertain once everybody was asked."""
    door = Door()
    all_of_them = admission(door)
    assert await all_of_them.admits(TEAMS[4])
    assert not await all_of_them.admits(TEAMS[5])
    assert not all_of_them.may_admit(TEAMS[5])
    await all_of_them.ask_some(requests=1_000, at_once=8)
    assert set(door.asked.values()) == {1}
    stratum = Stratum("teams_teams", 100)
    all_of_them.tell([stratum])
    assert (stratum.share, stratum.share_deviation) == (0.25, 0)


async def test_whoever_cannot_be_asked_is_not_read() -> None:
    """As in a run; where nobody may be asked, nothing is read of anybody."""

    async def fails(_principal: Principal) -> bool:
        raise UnitFailed(FailReason.SERVICE_ERROR)

    async def denied(_principal: Principal) -> bool:
        raise DatasetDenied(needs=("GroupMember.Read.All",))

    broken, closed = (Admission(TEAMS, ask, datasets=["teams_teams"], offset=0) for ask in (fails, denied))
    assert not await broken.admits(TEAMS[0])
    assert broken.may_admit(TEAMS[1])
    await closed.ask_some(requests=1_000, at_once=1)
    stratum = Stratum("teams_teams", 100, [Observation({KIND: 3}, 5, 1)])
    closed.tell([stratum])
    assert (stratum.refused, stratum.total) == ("permission", 0)
    assert not closed.may_admit(TEAMS[1])


@pytest.mark.parametrize("requests", [0, 0.5])
async def test_without_requests_to_spare_nobody_is_asked(requests: float) -> None:
    """Everybody is then taken to be read."""
    door = Door()
    none = admission(door)
    await none.ask_some(requests=requests, at_once=8)
    stratum = Stratum("teams_teams", 100)
    none.tell([stratum])
    assert (door.asked, stratum.share) == (Counter(), 1.0)
