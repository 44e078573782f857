"""Tries on two users whether Exchange's restriction of mailboxes, and the Teams policy, are as they should be.

Nothing but an id is asked for, and nothing of the answer is kept or shown.
    https://learn.microsoft.com/graph/auth-limit-mailbox-access (checked 2026-11)
    https://learn.microsoft.com/exchange/permissions-exo/application-rbac (checked 2026-11)
    https://learn.microsoft.com/graph/cloud-communication-online-meeting-application-access-policy (checked 2026-11)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

import msgspec

from config.instants import format_instant
from config.permissions import ROLES, Need
from connectors.doctor.questions import Answer, Questioner
from connectors.doctor.sign_in import SignedIn
from connectors.graph.clock import GraphClock
from connectors.graph.errors import End
from connectors.graph.links import Links, segments
from pipeline.findings import Finding, error, note, ok, warning

AREA = "mailboxes"
MEETINGS = "teams_online_meetings"
NO_MEETING = "https://teams.microsoft.com/l/meetup-join/m365-export-doctor"  # the policy is checked before the meeting

Query = Mapping[str, str]


class Reading(Enum):
    """What became of an attempt to read one dataset of one user."""

    READABLE = auto()
    REFUSED = auto()
    NO_MAILBOX = auto()
    UNCLEAR = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One attempt. `code` is what Graph answered where it refused."""

    signed_in: SignedIn
    need: Need
    reading: Reading
    code: str = ""


class Prober:
    """Asks for a user's mailbox in the name of each application."""

    def __init__(self, links: Links, questioner: Questioner, *, clock: GraphClock) -> None:
        self._links = links
        self._questioner = questioner
        self._clock = clock

    async def find(self, user: str, signed_in: Sequence[SignedIn]) -> str | None:
        """The object id of a user given by id or sign-in name: mailboxes are reliably found by id only.

        None where no application knows the user.
        """
        is_unknown = False
        for each in signed_in:
            url = self._links.first(segments("users", user), {"$select": "id"})
            answer = await self._questioner.ask(url, token=each.token)
            if answer.refusal is None:
                return _id_in(answer) or user
            is_unknown = is_unknown or answer.refusal.row.end is End.DELETED
        return None if is_unknown else user  # no application may look users up: the name has to do

    async def attempt(self, user: str, signed_in: SignedIn, need: Need) -> Trial:
        """Try to read what `need` is for. Only datasets of `MAILBOX_PATHS` and online meetings can be tried."""
        path, query = self._question(need.dataset)
        url = self._links.first(segments("users", user, *path), query)
        answer = await self._questioner.ask(url, token=signed_in.token)
        code = answer.refusal.code if answer.refusal else ""
        return Trial(signed_in=signed_in, need=need, reading=_reading(answer, need), code=code)

    def _question(self, dataset: str) -> tuple[tuple[str, ...], Query]:
        if dataset == "calendar_events":
            now = self._clock.now().replace(microsecond=0)
            window = {"startDateTime": format_instant(now), "endDateTime": format_instant(now + timedelta(hours=1))}
            return ("calendarView",), {**window, "$select": "id", "$top": "1"}
        if dataset == MEETINGS:
            return ("onlineMeetings",), {"$filter": f"JoinWebUrl eq '{NO_MEETING}'"}
        return MAILBOX_PATHS[dataset]


MAILBOX_PATHS: Mapping[str, tuple[tuple[str, ...], Query]] = {
    "mailbox_settings": (("mailboxSettings",), {"$select": "timeZone"}),
    "mail_messages": (("messages",), {"$select": "id", "$top": "1"}),
    "mail_contacts": (("contacts",), {"$select": "id", "$top": "1"}),
    "calendar_events": ((), {}),  # its question depends on the time
}


def judge_allowed(trial: Trial) -> Finding:
    """About the user whose mailbox has to be readable."""
    area, dataset, role = trial.need.connector, trial.need.dataset, trial.need.role
    match trial.reading:
        case Reading.READABLE:
            return ok(area, f"{dataset} of the allowed probe user can be read{_by_exchange(trial)}")
        case Reading.NO_MAILBOX:
            remedy = "Name another user with --probe-allowed, one with a mailbox in Exchange Online"
            return warning(
                area, f"the allowed probe user has no mailbox ({trial.code}): {dataset} is not proven", remedy
            )
        case Reading.UNCLEAR:
            return note(area, f"{dataset} of the allowed probe user: no clear answer ({trial.code})", "Try again")
        case Reading.REFUSED if _is_held(trial):
            return error(
                area,
                f"{dataset} of the allowed probe user is refused, although {_held(trial)} is granted: "
                "an Exchange restriction leaves this mailbox out",
                "Put the user into the group of the restriction; Exchange takes up to two hours to act on it, and "
                "Test-ApplicationAccessPolicy or Test-ServicePrincipalAuthorization show it at once",
            )
        case Reading.REFUSED:
            return error(
                area,
                f"{dataset} of the allowed probe user is refused: neither Entra nor Exchange grants {role}",
                f"Grant {role} in Entra, or {ROLES[role].exchange} with Exchange's RBAC for Applications in a scope "
                "that holds the user: `m365-export setup` has the commands",
            )


def judge_denied(trial: Trial) -> Finding:
    """About the user whose mailbox must not be readable."""
    area, dataset = trial.need.connector, trial.need.dataset
    match trial.reading:
        case Reading.REFUSED:
            return ok(area, f"{dataset} of the denied probe user is refused ({trial.code})")
        case Reading.READABLE if _is_held(trial) or trial.signed_in.claims is None:
            return error(
                area,
                f"{dataset} of the denied probe user can be read: the mailbox restriction does not hold",
                f"{_held(trial) or 'The permission'} is granted in Entra and reaches every mailbox. With RBAC for "
                "Applications remove that grant: grants add up. With an application access policy make one for this "
                f"application too{_by_policy(trial)}",
            )
        case Reading.READABLE:
            return error(
                area,
                f"{dataset} of the denied probe user can be read: the mailbox restriction does not hold",
                "The scope of the role that Exchange's RBAC for Applications grants holds this user: narrow it",
            )
        case Reading.NO_MAILBOX:
            remedy = "Name another user with --probe-denied, one with a mailbox in Exchange Online"
            return warning(
                area, f"the denied probe user has no mailbox ({trial.code}): {dataset} is not proven", remedy
            )
        case Reading.UNCLEAR:
            return note(area, f"{dataset} of the denied probe user: no clear answer ({trial.code})", "Try again")


def judge_meetings(trial: Trial) -> Finding:
    """About the Teams application access policy."""
    area = trial.need.connector
    match trial.reading:
        case Reading.READABLE:
            return ok(area, "a Teams application access policy covers the allowed probe user")
        case Reading.REFUSED:
            return error(
                area,
                "no Teams application access policy lets this application read meetings of the allowed probe user",
                "Grant the policy with Grant-CsApplicationAccessPolicy, to the user or -Global: `m365-export setup` "
                "has the commands; Teams takes up to a day to act on it",
            )
        case Reading.NO_MAILBOX | Reading.UNCLEAR:
            return note(area, f"the Teams application access policy cannot be told ({trial.code})", "Try again")


def unknown_user(option: str) -> Finding:
    return error(AREA, f"the probe user of {option} is not in the tenant", "Give an object id or a sign-in name")


def settled(trials: Iterable[Trial]) -> frozenset[tuple[str, str]]:
    """Connector and dataset of what was readable or refused for certain, whatever the token says."""
    return frozenset(
        (trial.need.connector, trial.need.dataset)
        for trial in trials
        if trial.reading in (Reading.READABLE, Reading.REFUSED)
    )


def _reading(answer: Answer, need: Need) -> Reading:
    if answer.refusal is None:
        return Reading.READABLE
    match answer.refusal.row.end:
        case End.OUT_OF_POLICY | End.DENIED:
            return Reading.REFUSED
        case End.ITEM_GONE if need.dataset == MEETINGS:
            return Reading.READABLE  # the meeting that does not exist was looked for
        case End.NO_MAILBOX | End.ON_PREMISES_MAILBOX | End.DELETED:
            return Reading.NO_MAILBOX
        case _:
            return Reading.UNCLEAR


def _is_held(trial: Trial) -> bool:
    return bool(list(_held_names(trial)))


def _held_names(trial: Trial) -> Iterator[str]:
    claims = trial.signed_in.claims
    return (role for role in trial.need.sufficient if claims is not None and role in claims.roles)


def _held(trial: Trial) -> str:
    return " and ".join(_held_names(trial))


def _by_policy(trial: Trial) -> str:
    """What to add where application access policies are not documented to restrict what is held."""
    names = [role for role in _held_names(trial) if role in ROLES and not ROLES[role].by_policy]
    return f"; such policies are not documented to restrict {', '.join(names)}" if names else ""


def _by_exchange(trial: Trial) -> str:
    if trial.signed_in.claims is None or _is_held(trial):
        return ""
    return ": Exchange's RBAC for Applications grants it, which the token does not show"


class _Named(msgspec.Struct):
    id: str = ""


def _id_in(answer: Answer) -> str:
    try:
        return msgspec.json.decode(answer.body, type=_Named).id
    except msgspec.DecodeError:
        return ""
