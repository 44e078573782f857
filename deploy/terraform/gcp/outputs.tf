output "settings" {
  description = "For the settings file."
  value = {
    destination = "gs://${google_storage_bucket.export["destination"].name}/m365"
    state       = "gs://${google_storage_bucket.export["state"].name}/state"
    kms_key     = google_kms_crypto_key.export.id
  }
}
