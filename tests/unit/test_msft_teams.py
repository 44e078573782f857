"""The Teams connector: what its parts learn is kept and reported together."""

from collections.abc import Sequence

import pytest

from connectors.msft_teams import TeamsConnector
from pipeline.errors import DatasetDenied, FailReason, SkipReason, SourceRefused, UnitFailed, UnitSkipped
from pipeline.model import Principal, PrincipalKind
from pipeline.ports import Preparation, Source
from tests.harness import SmallSource, SmallTenant

USER = Principal(PrincipalKind.USER, "u")


class Part:
    """A part of one dataset, which skips every user."""

    name = "msft-teams"

    def __init__(
        self,
        dataset: str,
        *,
        error: Exception | None = None,
        memory: bytes | None = None,
        found: Sequence[Principal] = (),
    ) -> None:
        self.sources: Sequence[Source] = [SmallSource(SmallTenant([], {}), dataset, PrincipalKind.USER)]
        self.recalled: list[bytes | None] = []
        self._dataset = dataset
        self._error = error
        self._memory = memory
        self._found = found

    async def prepare(self, users: Sequence[Principal], *, saved: bytes | None) -> Preparation:
        self.recalled.append(saved)
        if self._error is not None:
            raise self._error
        skipped = UnitSkipped(SkipReason.OUT_OF_SCOPE)
        failed = {(self._dataset, user): skipped for user in users}
        return Preparation(saved=self._memory, failed=failed, principals=self._found)


@pytest.mark.parametrize("error", [DatasetDenied(needs=("Chat.Read.All",)), SourceRefused("No", remedy="Grant it")])
async def test_a_refused_part_denies_its_own_datasets_only(error: Exception) -> None:
    """Channels are read although chats may not be."""
    teams = TeamsConnector({"chats": Part("teams_chats", error=error), "channels": Part("teams_channels")})
    prepared = await teams.prepare([USER], saved=None)
    assert list(prepared.denied) == ["teams_chats"]
    assert prepared.denied["teams_chats"].reason is FailReason.PERMISSION
    assert list(prepared.failed) == [("teams_channels", USER)]


async def test_a_refused_part_stays_refused_when_the_run_goes_on() -> None:
    """Its roster would name other readers than the first attempt's."""
    error = UnitFailed(FailReason.SERVICE_ERROR, code="500")
    first = await TeamsConnector(
        {"a": Part("teams_chats", error=error), "b": Part("teams_teams", memory=b"1")}
    ).prepare([], saved=None)
    healed = Part("teams_chats", memory=b"2")
    again = await TeamsConnector({"a": healed, "b": Part("teams_teams", memory=b"1")}).prepare([], saved=first.saved)
    assert healed.recalled == []
    assert str(again.denied["teams_chats"]) == str(error)


async def test_what_parts_find_is_found_by_the_connector() -> None:
    """The teams."""
    team = Principal(PrincipalKind.TEAM, "t")
    teams = TeamsConnector({"a": Part("teams_teams", found=[team]), "b": Part("teams_chats")})
    assert (await teams.prepare([], saved=None)).principals == [team]


async def test_every_part_gets_back_what_it_saved() -> None:
    """Also where another part saves nothing."""
    parts = {"a": Part("teams_chats", memory=b"1"), "b": Part("teams_teams"), "c": Part("teams_channels", memory=b"3")}
    teams = TeamsConnector(parts)
    first = await teams.prepare([], saved=None)
    again = await teams.prepare([], saved=first.saved)
    assert [part.recalled for part in parts.values()] == [[None, b"1"], [None, None], [None, b"3"]]
    assert again.saved == first.saved
    assert [source.dataset for source in teams.sources] == ["teams_chats", "teams_teams", "teams_channels"]


async def test_parts_that_learn_nothing_leave_nothing_to_keep() -> None:
    """No file is written for an open run."""
    prepared = await TeamsConnector({"a": Part("teams_teams")}).prepare([], saved=None)
    assert prepared.saved is None
