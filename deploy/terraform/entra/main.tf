# One app registration a connector, with the application roles it needs and a federated credential: no secret anywhere.
#
# `m365-export setup --format terraform` prints the same for the settings you have, with one application or several,
# certificates and managed identities as they say. This module is for those who keep their registrations in a
# repository of their own. What Exchange and Teams have to be told is no matter of Terraform: see
# `m365-export setup --format powershell`.
#
# Who applies it, in Entra:
#   Application Administrator      registrations, credentials, service principals
#   Privileged Role Administrator  FIRST APPLY ONLY, and when roles are added: `grant_consent` assigns application roles
#                                  of Microsoft Graph. Without it set grant_consent = false and consent in the portal.
#
# A registration that a colleague has made is taken over before the first apply, by its object id:
#   terraform import 'module.entra.azuread_application.connector["outlook-mail"]' /applications/OBJECT_ID
#   terraform import 'module.entra.azuread_service_principal.connector["outlook-mail"]' /servicePrincipals/OBJECT_ID

terraform {
  required_version = ">= 1.5"
  required_providers {
    azuread = {
      source  = "hashicorp/azuread"
      version = "~> 3.0"
    }
  }
}

locals {
  graph_app_id = "00000003-0000-0000-c000-000000000000" # Microsoft Graph

  # Every run reads the directory, with the application of the first connector that may.
  roles = {
    "entra-id" = {
      "User.Read.All"             = "df021288-bdef-4463-88db-98f22de89214"
      "Group.ReadBasic.All"       = "07d67222-3a10-4d3b-9ddc-b8aa43198a00"
      "GroupMember.ReadBasic.All" = "8222c640-cae5-4860-8d11-b32cfad95e03"
      "MailboxSettings.Read"      = "40f97065-369a-49f4-947c-6a255697ae91"
    }
    "outlook-mail" = {
      "Mail.ReadBasic.All" = "693c5e45-0940-467d-9b8a-1022fb9d42ef"
      "Contacts.Read"      = "089fe4d0-434a-44c5-8827-41ba8a0b17f5" # optional: opens whole address books
    }
    "outlook-calendar" = var.profile == "strict" ? {
      "Calendars.ReadBasic.All" = "8ba4a692-bc31-4128-9094-475872af8a53"
      } : { # the psoxy profiles look for the links of meeting services in bodies
      "Calendars.Read" = "798ee544-9d2d-430c-a058-570e29e34338"
    }
    "msft-teams" = {
      "Team.ReadBasic.All"             = "2280dda6-0bfd-44ee-a2f4-cb867cfc4c1e"
      "Channel.ReadBasic.All"          = "59a6b24b-4225-4393-8165-ebaec5f55d7a"
      "ChannelMessage.Read.All"        = "7b2449af-6ccd-4f4d-9f78-e550c193f0d1"
      "Chat.Read.All"                  = "6b7d71aa-70aa-4810-a8d9-5d9fb2830017"
      "CallRecords.Read.All"           = "45bbb07e-7321-4fd7-a8f6-3ff27e6a81c8"
      "OnlineMeetings.Read.All"        = "c1684f21-1984-47fa-9d61-2dc8c296bb70" # optional: needs a Teams access policy
      "OnlineMeetingArtifact.Read.All" = "df01ed3b-eb61-4eca-9965-6b3d789751b2" # optional: needs a Teams access policy
    }
  }

  granted = {
    for connector in var.connectors : connector => {
      for name, id in local.roles[connector] : name => id if !contains(var.leave_out, name)
    }
  }
  assignments = merge([
    for connector, roles in local.granted : {
      for name, id in roles : "${connector}/${name}" => { connector = connector, id = id }
    }
  ]...)
}

data "azuread_service_principal" "graph" {
  client_id = local.graph_app_id
}

resource "azuread_application" "connector" {
  for_each         = local.granted
  display_name     = "${var.name}-${each.key}"
  sign_in_audience = "AzureADMyOrg"

  required_resource_access {
    resource_app_id = local.graph_app_id
    dynamic "resource_access" {
      for_each = each.value
      content {
        id   = resource_access.value
        type = "Role"
      }
    }
  }
}

resource "azuread_service_principal" "connector" {
  for_each                     = azuread_application.connector
  client_id                    = each.value.client_id
  app_role_assignment_required = true # nobody can sign in to it who is not assigned, and nobody is
}

resource "azuread_application_federated_identity_credential" "connector" {
  for_each       = azuread_application.connector
  application_id = each.value.id
  display_name   = "${var.name}-exporter"
  description    = "The workload that runs m365-export"
  issuer         = var.federation.issuer
  subject        = var.federation.subject
  audiences      = [var.federation.audience]
}

resource "azuread_app_role_assignment" "graph" {
  for_each            = var.grant_consent ? local.assignments : {}
  app_role_id         = each.value.id
  principal_object_id = azuread_service_principal.connector[each.value.connector].object_id
  resource_object_id  = data.azuread_service_principal.graph.object_id
}
