"""Servers that stand for the services a run talks to."""
