"""The Microsoft sources: each module declares the datasets it reads and how."""
