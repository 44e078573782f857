"""The PowerShell that Exchange and Teams need: neither can be set up through Azure CLI or Terraform.

https://learn.microsoft.com/exchange/permissions-exo/application-rbac (checked 2026-11)
https://learn.microsoft.com/graph/auth-limit-mailbox-access (checked 2026-11)
https://learn.microsoft.com/graph/cloud-communication-online-meeting-application-access-policy (checked 2026-11)

The commands expect $MailboxGroup: a mail-enabled security group whose direct members are the mailboxes to read.
"""

from collections.abc import Sequence

from config.clouds import CloudName
from config.setup.plan import Application

SCOPE_NAME = "m365-export mailboxes"
TEAMS_POLICY = "m365-export-meetings"

CONNECT_EXCHANGE: dict[CloudName, str] = {
    "global": "Connect-ExchangeOnline -ShowBanner:$false",
    "us-gov-l4": "Connect-ExchangeOnline -ShowBanner:$false -ExchangeEnvironmentName O365USGovGCCHigh",
    "us-gov-l5": "Connect-ExchangeOnline -ShowBanner:$false -ExchangeEnvironmentName O365USGovDoD",
    "china": "Connect-ExchangeOnline -ShowBanner:$false -ExchangeEnvironmentName O365China",
}
CONNECT_TEAMS: dict[CloudName, str] = {
    "global": "Connect-MicrosoftTeams",
    "us-gov-l4": "Connect-MicrosoftTeams -TeamsEnvironmentName TeamsGCCH",
    "us-gov-l5": "Connect-MicrosoftTeams -TeamsEnvironmentName TeamsDOD",
    "china": "Connect-MicrosoftTeams -TeamsEnvironmentName TeamsChina",
}


def quoted(text: str) -> str:
    """A PowerShell text literal. PowerShell takes typographic quotation marks for plain ones."""
    for mark in "'\u2018\u2019\u201a\u201b":
        text = text.replace(mark, mark * 2)
    return f"'{text}'"


def listed(items: Sequence[str]) -> str:
    """A PowerShell array of text literals."""
    return f"@({', '.join(map(quoted, items))})"


def rbac_scope() -> list[str]:
    """Once for all applications: the mailboxes that RBAC for Applications may reach."""
    return [
        "$group = Get-DistributionGroup -Identity $MailboxGroup",
        f"if (-not (Get-ManagementScope -Identity {quoted(SCOPE_NAME)} -ErrorAction SilentlyContinue)) {{",
        f"    New-ManagementScope -Name {quoted(SCOPE_NAME)} `",
        "        -RecipientRestrictionFilter \"MemberOfGroup -eq '$($group.DistinguishedName)'\"",
        "}",
    ]


def rbac_grants(application: Application, *, client_id: str, object_id: str) -> list[str]:
    """Exchange's own grants for one application; the ids are PowerShell expressions."""
    return [
        f"if (-not (Get-ServicePrincipal -Identity {object_id} -ErrorAction SilentlyContinue)) {{",
        f"    New-ServicePrincipal -AppId {client_id} -ObjectId {object_id} -DisplayName {quoted(application.name)}",
        "}",
        f"foreach ($role in {listed(application.exchange_roles)}) {{",
        f"    New-ManagementRoleAssignment -App {object_id} -Role $role `",
        f"        -CustomResourceScope {quoted(SCOPE_NAME)}",
        "}",
    ]


def access_policy(application: Application, *, client_id: str) -> list[str]:
    """The application access policy of one application; the id is a PowerShell expression."""
    return [
        f"New-ApplicationAccessPolicy -AppId {client_id} -PolicyScopeGroupId $MailboxGroup `",
        f"    -AccessRight RestrictAccess -Description {quoted(application.name)}",
    ]


def meetings_policy(client_ids: str) -> list[str]:
    """The Teams policy for online meetings, for everybody without one; the ids are a PowerShell expression."""
    policy = quoted(TEAMS_POLICY)
    return [
        f"if (-not (Get-CsApplicationAccessPolicy -Identity {policy} -ErrorAction SilentlyContinue)) {{",
        f"    New-CsApplicationAccessPolicy -Identity {policy} -AppIds {client_ids}",
        "}",
        f"Grant-CsApplicationAccessPolicy -PolicyName {policy} -Global",
    ]
