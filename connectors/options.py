"""What the connectors need to know of the settings."""

from dataclasses import dataclass
from datetime import timedelta

from pipeline.scope import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorOptions:
    """Defaults are those of the settings file."""

    settle_teams: timedelta = timedelta(hours=24)
    settle_calls: timedelta = timedelta(hours=24)
    overlap_calls: timedelta = timedelta(days=5)
    overlap_calendar: timedelta = timedelta(days=7)
    calendar_ahead: timedelta = timedelta(0)
    include_guests: bool = False
    transitive_members: bool = False
    scope: Scope | None = None  # None: everybody
    mail_folders: tuple[str, ...] | None = None  # None: the whole mailbox
