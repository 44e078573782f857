# Two buckets in S3: one that Worklytics reads, one for the exporter's own state; and two roles with no right too many.
#
# First apply: an identity that may create buckets, keys, roles and policies. Later ones change nothing of that kind
# unless you do; a role that may read them is enough for `terraform plan`.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40"
    }
  }
}

data "aws_caller_identity" "current" {}

locals {
  buckets  = { destination = var.destination_bucket, state = var.state_bucket }
  provider = replace(var.oidc_issuer, "https://", "")
}

resource "aws_kms_key" "export" {
  description             = "Encrypts what m365-export writes"
  enable_key_rotation     = true
  deletion_window_in_days = 30
}

resource "aws_s3_bucket" "export" {
  for_each = local.buckets
  bucket   = each.value
}

resource "aws_s3_bucket_public_access_block" "export" {
  for_each                = aws_s3_bucket.export
  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "export" {
  for_each = aws_s3_bucket.export
  bucket   = each.value.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "export" {
  for_each = aws_s3_bucket.export
  bucket   = each.value.id
  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = aws_kms_key.export.arn
    }
  }
}

# Objects at the destination are never overwritten by the exporter; versions protect them from everybody else.
resource "aws_s3_bucket_versioning" "destination" {
  bucket = aws_s3_bucket.export["destination"].id
  versioning_configuration {
    status = "Enabled"
  }
}

# What a process that died had begun to upload, should no later run abort it.
resource "aws_s3_bucket_lifecycle_configuration" "export" {
  for_each = aws_s3_bucket.export
  bucket   = each.value.id
  rule {
    id     = "abort-unfinished-uploads"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}

data "aws_iam_policy_document" "tls_only" {
  for_each = aws_s3_bucket.export
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "export" {
  for_each   = aws_s3_bucket.export
  bucket     = each.value.id
  policy     = data.aws_iam_policy_document.tls_only[each.key].json
  depends_on = [aws_s3_bucket_public_access_block.export]
}

# The exporter: a Kubernetes service account of a cluster whose OIDC provider this account knows.
data "aws_iam_policy_document" "exporter_trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.current.account_id}:oidc-provider/${local.provider}"]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.provider}:sub"
      values   = [var.oidc_subject]
    }
    condition {
      test     = "StringEquals"
      variable = "${local.provider}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

# At the destination: create, and abort its own uploads. No read, no list, no delete.
data "aws_iam_policy_document" "exporter" {
  statement {
    sid       = "Publish"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.export["destination"].arn}/*"]
  }
  statement {
    sid       = "Remember"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.export["state"].arn}/*"]
  }
  statement {
    sid       = "FindState"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.export["state"].arn]
  }
  statement {
    sid       = "Encrypt" # a multipart upload needs to decrypt as well
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = [aws_kms_key.export.arn]
  }
}

resource "aws_iam_role" "exporter" {
  name               = "m365-export"
  assume_role_policy = data.aws_iam_policy_document.exporter_trust.json
}

resource "aws_iam_role_policy" "exporter" {
  name   = "m365-export"
  role   = aws_iam_role.exporter.id
  policy = data.aws_iam_policy_document.exporter.json
}

# Worklytics: a Google service account, told apart by its unique id.
data "aws_iam_policy_document" "reader_trust" {
  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = ["accounts.google.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "accounts.google.com:${var.worklytics_claim}"
      values   = [var.worklytics_service_account_id]
    }
  }
}

data "aws_iam_policy_document" "reader" {
  statement {
    sid       = "Find"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.export["destination"].arn]
  }
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.export["destination"].arn}/*"]
  }
  statement {
    sid       = "Decrypt"
    actions   = var.worklytics_checkpoints ? ["kms:Decrypt", "kms:GenerateDataKey"] : ["kms:Decrypt"]
    resources = [aws_kms_key.export.arn]
  }
  dynamic "statement" {
    for_each = var.worklytics_checkpoints ? [1] : []
    content {
      sid       = "Checkpoint" # its bucket import keeps its own notes beside what it has read
      actions   = ["s3:PutObject", "s3:DeleteObject"]
      resources = ["${aws_s3_bucket.export["destination"].arn}/*"]
    }
  }
}

resource "aws_iam_role" "reader" {
  name               = "m365-export-reader"
  assume_role_policy = data.aws_iam_policy_document.reader_trust.json
}

resource "aws_iam_role_policy" "reader" {
  name   = "m365-export-reader"
  role   = aws_iam_role.reader.id
  policy = data.aws_iam_policy_document.reader.json
}
