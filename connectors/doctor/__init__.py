"""Examines what the connectors depend on: token, permissions, reachability, clock, restrictions of mailboxes."""
