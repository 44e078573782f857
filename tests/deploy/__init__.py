"""What users deploy: image, compose, Kubernetes, systemd, Terraform, checked without a cluster or a cloud."""
