"""Phrases that may stay of an event's title: they say what kind of time it is, not what it is about.

The order decides the order in the output. Interoperates with the titles that a Psoxy proxy lets pass.
"""

TITLE_PHRASES = (
    # focus blocks
    "Focus Time", "Focus", "No Meetings", "No Meeting", "no mtg",
    # preparation
    "Prep",
    # absence
    "OOO", "Out of Office", "Out of the Office",
    # format
    "call", "brainstorm", "brainstorming", "brain storm", "check in", "check-in", "checkin", "coffee", "food",
    "happy hour", "lunch", "office hours", "onsite", "on-site", "social", "stand up", "stand-up", "standup",
    "team building", "teambuilding",
    # frequency
    "daily", "bi-weekly", "biweekly", "weekly", "monthly", "quarterly",
    # audience
    "1:1", "1-on-1", "one-on-one", "all-hands", "all hands", "allhands", "team meeting",
    # topic
    "decision making", "decision", "hand off", "hand-off", "handoff", "handover", "information sharing",
    "problem solving", "retro", "review", "sprint",
)  # fmt: skip
