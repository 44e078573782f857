variable "name" {
  type        = string
  description = "What the names of the registrations begin with."
  default     = "m365-export"
}

variable "connectors" {
  type        = set(string)
  description = "Connectors of the settings file; each gets a registration of its own."
  default     = ["entra-id", "outlook-mail", "outlook-calendar", "msft-teams"]
}

variable "profile" {
  type        = string
  description = "privacy.profile of the settings file."
  default     = "strict"

  validation {
    condition     = contains(["strict", "psoxy", "psoxy-no-app-ids"], var.profile)
    error_message = "One of strict, psoxy, psoxy-no-app-ids."
  }
}

variable "leave_out" {
  type        = set(string)
  description = "Roles that are not asked for, such as Contacts.Read; the datasets they open are skipped."
  default     = []
}

variable "federation" {
  type = object({
    issuer   = string
    subject  = string
    audience = optional(string, "api://AzureADTokenExchange")
  })
  description = "Whose tokens Entra trusts: issuer of the cluster or cloud, and the workload's subject there."
}

variable "grant_consent" {
  type        = bool
  description = "Grant admin consent too; false: it is granted in the portal."
  default     = true
}
