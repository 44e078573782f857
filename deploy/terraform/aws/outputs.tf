output "settings" {
  description = "For the settings file."
  value = {
    destination = "s3://${aws_s3_bucket.export["destination"].id}/m365"
    state       = "s3://${aws_s3_bucket.export["state"].id}/state"
    kms_key     = aws_kms_key.export.arn
  }
}

output "exporter_role_arn" {
  description = "For the service account's annotation eks.amazonaws.com/role-arn."
  value       = aws_iam_role.exporter.arn
}

output "reader_role_arn" {
  description = "For Worklytics."
  value       = aws_iam_role.reader.arn
}
