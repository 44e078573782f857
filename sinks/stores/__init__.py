"""Object stores behind one interface: local folder, memory, S3, Google Cloud Storage."""
