"""The plan as Terraform for the azuread provider, version 3.

https://registry.terraform.io/providers/hashicorp/azuread/latest/docs (checked 2026-11)
"""

import json
from collections.abc import Iterator

from config.clouds import CloudName
from config.permissions import GRAPH_APP_ID
from config.setup.federation import Claim, FederatedCredential
from config.setup.plan import Application, Grant, SetupPlan
from config.setup.words import UNION, comment, exchange_limits, policy_gap, steps

_ENVIRONMENTS: dict[CloudName, str] = {
    "global": "public",
    "us-gov-l4": "usgovernmentl4",
    "us-gov-l5": "usgovernmentl5",
    "china": "china",
}


def terraform(plan: SetupPlan) -> str:
    """One configuration file; what only the administrator knows is a variable."""
    blocks = [_head(plan), *_variables(plan), *_graph()]
    for application in plan.applications:
        blocks += _application(application)
    if plan.registered:
        blocks.append(_outputs(plan))
    return "\n\n".join(blocks) + "\n"


def text(value: str) -> str:
    """A Terraform text literal."""
    return json.dumps(value, ensure_ascii=False).replace("${", "$${").replace("%{", "%%{")


def _head(plan: SetupPlan) -> str:
    lines = [
        *comment(
            f"Sets Entra up for m365-export in tenant {plan.tenant_id}. Made by "
            "`m365-export setup --format terraform`; sign in with `az login` or as the azuread provider describes."
        ),
        "#",
        "# Who does what:",
        *(f"#   {role}: {step}" for step, role in steps(plan)),
        "#",
        *_handed_over(plan),
    ]
    if plan.touches_mailboxes or plan.needs_teams_policy:
        lines += [
            "#",
            *comment(
                "Exchange and Teams cannot be set up with Terraform: `m365-export setup --format powershell` does it. "
                f"{policy_gap(plan)}"
            ),
            *comment(exchange_limits(plan)),
        ]
    return "\n".join(
        [
            *lines,
            "",
            "terraform {",
            '  required_version = ">= 1.5"',
            "  required_providers {",
            "    azuread = {",
            '      source  = "hashicorp/azuread"',
            '      version = "~> 3.0"',
            "    }",
            "  }",
            "}",
            "",
            'provider "azuread" {',
            f"  tenant_id   = {text(plan.tenant_id)}",
            f"  environment = {text(_ENVIRONMENTS[plan.cloud.name])}",
            "}",
        ]
    )


def _handed_over(plan: SetupPlan) -> Iterator[str]:
    if not plan.registered:
        return
    yield from comment("A registration that a colleague made is taken over before the first apply, by its object id:")
    for application in plan.registered:
        yield f"#   terraform import azuread_application.{application.slug} /applications/OBJECT_ID"
        yield f"#   terraform import azuread_service_principal.{application.slug} /servicePrincipals/OBJECT_ID"


def _variables(plan: SetupPlan) -> Iterator[str]:
    yield _variable("grant_consent", "bool", "Grant admin consent too; false: it is granted in the portal.", "true")
    if any(grant.optional for application in plan.applications for grant in application.grants):
        yield _variable("with_optional", "bool", "Also grant what is marked optional.", "true")
    if plan.touches_mailboxes:
        meaning = f"false: Exchange grants what concerns mailboxes, with RBAC for Applications. {UNION}"
        yield _variable("mailboxes_in_entra", "bool", meaning, "true")
    seen: dict[str, str] = {}
    for application in plan.applications:
        if application.federation:
            for name, claim in _claims(application.federation):
                if not claim.value:
                    seen[_claim_variable(application.federation, name)] = claim.where
        if application.method == "certificate":
            seen["certificate_file"] = "The certificate (PEM, without its private key)."
        if application.method == "managed-identity":
            seen[f"{application.slug}_identity"] = "The object (principal) id of the managed identity."
    for variable, meaning in seen.items():
        yield _variable(variable, "string", meaning, None)


def _variable(name: str, type_: str, meaning: str, default: str | None) -> str:
    lines = [f'variable "{name}" {{', f"  type        = {type_}", f"  description = {text(meaning)}"]
    if default is not None:
        lines.append(f"  default     = {default}")
    return "\n".join([*lines, "}"])


def _claims(credential: FederatedCredential) -> list[tuple[str, Claim]]:
    return [("issuer", credential.issuer), ("subject", credential.subject), ("audience", credential.audience)]


def _claim_variable(credential: FederatedCredential, claim: str) -> str:
    return f"{credential.name.removeprefix('m365-export-').replace('-', '_')}_{claim}"


def _graph() -> Iterator[str]:
    yield f'data "azuread_service_principal" "graph" {{\n  client_id = "{GRAPH_APP_ID}" # Microsoft Graph\n}}'


def _application(application: Application) -> Iterator[str]:
    slug = application.slug
    yield f"# {application.name}: {', '.join(application.connectors)}\n" + _roles(application)
    if application.is_registered_here:
        yield from _registration(application)
        yield from _credential(application)
        principal = f"azuread_service_principal.{slug}.object_id"
    else:
        principal = f"var.{slug}_identity"
    yield "\n".join(
        [
            f'resource "azuread_app_role_assignment" "{slug}" {{',
            f"  for_each            = var.grant_consent ? local.{slug}_roles : {{}}",
            "  app_role_id         = each.value",
            f"  principal_object_id = {principal}",
            "  resource_object_id  = data.azuread_service_principal.graph.object_id",
            "}",
        ]
    )


def _roles(application: Application) -> str:
    lines = ["locals {", f"  {application.slug}_roles = merge("]
    for is_mailbox, is_optional, condition in (
        (False, False, ""),
        (True, False, "var.mailboxes_in_entra"),
        (False, True, "var.with_optional"),
        (True, True, "var.with_optional && var.mailboxes_in_entra"),
    ):
        chosen = [
            grant
            for grant in application.grants
            if bool(grant.role.exchange) is is_mailbox and bool(grant.optional) is is_optional
        ]
        if chosen:
            width = max(len(grant.role.name) for grant in chosen)
            lines += [
                f"    {condition} ? {{" if condition else "    {",
                *(f"      {_role(grant, width)}" for grant in chosen),
                "    } : {}," if condition else "    },",
            ]
    return "\n".join([*lines, "  )", "}"])


def _role(grant: Grant, width: int) -> str:
    optional = f"; optional: {grant.optional}" if grant.optional else ""
    name = text(grant.role.name).ljust(width + 2)
    return f'{name} = "{grant.role.id}" # {", ".join(grant.datasets)}{optional}'


def _registration(application: Application) -> Iterator[str]:
    slug = application.slug
    yield "\n".join(
        [
            f'resource "azuread_application" "{slug}" {{',
            f"  display_name     = {text(application.name)}",
            '  sign_in_audience = "AzureADMyOrg"',
            "",
            "  required_resource_access {",
            f'    resource_app_id = "{GRAPH_APP_ID}"',
            '    dynamic "resource_access" {',
            f"      for_each = local.{slug}_roles",
            "      content {",
            "        id   = resource_access.value",
            '        type = "Role"',
            "      }",
            "    }",
            "  }",
            "}",
        ]
    )
    yield "\n".join(
        [
            f'resource "azuread_service_principal" "{slug}" {{',
            f"  client_id                    = azuread_application.{slug}.client_id",
            "  app_role_assignment_required = true # nobody can sign in to it who is not assigned, and nobody is",
            "}",
        ]
    )


def _credential(application: Application) -> Iterator[str]:
    slug = application.slug
    if application.method == "federated" and application.federation:
        credential = application.federation
        values = {
            name: text(claim.value) if claim.value else f"var.{_claim_variable(credential, name)}"
            for name, claim in _claims(credential)
        }
        yield "\n".join(
            [
                f'resource "azuread_application_federated_identity_credential" "{slug}" {{',
                f"  application_id = azuread_application.{slug}.id",
                f"  display_name   = {text(credential.name)}",
                f"  description    = {text(credential.host)}",
                f"  issuer         = {values['issuer']}",
                f"  subject        = {values['subject']}",
                f"  audiences      = [{values['audience']}]",
                "}",
            ]
        )
    elif application.method == "certificate":
        yield "\n".join(
            [
                f'resource "azuread_application_certificate" "{slug}" {{',
                f"  application_id = azuread_application.{slug}.id",
                '  type           = "AsymmetricX509Cert"',
                "  value          = file(var.certificate_file)",
                "}",
            ]
        )
    elif application.method == "client-secret":
        yield "\n".join(
            comment(
                "The client secret is not made here, since Terraform would keep it in its state: "
                "az ad app credential reset --append --id CLIENT_ID"
            )
        )


def _outputs(plan: SetupPlan) -> str:
    lines = ['output "client_ids" {', '  description = "For auth.client_id in the settings."', "  value = {"]
    width = max(len(text(" ".join(application.connectors))) for application in plan.registered)
    for application in plan.registered:
        name = text(" ".join(application.connectors)).ljust(width)
        lines.append(f"    {name} = azuread_application.{application.slug}.client_id")
    return "\n".join([*lines, "  }", "}"])
