"""What every format has to say in the same words: who does a step, and what a restriction does not do."""

from collections.abc import Iterator
from textwrap import wrap

from config.setup.plan import SetupPlan

# The least privileged roles. https://learn.microsoft.com/entra/identity/role-based-access-control/delegate-by-task
# and https://learn.microsoft.com/microsoftteams/using-admin-roles (both checked 2026-11)
REGISTERS = "Cloud Application Administrator"
CONSENTS = "Privileged Role Administrator"
RESTRICTS = "Exchange Administrator"
GRANTS_MEETINGS = "Teams Administrator"

HANDED_OVER = (
    "A registration that a colleague made is taken over as it is handed over: by its application (client) id, "
    "which stands in the settings. Where that id is not found, one of the same name is used, else made anew."
)
UNION = (
    "Grants add up: a permission that is also consented in Entra reaches every mailbox, whatever Exchange says. "
    "With RBAC for Applications these permissions must not be granted in Entra."
)
ONE_POLICY_EACH = "An application access policy holds for one application: each needs its own."
DELAYS = "Exchange takes up to two hours to act on a change, Teams up to a day; its own test commands show it at once."


def exchange_limits(plan: SetupPlan) -> str:
    """What a mailbox restriction leaves open, and what limits that instead."""
    scope = (
        "These settings have a scope."
        if plan.limits_people
        else "These settings have none: everybody's data is exported."
    )
    return (
        "An Exchange restriction limits mailboxes only: mail, contacts, calendars, mailbox settings. It does not "
        "limit Teams (teams, channels, chats, calls, meetings) and it does not limit directory data (users, groups, "
        "members); Microsoft Graph offers no restriction for these. Whose data is exported of all of them is limited "
        f"by `scope` in the settings (include_groups, exclude_groups, exclude_users). {scope}"
    )


def policy_gap(plan: SetupPlan) -> str:
    """Which permissions an application access policy may not reach; empty where it reaches all."""
    grants = [grant for application in plan.applications for grant in application.mailbox_grants]
    names = dict.fromkeys(grant.role.name for grant in grants if not grant.role.by_policy)
    if not names:
        return ""
    return (
        f"Application access policies are not documented to restrict {', '.join(names)}: use RBAC for Applications "
        "there, or prove with `m365-export doctor --probe-denied USER` that the policy holds."
    )


def steps(plan: SetupPlan) -> list[tuple[str, str]]:
    """Each step and the admin role it takes."""
    registration = ("Make or complete the app registrations, require user assignment", REGISTERS)
    return [
        *([registration] if plan.registered else []),
        ("Grant admin consent for the application permissions", CONSENTS),
        *([("Restrict mailboxes (recommended)", RESTRICTS)] if plan.touches_mailboxes else []),
        *(
            [("Teams application access policy for online meetings", GRANTS_MEETINGS)]
            if plan.needs_teams_policy
            else []
        ),
    ]


def comment(text: str) -> Iterator[str]:
    """`text` as lines of a script's comment."""
    for line in wrap(text, width=108, break_long_words=False, break_on_hyphens=False):
        yield f"# {line}"
