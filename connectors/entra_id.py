"""Entra ID: users, groups, memberships, and the settings of mailboxes. Snapshots, read anew by every run.

  entra_users          GET /users                      https://learn.microsoft.com/graph/api/user-list
  entra_groups         GET /groups                     https://learn.microsoft.com/graph/api/group-list
  entra_group_members  GET /groups/{id}/members        https://learn.microsoft.com/graph/api/group-list-members
                       or  /groups/{id}/transitiveMembers
                                                       https://learn.microsoft.com/graph/api/group-list-transitivemembers
  mailbox_settings     GET /users/{id}/mailboxSettings https://learn.microsoft.com/graph/api/user-get-mailboxsettings
(all checked 2026-11)

Members are direct ones: a group in a group is a member like others, and a consumer who wants everybody in it joins the
dataset with itself. `transitive_members` has Graph do that, at five thirds of the cost; the groups are members still.

Delta queries are not used: a tenant of 100,000 users is 101 pages, and absence from a snapshot is deletion.

Who is asked for a mailbox: every user but guests, whose mailbox is elsewhere. Not only enabled accounts: shared
and room mailboxes belong to disabled ones. Not only users with an address or a licence: neither proves anything,
so Exchange is asked, and its "no mailbox" is an expected skip. `userType` is null for some members.

Users out of scope are not enumerated, and have no rows: neither as users nor as members of groups.
"""

from collections.abc import Iterable, Sequence

import msgspec

from connectors.graph.client import GraphClient
from connectors.graph.connector import GraphConnector, Select, select_of
from connectors.graph.limits import GROUP_MEMBERS_PAGE_ITEMS, GROUPS_PAGE_ITEMS, USERS_PAGE_ITEMS
from connectors.graph.links import segments
from connectors.graph.paging import Request, typed
from connectors.graph.source import Collection, GraphSource, no_filter
from connectors.graph.traffic import (
    GROUP_MEMBERS_TRAFFIC,
    GROUP_TRANSITIVE_MEMBERS_TRAFFIC,
    GROUPS_TRAFFIC,
    USERS_TRAFFIC,
    mailbox_traffic,
)
from connectors.options import ConnectorOptions
from pipeline.completeness import Method
from pipeline.model import Page, Principal, PrincipalKind, Unit
from pipeline.ports import RowFilter

NAME = "entra-id"
# The nightly export gives way to whatever else reads the directory.
# https://learn.microsoft.com/graph/throttling-limits#identity-and-access-service-limits (checked 2026-11)
YIELDING = {"x-ms-throttle-priority": "low"}


class DirectoryUser(msgspec.Struct, rename="camel", frozen=True):
    """What scope decisions need of a user."""

    id: str
    user_type: str | None = None
    account_enabled: bool | None = None
    mail: str | None = None
    user_principal_name: str | None = None

    @property
    def is_guest(self) -> bool:
        return (self.user_type or "").lower() == "guest"

    def __repr__(self) -> str:
        return "DirectoryUser(…)"  # a person's identifiers stay out of logs and tracebacks


def directory_users(page: Page) -> list[DirectoryUser]:
    """The users of a page of entra_users. Raises: UnitFailed, when they are not what Graph documents."""
    return typed(page, _users)


def group_member_ids(page: Page) -> list[str]:
    """The object ids of a page of entra_groups or entra_group_members. Raises: UnitFailed, as above."""
    return [named.id for named in typed(page, _named)]


def connector(client: GraphClient, *, select: Select, options: ConnectorOptions) -> GraphConnector:
    """The directory datasets."""
    collections = (
        _users_collection(select, options),
        _groups_collection(select),
        _members_collection(select, options),
        _mailbox_settings_collection(select),
    )
    return GraphConnector(NAME, [GraphSource(collection, client) for collection in collections])


def _users_collection(select: Select, options: ConnectorOptions) -> Collection:
    scope = options.scope
    request = Request(
        path=segments("users"),
        query={
            "$select": select_of(select, "entra_users", "id", "userType", "accountEnabled", "mail", "userPrincipalName")
        },
        traffic=USERS_TRAFFIC,
        headers=YIELDING,
        page_items=USERS_PAGE_ITEMS,
    )

    def enumerates(page: Page) -> Sequence[Principal]:
        return [
            Principal(PrincipalKind.USER, user.id)
            for user in directory_users(page)
            if (options.include_guests or not user.is_guest) and (scope is None or scope.reads(user.id))
        ]

    return Collection(
        dataset="entra_users",
        connector=NAME,
        principals=PrincipalKind.TENANT,
        requests=lambda _: (request,),
        roles=("User.Read.All",),
        enumerates=enumerates,
        filters=no_filter if scope is None else lambda _: RowFilter("id", scope.has_row),
    )


def _groups_collection(select: Select) -> Collection:
    request = Request(
        path=segments("groups"),
        query={"$select": select_of(select, "entra_groups", "id")},
        traffic=GROUPS_TRAFFIC,
        headers=YIELDING,
        page_items=GROUPS_PAGE_ITEMS,
    )

    def enumerates(page: Page) -> Sequence[Principal]:
        return [Principal(PrincipalKind.GROUP, group_id) for group_id in group_member_ids(page)]

    return Collection(
        dataset="entra_groups",
        connector=NAME,
        principals=PrincipalKind.TENANT,
        requests=lambda _: (request,),
        roles=("Group.ReadBasic.All", "GroupMember.Read.All", "Group.Read.All"),
        enumerates=enumerates,
    )


def _members_collection(select: Select, options: ConnectorOptions) -> Collection:
    scope = options.scope
    relation = "transitiveMembers" if options.transitive_members else "members"
    traffic = GROUP_TRANSITIVE_MEMBERS_TRAFFIC if options.transitive_members else GROUP_MEMBERS_TRAFFIC
    # Members are of several kinds. `userType` belongs to users; selecting it leaves the others as they are, and an
    # application that may not read users gets ids alone.
    kept = tuple(name for name in select["entra_group_members"] if not name.startswith("@"))
    properties = select_of({"entra_group_members": kept}, "entra_group_members", "id")

    def requests(unit: Unit) -> Iterable[Request]:
        yield Request(
            path=segments("groups", unit.principal.id, relation),
            query={"$select": properties},  # who the members are is in entra_users
            traffic=traffic,
            headers=YIELDING,
            page_items=GROUP_MEMBERS_PAGE_ITEMS,
        )

    return Collection(
        dataset="entra_group_members",
        connector=NAME,
        principals=PrincipalKind.GROUP,
        requests=requests,
        roles=("GroupMember.ReadBasic.All", "GroupMember.Read.All", "Group.Read.All"),
        filters=no_filter if scope is None else lambda _: RowFilter("id", lambda id_: not scope.leaves_out(id_)),
    )


def _mailbox_settings_collection(select: Select) -> Collection:
    properties = select_of(select, "mailbox_settings")

    def requests(unit: Unit) -> Iterable[Request]:
        yield Request(
            path=segments("users", unit.principal.id, "mailboxSettings"),
            query={"$select": properties},
            traffic=mailbox_traffic(unit.principal.id),
        )

    return Collection(
        dataset="mailbox_settings",
        connector=NAME,
        principals=PrincipalKind.USER,
        requests=requests,
        roles=("MailboxSettings.Read",),
        completeness=Method.ENUMERATION,
        single=True,
    )


class _Named(msgspec.Struct):
    id: str


_users = msgspec.json.Decoder(list[DirectoryUser])
_named = msgspec.json.Decoder(list[_Named])
