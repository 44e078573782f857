# Two buckets in Cloud Storage: one that Worklytics reads, one for the exporter's own state; rights on them, no more.
#
# First apply: an identity that may create buckets and keys and set policies on them (roles/storage.admin,
# roles/cloudkms.admin). Later ones change nothing of that kind unless you do; roles/viewer is enough for a plan.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 5.20"
    }
  }
}

data "google_storage_project_service_account" "storage" {
  project = var.project
}

locals {
  buckets = { destination = var.destination_bucket, state = var.state_bucket }
}

resource "google_kms_key_ring" "export" {
  project  = var.project
  name     = "m365-export"
  location = var.location
}

resource "google_kms_crypto_key" "export" {
  name            = "m365-export"
  key_ring        = google_kms_key_ring.export.id
  rotation_period = "7776000s"

  lifecycle {
    prevent_destroy = true
  }
}

resource "google_kms_crypto_key_iam_member" "storage" {
  crypto_key_id = google_kms_crypto_key.export.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${data.google_storage_project_service_account.storage.email_address}"
}

resource "google_storage_bucket" "export" {
  for_each                    = local.buckets
  project                     = var.project
  name                        = each.value
  location                    = var.location
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # Objects at the destination are never overwritten by the exporter; versions protect them from everybody else.
  versioning {
    enabled = each.key == "destination"
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.export.id
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [google_kms_crypto_key_iam_member.storage]
}

# The exporter at the destination: create, which cannot overwrite. No read, no list, no delete.
resource "google_storage_bucket_iam_member" "exporter_destination" {
  bucket = google_storage_bucket.export["destination"].name
  role   = "roles/storage.objectCreator"
  member = var.exporter
}

resource "google_storage_bucket_iam_member" "exporter_state" {
  bucket = google_storage_bucket.export["state"].name
  role   = "roles/storage.objectUser"
  member = var.exporter
}

resource "google_storage_bucket_iam_member" "reader" {
  bucket = google_storage_bucket.export["destination"].name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${var.worklytics_service_account}"
}
