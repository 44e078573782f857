"""What the Microsoft administrators have to do for these settings, as one value that every format renders."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from config.auth import AuthMethod, EffectiveAuth
from config.clouds import CLOUDS, Cloud
from config.model import ConnectorName, Settings
from config.permissions import DIRECTORY, ROLES, AppRole, Need, least_roles, needs_of
from config.setup.federation import FederatedCredential, federated_credential

NO_CLIENT = "00000000-0000-0000-0000-000000000000"  # where the settings name no application yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One app role of one application, and what it is for."""

    role: AppRole
    datasets: tuple[str, ...]
    optional: str  # why it may be left out; empty: it may not
    instead: tuple[AppRole, ...]  # do as well, where the tenant's cloud does not offer `role` yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One app registration (or managed identity), used by one or more connectors."""

    name: str  # "m365-export outlook-mail"
    slug: str  # "outlook_mail": its name in scripts
    method: AuthMethod
    client_id: str  # NO_CLIENT where the settings name none
    connectors: tuple[ConnectorName, ...]
    grants: tuple[Grant, ...]
    federation: FederatedCredential | None
    needs_teams_policy: bool

    @property
    def is_registered_here(self) -> bool:
        """Whether an app registration is made for it; a managed identity comes with its machine."""
        return self.method != "managed-identity"

    @property
    def mailbox_grants(self) -> tuple[Grant, ...]:
        """The grants whose reach Exchange can restrict."""
        return tuple(grant for grant in self.grants if grant.role.exchange)

    @property
    def exchange_roles(self) -> tuple[str, ...]:
        """What RBAC for Applications would grant instead of them."""
        return tuple(dict.fromkeys(grant.role.exchange for grant in self.grants if grant.role.exchange))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlan:
    """Everything to do, in the order in which it is done."""

    tenant_id: str
    cloud: Cloud
    applications: tuple[Application, ...]
    limits_people: bool  # the settings narrow whose data is exported

    @property
    def registered(self) -> tuple[Application, ...]:
        """Those that have an app registration."""
        return tuple(application for application in self.applications if application.is_registered_here)

    @property
    def touches_mailboxes(self) -> bool:
        return any(application.mailbox_grants for application in self.applications)

    @property
    def needs_teams_policy(self) -> bool:
        return any(application.needs_teams_policy for application in self.applications)

    def consent_link(self, application: Application) -> str:
        """Where an administrator grants what the registration asks for.

        https://learn.microsoft.com/entra/identity/enterprise-apps/grant-admin-consent (checked 2026-11)
        """
        return consent_link(self.cloud, self.tenant_id, application.client_id)


def make_plan(settings: Settings) -> SetupPlan:
    """The plan for the configured connectors: one application for each different `auth`."""
    sharing: dict[EffectiveAuth, list[ConnectorName]] = {}
    for name in settings.connectors.names:
        sharing.setdefault(settings.effective_auth(name), []).append(name)
    scope = settings.scope
    return SetupPlan(
        tenant_id=settings.tenant.id,
        cloud=CLOUDS[settings.tenant.cloud],
        applications=tuple(
            _application(settings, auth, connectors, name=_name(connectors, list(sharing.values())))
            for auth, connectors in sharing.items()
        ),
        limits_people=bool(scope.include_groups or scope.exclude_groups or scope.exclude_users),
    )


def connectors_read_with(settings: Settings, connectors: Sequence[ConnectorName]) -> tuple[ConnectorName, ...]:
    """`connectors`, and the directory where the first configured one is among them: it reads it for all."""
    reads_directory = settings.connectors.names[0] in connectors and DIRECTORY not in connectors
    return (DIRECTORY, *connectors) if reads_directory else tuple(connectors)


def consent_link(cloud: Cloud, tenant_id: str, client_id: str) -> str:
    return f"https://{cloud.authority_host}/{tenant_id}/adminconsent?client_id={quote(client_id, safe='')}"


def _name(connectors: Sequence[ConnectorName], all_: Sequence[Sequence[ConnectorName]]) -> str:
    """The shared application is the product's; one that serves some connectors only is named for them."""
    shared = [each for each in all_ if len(each) > 1]
    if len(all_) == 1 or shared == [connectors]:
        return "m365-export"
    return f"m365-export {' '.join(connectors)}"


def _application(
    settings: Settings, auth: EffectiveAuth, connectors: Sequence[ConnectorName], *, name: str
) -> Application:
    needs = needs_of(settings, connectors_read_with(settings, connectors))
    return Application(
        name=name,
        slug=name.removeprefix("m365-export ").replace("-", "_").replace(" ", "_"),
        method=auth.method,
        client_id=auth.client_id or NO_CLIENT,
        connectors=tuple(connectors),
        grants=tuple(_grant(role, served) for role, served in least_roles(needs).items()),
        federation=federated_credential(auth, settings.tenant),
        needs_teams_policy=any(need.teams_policy for need in needs),
    )


def _grant(role: str, served: Sequence[Need]) -> Grant:
    instead = [name for name in served[0].instead if all(name in need.instead for need in served) and name != role]
    return Grant(
        role=ROLES[role],
        datasets=tuple(dict.fromkeys(need.dataset for need in served)),
        optional="" if any(not need.optional for need in served) else served[0].optional,
        instead=tuple(ROLES[name] for name in instead),
    )
