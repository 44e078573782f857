"""The value of every setting that may be left out, with its reason.

Facts about Microsoft Graph carry their page; the rest are decisions of this project.
"""

from datetime import timedelta

# A first run reads a month: as far back as Graph lists call records, so no dataset starts with a hole.
# https://learn.microsoft.com/graph/api/callrecords-cloudcommunications-list-callrecords (checked 2026-11)
INITIAL_LOOKBACK = timedelta(days=30)

# Graph promises no time within which a Teams message or a call record becomes readable: a day is left to it.
SETTLE_TEAMS = timedelta(hours=24)
SETTLE_CALLS = timedelta(hours=24)

# Call records are rewritten (their `version` grows) while quality data of late participants arrives;
# events are moved, answered and cancelled after they were first seen.
# https://learn.microsoft.com/graph/api/resources/callrecords-callrecord (checked 2026-11)
OVERLAP_CALLS = timedelta(days=5)
OVERLAP_CALENDAR = timedelta(days=7)

CALENDAR_AHEAD = timedelta(0)  # what is only planned is no activity yet

# Entra accepts one audience per federated credential and recommends this one.
# https://learn.microsoft.com/entra/workload-id/workload-identity-federation (checked 2026-11)
ASSERTION_AUDIENCE = "api://AzureADTokenExchange"

# Large enough that engines read few objects, small enough to be resent after a failure.
PART_SIZE_BYTES = 128 * 1024 * 1024
PART_MAX_AGE = timedelta(minutes=5)  # bounds what a crash makes the next run read again

MEMORY_MIB = 300  # of the whole process: some 130 it takes by itself, the rest is for what is under way
MAILBOXES_IN_FLIGHT = 32  # where the throttle starts from: it lowers and raises the number by what Graph answers

# Outlook refuses a fifth concurrent request of one application to one mailbox.
# https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits (checked 2026-11)
PER_MAILBOX_IN_FLIGHT = 4
PER_MAILBOX_IN_FLIGHT_MAX = 4

BACKFILL_SHARE = 0.5  # a backfill beside the nightly run leaves the night as much as it takes

# Who knows an address can try salts until its pseudonym fits; a generated salt is far beyond this minimum.
SALT_CHARACTERS_MIN = 16
SALT_DISTINCT_CHARACTERS_MIN = 8
