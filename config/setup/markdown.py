"""The plan as a page for the administrator, who clicks or hands the commands on."""

from collections.abc import Iterator, Sequence

from config.setup.admin_shell import (
    CONNECT_EXCHANGE,
    CONNECT_TEAMS,
    access_policy,
    listed,
    meetings_policy,
    quoted,
    rbac_grants,
    rbac_scope,
)
from config.setup.federation import Claim
from config.setup.plan import Application, Grant, SetupPlan
from config.setup.words import (
    CONSENTS,
    DELAYS,
    GRANTS_MEETINGS,
    ONE_POLICY_EACH,
    REGISTERS,
    RESTRICTS,
    UNION,
    exchange_limits,
    policy_gap,
    steps,
)


def markdown(plan: SetupPlan) -> str:
    """One page: who does what, then each step."""
    sections = [_head(plan), *_registrations(plan), _consent(plan)]
    if plan.touches_mailboxes:
        sections.append(_restriction(plan))
    if plan.needs_teams_policy:
        sections.append(_meetings(plan))
    sections.append(_check())
    return "\n\n".join(sections) + "\n"


def _head(plan: SetupPlan) -> str:
    return "\n".join([
        "# Microsoft 365 set-up for m365-export",
        "",
        (f"Tenant {_code(plan.tenant_id)}, cloud {plan.cloud.name}. Nothing below lets the exporter change anything: "
        "every permission only reads."),
        "",
        "| step | admin role |",
        "|---|---|",
        *(f"| {step} | {role} |" for step, role in steps(plan)),
        "",
        "The same as scripts: `m365-export setup --format azure-cli`, `powershell` or `terraform`.",
    ])  # fmt: skip


def _registrations(plan: SetupPlan) -> Iterator[str]:
    yield "## Applications" + ("\n\n" + _HOW_TO_REGISTER if plan.registered else "")
    for application in plan.applications:
        yield _application(application)


_HOW_TO_REGISTER = (
    f"For each application ({REGISTERS}): Entra admin center, App registrations, New registration, this "
    "organisation only, no redirect URI; or take over the registration that a colleague made, of which you need "
    "the application (client) id. Under API permissions add the application permissions (not delegated ones) of "
    "Microsoft Graph listed, and remove all others. Under Enterprise applications, Properties, set Assignment "
    "required to Yes and assign nobody: nobody signs in to it."
)


def _application(application: Application) -> str:
    lines = [
        f"### {application.name}",
        "",
        f"Connectors: {', '.join(application.connectors)}. {_identity(application)}",
    ]
    lines += ["", "| permission | id | reads | remark |", "|---|---|---|---|"]
    lines += [_row(grant) for grant in application.grants]
    lines += ["", *_credential(application)]
    return "\n".join(lines)


def _identity(application: Application) -> str:
    if not application.is_registered_here:
        return (
            "It is a managed identity: it has no registration, and its permissions are not to be granted "
            "in the portal; the scripts assign them."
        )
    return f"Client id in the settings: {_code(application.client_id)}."


def _row(grant: Grant) -> str:
    remarks = []
    if grant.optional:
        remarks.append(f"optional: {grant.optional}")
    if grant.instead:
        names = " or ".join(role.name for role in grant.instead)
        remarks.append(f"where it is not offered: {names}")
    if grant.role.exchange:
        remarks.append("Exchange can restrict it")
    return f"| {grant.role.name} | `{grant.role.id}` | {', '.join(grant.datasets)} | {'; '.join(remarks)} |"


def _credential(application: Application) -> Sequence[str]:
    match application.method:
        case "federated" if application.federation:
            credential = application.federation
            return [
                (
                    f"Certificates & secrets, Federated credentials, Add, Other issuer ({credential.host}). Entra "
                    "compares letter by letter; a new credential takes some minutes to be known everywhere."
                ),
                "",
                "| field | value |",
                "|---|---|",
                f"| name | {_code(credential.name)} |",
                f"| issuer | {_claim(credential.issuer)} |",
                f"| subject | {_claim(credential.subject)} |",
                f"| audience | {_claim(credential.audience)} |",
            ]
        case "certificate":
            return ["Certificates & secrets, Certificates: upload the certificate, never its private key."]
        case "client-secret":
            return [
                (
                    "Certificates & secrets, New client secret: copy its value (not its id) into the secret store, "
                    "without a newline at its end. It expires; a federated credential does not."
                )
            ]
        case _:
            return ["It signs in as the machine it runs on: there is no credential to make."]


def _claim(claim: Claim) -> str:
    if claim.value:
        return _code(claim.value) + (f" ({claim.where})" if claim.where else "")
    return f"such as {_code(claim.example)}: {claim.where}"


def _consent(plan: SetupPlan) -> str:
    links = [f"- {application.name}: {_where_to_consent(plan, application)}" for application in plan.applications]
    return "\n".join(
        [
            "## Admin consent",
            "",
            f"{CONSENTS}: open each link and accept. Tokens issued before do not have the permissions yet.",
            "",
            *links,
        ]
    )


def _where_to_consent(plan: SetupPlan, application: Application) -> str:
    if not application.is_registered_here:
        return "a managed identity has no link; `m365-export setup --format azure-cli` assigns its permissions"
    return f"<{plan.consent_link(application)}>"


def _restriction(plan: SetupPlan) -> str:
    restricted = [application for application in plan.applications if application.mailbox_grants]
    group = "$MailboxGroup = 'm365-export-mailboxes@example.com'  # mail-enabled security group; direct members count"
    names = ", ".join(
        dict.fromkeys(grant.role.name for application in restricted for grant in application.mailbox_grants)
    )
    rbac = [CONNECT_EXCHANGE[plan.cloud.name], group, *rbac_scope()]
    policies = [CONNECT_EXCHANGE[plan.cloud.name], group]
    for application in restricted:
        client_id = quoted(application.client_id) if application.is_registered_here else "$applicationId"
        asked = [] if application.is_registered_here else [_APPLICATION_ID]
        rbac += [
            "",
            f"# {application.name}",
            *asked,
            "$objectId = '00000000-0000-0000-0000-000000000000'  # object id under Enterprise applications",
            *rbac_grants(application, client_id=client_id, object_id="$objectId"),
            "Test-ServicePrincipalAuthorization -Identity $objectId -Resource someone@example.com",
        ]
        policies += [
            "",
            f"# {application.name}",
            *asked,
            *access_policy(application, client_id=client_id),
            f"Test-ApplicationAccessPolicy -AppId {client_id} -Identity someone@example.com",
        ]
    return "\n".join(
        [
            "## Restrict mailboxes",
            "",
            f"{RESTRICTS}, in Exchange Online PowerShell. **{exchange_limits(plan)}**",
            "",
            (
                f"Either RBAC for Applications, which Microsoft recommends. {UNION} Here: {names}. Tokens do not show "
                "what Exchange grants; `m365-export doctor --probe-allowed USER` does."
            ),
            "",
            *_fenced(rbac),
            "",
            (
                "Or application access policies, the older way: the permissions are granted in Entra. "
                f"{ONE_POLICY_EACH} {policy_gap(plan)}"
            ),
            "",
            *_fenced(policies),
            "",
            DELAYS,
        ]
    )


_APPLICATION_ID = (
    "$applicationId = '00000000-0000-0000-0000-000000000000'  # application id under Enterprise applications"
)


def _meetings(plan: SetupPlan) -> str:
    concerned = [application for application in plan.applications if application.needs_teams_policy]
    is_known = all(application.is_registered_here for application in concerned)
    client_ids = listed([application.client_id for application in concerned]) if is_known else "$applicationId"
    asked = [] if is_known else [_APPLICATION_ID]
    return "\n".join(
        [
            "## Teams application access policy",
            "",
            (
                f"{GRANTS_MEETINGS}, in Teams PowerShell. Online meetings and attendance reports of a user are "
                "readable only if such a policy is granted to that user; everything else of Teams works without it."
            ),
            "",
            *_fenced([CONNECT_TEAMS[plan.cloud.name], *asked, *meetings_policy(client_ids)]),
        ]
    )


def _check() -> str:
    return "\n".join(
        [
            "## Check",
            "",
            *_fenced(
                ["m365-export doctor --probe-allowed someone@example.com --probe-denied somebody.else@example.com"],
                language="sh",
            ),
            "",
            (
                "It gets a token for each application, compares permissions with what is needed, and tries whether the "
                "restriction holds. It prints no identifier of the two."
            ),
        ]
    )


def _fenced(lines: Sequence[str], *, language: str = "powershell") -> list[str]:
    return [f"```{language}", *lines, "```"]


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"
