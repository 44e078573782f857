"""Microsoft's limits as named constants, each with the page it was read from.

Microsoft changes them without notice and states no guarantee for most: they are defaults of
`connectors.graph.budgets` and of the datasets' page sizes, never truths. All pages below are on
learn.microsoft.com, checked 2026-11.
"""

# --- Items a page -----------------------------------------------------------------------------------------

# Larger values are refused with HTTP 400.
# https://learn.microsoft.com/graph/api/user-list
# https://learn.microsoft.com/graph/api/group-list
# https://learn.microsoft.com/graph/api/group-list-members
USERS_PAGE_ITEMS = 999
GROUPS_PAGE_ITEMS = 999
GROUP_MEMBERS_PAGE_ITEMS = 999

# A relation expanded in a directory list: children per object (no next link), and the page it shrinks to.
# https://learn.microsoft.com/graph/query-parameters#expand
DIRECTORY_EXPANDED_CHILDREN = 20
DIRECTORY_EXPANDED_PAGE_ITEMS = 100

# https://learn.microsoft.com/graph/api/user-list-messages (full bodies in large pages end in 504)
MESSAGES_PAGE_ITEMS = 1_000
# https://learn.microsoft.com/graph/api/message-delta (asked for by Prefer: odata.maxpagesize)
MESSAGES_DELTA_PAGE_ITEMS = 500
# https://learn.microsoft.com/graph/api/user-list-mailfolders (default 10; 999 through Prefer:
# odata.maxpagesize)
MAIL_FOLDERS_PAGE_ITEMS = 999
# https://learn.microsoft.com/graph/api/user-list-calendarview (no published maximum; 100 answers quickly)
CALENDAR_VIEW_PAGE_ITEMS = 100
# https://learn.microsoft.com/graph/api/user-list-contacts (no published maximum)
CONTACTS_PAGE_ITEMS = 999

# Larger values are refused with HTTP 400.
# https://learn.microsoft.com/graph/api/chat-list
# https://learn.microsoft.com/graph/api/chat-list-messages
# https://learn.microsoft.com/graph/api/channel-list-messages
# https://learn.microsoft.com/graph/api/chatmessage-list-replies
CHATS_PAGE_ITEMS = 50
CHAT_MESSAGES_PAGE_ITEMS = 50
CHANNEL_MESSAGES_PAGE_ITEMS = 50
REPLIES_PAGE_ITEMS = 50
# Members of all chats of one answer together when `$expand=members` is used; the rest is silently missing.
# https://learn.microsoft.com/graph/api/chat-list
CHATS_EXPANDED_MEMBERS = 25
# https://learn.microsoft.com/graph/api/teams-list (no published maximum)
TEAMS_PAGE_ITEMS = 50
# https://learn.microsoft.com/graph/api/chats-getallmessages (the page's examples)
EXPORTED_MESSAGES_PAGE_ITEMS = 50

# https://learn.microsoft.com/graph/api/callrecords-cloudcommunications-list-callrecords
CALL_RECORDS_PAGE_ITEMS = 60
# https://learn.microsoft.com/graph/api/callrecords-callrecord-get
CALL_RECORD_SESSIONS_PAGE_ITEMS = 60
CALL_RECORD_PARTICIPANTS_PAGE_ITEMS = 130
# https://learn.microsoft.com/graph/api/callrecords-callrecord-getpstncalls
CALL_LOG_PAGE_ITEMS = 1_000
CALL_LOG_RANGE_DAYS = 90
# https://learn.microsoft.com/graph/api/meetingattendancereport-list (the newest ones, no next page)
ATTENDANCE_REPORTS_ITEMS = 50

# https://learn.microsoft.com/graph/json-batching
BATCH_REQUESTS = 20

# --- Throttling: https://learn.microsoft.com/graph/throttling-limits ---------------------------------------

# One application over all tenants.
APP_REQUESTS_PER_10_S = 130_000

# Outlook, for one application and one mailbox (#outlook-service-limits). An older edition of the page counted
# the four requests in flight for all mailboxes together; the governor's adaptive concurrency finds that out
# without breaking.
MAILBOX_REQUESTS_PER_10_MIN = 10_000
MAILBOX_REQUESTS_IN_FLIGHT = 4

# Identity and access (#identity-and-access-service-limits), in resource units of one application and tenant.
DIRECTORY_UNITS_PER_10_S_SMALL = 3_500  # fewer than 50 users
DIRECTORY_UNITS_PER_10_S_MEDIUM = 5_000  # 50 to 500 users
DIRECTORY_UNITS_PER_10_S_LARGE = 8_000  # more than 500 users
DIRECTORY_APP_UNITS_PER_20_S = 150_000  # one application over all tenants
USERS_LIST_UNITS = 2
GROUPS_LIST_UNITS = 1
GROUP_MEMBERS_LIST_UNITS = 3
GROUP_TRANSITIVE_MEMBERS_LIST_UNITS = 5
SELECT_UNITS = -1  # never below 1 in total
EXPAND_UNITS = 1

# Teams, requests a second of one application and one tenant (#microsoft-teams-service-limits).
TEAMS_REQUESTS_PER_S = 30  # every GET that has no row of its own: teams, list of chats, members of a chat
TEAMS_CHANNELS_REQUESTS_PER_S = 60
TEAMS_MEMBERS_REQUESTS_PER_S = 60
TEAMS_CHANNEL_MESSAGES_REQUESTS_PER_S = 20
TEAMS_CHAT_MESSAGES_REQUESTS_PER_S = 20
TEAMS_EXPORT_REQUESTS_PER_S = 200  # getAllMessages of chats and of channels
TEAMS_REQUESTS_PER_S_PER_TEAM = 4
TEAMS_REQUESTS_PER_S_PER_CHAT = 1  # also per channel
TEAMS_CHAT_LISTS_PER_S_PER_USER = 5

# Cloud communications (#cloud-communication-service-limits).
CALL_RECORDS_REQUESTS_PER_20_S = 1_500  # one application and one tenant
CALL_RECORD_LISTS_PER_20_S = 40
CALL_RECORD_REQUESTS_PER_20_S_PER_RECORD = 40
CALL_LOG_REQUESTS_PER_60_S = 200
CALL_LOG_REQUESTS_PER_60_S_PER_COLLECTION = 50
MEETINGS_PER_USER_PER_MONTH = 2_000
# Nothing is published for reading online meetings and attendance reports: a guess, which refusals correct.
MEETING_REQUESTS_PER_S = 20
