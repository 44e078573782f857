"""A Microsoft 365 tenant on localhost, for demonstrations and tests. Imports nothing of the client."""
