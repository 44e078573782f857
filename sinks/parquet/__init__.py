"""Sanitized columns to Parquet bytes."""
