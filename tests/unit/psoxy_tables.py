"""Rules files for the Microsoft sources, put together from tables of who does what to which member.

They have the form an operator's file has: YAML with a tag for each transform, paths that scan for a member.
"""

import json

from pipeline.sanitize.title_phrases import TITLE_PHRASES

Entry = tuple[str, dict[str, object]]
NO_APP_ID_USER = "^/v1.0/users(/p~[a-zA-Z0-9_-]+?)?[^/]*"
LINK_PATHS = ["$.['@odata.nextLink', '@odata.prevLink', 'sessions@odata.nextLink']"]


def scan(*names: str) -> list[str]:
    return [f"$..{name}" for name in names]


def redact(*names: str) -> Entry:
    return "redact", {"jsonPaths": scan(*names)}


def token(*names: str, **options: object) -> Entry:
    return "pseudonymize", {"jsonPaths": scan(*names), "encoding": "URL_SAFE_TOKEN"} | options


def as_json(*names: str, **options: object) -> Entry:
    return "pseudonymize", {"jsonPaths": scan(*names), "encoding": "JSON"} | options


def tokenize(*names: str) -> Entry:
    return "tokenize", {"jsonPaths": scan(*names)}


def links(regex: str) -> Entry:
    return "tokenize", {"jsonPaths": LINK_PATHS, "regex": regex}


def digests(*names: str, **options: object) -> Entry:
    return "textDigest", {"jsonPaths": scan(*names)} | options


PROXY: list[Entry] = [
    ("pseudonymizeRegexMatches", {"jsonPaths": scan("proxyAddresses[*]"), "regex": "(?i)^smtp:(.*)$"})
]
USER_REDACTED = redact(
    *("displayName", "aboutMe", "mySite", "preferredName", "givenName", "surname", "jobTitle", "mailNickname"),
    *("responsibilities", "skills", "faxNumber", "mobilePhone", "businessPhones[*]"),
    *("onPremisesExtensionAttributes", "onPremisesSecurityIdentifier", "securityIdentifier"),
)
USER_IDENTIFIERS = (
    *("employeeId", "userPrincipalName", "imAddresses[*]", "mail", "otherMails[*]", "onPremisesSamAccountName"),
    *("onPremisesUserPrincipalName", "onPremisesDistinguishedName", "onPremisesImmutableId"),
    "identities[*].issuerAssignedId",
)
USER = [*PROXY, USER_REDACTED, token(*USER_IDENTIFIERS)]
USER_JSON = [*PROXY, USER_REDACTED, as_json(*USER_IDENTIFIERS)]
GROUP_REDACTED = redact(
    *("owners", "rejectedSenders", "acceptedSenders", "members", "membersWithLicenseErrors", "mailNickname"),
    *("description", "resourceBehaviorOptions", "resourceProvisioningOptions", "onPremisesSamAccountName"),
    *("onPremisesSecurityIdentifier", "onPremisesProvisioningErrors", "securityIdentifier"),
)
GROUP = [*PROXY, GROUP_REDACTED, as_json("mail", includeOriginal=True)]
MAILBOX = [redact("internalReplyMessage", "externalReplyMessage")]
EXTENSIONS = ("extensions", "multiValueExtendedProperties", "singleValueExtendedProperties")
MESSAGE = [
    redact("subject", "body", "bodyPreview", "emailAddress.name", *EXTENSIONS, "internetMessageHeaders"),
    token("emailAddress.address"),
]
WITH_PASSCODE = (
    *("location.uniqueId", "locations[*].uniqueId", "location.displayName", "locations[*].displayName"),
    *("location.locationUri", "locations[*].locationUri", "onlineMeeting.joinUrl", "onlineMeetingUrl"),
    *("body.content", "bodyPreview"),
)
EVENT: list[Entry] = [
    ("redactExceptPhrases", {"jsonPaths": scan("subject"), "allowedPhrases": list(TITLE_PHRASES)}),
    redact(
        *("reminderMinutesBeforeStart", "isReminderOn", "allowNewTimeProposals", "transactionId"),
        *("emailAddress.name", *EXTENSIONS, "location.coordinates", "locations[*].coordinates"),
        *("location.address", "locations[*].address"),
    ),
    token("emailAddress.address"),
    ("redactRegexMatches", {"jsonPaths": scan(*WITH_PASSCODE), "redactions": ["(?i)pwd=[^&]*"]}),
    (
        "filterTokenByRegex",
        {
            "jsonPaths": scan("body.content", "bodyPreview"),
            "delimiter": "\\s+",
            "filters": ["https://[^.]+\\.zoom\\.us/.*"],
        },
    ),
]
CHAT_NAMES = ("user.displayName", "body.content", "attachments", "mentions[*].mentionText")
CHATMSG = redact(*CHAT_NAMES, "eventDetail.teamDescription", "eventDetail.chatDisplayName")
CALLREC = redact(
    *("user.displayName", "reflexiveIPAddress", "relayIPAddress", "ipAddress", "subnet", "macAddress"),
    *("caller.name", "callee.name", "captureDeviceName", "renderDeviceName", "organizer_v2.id"),
    *("participants_v2[*].id", "phone", "['organizer_v2@odata.context']"),
)
CALLROW = redact(
    *(f"value[*].{name}" for name in ("userPrincipalName", "userDisplayName", "callerNumber", "calleeNumber"))
)
MEETING = redact(
    *("displayName", "subject", "joinInformation", "joinMeetingIdSettings.isPasscodeRequired"),
    *("joinMeetingIdSettings.passcode", "upn"),
)
LINKS = links("^https://graph.microsoft.com/v1.0/users/([a-zA-Z0-9_-]+)/.*$")
CTX = redact("['@odata.context']")
USERID = token("user.id", "userId")
MAILADDR = token("emailAddress")


def endpoint(
    *transforms: Entry, regex: str | None = None, template: str | None = None, **options: object
) -> dict[str, object]:
    where: dict[str, object] = {"pathRegex": regex} if template is None else {"pathTemplate": template}
    return where | options | {"transforms": list(transforms)}


def render(endpoints: list[dict[str, object]], definitions: dict[str, object] | None = None) -> str:
    """The text of a rules file, with verbatim tags."""
    lines = ["---", "endpoints:"]
    for each in endpoints:
        begin = "- "
        for key, value in each.items():
            if key in {"transforms", "augments"}:
                lines.append(f"  {begin}{key}:" if value else f"  {begin}{key}: []")
                for method, options in value if isinstance(value, list) else []:
                    lines.append(f"      - !<{method}>")
                    lines.extend(f"        {name}: {json.dumps(option)}" for name, option in options.items())
            else:
                lines.append(f"  {begin}{key}: {json.dumps(value)}")
            begin = "  "
    if definitions is not None:
        lines.append(f"definitions: {json.dumps(definitions)}")
    return "\n".join(lines) + "\n"


ENTRA_ID = [
    endpoint(*USER, regex="^/v1.0/users/?[^/]*", allowedQueryParams=["$top", "$select", "$skiptoken", "$filter"]),
    endpoint(*GROUP, regex="^/v1.0/groups/?[^/]*", allowedRequestHeaders=["ConsistencyLevel"]),
    endpoint(*USER, regex="^/v1.0/groups/[^/]*/members.*"),
]
ENTRA_ID_NO_APP_IDS = [
    endpoint(*USER, token("id", includeReversible=True), regex=NO_APP_ID_USER),
    endpoint(*GROUP, regex="^/v1.0/groups/?[^/]*"),
    endpoint(*USER, token("id"), regex="^/v1.0/groups/[^/]*/members.*"),
]
ENTRA_ID_NO_ORIGINAL = [
    endpoint(*USER_JSON, token("id", includeReversible=True), regex="^/(v1.0|beta)/users(/p~[a-zA-Z0-9_-]+?)?[^/]*"),
    endpoint(*PROXY, GROUP_REDACTED, as_json("mail"), *PROXY, regex="^/v1.0/groups/?[^/]*"),
    endpoint(*USER_JSON, as_json("id"), regex="^/v1.0/groups/[^/]*/members.*"),
]
OUTLOOK_MAIL = [
    *ENTRA_ID,
    endpoint(*MAILBOX, regex="^/v1.0/users/[^/]*/mailboxSettings"),
    endpoint(*MESSAGE, regex="^/v1.0/users/[^/]*/messages/[^/]*"),
    endpoint(*MESSAGE, regex="^/v1.0/users/[^/]*/mailFolders(/SentItems|\\('SentItems'\\))/messages.*"),
]
OUTLOOK_MAIL_NO_APP_IDS = [
    *ENTRA_ID_NO_APP_IDS,
    endpoint(*MAILBOX, CTX, regex=f"{NO_APP_ID_USER}/mailboxSettings"),
    endpoint(*MESSAGE, LINKS, CTX, regex=f"{NO_APP_ID_USER}/messages/[^/]*"),
    endpoint(*MESSAGE, LINKS, CTX, regex=f"{NO_APP_ID_USER}/mailFolders(/SentItems|\\('SentItems'\\))/messages.*"),
]
CALENDAR_TAIL = "/(((calendars/[^/]*/)?events.*)|(calendar/calendarView(?)[^/]*))"
OUTLOOK_CAL = [
    *ENTRA_ID,
    endpoint(*MAILBOX, CTX, regex="^/v1.0/users/?[^/]*/mailboxSettings"),
    endpoint(*EVENT, regex=f"^/v1.0/users/[^/]*{CALENDAR_TAIL}"),
]
OUTLOOK_CAL_NO_APP_IDS = [
    *ENTRA_ID_NO_APP_IDS,
    endpoint(*MAILBOX, CTX, regex=f"{NO_APP_ID_USER}/mailboxSettings"),
    endpoint(
        *EVENT,
        LINKS,
        CTX,
        redact("['calendar@odata.associationLink', 'calendar@odata.navigationLink']"),
        regex=f"{NO_APP_ID_USER}{CALENDAR_TAIL}",
    ),
]

NAMED = redact("displayName", "description")
CALL_RECORDS = (
    "^/v1.0/communications/callRecords(/(?<callChainId>[({]?[a-fA-F0-9]{8}[-]?([a-fA-F0-9]{4}[-]?){3}"
    "[a-fA-F0-9]{12}[})]?))?(?<queryParameters>[a-zA-z0-9\\s\\$\\=\\?\\(\\)]*)"
)
CALL_ROWS = "/v1.0/communications/callRecords/{}(fromDateTime={{startDate}},toDateTime={{endDate}})"
CHANNEL_MESSAGES = "/v1.0/teams/{teamId}/channels/{channelId}/messages"
MEETINGS = "/v1.0/users/{userId}/onlineMeetings"
LAST_PREVIEW = "['lastMessagePreview@odata.context']"
TEAMS = [
    endpoint(MAILADDR, NAMED, template="/v1.0/teams"),
    endpoint(MAILADDR, NAMED, template="/v1.0/teams/{teamId}/allChannels"),
    endpoint(MAILADDR, NAMED, redact("topic", LAST_PREVIEW), CHATMSG, template="/v1.0/users/{userId}/chats"),
    endpoint(MAILADDR, CHATMSG, template=CHANNEL_MESSAGES),
    endpoint(MAILADDR, CHATMSG, template=f"{CHANNEL_MESSAGES}/delta"),
    endpoint(MAILADDR, CHATMSG, template="/v1.0/chats/{chatId}/messages"),
    endpoint(MAILADDR, redact("displayName"), template="/v1.0/communications/calls/{callId}"),
    endpoint(MAILADDR, CALLREC, regex=CALL_RECORDS),
    endpoint(MAILADDR, CALLROW, template=CALL_ROWS.format("getDirectRoutingCalls")),
    endpoint(MAILADDR, tokenize("callId"), CALLROW, template=CALL_ROWS.format("getPstnCalls")),
    endpoint(CTX, MAILADDR, MEETING, template=MEETINGS),
    endpoint(CTX, MAILADDR, MEETING, template=f"{MEETINGS}/{{meetingId}}/attendanceReports"),
    endpoint(CTX, MAILADDR, MEETING, template=f"{MEETINGS}/{{meetingId}}/attendanceReports/{{reportId}}"),
    endpoint(*USER, regex="^/v1.0/users/?[^/]*"),
]
ODATA = ("['@odata.context']", "['@odata.id']", "['@odata.type']", "['@odata.count']")
CHAT_LINKS = links("^https://graph.microsoft.com/v1.0/chats/(.*)/messages(\\?.*).*$")
TEAMS_NO_USER_IDS = [
    endpoint(USERID, redact("displayName", "description", *ODATA), template="/v1.0/teams"),
    endpoint(
        MAILADDR,
        tokenize("id"),
        redact("topic", LAST_PREVIEW, "['@odata.context']", "['@odata.count']", "user.id", "userId"),
        LINKS,
        CHATMSG,
        regex=f"{NO_APP_ID_USER}/chats(\\?.*)?",
    ),
    endpoint(USERID, redact(*CHAT_NAMES, "['@odata.context']", "['@odata.count']"), template=CHANNEL_MESSAGES),
    endpoint(
        *(MAILADDR, NAMED, CHATMSG, USERID, tokenize("chatId"), CHAT_LINKS, CTX, redact("['@odata.count']")),
        regex="^/v1.0/chats/(/p~[a-zA-Z0-9_-]+?)?[^/]*/messages(\\?.*)?",
    ),
    endpoint(USERID, CALLREC, redact("['@odata.context']", "['@odata.type']"), regex=CALL_RECORDS),
    endpoint(
        *(USERID, MAILADDR, token("identity.id"), LINKS, MEETING, redact("['@odata.context']", "['@odata.type']")),
        regex=f"{NO_APP_ID_USER}/onlineMeetings(\\?.*)?",
    ),
    endpoint(*USER, token("id", includeReversible=True), regex=NO_APP_ID_USER),
]


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/definitions/{name}"}


def struct(**members: object) -> dict[str, object]:
    return {"type": "object", "properties": members}


def listing(name: str) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {
            "@odata.nextLink": {"type": "string"},
            "@odata.deltaLink": {"type": "string"},
            "@microsoft.graph.hasMoreData": {"type": "boolean"},
            "value": {"type": "array", "items": ref(name)},
        },
    }


TEXT: dict[str, object] = {"type": "string"}
WHOLE: dict[str, object] = {"type": "integer"}
DRIVE_DEFINITIONS: dict[str, object] = {
    "User": struct(
        id=TEXT, mail=TEXT, otherMails={"type": "array", "items": TEXT}, proxyAddresses={"items": TEXT}, employeeId={},
        accountEnabled={"type": "boolean"}, userType=TEXT, mailboxSettings=struct(timeZone=TEXT),
    ),
    "Group": struct(id=TEXT, mail=TEXT),
    "Identity": struct(id=TEXT, email=TEXT, tenantId=TEXT),
    "IdentitySet": struct(user=ref("Identity"), application=ref("Identity")),
    "Drive": struct(id=TEXT, driveType=TEXT, createdDateTime=TEXT, createdBy=ref("IdentitySet"), system=struct()),
    "DriveItem": struct(
        id=TEXT, size=WHOLE, createdBy=ref("IdentitySet"), file=struct(mimeType=TEXT), folder=struct(childCount=WHOLE),
        parentReference=struct(driveId=TEXT, id=TEXT), remoteItem=ref("DriveItem"), deleted=struct(state=TEXT),
    ),
    "Activity": struct(
        id=TEXT, action=struct(rename=struct(oldName=TEXT), edit=struct()), actor=ref("IdentitySet"),
        driveItem=ref("DriveItem"), times=struct(recordedTime=TEXT),
    ),
}  # fmt: skip
DRIVE_USER = token("employeeId", "mail", "otherMails[*]")
TOKEN_PARAMETER = {"userId": {"type": "string", "format": "reversible-pseudonym"}}
ONEDRIVE = [
    endpoint(DRIVE_USER, *PROXY, template="/v1.0/users", responseSchema=listing("User")),
    endpoint(token("mail"), template="/v1.0/groups", responseSchema=listing("Group")),
    endpoint(token("user.email"), template="/v1.0/users/{userId}/drives", responseSchema=listing("Drive")),
    endpoint(token("user.email"), template="/v1.0/drives/{driveId}/root/delta", responseSchema=listing("DriveItem")),
    endpoint(token("user.email"), template="/v1.0/drives/{driveId}/activities", responseSchema=listing("Activity")),
]
ONEDRIVE_NO_APP_IDS = [
    endpoint(
        DRIVE_USER, token("id", includeReversible=True), *PROXY, template="/v1.0/users", responseSchema=listing("User")
    ),
    endpoint(
        token("user.id", "user.email"),
        template="/v1.0/users/{userId}/drives",
        pathParameterSchemas=TOKEN_PARAMETER,
        responseSchema=listing("Drive"),
    ),
]
COPILOT_PATH = "/beta/copilot/users/{id}/interactionHistory/getAllEnterpriseInteractions"
COPILOT_AUGMENTS: list[Entry] = [
    digests("attachments[*].content", innerJsonPath="$..text", outputSchema={"type": "string"}),
    digests("body.content"),
]
COPILOT_REDACTED = redact(
    *("displayName", "contentUrl", "attachments[*].name", "attachments[*].contentUrl", "mentions[*].mentionText"),
    *("contexts[*].contextReference", "links[?(@.linkType == 'File')].linkUrl"),
)
COPILOT_CONTENT = redact("body.content", "attachments[*].content")
COPILOT = [
    endpoint(
        *(MAILADDR, COPILOT_REDACTED, COPILOT_CONTENT, CTX, redact("['@odata.count']", "['@odata.type']")),
        template=COPILOT_PATH,
        allowedQueryParams=["$filter"],
        augments=COPILOT_AUGMENTS,
    ),
    endpoint(*USER, regex="^/v1.0/users/?[^/]*"),
]
NOT_A_BOT = '[?(@.applicationIdentityType != "bot")].id'
COPILOT_NO_USER_IDS = [
    endpoint(
        MAILADDR,
        tokenize("sessionId", "attachments[*].attachmentId"),
        links("^https://graph.microsoft.com/beta/copilot/users/([a-zA-Z0-9_-]+)/.*$"),
        token(f"from..{NOT_A_BOT}", f"mentions[*]{NOT_A_BOT}"),
        COPILOT_REDACTED,
        COPILOT_CONTENT,
        redact("['@odata.context']", "['@odata.count']", "['@odata.type']"),
        template=COPILOT_PATH,
        allowedQueryParams=["$filter"],
        augments=COPILOT_AUGMENTS,
    ),
    endpoint(*USER, token("id", includeReversible=True), regex=NO_APP_ID_USER),
]
