"""The plan as a shell script for Azure CLI, which may be run again: it completes what is there.

https://learn.microsoft.com/cli/azure/ad/app (checked 2026-11)
"""

import json
from collections.abc import Iterator, Sequence
from shlex import quote

from config.clouds import CloudName
from config.permissions import GRAPH_APP_ID
from config.setup.federation import Claim, FederatedCredential
from config.setup.plan import Application, Grant, SetupPlan
from config.setup.words import HANDED_OVER, UNION, comment, exchange_limits, policy_gap, steps

_CLOUDS: dict[CloudName, str] = {
    "global": "AzureCloud",
    "us-gov-l4": "AzureUSGovernment",
    "us-gov-l5": "AzureUSGovernment",
    "china": "AzureChinaCloud",
}

_NEED = """\
need() {  # NAME MEANING
  if [ -z "${!1:-}" ]; then
    echo "Set $1 in the environment: $2" >&2
    exit 2
  fi
}
"""

_REGISTRATION = """\
# The registration with this client id, else the one with this name, else a new one. Prints its client id.
registration() {  # NAME CLIENT_ID
  local found
  if az ad app show --id "$2" --output none 2>/dev/null; then
    printf '%s\\n' "$2"
    return
  fi
  found=$(az ad app list --filter "displayName eq '$1'" --query '[0].appId' --output tsv)
  if [ -n "$found" ]; then
    printf '%s\\n' "$found"
  else
    az ad app create --display-name "$1" --sign-in-audience AzureADMyOrg --query appId --output tsv
  fi
}

# The enterprise application; nobody can sign in to it who is not assigned, and nobody is.
enterprise_application() {  # CLIENT_ID
  az ad sp show --id "$1" --output none 2>/dev/null || az ad sp create --id "$1" --output none
  az ad sp update --id "$1" --set appRoleAssignmentRequired=true
}

# Exactly these application permissions of Microsoft Graph: what else was asked for is taken out.
ask_for() {  # CLIENT_ID ROLE_ID...
  local client_id=$1 access wanted='[]'
  shift
  if [ $# -gt 0 ]; then
    access=$(printf '{"id":"%s","type":"Role"},' "$@")
    wanted="[{\\"resourceAppId\\":\\"$GRAPH\\",\\"resourceAccess\\":[${access%,}]}]"
  fi
  az ad app update --id "$client_id" --required-resource-accesses "$wanted"
}
"""

_FEDERATION = """\
# Accept the host's tokens in place of a secret.
trust() {  # CLIENT_ID NAME ISSUER SUBJECT AUDIENCE
  local known
  known=$(az ad app federated-credential list --id "$1" --query "[?name=='$2'] | length(@)" --output tsv)
  if [ "$known" = 0 ]; then
    az ad app federated-credential create --id "$1" --output none --parameters \\
      "$(printf '{"name":"%s","issuer":"%s","subject":"%s","audiences":["%s"]}' "$2" "$3" "$4" "$5")"
  fi
}
"""

_ASSIGNMENT = """\
# A managed identity has no registration to consent to: each permission is assigned to it.
assign() {  # OBJECT_ID ROLE_ID...
  local object_id=$1 graph_object_id held role
  shift
  graph_object_id=$(az ad sp show --id "$GRAPH" --query id --output tsv)
  held=$(az rest --method GET --url "$GRAPH_URL/servicePrincipals/$object_id/appRoleAssignments" \\
    --query 'value[].appRoleId' --output tsv)
  for role in "$@"; do
    grep -q "$role" <<<"$held" || az rest --method POST --output none \\
      --url "$GRAPH_URL/servicePrincipals/$object_id/appRoleAssignments" \\
      --headers Content-Type=application/json \\
      --body "{\\"principalId\\":\\"$object_id\\",\\"resourceId\\":\\"$graph_object_id\\",\\"appRoleId\\":\\"$role\\"}"
  done
}
"""


def azure_cli(plan: SetupPlan) -> str:
    """A bash script; what it needs to know besides the plan it takes from the environment, and says so."""
    sections = [_head(plan), _variables(plan)]
    if plan.registered:
        sections.append(_REGISTRATION)
    if any(application.federation for application in plan.applications):
        sections.append(_FEDERATION)
    if len(plan.registered) < len(plan.applications):
        sections.append(_ASSIGNMENT)
    sections += [_application(plan, application) for application in plan.applications]
    sections.append(_tail(plan))
    return "\n".join(section.rstrip("\n") + "\n" for section in sections)


def _head(plan: SetupPlan) -> str:
    lines = [
        "#!/usr/bin/env bash",
        *comment(
            f"Sets Entra up for m365-export in tenant {plan.tenant_id}; may be run again. Made by "
            "`m365-export setup --format azure-cli`. Sign in first: "
            f"az login --tenant {plan.tenant_id} --allow-no-subscriptions"
        ),
        "#",
        "# Who does what:",
        *(f"#   {role}: {step}" for step, role in steps(plan)),
        "#",
        *(comment(HANDED_OVER) if plan.registered else ()),
    ]
    if plan.touches_mailboxes or plan.needs_teams_policy:
        lines += [
            "#",
            *comment(
                "Exchange and Teams cannot be set up with Azure CLI: `m365-export setup --format powershell` does it."
            ),
            *comment(exchange_limits(plan)),
        ]
    return "\n".join([*lines, "", "set -euo pipefail"])


def _variables(plan: SetupPlan) -> str:
    lines = [
        f"TENANT={quote(plan.tenant_id)}",
        f"GRAPH={GRAPH_APP_ID}  # Microsoft Graph",
    ]
    if plan.registered:
        meaning = "yes: grant admin consent too; else an administrator opens the links"
        lines.append(f"GRANT_CONSENT=${{GRANT_CONSENT:-no}}  # {meaning}")
    if len(plan.registered) < len(plan.applications):
        lines.append(f"GRAPH_URL=https://{plan.cloud.graph_host}/v1.0")
    if any(grant.optional for application in plan.applications for grant in application.grants):
        lines.append("WITH_OPTIONAL=${WITH_OPTIONAL:-yes}  # no: leave out what is marked optional")
    if plan.touches_mailboxes:
        lines += [
            *comment(f"no: Exchange grants what concerns mailboxes, with RBAC for Applications. {UNION}"),
            "MAILBOXES_IN_ENTRA=${MAILBOXES_IN_ENTRA:-yes}",
        ]
    asked = dict.fromkeys(line for application in plan.applications for line in _asked_for(application))
    return "\n".join(
        [
            *lines,
            *(["", _NEED.rstrip("\n"), *asked] if asked else []),
            "",
            *([] if plan.cloud.name == "global" else [f"az cloud set --name {_CLOUDS[plan.cloud.name]}"]),
            'if [ "$(az account show --query tenantId --output tsv)" != "$TENANT" ]; then',
            '  echo "Sign in to tenant $TENANT first: az login --tenant $TENANT --allow-no-subscriptions" >&2',
            "  exit 1",
            "fi",
        ]
    )


def _asked_for(application: Application) -> Iterator[str]:
    """Variables for what only the administrator knows."""
    if application.federation:
        credential = application.federation
        for name, claim in _claims(credential):
            if not claim.value:
                yield _required(_variable(credential, name), claim.where)
    if application.method == "certificate":
        yield _required("CERTIFICATE_FILE", "the certificate (PEM, without its private key)")
    if application.method == "managed-identity":
        yield _required(f"{application.slug.upper()}_IDENTITY", "the object (principal) id of the managed identity")


def _required(name: str, meaning: str) -> str:
    return f"need {name} {quote(meaning)}"


def _claims(credential: FederatedCredential) -> list[tuple[str, Claim]]:
    return [("issuer", credential.issuer), ("subject", credential.subject), ("audience", credential.audience)]


def _variable(credential: FederatedCredential, claim: str) -> str:
    return f"{credential.name.removeprefix('m365-export-').replace('-', '_')}_{claim}".upper()


def _application(plan: SetupPlan, application: Application) -> str:
    heading = f"# --- {application.name}: {', '.join(application.connectors)} "
    lines = [heading + "-" * max(3, 110 - len(heading)), "", *_roles(application)]
    if not application.is_registered_here:
        return "\n".join([*lines, f'assign "${application.slug.upper()}_IDENTITY" "${{roles[@]}}"'])
    lines += [
        f"client_id=$(registration {quote(application.name)} {quote(application.client_id)})",
        'enterprise_application "$client_id"',
        'ask_for "$client_id" "${roles[@]}"',
        *_credential(application),
        'if [ "$GRANT_CONSENT" = yes ]; then',
        '  az ad app permission admin-consent --id "$client_id"',
        "else",
        f'  echo "Grant consent: https://{plan.cloud.authority_host}/$TENANT/adminconsent?client_id=$client_id"',
        "fi",
        f'echo "auth.client_id of {", ".join(application.connectors)}: $client_id"',
    ]
    return "\n".join(lines)


def _roles(application: Application) -> Iterator[str]:
    yield "roles=("
    for grant in application.grants:
        if not grant.optional and not grant.role.exchange:
            yield f"  {_role(grant)}"
    yield ")"
    for is_mailbox, is_optional, condition in (
        (True, False, '[ "$MAILBOXES_IN_ENTRA" = yes ]'),
        (False, True, '[ "$WITH_OPTIONAL" = yes ]'),
        (True, True, '[ "$WITH_OPTIONAL" = yes ] && [ "$MAILBOXES_IN_ENTRA" = yes ]'),
    ):
        chosen = [
            grant
            for grant in application.grants
            if bool(grant.role.exchange) is is_mailbox and bool(grant.optional) is is_optional
        ]
        if chosen:
            yield from (f"if {condition}; then", "  roles+=(")
            yield from (f"    {_role(grant)}" for grant in chosen)
            yield from ("  )", "fi")


def _role(grant: Grant) -> str:
    optional = f"; optional: {grant.optional}" if grant.optional else ""
    return f"{grant.role.id}  # {grant.role.name}: {', '.join(grant.datasets)}{optional}"


def _credential(application: Application) -> Sequence[str]:
    match application.method:
        case "federated" if application.federation:
            credential = application.federation
            values = [
                _json_quoted(claim.value) if claim.value else f'"${_variable(credential, name)}"'
                for name, claim in _claims(credential)
            ]
            return [f'trust "$client_id" {quote(credential.name)} {" ".join(values)}  # {credential.host}']
        case "certificate":
            return ['az ad app credential reset --id "$client_id" --append --cert "@$CERTIFICATE_FILE" --output none']
        case "client-secret":
            file = f"{application.slug}.secret"
            return [
                f"if [ ! -e {file} ]; then  # its value is shown once: move it to your secret store, delete the file",
                '  (umask 077; az ad app credential reset --id "$client_id" --append --display-name m365-export \\',
                f"    --years 1 --query password --output tsv | tr -d '\\n' >{file})",
                "fi",
            ]
        case _:
            return []


def _json_quoted(text: str) -> str:
    """For the inside of a JSON text inside a shell word."""
    return quote(json.dumps(text)[1:-1])


def _tail(plan: SetupPlan) -> str:
    lines = ["# --- Then " + "-" * 101]
    if plan.touches_mailboxes:
        lines += comment(f"Restrict mailboxes: m365-export setup --format powershell. {policy_gap(plan)}")
    return "\n".join([*lines, "echo 'Then: m365-export doctor'"])
