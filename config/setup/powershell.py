"""The plan as a PowerShell script with one step for each administrator, which may be run again.

https://learn.microsoft.com/powershell/microsoftgraph/overview (checked 2026-11)
"""

from collections.abc import Iterator

from config.clouds import CloudName
from config.permissions import GRAPH_APP_ID
from config.setup.admin_shell import (
    CONNECT_EXCHANGE,
    CONNECT_TEAMS,
    access_policy,
    meetings_policy,
    quoted,
    rbac_grants,
    rbac_scope,
)
from config.setup.federation import Claim, FederatedCredential
from config.setup.plan import Application, Grant, SetupPlan
from config.setup.words import (
    CONSENTS,
    DELAYS,
    GRANTS_MEETINGS,
    HANDED_OVER,
    ONE_POLICY_EACH,
    REGISTERS,
    RESTRICTS,
    UNION,
    comment,
    exchange_limits,
    policy_gap,
)

_ENVIRONMENTS: dict[CloudName, str] = {
    "global": "Global",
    "us-gov-l4": "USGov",
    "us-gov-l5": "USGovDoD",
    "china": "China",
}

_SHARED = """\
# The registration with this client id, else the one with this name; nothing where there is neither.
function Find-Registration([string] $Name, [string] $ClientId) {
    $found = Get-MgApplication -Filter "appId eq '$ClientId'"
    if (-not $found) { $found = Get-MgApplication -Filter "displayName eq '$Name'" -Top 1 }
    return $found
}

# Its enterprise application; of a managed identity the identity itself.
function Find-Principal([hashtable] $Application) {
    if ($Application.ObjectId) { return Get-MgServicePrincipal -ServicePrincipalId $Application.ObjectId }
    $registration = Find-Registration -Name $Application.Name -ClientId $Application.ClientId
    $principal = if ($registration) { Get-MgServicePrincipal -Filter "appId eq '$($registration.AppId)'" }
    if (-not $principal) { throw "There is no enterprise application $($Application.Name): see step Registration." }
    return $principal
}

# What is wanted of an application's permissions, as chosen by the switches.
function Select-Roles([hashtable[]] $Roles) {
    return @($Roles | Where-Object {
        -not ($_.Optional -and $WithoutOptional) -and
        -not ($_.Mailbox -and $MailboxRestriction -eq 'RbacForApplications')
    })
}

# Exactly these app roles of Microsoft Graph are granted: what is missing is added, what is too much is removed.
function Set-Grants([string] $PrincipalId, [hashtable[]] $Roles) {
    $graph = Get-MgServicePrincipal -Filter "appId eq '$GraphAppId'"
    $held = @(Get-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $PrincipalId -All |
        Where-Object { $_.ResourceId -eq $graph.Id })
    $heldIds = @($held | ForEach-Object { $_.AppRoleId })
    $wantedIds = @($Roles | Where-Object { $_ } | ForEach-Object { $_.Id })
    foreach ($id in $wantedIds | Where-Object { $_ -notin $heldIds }) {
        New-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $PrincipalId -PrincipalId $PrincipalId `
            -ResourceId $graph.Id -AppRoleId $id | Out-Null
    }
    foreach ($assignment in $held | Where-Object { $_.AppRoleId -notin $wantedIds }) {
        Remove-MgServicePrincipalAppRoleAssignment -ServicePrincipalId $PrincipalId `
            -AppRoleAssignmentId $assignment.Id
    }
}
"""

_REGISTER = """\
# A registration, made or completed: permissions asked for, enterprise application, user assignment required.
function Register-Application([string] $Name, [string] $ClientId, [hashtable[]] $Roles) {
    $registration = Find-Registration -Name $Name -ClientId $ClientId
    if (-not $registration) {
        $registration = New-MgApplication -DisplayName $Name -SignInAudience AzureADMyOrg
    }
    $access = @($Roles | Where-Object { $_ } | ForEach-Object { @{ Id = $_.Id; Type = 'Role' } })
    $wanted = if ($access) { @(@{ ResourceAppId = $GraphAppId; ResourceAccess = $access }) } else { @() }
    Update-MgApplication -ApplicationId $registration.Id -RequiredResourceAccess $wanted
    $principal = Get-MgServicePrincipal -Filter "appId eq '$($registration.AppId)'"
    if (-not $principal) { $principal = New-MgServicePrincipal -AppId $registration.AppId }
    Update-MgServicePrincipal -ServicePrincipalId $principal.Id -AppRoleAssignmentRequired:$true
    return $registration
}
"""

_TRUST = """\
# Accept the host's tokens in place of a secret.
function Add-Trust([string] $ApplicationId, [string] $Name, [string] $Issuer, [string] $Subject, [string] $Audience) {
    $known = @(Get-MgApplicationFederatedIdentityCredential -ApplicationId $ApplicationId | ForEach-Object { $_.Name })
    if ($Name -notin $known) {
        New-MgApplicationFederatedIdentityCredential -ApplicationId $ApplicationId -Name $Name `
            -Issuer $Issuer -Subject $Subject -Audiences @($Audience) | Out-Null
    }
}
"""


def powershell(plan: SetupPlan) -> str:
    """A script for PowerShell 7, to be run step by step by those who may."""
    sections = [_head(plan), _parameters(plan), _applications(plan), _SHARED]
    if plan.registered:
        sections.append(_REGISTER)
        if any(application.federation for application in plan.applications):
            sections.append(_TRUST)
        sections.append(_registration_step(plan))
    sections.append(_consent_step(plan))
    if plan.touches_mailboxes:
        sections.append(_exchange_step(plan))
    if plan.needs_teams_policy:
        sections.append(_teams_step(plan))
    return "\n".join(section.rstrip("\n") + "\n" for section in sections)


def _head(plan: SetupPlan) -> str:
    return "\n".join([
        "#Requires -Version 7.2",
        *comment(
            f"Sets Microsoft 365 up for m365-export in tenant {plan.tenant_id}; may be run again. Made by "
            "`m365-export setup --format powershell`. Each administrator runs the step that is theirs."
        ),
        "#",
        *(f"#   -Step {step:<13} {role}; modules: {modules}" for step, role, modules in _steps(plan)),
        *(["#", *comment(HANDED_OVER)] if plan.registered else []),
    ])  # fmt: skip


def _steps(plan: SetupPlan) -> list[tuple[str, str, str]]:
    """Name, admin role and PowerShell modules of each step."""
    return [
        *([("Registration", REGISTERS, "Microsoft.Graph.Applications")] if plan.registered else []),
        ("Consent", CONSENTS, "Microsoft.Graph.Applications"),
        *(
            [("Exchange", RESTRICTS, "ExchangeOnlineManagement, Microsoft.Graph.Applications")]
            if plan.touches_mailboxes
            else []
        ),
        *(
            [("Teams", GRANTS_MEETINGS, "MicrosoftTeams, Microsoft.Graph.Applications")]
            if plan.needs_teams_policy
            else []
        ),
    ]


def _parameters(plan: SetupPlan) -> str:
    names = ", ".join(f"'{step}'" for step, _, _ in _steps(plan))
    parameters = [[f"[Parameter(Mandatory)] [ValidateSet({names})] [string] $Step"]]
    if plan.touches_mailboxes:
        parameters += [
            [
                "# How mailboxes are restricted; give the same to every step.",
                "[ValidateSet('None', 'RbacForApplications', 'ApplicationAccessPolicy')]",
                "[string] $MailboxRestriction = 'None'",
            ],
            [
                "# A mail-enabled security group whose direct members are the mailboxes to read.",
                "[string] $MailboxGroup = ''",
            ],
        ]
    else:
        parameters.append(["[string] $MailboxRestriction = 'None'"])
    parameters.append(["[switch] $WithoutOptional"])
    for name, claim in dict(_unknown_claims(plan)).items():
        parameters.append([f"# {claim.where}", f"[string] ${name} = ''"])
    for application in plan.applications:
        if not application.is_registered_here:
            parameters.append(
                [
                    f"# The object (principal) id of the managed identity of {', '.join(application.connectors)}.",
                    f"[Parameter(Mandatory)] [string] ${_identity(application)}",
                ]
            )
    if any(application.method == "certificate" for application in plan.applications):
        parameters.append(
            ["# The certificate (PEM or DER, without its private key).", "[string] $CertificateFile = ''"]
        )
    body = ",\n".join("\n".join(f"    {line}" for line in parameter) for parameter in parameters)
    return "\n".join(
        [
            "[CmdletBinding()]",
            f"param(\n{body}\n)",
            "Set-StrictMode -Version 3.0",
            "$ErrorActionPreference = 'Stop'",
            f"$TenantId = {quoted(plan.tenant_id)}",
            f"$GraphAppId = '{GRAPH_APP_ID}'  # Microsoft Graph",
        ]
    )


def _unknown_claims(plan: SetupPlan) -> Iterator[tuple[str, Claim]]:
    for application in plan.applications:
        if application.federation:
            for name, claim in _claims(application.federation):
                if not claim.value:
                    yield _parameter(application.federation, name), claim


def _claims(credential: FederatedCredential) -> list[tuple[str, Claim]]:
    return [("Issuer", credential.issuer), ("Subject", credential.subject), ("Audience", credential.audience)]


def _parameter(credential: FederatedCredential, claim: str) -> str:
    words = credential.name.removeprefix("m365-export-").split("-")
    return "".join(word.capitalize() for word in words) + claim


def _applications(plan: SetupPlan) -> str:
    """What each application is granted, as data."""
    lines = ["$Applications = @("]
    for application in plan.applications:
        lines += [
            "    @{",
            f"        Name = {quoted(application.name)}",
            f"        ClientId = {quoted(application.client_id)}",
            f"        ObjectId = {_object_id(application)}",
            "        Roles = @(",
            *(f"            {_role(grant)}" for grant in application.grants),
            "        )",
            "    }",
        ]
    return "\n".join([*lines, ")"])


def _object_id(application: Application) -> str:
    """Known beforehand only of a managed identity, which has no registration to be found by."""
    return "''" if application.is_registered_here else f"${_identity(application)}"


def _identity(application: Application) -> str:
    return "".join(word.capitalize() for word in application.slug.split("_")) + "Identity"


def _role(grant: Grant) -> str:
    flags = f"Mailbox = {_truth(grant.role.exchange)}; Optional = {_truth(grant.optional)}"
    optional = f"; optional: {grant.optional}" if grant.optional else ""
    datasets = ", ".join(grant.datasets)
    return f"@{{ Id = '{grant.role.id}'; {flags} }}  # {grant.role.name}: {datasets}{optional}"


def _truth(value: object) -> str:
    return "$true" if value else "$false"


def _step(name: str, *lines: str) -> str:
    body = "\n".join(f"    {line}" if line else "" for line in lines)
    return f"if ($Step -eq '{name}') {{\n{body}\n}}"


def _connect(plan: SetupPlan, *scopes: str) -> str:
    return (
        f"Connect-MgGraph -TenantId $TenantId -Environment {_ENVIRONMENTS[plan.cloud.name]} -NoWelcome "
        f"-Scopes {', '.join(map(quoted, scopes))}"
    )


def _registration_step(plan: SetupPlan) -> str:
    lines = [_connect(plan, "Application.ReadWrite.All")]
    for index, application in enumerate(plan.applications):
        if not application.is_registered_here:
            continue
        lines += [
            "",
            f"$application = $Applications[{index}]",
            "$registration = Register-Application -Name $application.Name -ClientId $application.ClientId `",
            "    -Roles (Select-Roles $application.Roles)",
            *_credential(application),
            f'Write-Output "auth.client_id of {", ".join(application.connectors)}: $($registration.AppId)"',
            f'$consent = "https://{plan.cloud.authority_host}/$TenantId/adminconsent"',
            'Write-Output "Consent: ${consent}?client_id=$($registration.AppId)"',
        ]
    return _step("Registration", *lines)


def _credential(application: Application) -> list[str]:
    match application.method:
        case "federated" if application.federation:
            credential = application.federation
            values = {
                name: quoted(claim.value) if claim.value else f"${_parameter(credential, name)}"
                for name, claim in _claims(credential)
            }
            missing = [value for name, value in values.items() if value.startswith("$")]
            given = " -or ".join(f"-not {value}" for value in missing)
            names = ", ".join(f"-{value.removeprefix('$')}" for value in missing)
            return [
                f"# {credential.host}",
                *([f"if ({given}) {{ throw 'Give {names}.' }}"] if missing else []),
                f"Add-Trust -ApplicationId $registration.Id -Name {quoted(credential.name)} `",
                f"    -Issuer {values['Issuer']} -Subject {values['Subject']} -Audience {values['Audience']}",
            ]
        case "certificate":
            return [
                "if (-not $CertificateFile) { throw 'Give -CertificateFile.' }",
                "$type = [System.Security.Cryptography.X509Certificates.X509Certificate2]",
                "$certificate = $type::new($CertificateFile)",
                "$key = @{ Type = 'AsymmetricX509Cert'; Usage = 'Verify'; Key = $certificate.RawData }",
                "Update-MgApplication -ApplicationId $registration.Id -KeyCredentials @($key)",
            ]
        case "client-secret":
            return [
                "# The value is shown this once: put it into your secret store, without a newline at its end.",
                "if (-not $registration.PasswordCredentials) {",
                "    $password = @{ DisplayName = 'm365-export'; EndDateTime = (Get-Date).AddYears(1) }",
                "    $secret = Add-MgApplicationPassword -ApplicationId $registration.Id -PasswordCredential $password",
                '    Write-Output "client secret of $($application.Name): $($secret.SecretText)"',
                "}",
            ]
        case _:
            return []


def _consent_step(plan: SetupPlan) -> str:
    return _step(
        "Consent",
        _connect(plan, "Application.Read.All", "AppRoleAssignment.ReadWrite.All"),
        "foreach ($application in $Applications) {",
        "    $principal = Find-Principal $application",
        "    Set-Grants -PrincipalId $principal.Id -Roles (Select-Roles $application.Roles)",
        "}",
    )


def _exchange_step(plan: SetupPlan) -> str:
    restricted = [
        (index, application) for index, application in enumerate(plan.applications) if application.mailbox_grants
    ]
    lines = [
        *comment(exchange_limits(plan)),
        *comment(f"{UNION} {policy_gap(plan)} {DELAYS}"),
        "if ($MailboxRestriction -eq 'None' -or -not $MailboxGroup) {",
        "    throw 'Give -MailboxRestriction (RbacForApplications, or ApplicationAccessPolicy) and -MailboxGroup.'",
        "}",
        _connect(plan, "Application.Read.All"),
        CONNECT_EXCHANGE[plan.cloud.name],
        "if ($MailboxRestriction -eq 'RbacForApplications') {",
        *(f"    {line}" for line in rbac_scope()),
        "}",
    ]
    for index, application in restricted:
        lines += [
            "",
            f"$application = $Applications[{index}]",
            "$principal = Find-Principal $application",
            "if ($MailboxRestriction -eq 'RbacForApplications') {",
            *(
                f"    {line}"
                for line in rbac_grants(application, client_id="$principal.AppId", object_id="$principal.Id")
            ),
            "    Test-ServicePrincipalAuthorization -Identity $principal.Id | Format-Table",
            f"}} else {{  # {ONE_POLICY_EACH}",
            *(f"    {line}" for line in access_policy(application, client_id="$principal.AppId")),
            "}",
        ]
    return _step("Exchange", *lines)


def _teams_step(plan: SetupPlan) -> str:
    indexes = [str(index) for index, application in enumerate(plan.applications) if application.needs_teams_policy]
    return _step(
        "Teams",
        _connect(plan, "Application.Read.All"),
        CONNECT_TEAMS[plan.cloud.name],
        f"$clientIds = @($Applications[{', '.join(indexes)}] | ForEach-Object {{",
        "    (Find-Principal $_).AppId",
        "})",
        *meetings_policy("$clientIds"),
    )
