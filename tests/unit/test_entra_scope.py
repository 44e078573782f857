"""What scope decisions ask of Entra, and what they make of the answers."""

import pytest

from connectors.entra_scope import EntraScope
from pipeline.errors import DatasetDenied, SourceRefused
from pipeline.model import Principal, PrincipalKind
from pipeline.scope import Scope, Wanted
from tests.graph_server import answer, page, refusal, scripted_graph

GROUP = "0d9e8f7a-1111-4222-9333-ba9876543210"


async def test_a_group_by_id_is_opened_with_all_who_are_in_it() -> None:
    """First whether it is there, then its members, nested ones too."""
    async with scripted_graph(answer({"id": GROUP}), page({"id": "a"}, {"id": "b"})) as graph:
        assert await EntraScope([graph.client]).members_of(GROUP) == ["a", "b"]
        assert [request.raw_path for request in graph.requests] == [
            f"/v1.0/groups/{GROUP}?$select=id,visibility",
            f"/v1.0/groups/{GROUP}/transitiveMembers?$select=id&$top=999",
        ]


async def test_a_group_by_address_is_looked_for() -> None:
    """An apostrophe is doubled; no group of that address is None, not an empty one."""
    async with scripted_graph(page(), page({"id": GROUP}), page()) as graph:
        scope = EntraScope([graph.client])
        assert await scope.members_of("o'hara@x.test") is None
        assert await scope.members_of("board@x.test") == []
        assert graph.requests[0].raw_path.startswith("/v1.0/groups?$filter=mail%20eq%20'o''hara%40x.test'&$select=")


async def test_a_group_that_is_not_there_is_none_and_one_that_may_not_be_read_is_refused() -> None:
    """The one is a mistake in the settings, the other a missing role."""
    async with scripted_graph(
        refusal(404, "Request_ResourceNotFound"), refusal(403, "Authorization_RequestDenied")
    ) as graph:
        scope = EntraScope([graph.client])
        assert await scope.members_of(GROUP) is None
        with pytest.raises(DatasetDenied):
            await scope.members_of(GROUP)


async def test_hidden_members_are_refused() -> None:
    """To exclude nobody, unnoticed, would be worse: the command ends, and says what would help."""
    async with scripted_graph(answer({"id": GROUP, "visibility": "HiddenMembership"}), page()) as graph:
        scope = Scope(Wanted(exclude_groups=[GROUP]), EntraScope([graph.client]), forms=lambda each: iter((each,)))
        with pytest.raises(SourceRefused, match=r"Member\.Read\.Hidden"):
            await scope.settle(None)


@pytest.mark.parametrize(
    ("purpose", "shared"), [("user", False), ("linked", False), (None, False), ("shared", True), ("Room", True)]
)
async def test_a_mailbox_says_what_it_is_for(purpose: str | None, shared: bool) -> None:
    """In one small request."""
    async with scripted_graph(answer({"userPurpose": purpose})) as graph:
        assert await EntraScope([graph.client]).is_shared(Principal(PrincipalKind.USER, "u1")) is shared
        (request,) = graph.requests
        assert request.raw_path == "/v1.0/users/u1/mailboxSettings?$select=userPurpose"


async def test_accounts_come_with_every_address() -> None:
    """Of which nothing shows in a representation."""
    record = {
        "id": "a", "userType": "Guest", "userPrincipalName": "a#EXT#@x.test", "mail": "a@y.test",
        "proxyAddresses": ["SMTP:a@y.test"], "otherMails": ["b@y.test"], "imAddresses": None,
    }  # fmt: skip
    async with scripted_graph(page(record)) as graph:
        ((account,),) = [accounts async for accounts in EntraScope([graph.client]).accounts()]
    assert account.is_guest
    assert account.sign_in_name == "a#EXT#@x.test"
    assert account.identifiers == ("a#EXT#@x.test", "a@y.test", "SMTP:a@y.test", "b@y.test")
    assert "y.test" not in repr(account)
