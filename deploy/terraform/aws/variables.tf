variable "destination_bucket" {
  type        = string
  description = "Name of the bucket that Worklytics reads."
}

variable "state_bucket" {
  type        = string
  description = "Name of the bucket for the exporter's own state; nobody else needs to read it."
}

variable "oidc_issuer" {
  type        = string
  description = "OIDC issuer of the cluster the exporter runs in; an IAM OIDC provider for it has to exist."
}

variable "oidc_subject" {
  type        = string
  description = "The exporter's service account in that cluster."
  default     = "system:serviceaccount:m365-export:m365-export"
}

variable "worklytics_service_account_id" {
  type        = string
  description = "The 21-digit unique id of your Worklytics tenant's Google service account."

  validation {
    condition     = can(regex("^[0-9]{21}$", var.worklytics_service_account_id))
    error_message = "A unique id of 21 digits is expected."
  }
}

variable "worklytics_claim" {
  type        = string
  description = "The claim that carries it: sub for the bucket import, aud for a Worklytics proxy's bucket."
  default     = "sub"

  validation {
    condition     = contains(["sub", "aud"], var.worklytics_claim)
    error_message = "Either sub or aud."
  }
}

variable "worklytics_checkpoints" {
  type        = bool
  description = "Whether Worklytics may also write and delete, for the checkpoints of its bucket import."
  default     = true
}
