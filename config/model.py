"""Every key of the settings file: its kind, default and meaning.

Values that depend on each other are compared in `config.checks`, so that all faults are found in one pass.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    StrictFloat,
    model_validator,
)

from config import defaults
from config.auth import Auth, EffectiveAuth, combine
from config.clouds import CLOUDS, CloudName
from config.fields import (
    Count,
    DirectoryName,
    Duration,
    Endpoint,
    Flag,
    Group,
    Guid,
    LocalPath,
    Origin,
    Place,
    Port,
    SecretRef,
    SizeBytes,
    Text,
)

ConnectorName = Literal["entra-id", "outlook-mail", "outlook-calendar", "msft-teams"]
CONNECTOR_NAMES: tuple[ConnectorName, ...] = get_args(ConnectorName)
Profile = Literal["psoxy", "psoxy-no-app-ids", "strict"]


def _folders(value: object) -> Literal["all"] | tuple[str, ...]:
    if value == "all":
        return "all"
    if isinstance(value, list | tuple) and value and all(isinstance(name, str) and name for name in value):
        return tuple(value)
    raise ValueError("all, or a list of mail folders such as [SentItems], is expected")


Folders = Annotated[
    Literal["all"] | tuple[str, ...],
    PlainValidator(_folders),
    PlainSerializer(lambda folders: folders if folders == "all" else list(folders)),
]


class Tenant(Group):
    """The organisation whose activity is read."""

    id: Guid
    """The directory (tenant) id."""
    cloud: CloudName = "global"
    """The cloud the tenant is in."""
    authority: Origin | None = None
    """Replaces the cloud's token host: scheme and host only, the tenant id is appended."""
    graph: Origin | None = None
    """Replaces the cloud's Graph host: scheme and host only; plain http on loopback only."""
    ca_file: LocalPath | None = None
    """A PEM file with a further trust anchor, for the token host and Graph."""

    @property
    def authority_url(self) -> str:
        """Where tokens are asked for, tenant included, without a slash at the end."""
        return f"{self.authority or 'https://' + CLOUDS[self.cloud].authority_host}/{self.id}"

    @property
    def graph_url(self) -> str:
        """Scheme and host of Graph, without version and without a slash at the end."""
        return self.graph or f"https://{CLOUDS[self.cloud].graph_host}"


class Connector(Group):
    """One Microsoft source."""

    auth: Auth | None = None
    """Keys of `auth` that differ for this source: one app registration per source is usual."""


class EntraId(Connector):
    """The directory: users, groups and their members."""

    members: Literal["direct", "transitive"] = "direct"
    """direct: nested groups are members themselves; transitive: also everybody in them, at five thirds of the cost."""


class OutlookMail(Connector):
    """Mail; the folders to read are its own option."""

    folders: Folders = "all"
    """all, or a list of well-known names (SentItems) or paths of names as people see them (Clients/Contracts)."""


class Connectors(Group):
    """The sources to read; only those named run. A name without options is enough."""

    entra_id: EntraId | None = Field(default=None, alias="entra-id")
    outlook_mail: OutlookMail | None = Field(default=None, alias="outlook-mail")
    outlook_calendar: Connector | None = Field(default=None, alias="outlook-calendar")
    """Events of calendars; its only option is auth."""
    msft_teams: Connector | None = Field(default=None, alias="msft-teams")
    """Teams, channels, chats, calls and meetings; its only option is auth."""

    _names: tuple[ConnectorName, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _named_is_configured(cls, data: Any, handler: ModelWrapValidatorHandler["Connectors"]) -> "Connectors":
        if not isinstance(data, dict):
            return handler(data)
        connectors = handler({name: {} if options is None else options for name, options in data.items()})
        # The first that may reads the directory for all of them, so the order of the file is kept.
        connectors._names = tuple(name for name in data if name in CONNECTOR_NAMES)  # noqa: SLF001 - our own
        return connectors

    @property
    def names(self) -> tuple[ConnectorName, ...]:
        """The configured connectors in the order they were named."""
        return self._names

    def get(self, name: ConnectorName) -> Connector | None:
        """The options of one connector; None when it is not configured."""
        options: dict[ConnectorName, Connector | None] = {
            "entra-id": self.entra_id,
            "outlook-mail": self.outlook_mail,
            "outlook-calendar": self.outlook_calendar,
            "msft-teams": self.msft_teams,
        }
        return options[name]


class Settle(Group):
    """How long the newest edge is left alone where Graph shows items late."""

    teams: Duration = defaults.SETTLE_TEAMS
    """Chats, channels and their messages."""
    calls: Duration = defaults.SETTLE_CALLS
    """Call records, phone logs and attendance reports."""


class Overlap(Group):
    """How much is read again every night because records are rewritten."""

    calls: Duration = defaults.OVERLAP_CALLS
    """Call records, phone logs and attendance reports: their details arrive late."""
    calendar: Duration = defaults.OVERLAP_CALENDAR
    """Events: they are moved, answered and cancelled after they were first seen."""


class Windows(Group):
    """Where the window of a run begins and ends."""

    settle: Settle = Settle()
    overlap: Overlap = Overlap()
    calendar_ahead: Duration = defaults.CALENDAR_AHEAD
    """Also export planned events this far ahead."""


class Scope(Group):
    """Whose activity is read, of whatever time: who comes back into scope is caught up from where he was left."""

    include_groups: tuple[DirectoryName, ...] = ()
    """Only members of these groups, by object id or address, and of groups in them; empty: everyone."""
    exclude_groups: tuple[DirectoryName, ...] = ()
    """Without members of these groups, nested ones too; wins over include_groups."""
    exclude_users: tuple[DirectoryName, ...] = ()
    """Without these users, by object id or sign-in name; wins over include_groups."""
    include_guests: Flag = False
    """Also guests of the tenant."""
    include_shared: Flag = True
    """Also mail, contacts and calendars of shared, room and equipment mailboxes; false costs a request a mailbox."""
    suppress: Flag = False
    """Also take users out of scope out of the records of those inside; otherwise they are pseudonyms there."""


class RuleFiles(Group):
    """Files in Psoxy's rules grammar that replace a connector's own rules."""

    entra_id: LocalPath | None = Field(default=None, alias="entra-id")
    outlook_mail: LocalPath | None = Field(default=None, alias="outlook-mail")
    outlook_calendar: LocalPath | None = Field(default=None, alias="outlook-calendar")
    msft_teams: LocalPath | None = Field(default=None, alias="msft-teams")

    @property
    def paths(self) -> dict[ConnectorName, Path]:
        """The file of each connector that has one."""
        files: dict[ConnectorName, Path | None] = {
            "entra-id": self.entra_id,
            "outlook-mail": self.outlook_mail,
            "outlook-calendar": self.outlook_calendar,
            "msft-teams": self.msft_teams,
        }
        return {name: path for name, path in files.items() if path is not None}


class RuleOptions(Group):
    """Which rules apply: the part of `privacy` that needs no secret."""

    profile: Profile = "strict"
    """How much stays; the psoxy profiles keep what Psoxy's variants of that name keep."""
    groups: Flag = True
    """false: no group data, as Psoxy's no-groups."""
    group_original: Flag = True
    """psoxy profiles: a group's own address stays readable, as Psoxy keeps it."""
    email_canonicalization: Literal["strict", "ignore-dots"] = "strict"
    """Whether dots in the local part of an address count."""
    email_domains: Literal["preserve", "tokenize", "encrypt", "redact"] = "preserve"
    """What becomes of the domain of an address; encrypt needs encryption_key."""
    rules: RuleFiles = RuleFiles()
    """Connector -> file in Psoxy's rules grammar."""


class Privacy(RuleOptions):
    """What leaves, and in which form."""

    salt: SecretRef
    """Makes the pseudonyms; identical to PSOXY_SALT to join with Psoxy data."""
    encryption_key: SecretRef | None = None
    """For reversible tokens; identical to PSOXY_ENCRYPTION_KEY."""
    allow_weak_salt: Flag = False
    """Accept a salt that is short or has few distinct characters."""


class Storage(Group):
    """How the object store is reached, where the SDK's own settings do not say."""

    endpoint_url: Endpoint | None = None
    """Another endpoint than the cloud's own."""
    region: Text | None = None
    """The region of the bucket."""
    kms_key: Text | None = None
    """The key that encrypts objects in the bucket; by default the bucket's own setting."""
    sse_s3: Flag = False
    """Ask S3 to encrypt with its own keys (SSE-S3), whatever the bucket's own setting; not with `kms_key`."""
    proxy: Endpoint | None = None
    """An HTTP proxy for the object store, and for the tokens that Google issues for it."""
    requester_pays: Flag = False
    """Agree to be billed for requests."""
    single_writer: Flag = False
    """Vouch that nobody else writes here, for a store without conditional writes."""


class Output(Group):
    """The shape of the Parquet files."""

    part_size_bytes: Annotated[SizeBytes, Field(gt=0)] = Field(default=defaults.PART_SIZE_BYTES, alias="part_size")
    """A part is published when it has about this size."""
    part_max_age: Duration = defaults.PART_MAX_AGE
    """A part is published at this age at the latest."""
    layout: Literal["nested", "flat"] = "nested"
    """flat: nested values as JSON text, timestamps as ISO 8601 text."""


class Limits(Group):
    """What a run may use."""

    memory_mib: Count = defaults.MEMORY_MIB
    """Resident memory of the whole process, in MiB."""
    mailboxes_in_flight: Count = defaults.MAILBOXES_IN_FLIGHT
    """Mailboxes read at the same time."""
    per_mailbox_in_flight: Annotated[Count, Field(le=defaults.PER_MAILBOX_IN_FLIGHT_MAX)] = (
        defaults.PER_MAILBOX_IN_FLIGHT
    )
    """Requests to one mailbox at the same time; Outlook refuses more than four."""
    backfill_share: Annotated[StrictFloat, Field(gt=0, le=1)] = defaults.BACKFILL_SHARE
    """The part of every budget that a backfill takes; a run that is at work beside it takes the rest."""


class Telemetry(Group):
    """Where metrics go, beside the log."""

    prometheus_port: Port | None = None
    """Serve `/metrics` on this port of every interface while `run` or `backfill` is at work."""
    textfile: LocalPath | None = None
    """Write metrics to this file at the end, for node_exporter's textfile collector."""
    otlp_endpoint: Endpoint | None = None
    """Send metrics to this OTLP endpoint over HTTP; `/v1/metrics` is added. Needs the extra `otlp`."""

    @property
    def is_asked_for(self) -> bool:
        """Whether anybody wants metrics."""
        return (self.prometheus_port, self.textfile, self.otlp_endpoint) != (None, None, None)


class Settings(Group):
    """The whole file."""

    tenant: Tenant
    auth: Auth = Auth()
    connectors: Connectors
    initial_lookback: Duration = defaults.INITIAL_LOOKBACK
    """A first `run` without watermarks starts this long before the end of its window."""
    windows: Windows = Windows()
    scope: Scope = Scope()
    privacy: Privacy
    destination: Place
    """s3://bucket/prefix, gs://bucket/prefix or file:///absolute/path."""
    state: Place
    """The same schemes; never inside the destination."""
    storage: Storage = Storage()
    output: Output = Output()
    limits: Limits = Limits()
    telemetry: Telemetry = Telemetry()

    def effective_auth(self, connector: ConnectorName) -> EffectiveAuth:
        """How `connector` proves who it is: its own keys first, then the common ones."""
        options = self.connectors.get(connector)
        return combine(self.auth, options.auth if options else None)


class ReaderSettings(Group):
    """What somebody needs who only reads what was exported: the place, how to reach it, which rules apply."""

    destination: Place
    storage: Storage = Storage()
    privacy: RuleOptions = RuleOptions()
