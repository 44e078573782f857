"""What all datasets of Microsoft Teams share."""

NAME = "msft-teams"
# Without it newer enumeration members, system messages among them, come as `unknownFutureValue`.
# https://learn.microsoft.com/graph/best-practices-concept#handling-future-members-in-evolvable-enumerations
# (checked 2026-11)
UNKNOWN_MEMBERS = ("include-unknown-enum-members",)
