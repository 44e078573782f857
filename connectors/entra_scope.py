"""What scope decisions need of Entra ID and Exchange: all users, the members of groups, what a mailbox is for.

  users                GET /users                                    https://learn.microsoft.com/graph/api/user-list
  a group by id        GET /groups/{id}                              https://learn.microsoft.com/graph/api/group-get
  a group by address   GET /groups?$filter=mail eq '{address}'       https://learn.microsoft.com/graph/api/group-list
  members, nested too  GET /groups/{id}/transitiveMembers    https://learn.microsoft.com/graph/api/group-list-transitivemembers
  a mailbox's purpose  GET /users/{id}/mailboxSettings?$select=userPurpose
                                                     https://learn.microsoft.com/graph/api/user-get-mailboxsettings
(all checked 2026-11)

Entra follows groups in groups, rings of them too, and names each member once: fewer requests than reading level by
level. Members that are no users do no harm, since only users are looked for among them; so no type cast, which Graph
answers in its advanced mode only. A group whose membership is hidden shows nobody to an application that may not see
hidden members, and is refused: an exclusion of nobody would be none.

Which mailboxes are shared stands nowhere in the directory: their accounts are usually disabled and without a licence,
but so are those of people who have left. Only the mailbox itself tells, one small request each.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.limits import GROUP_MEMBERS_PAGE_ITEMS, GROUPS_PAGE_ITEMS, USERS_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import Request, typed
from connectors.graph.side_by_side import side_by_side
from connectors.graph.source import Collection, GraphSource
from connectors.graph.traffic import (
    GROUP_TRANSITIVE_MEMBERS_TRAFFIC,
    GROUPS_TRAFFIC,
    USERS_TRAFFIC,
    mailbox_traffic,
)
from pipeline.directory import FirstPermitted
from pipeline.errors import FailReason, SkipReason, UnitFailed, UnitReadAgain, UnitSkipped
from pipeline.model import Page, Principal, PrincipalKind, Unit
from pipeline.ports import Source
from pipeline.scope import Account, MembersHidden

NAME = "entra-id"
ASKED_AT_ONCE = 16  # mailboxes; the governor keeps the rate
NO_PERSONS = frozenset({"shared", "room", "equipment"})
HIDDEN = "hiddenmembership"
# The nightly export gives way to whatever else reads the directory, see `connectors.entra_id`.
YIELDING = {"x-ms-throttle-priority": "low"}
EVERYBODY = Principal.tenant("")


class EntraScope:
    """A `pipeline.scope.Directory`, behind several applications: each thing is asked with the first that may."""

    def __init__(self, clients: Sequence[GraphClient]) -> None:
        def first_permitted(collection: Collection) -> Source:
            return FirstPermitted([GraphSource(collection, client) for client in clients])

        self._users = first_permitted(_users())
        self._by_id = first_permitted(_groups(_by_id, single=True))
        self._by_address = first_permitted(_groups(_by_address))
        self._members = first_permitted(_members())
        self._purpose = first_permitted(_purpose())

    async def accounts(self) -> AsyncIterator[Sequence[Account]]:
        """All users, page by page. Raises: UnitReadAgain, UnitFailed, SourceRefused."""
        async for page in self._users.pages(Unit("entra_users", EVERYBODY)):
            yield [user.account for user in typed(page, _decode_users)]

    async def members_of(self, group: str) -> Sequence[str] | None:
        """Object ids of all members, nested ones too; None where no group has this object id or address.

        Raises: MembersHidden, UnitFailed, SourceRefused.
        """
        source = self._by_address if "@" in group else self._by_id
        try:
            pages = await _whole(source, Unit("entra_groups", Principal(PrincipalKind.GROUP, group)))
        except UnitSkipped as skipped:
            if skipped.reason is SkipReason.DELETED_PRINCIPAL:
                return None
            raise UnitFailed(FailReason.PERMISSION, code=skipped.code) from None
        groups = [found for page in pages for found in typed(page, _decode_groups)]
        if not groups:
            return None
        return [member for found in groups for member in await self._members_of(found)]

    async def _members_of(self, group: "_Group") -> Sequence[str]:
        unit = Unit("entra_group_members", Principal(PrincipalKind.GROUP, group.id))
        try:
            pages = await _whole(self._members, unit)
        except UnitSkipped as skipped:  # it was there a moment ago
            raise UnitFailed(FailReason.INCOMPLETE, code=skipped.code) from None
        members = [member.id for page in pages for member in typed(page, _decode_members)]
        if not members and (group.visibility or "").lower() == HIDDEN:
            raise MembersHidden
        return members

    async def is_shared(self, user: Principal) -> bool:
        """Whether the mailbox is shared, or a room's. Raises: UnitSkipped, UnitFailed, SourceRefused."""
        pages = await _whole(self._purpose, Unit("mailbox_settings", user))
        return any(
            (found.user_purpose or "").lower() in NO_PERSONS
            for page in pages
            for found in typed(page, _decode_settings)
        )

    async def side_by_side(self, function: Callable[[Principal], Awaitable[None]], users: Sequence[Principal]) -> None:
        """Call `function` for each user, some at a time."""
        await side_by_side(function, users, at_most=ASKED_AT_ONCE)


async def _whole(source: Source, unit: Unit) -> list[Page]:
    while True:
        try:
            return [page async for page in source.pages(unit)]
        except UnitReadAgain:
            continue  # `pages` bounds it


def _users() -> Collection:
    names = "id,userType,userPrincipalName,mail,proxyAddresses,otherMails,imAddresses,onPremisesUserPrincipalName"
    request = Request(
        path=segments("users"),
        query={"$select": names},
        traffic=USERS_TRAFFIC,
        headers=YIELDING,
        page_items=USERS_PAGE_ITEMS,
    )
    return Collection(
        dataset="entra_users",
        connector=NAME,
        principals=PrincipalKind.TENANT,
        requests=lambda _: (request,),
        roles=("User.Read.All",),
    )


def _groups(request: Callable[[str], Request], *, single: bool = False) -> Collection:
    """The group that a scope names, as `request` asks for it. `single`: the answer is the group itself."""
    return Collection(
        dataset="entra_groups",
        connector=NAME,
        principals=PrincipalKind.GROUP,
        requests=lambda unit: (request(unit.principal.id),),
        roles=("Group.ReadBasic.All", "GroupMember.Read.All"),
        single=single,
    )


def _by_id(group: str) -> Request:
    return Request(
        path=segments("groups", group),
        query={"$select": "id,visibility"},
        traffic=GROUPS_TRAFFIC,
        headers=YIELDING,
    )


def _by_address(address: str) -> Request:
    literal = address.replace("'", "''")
    return Request(
        path=segments("groups"),
        query={"$filter": f"mail eq '{literal}'", "$select": "id,visibility"},
        traffic=GROUPS_TRAFFIC,
        headers=YIELDING,
        page_items=GROUPS_PAGE_ITEMS,
    )


def _members() -> Collection:
    def requests(unit: Unit) -> Iterable[Request]:
        yield Request(
            path=segments("groups", unit.principal.id, "transitiveMembers"),
            query={"$select": "id"},
            traffic=GROUP_TRANSITIVE_MEMBERS_TRAFFIC,
            headers=YIELDING,
            page_items=GROUP_MEMBERS_PAGE_ITEMS,
        )

    return Collection(
        dataset="entra_group_members",
        connector=NAME,
        principals=PrincipalKind.GROUP,
        requests=requests,
        roles=("GroupMember.ReadBasic.All", "GroupMember.Read.All"),
    )


def _purpose() -> Collection:
    def requests(unit: Unit) -> Iterable[Request]:
        yield Request(
            path=segments("users", unit.principal.id, "mailboxSettings"),
            query={"$select": "userPurpose"},
            traffic=mailbox_traffic(unit.principal.id),
        )

    return Collection(
        dataset="mailbox_settings",
        connector=NAME,
        principals=PrincipalKind.USER,
        requests=requests,
        roles=("MailboxSettings.Read",),
        single=True,
    )


class _Looked(msgspec.Struct, rename="camel", frozen=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class _User(_Looked, frozen=True):
    id: str
    user_type: str | None = None
    user_principal_name: str | None = None
    mail: str | None = None
    proxy_addresses: list[str] | None = None
    other_mails: list[str] | None = None
    im_addresses: list[str] | None = None
    on_premises_user_principal_name: str | None = None

    @property
    def account(self) -> Account:
        return Account(
            id=self.id,
            sign_in_name=self.user_principal_name or "",
            is_guest=(self.user_type or "").lower() == "guest",
            identifiers=tuple(filter(None, self._addresses())),
        )

    def _addresses(self) -> Iterator[str | None]:
        yield from (self.user_principal_name, self.mail, self.on_premises_user_principal_name)
        for several in (self.proxy_addresses, self.other_mails, self.im_addresses):
            yield from several or ()


class _Group(_Looked, frozen=True):
    id: str
    visibility: str | None = None


class _Member(_Looked, frozen=True):
    id: str


class _Settings(_Looked, frozen=True):
    user_purpose: str | None = None


_decode_users = msgspec.json.Decoder(list[_User])
_decode_groups = msgspec.json.Decoder(list[_Group])
_decode_members = msgspec.json.Decoder(list[_Member])
_decode_settings = msgspec.json.Decoder(list[_Settings])
