"""What kind of tenant it is: how busy, which odd mailboxes, which manners the service shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Self


class MailboxKind(StrEnum):
    """What is special about a user; everybody else is NORMAL."""

    NORMAL = "normal"
    NO_MAILBOX = "no_mailbox"  # 404 MailboxNotEnabledForRESTAPI: on premises, soft-deleted, unlicensed
    INVALID_USER = "invalid_user"  # 404 ErrorInvalidUser: Exchange does not know the user
    ACCESS_POLICY = "access_policy"  # 403 "Access to OData is disabled."
    RBAC_DENIED = "rbac_denied"  # 403 ErrorAccessDenied
    MOVING = "moving"  # 503 ErrorMailboxMoveInProgress, for as long as it lasts
    FAILING = "failing"  # 500 for ever
    UNLICENSED = "unlicensed"  # 401 AuthenticationError, whatever the token is worth
    OVER_QUOTA = "over_quota"  # readable; delta queries are 403 ErrorQuotaExceeded
    GUEST = "guest"  # has no mailbox in this tenant
    DISABLED = "disabled"  # accountEnabled false, mailbox readable
    NO_USER_TYPE = "no_user_type"  # userType null
    SHARED = "shared"  # shared mailbox, no licence; by UPN it answers 503 MailboxInfoStale
    ROOM = "room"  # room mailbox


NOT_HUMAN = frozenset({MailboxKind.SHARED, MailboxKind.ROOM})
UNREADABLE = frozenset(
    {
        MailboxKind.NO_MAILBOX,
        MailboxKind.INVALID_USER,
        MailboxKind.ACCESS_POLICY,
        MailboxKind.RBAC_DENIED,
        MailboxKind.MOVING,
        MailboxKind.FAILING,
        MailboxKind.UNLICENSED,
        MailboxKind.GUEST,
    }
)

_USUAL: Mapping[MailboxKind, int] = MappingProxyType(
    {
        MailboxKind.NO_MAILBOX: 3,
        MailboxKind.INVALID_USER: 1,
        MailboxKind.ACCESS_POLICY: 2,
        MailboxKind.GUEST: 8,
        MailboxKind.DISABLED: 3,
        MailboxKind.NO_USER_TYPE: 2,
        MailboxKind.SHARED: 3,
        MailboxKind.ROOM: 4,
    }
)
_HOSTILE: Mapping[MailboxKind, int] = MappingProxyType(
    {**_USUAL, MailboxKind.RBAC_DENIED: 1, MailboxKind.MOVING: 1, MailboxKind.FAILING: 1}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantProfile:
    """Rates are per week; shares lie between 0 and 1. A small tenant gets fewer special users than asked for."""

    mailboxes: Mapping[MailboxKind, int] = field(default_factory=lambda: _USUAL)
    mail_per_week: int = 80  # messages that colleagues share, per mailbox; some mailboxes get more from outside
    large_mailboxes: Mapping[int, int] = field(default_factory=dict)  # user number -> messages in the history
    meetings_per_week: int = 24  # slots in a calendar; about one in seven stays free
    chat_messages_per_week: int = (
        5  # slots in a one-on-one chat, three times as many in the others; about one in four stays silent
    )
    one_on_one_chats: int = 6  # per user
    group_chats: int = 3  # per user
    meeting_chats: int = 2  # per user
    groups: int = 12  # at least; three of twelve are teams: an ordinary one, an archived one, one that cannot be opened
    threads_per_week: int = 12  # slots in a channel; about one in four stays empty
    contacts: int = 12  # at most, in an address book
    expanded_replies: int = 200  # of one message, when $expand=replies is used; the rest has a link of its own
    export_has_shared_channels: bool = False  # whether getAllMessages of a team covers shared channels, others' too
    calls_per_week: int = 6  # slots in which a colleague may call others; about two in three are taken
    phone_calls_per_week: int = 3  # calls with the telephone network, per user
    short_pages: float = 0.12  # share of pages that hold fewer records than asked for
    empty_pages: float = 0.02  # share of pages that hold nothing and still have a next link
    teams_rates: bool = False  # enforce the Teams requests per second
    mailboxes_in_flight: int | None = None  # requests of one app to all mailboxes together; None: each has its four
    page_token_lifetime_s: float | None = None  # next links die after so many seconds of the tenant's clock

    @classmethod
    def hostile(cls) -> Self:
        """Every special kind is there, the failing ones too."""
        return cls(mailboxes=_HOSTILE, short_pages=0.3, empty_pages=0.08)

    @classmethod
    def quiet(cls) -> Self:
        """No special users, and pages as large as asked for."""
        return cls(mailboxes=MappingProxyType({}), short_pages=0, empty_pages=0)
