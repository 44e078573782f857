"""Which application permission each dataset needs, what else would do, and what is more than that.

One table for the doctor, the setup instructions and the documentation. Names and ids of the app roles are those
of Microsoft Graph's permissions reference; which of them Exchange can grant or restrict is Exchange's own.
    https://learn.microsoft.com/graph/permissions-reference (checked 2026-11)
    https://learn.microsoft.com/exchange/permissions-exo/application-rbac (checked 2026-11)
    https://learn.microsoft.com/graph/auth-limit-mailbox-access (checked 2026-11)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from config.model import ConnectorName, Profile, Settings

GRAPH_APP_ID = "00000003-0000-0000-c000-000000000000"  # Microsoft Graph itself, the same in every tenant and cloud
DIRECTORY: ConnectorName = "entra-id"  # its datasets are read in every run, whichever connectors are configured
GROUP_DATASETS = frozenset({"entra_groups", "entra_group_members"})
SCOPE = "scope"  # no dataset: the members of the groups that `scope` names, whom every run asks for first


@dataclass(frozen=True, slots=True, kw_only=True)
class AppRole:
    """An application permission of Microsoft Graph that we may ask for."""

    name: str
    id: str
    exchange: str | None = None  # the role of Exchange's RBAC for Applications that grants the same
    by_policy: bool = False  # an Exchange application access policy is documented to restrict it


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One permission that a dataset is read with. `role` is the least that does; some datasets need several."""

    connector: ConnectorName
    dataset: str
    role: str
    instead: tuple[str, ...] = ()  # do as well, and are not too much
    broader: tuple[str, ...] = ()  # do as well, but open more than is read
    opens: str = ""  # what a broader one opens besides
    optional: str = ""  # why an organisation may leave the dataset out, the same in all its needs; empty: it may not
    teams_policy: bool = False  # also needs a Teams application access policy
    profiles: frozenset[Profile] | None = None  # the profiles that read it so; None: all

    @property
    def sufficient(self) -> tuple[str, ...]:
        """Every role that does, the least first."""
        return (self.role, *self.instead, *self.broader)


def _by_name(*roles: AppRole) -> Mapping[str, AppRole]:
    return MappingProxyType({role.name: role for role in roles})


ROLES: Mapping[str, AppRole] = _by_name(
    AppRole(name="User.Read.All", id="df021288-bdef-4463-88db-98f22de89214"),
    AppRole(name="Group.ReadBasic.All", id="07d67222-3a10-4d3b-9ddc-b8aa43198a00"),
    AppRole(name="GroupMember.ReadBasic.All", id="8222c640-cae5-4860-8d11-b32cfad95e03"),
    AppRole(name="GroupMember.Read.All", id="98830695-27a2-44f7-8c18-0c3ebc9698f6"),
    AppRole(
        name="MailboxSettings.Read",
        id="40f97065-369a-49f4-947c-6a255697ae91",
        exchange="Application MailboxSettings.Read",
        by_policy=True,
    ),
    AppRole(
        name="Mail.ReadBasic.All",
        id="693c5e45-0940-467d-9b8a-1022fb9d42ef",
        exchange="Application Mail.ReadBasic",
        by_policy=True,
    ),
    AppRole(
        name="Mail.ReadBasic",
        id="6be147d2-ea4f-4b5a-a3fa-3eab6f3c140a",
        exchange="Application Mail.ReadBasic",
        by_policy=True,
    ),
    AppRole(
        name="Contacts.Read",
        id="089fe4d0-434a-44c5-8827-41ba8a0b17f5",
        exchange="Application Contacts.Read",
        by_policy=True,
    ),
    # Exchange has no role that corresponds to the basic one: RBAC for Applications grants Calendars.Read.
    AppRole(
        name="Calendars.ReadBasic.All",
        id="8ba4a692-bc31-4128-9094-475872af8a53",
        exchange="Application Calendars.Read",
    ),
    AppRole(
        name="Calendars.Read",
        id="798ee544-9d2d-430c-a058-570e29e34338",
        exchange="Application Calendars.Read",
        by_policy=True,
    ),
    AppRole(name="Team.ReadBasic.All", id="2280dda6-0bfd-44ee-a2f4-cb867cfc4c1e"),
    AppRole(name="Channel.ReadBasic.All", id="59a6b24b-4225-4393-8165-ebaec5f55d7a"),
    AppRole(name="ChannelMessage.Read.All", id="7b2449af-6ccd-4f4d-9f78-e550c193f0d1"),
    AppRole(name="Chat.ReadBasic.All", id="b2e060da-3baf-4687-9611-f4ebc0f0cbde"),
    AppRole(name="Chat.Read.All", id="6b7d71aa-70aa-4810-a8d9-5d9fb2830017"),
    AppRole(name="CallRecords.Read.All", id="45bbb07e-7321-4fd7-a8f6-3ff27e6a81c8"),
    AppRole(name="CallRecord-PstnCalls.Read.All", id="a2611786-80b3-417e-adaa-707d4261a5f0"),
    AppRole(name="OnlineMeetings.Read.All", id="c1684f21-1984-47fa-9d61-2dc8c296bb70"),
    AppRole(name="OnlineMeetingArtifact.Read.All", id="df01ed3b-eb61-4eca-9965-6b3d789751b2"),
)

_ANY_DIRECTORY = ("Directory.Read.All", "Directory.ReadWrite.All")
_ANY_GROUP = ("Group.Read.All", "Group.ReadWrite.All", *_ANY_DIRECTORY)
_GROUP_CONTENT = "conversations, files and calendars of groups"
_ANY_TEAM = ("TeamSettings.Read.All", "TeamSettings.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All")
_ANY_CHANNEL = ("ChannelSettings.Read.All", "ChannelSettings.ReadWrite.All", *_ANY_GROUP)
_PHONES = "only organisations that telephone with Teams have such calls"
_MEETINGS = "needs a Teams application access policy besides the permission"

NEEDS: tuple[Need, ...] = (
    Need(
        connector="entra-id",
        dataset="entra_users",
        role="User.Read.All",
        broader=("User.ReadWrite.All", *_ANY_DIRECTORY),
        opens="the whole directory, or changing it",
    ),
    *(
        Need(  # whose members there are is what the list of groups says
            connector="entra-id",
            dataset=dataset,
            role="Group.ReadBasic.All",
            instead=("GroupMember.Read.All",),
            broader=("GroupMember.ReadWrite.All", *_ANY_GROUP),
            opens=_GROUP_CONTENT,
        )
        for dataset in ("entra_groups", "entra_group_members")
    ),
    Need(
        connector="entra-id",
        dataset="entra_group_members",
        role="GroupMember.ReadBasic.All",
        instead=("GroupMember.Read.All",),
        broader=("GroupMember.ReadWrite.All", *_ANY_GROUP),
        opens=_GROUP_CONTENT,
    ),
    Need(
        connector="entra-id",
        dataset="mailbox_settings",
        role="MailboxSettings.Read",
        broader=("MailboxSettings.ReadWrite",),
        opens="changing the settings",
    ),
    Need(
        connector="outlook-mail",
        dataset="mail_messages",
        role="Mail.ReadBasic.All",
        instead=("Mail.ReadBasic",),
        broader=("Mail.Read", "Mail.ReadWrite"),
        opens="bodies and attachments",
    ),
    Need(
        connector="outlook-mail",
        dataset="mail_contacts",
        role="Contacts.Read",
        broader=("Contacts.ReadWrite",),
        opens="changing the contacts",
        optional="there is no basic permission: it opens whole address books",
    ),
    Need(
        connector="outlook-calendar",
        dataset="calendar_events",
        role="Calendars.ReadBasic.All",
        broader=("Calendars.Read", "Calendars.ReadWrite"),
        opens="bodies and attachments of events",
        profiles=frozenset({"strict"}),
    ),
    Need(  # these profiles look for the links of meeting services in bodies
        connector="outlook-calendar",
        dataset="calendar_events",
        role="Calendars.Read",
        broader=("Calendars.ReadWrite",),
        opens="changing events",
        profiles=frozenset({"psoxy", "psoxy-no-app-ids"}),
    ),
    *(
        Need(  # the list of teams says whose channels there are
            connector="msft-teams",
            dataset=dataset,
            role="Team.ReadBasic.All",
            broader=_ANY_TEAM,
            opens="the settings of teams",
        )
        for dataset in ("teams_teams", "teams_channels", "teams_channel_messages")
    ),
    *(
        Need(  # the list of channels says which of them the export function leaves out
            connector="msft-teams",
            dataset=dataset,
            role="Channel.ReadBasic.All",
            broader=_ANY_CHANNEL,
            opens="the settings of channels",
        )
        for dataset in ("teams_channels", "teams_channel_messages")
    ),
    Need(connector="msft-teams", dataset="teams_channel_messages", role="ChannelMessage.Read.All"),
    Need(  # opens their members too
        connector="msft-teams",
        dataset="teams_chats",
        role="Chat.ReadBasic.All",
        instead=("Chat.Read.All",),
        broader=("Chat.ReadWrite.All",),
        opens="writing in chats",
    ),
    Need(  # the same role lists the chats
        connector="msft-teams",
        dataset="teams_chat_messages",
        role="Chat.Read.All",
        broader=("Chat.ReadWrite.All",),
        opens="writing in chats",
    ),
    Need(connector="msft-teams", dataset="teams_call_records", role="CallRecords.Read.All"),
    *(
        Need(
            connector="msft-teams",
            dataset=dataset,
            role="CallRecord-PstnCalls.Read.All",
            instead=("CallRecords.Read.All",),
            optional=_PHONES,
        )
        for dataset in ("teams_pstn_calls", "teams_direct_routing_calls")
    ),
    *(
        Need(  # a meeting has to be found before its reports
            connector="msft-teams",
            dataset=dataset,
            role="OnlineMeetings.Read.All",
            broader=("OnlineMeetings.ReadWrite.All",),
            opens="creating and changing meetings",
            optional=_MEETINGS,
            teams_policy=True,
        )
        for dataset in ("teams_online_meetings", "teams_attendance_reports")
    ),
    Need(
        connector="msft-teams",
        dataset="teams_attendance_reports",
        role="OnlineMeetingArtifact.Read.All",
        optional=_MEETINGS,
        teams_policy=True,
    ),
)


_SCOPE_NEEDS: tuple[Need, ...] = (
    Need(
        connector="entra-id",
        dataset=SCOPE,
        role="Group.ReadBasic.All",
        instead=("GroupMember.Read.All",),
        broader=_ANY_GROUP,
        opens=_GROUP_CONTENT,
    ),
    Need(
        connector="entra-id",
        dataset=SCOPE,
        role="GroupMember.ReadBasic.All",
        instead=("GroupMember.Read.All",),
        broader=("GroupMember.ReadWrite.All", *_ANY_GROUP),
        opens=_GROUP_CONTENT,
    ),
)


def needs_of(settings: Settings, connectors: Iterable[ConnectorName]) -> tuple[Need, ...]:
    """What `connectors` need, as these settings have them; the directory only where it is among them."""
    chosen = frozenset(connectors)
    privacy, scope = settings.privacy, settings.scope
    of_scope = _SCOPE_NEEDS if scope.include_groups or scope.exclude_groups else ()
    return tuple(
        need
        for need in (*NEEDS, *of_scope)
        if need.connector in chosen
        and (need.profiles is None or privacy.profile in need.profiles)
        and (privacy.groups or need.dataset not in GROUP_DATASETS)
    )


def least_roles(needs: Sequence[Need]) -> dict[str, list[Need]]:
    """The fewest roles that serve all `needs`, each with the needs it serves, in the order of the table.

    A dataset that can be read with a role which another dataset needs anyway asks for none of its own.
    """
    required = {need.role for need in needs}
    roles: dict[str, list[Need]] = {}
    for need in needs:
        served_by = next((role for role in need.instead if role in required), need.role)
        roles.setdefault(served_by, []).append(need)
    return roles
