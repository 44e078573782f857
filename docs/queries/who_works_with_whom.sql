-- Pairs of people, with the mails they sent each other and the meetings of at most eight they shared.
-- Needs the views of runs.sql and current/: mail_messages, calendar_events, entra_users.
WITH addresses AS (
    SELECT id, unnest(list_distinct(
        [mail, "userPrincipalName"]
        || [regexp_replace(alias, '^(?i)smtp:', '') FOR alias IN coalesce("proxyAddresses", [])]
    )) AS address
    FROM current_entra_users
),
mails AS (
    SELECT sender.id AS one, receiver.id AS other, count(DISTINCT mail.id) AS mails
    FROM (
        SELECT id, _owner, "from"."emailAddress".address AS sent_by,
            unnest(list_concat("toRecipients", "ccRecipients"))."emailAddress".address AS sent_to
        FROM current_mail_messages
        WHERE NOT "isDraft"
    ) AS mail
    JOIN addresses AS sender ON sender.address = mail.sent_by AND sender.id = mail._owner  -- the sender's own copy
    JOIN addresses AS receiver ON receiver.address = mail.sent_to
    WHERE sender.id <> receiver.id
    GROUP BY one, other
),
attended AS (
    SELECT DISTINCT _owner, "iCalUId" AS meeting, start."dateTime" AS begins
    FROM current_calendar_events
    WHERE len(attendees) BETWEEN 1 AND 7 AND NOT "isCancelled" AND "responseStatus".response <> 'declined'
),
pairs AS (
    SELECT least(one, other) AS one, greatest(one, other) AS other, mails, 0 AS meetings FROM mails
    UNION ALL
    SELECT one._owner, other._owner, 0, count(*)
    FROM attended AS one
    JOIN attended AS other USING (meeting, begins)
    WHERE one._owner < other._owner
    GROUP BY one._owner, other._owner
)
SELECT one, other, sum(mails) AS mails, sum(meetings) AS meetings
FROM pairs
GROUP BY one, other
ORDER BY meetings DESC, mails DESC, one, other;
