-- How long people take to answer mail, week by week: from a message of somebody else to the owner's next one in the
-- same conversation. Needs the views of runs.sql and current/: mail_messages, entra_users.
WITH addresses AS (
    SELECT id, unnest(list_distinct(
        [mail, "userPrincipalName"]
        || [regexp_replace(alias, '^(?i)smtp:', '') FOR alias IN coalesce("proxyAddresses", [])]
    )) AS address
    FROM current_entra_users
),
messages AS (
    SELECT *, coalesce((_owner, "from"."emailAddress".address) IN (SELECT (id, address) FROM addresses), false) AS is_own
    FROM current_mail_messages
    WHERE NOT "isDraft"
),
steps AS (
    SELECT
        "sentDateTime" AS sent_at,
        is_own,
        lag("receivedDateTime") OVER conversation AS received_before,
        lag(is_own) OVER conversation AS was_own
    FROM messages
    WINDOW conversation AS (PARTITION BY _owner, "conversationId" ORDER BY "receivedDateTime", id)
)
SELECT
    date_trunc('week', sent_at AT TIME ZONE 'UTC')::DATE AS week,
    count(*) AS answers,
    median(epoch(sent_at) - epoch(received_before)) / 60 AS median_minutes
FROM steps
WHERE is_own AND NOT was_own AND sent_at >= received_before
GROUP BY week
ORDER BY week;
