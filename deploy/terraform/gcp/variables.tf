variable "project" {
  type        = string
  description = "Project of the buckets."
}

variable "location" {
  type        = string
  description = "Where buckets and key are, such as europe-west1."
}

variable "destination_bucket" {
  type        = string
  description = "Name of the bucket that Worklytics reads."
}

variable "state_bucket" {
  type        = string
  description = "Name of the bucket for the exporter's own state; nobody else needs to read it."
}

variable "exporter" {
  type        = string
  description = "The exporter as an IAM member: serviceAccount:NAME@PROJECT.iam.gserviceaccount.com, or the principal:// of its Kubernetes service account."
}

variable "worklytics_service_account" {
  type        = string
  description = "Address of your Worklytics tenant's Google service account."
}
