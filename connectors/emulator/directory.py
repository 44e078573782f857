"""The directory: users, groups and their members, and the settings of each mailbox.

https://learn.microsoft.com/graph/api/resources/user and .../group (checked 2026-11): most properties of a user come
only when they are selected; some live outside the directory and cannot be selected in a list.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from connectors.emulator.noise import Circles, Noise
from connectors.emulator.people import DOMAIN, FALLBACK_DOMAIN, People, Person
from connectors.emulator.profile import MailboxKind
from connectors.emulator.shapes import Shape
from connectors.emulator.ticks import DAY, to_local_text, to_text
from connectors.emulator.words import CITIES, DEPARTMENTS, Vocabulary

NOT_IN_LISTS = frozenset(
    {
        *("aboutMe", "birthday", "hireDate", "interests", "mailboxSettings", "mySite", "pastProjects"),
        *("preferredName", "responsibilities", "schools", "skills"),
    }
)
_USERS_PER_GROUP = 8
_GROUP_SIZES = (2, 3, 5, 8, 13)
_SKU = "05e9a617-0261-4cee-bb44-138d3ef5d965"
_EXCHANGE_PLAN = "efb87545-963c-4e0d-99df-69c6916d9eb0"
_TEAMS_PLAN = "57ff2da0-773e-42df-b2af-ffb7a2317929"
_LOCALES = (("en-US", "English (United States)"), ("de-DE", "German (Germany)"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryContext:
    """What the JSON of users and groups depends on besides them."""

    noise: Noise
    words: Vocabulary
    start_ticks: int  # the tenant's history begins here
    blocked: Collection[int] = ()  # numbers of the people who may not sign in
    away: Collection[int] = ()  # numbers of the people whose mailboxes answer by themselves


def _licensed(person: Person) -> bool:
    return person.has_mailbox and person.is_human and person.kind is not MailboxKind.DISABLED


def _plans(person: Person, context: DirectoryContext) -> list[dict[str, Any]]:
    if not _licensed(person):
        return []
    assigned = to_text(context.start_ticks - 30 * DAY)
    return [
        {
            "assignedDateTime": assigned,
            "capabilityStatus": "Enabled",
            "service": service,
            "servicePlanId": plan,
        }
        for service, plan in (("exchange", _EXCHANGE_PLAN), ("TeamspaceAPI", _TEAMS_PLAN))
    ]


def _proxy_addresses(person: Person, _: DirectoryContext) -> list[str]:
    if person.mail is None or person.is_guest:
        return []
    return [
        f"SMTP:{person.mail}",
        f"smtp:{person.alias}",
        f"SIP:{person.mail}",
        f"X500:{person.legacy_dn}",
    ]


def _employee_id(person: Person, _: DirectoryContext) -> str | None:
    """A number; in some organisations an address."""
    if not person.is_human or person.is_guest:
        return None
    return person.mail if person.number % 23 == 5 else f"E-{70_000 + person.number}"


def _user_type(person: Person, _: DirectoryContext) -> str | None:
    if person.kind is MailboxKind.NO_USER_TYPE:
        return None
    return "Guest" if person.is_guest else "Member"


def _job(person: Person, context: DirectoryContext) -> str | None:
    return context.words.jobs[person.number % len(context.words.jobs)] if person.is_human else None


def _created(person: Person, context: DirectoryContext) -> str:
    return to_text(context.start_ticks - (1 + person.number % 900) * DAY)


USER: Shape[Person, DirectoryContext] = Shape(
    "microsoft.graph.user",
    {
        "businessPhones": lambda p, _: [p.phone] if p.number % 3 else [],
        "displayName": lambda p, _: p.display_name,
        "givenName": lambda p, _: p.given_name,
        "jobTitle": _job,
        "mail": lambda p, _: p.mail,
        "mobilePhone": lambda p, _: None if p.number % 3 else p.phone,
        "officeLocation": lambda p, c: c.words.places[p.number % len(c.words.places)],
        "preferredLanguage": lambda _p, _: "en-US",
        "surname": lambda p, _: p.family_name,
        "userPrincipalName": lambda p, _: p.upn,
        "id": lambda p, _: p.id,
    },
    on_request={
        "accountEnabled": lambda p, c: p.is_human and p.kind is not MailboxKind.DISABLED and p.number not in c.blocked,
        "ageGroup": lambda _p, _: None,
        "assignedLicenses": lambda p, _: [{"skuId": _SKU, "disabledPlans": []}] if _licensed(p) else [],
        "assignedPlans": _plans,
        "city": lambda p, _: CITIES[p.number % len(CITIES)],
        "companyName": lambda _p, _: "Alderbrook",
        "country": lambda _p, _: "Germany",
        "createdDateTime": _created,
        "creationType": lambda p, _: "Invitation" if p.is_guest else None,
        "deletedDateTime": lambda _p, _: None,
        "department": lambda p, _: DEPARTMENTS[p.number % len(DEPARTMENTS)] if p.is_human else None,
        "employeeHireDate": _created,
        "employeeId": _employee_id,
        "employeeOrgData": lambda p, _: {"costCenter": f"CC{p.number % 40}", "division": "EMEA"},
        "employeeType": lambda p, _: "Employee" if p.is_human else None,
        "externalUserState": lambda p, _: "Accepted" if p.is_guest else None,
        "externalUserStateChangeDateTime": lambda p, c: _created(p, c) if p.is_guest else None,
        "faxNumber": lambda _p, _: None,
        "identities": lambda p, _: [
            {"signInType": "userPrincipalName", "issuer": FALLBACK_DOMAIN, "issuerAssignedId": p.upn}
        ],
        "imAddresses": lambda p, _: [p.mail] if _licensed(p) else [],
        "isResourceAccount": lambda p, _: not p.is_human,
        "lastPasswordChangeDateTime": _created,
        "mailNickname": lambda p, _: p.nickname,
        "onPremisesDistinguishedName": lambda _p, _: None,
        "onPremisesDomainName": lambda _p, _: None,
        "onPremisesExtensionAttributes": lambda p, _: {
            f"extensionAttribute{n}": p.phone if n == 1 and p.number % 7 == 0 else None for n in range(1, 16)
        },
        "onPremisesImmutableId": lambda _p, _: None,
        "onPremisesLastSyncDateTime": lambda _p, _: None,
        "onPremisesSamAccountName": lambda p, _: p.nickname if p.number % 4 == 0 else None,
        "onPremisesSecurityIdentifier": lambda _p, _: None,
        "onPremisesSyncEnabled": lambda p, _: True if p.number % 4 == 0 else None,
        "onPremisesUserPrincipalName": lambda p, _: p.upn if p.number % 4 == 0 else None,
        "otherMails": lambda p, _: [p.other_mail] if p.number % 6 == 0 or p.is_guest else [],
        "postalCode": lambda p, _: f"{10_000 + p.number % 80_000}",
        "proxyAddresses": _proxy_addresses,
        "securityIdentifier": lambda p, _: f"S-1-12-1-{p.number}-1-1-1",
        "showInAddressList": lambda _p, _: None,
        "state": lambda _p, _: None,
        "streetAddress": lambda p, c: c.words.places[(p.number + 7) % len(c.words.places)],
        "usageLocation": lambda _p, _: "DE",
        "userType": _user_type,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group; the lowest numbers have a part to play, see `Groups`."""

    number: int
    id: str
    kind: str  # unified | security | mail-security | distribution
    name: str = field(repr=False)
    mail: str | None = field(repr=False)


GROUP: Shape[Group, DirectoryContext] = Shape(
    "microsoft.graph.group",
    {
        "id": lambda g, _: g.id,
        "deletedDateTime": lambda _g, _: None,
        "classification": lambda _g, _: None,
        "createdDateTime": lambda g, c: to_text(c.start_ticks - (1 + g.number % 700) * DAY),
        "description": lambda g, _: f"All about {g.name}",
        "displayName": lambda g, _: g.name,
        "expirationDateTime": lambda _g, _: None,
        "groupTypes": lambda g, _: (
            (["Unified"] if g.kind == "unified" else []) + (["DynamicMembership"] if g.number % 9 == 4 else [])
        ),
        "isAssignableToRole": lambda _g, _: None,
        "mail": lambda g, _: g.mail,
        "mailEnabled": lambda g, _: g.mail is not None,
        "mailNickname": lambda g, _: f"group{g.number}",
        "membershipRule": lambda g, _: 'user.department -eq "Sales"' if g.number % 9 == 4 else None,
        "membershipRuleProcessingState": lambda g, _: "On" if g.number % 9 == 4 else None,
        "onPremisesLastSyncDateTime": lambda _g, _: None,
        "onPremisesSyncEnabled": lambda _g, _: None,
        "preferredDataLocation": lambda _g, _: None,
        "preferredLanguage": lambda _g, _: None,
        "proxyAddresses": lambda g, _: [f"SMTP:{g.mail}"] if g.mail else [],
        "renewedDateTime": lambda g, c: to_text(c.start_ticks - (1 + g.number % 700) * DAY),
        "resourceBehaviorOptions": lambda _g, _: [],
        "resourceProvisioningOptions": lambda g, _: ["Team"] if g.kind == "unified" and g.number % 2 == 0 else [],
        "securityEnabled": lambda g, _: g.kind in ("security", "mail-security"),
        "securityIdentifier": lambda g, _: f"S-1-12-1-{g.number}-2-2-2",
        "theme": lambda _g, _: None,
        "uniqueName": lambda _g, _: None,
        "visibility": lambda g, _: "Private" if g.number % 3 else "Public",
    },
    on_request={
        "assignedLabels": lambda _g, _: [],
        "assignedLicenses": lambda _g, _: [],
        "isManagementRestricted": lambda _g, _: None,
        "onPremisesDomainName": lambda _g, _: None,
        "onPremisesSamAccountName": lambda _g, _: None,
    },
)


Member = Person | Group | dict[str, Any]
_NESTED: dict[int, tuple[int, ...]] = {1: (2,), 2: (3,), 3: (1,), 4: (1, 5)}


class Groups:
    """The groups of the tenant.

    Group 0 holds everybody; 1, 2 and 3 contain each other in a ring; 4 nests two others and holds a device, a
    contact and a service principal; the others hold a few users each.
    """

    def __init__(self, noise: Noise, people: People, words: Vocabulary, *, fewest: int) -> None:
        self._noise = noise
        self._people = people
        self._words = words
        self.count = max(fewest, people.count // _USERS_PER_GROUP)
        self._circles = Circles(noise, "group-round", people.count)
        self.ids = tuple(noise.guid("group", number) for number in range(self.count))
        self._numbers = {group_id: number for number, group_id in enumerate(self.ids)}
        self.group = lru_cache(maxsize=8_192)(self._group)
        self._few = lru_cache(maxsize=1_024)(self._few_members)
        self._joined: dict[int, list[Person]] = {}
        self._left: dict[int, set[str]] = {}
        self._moves: dict[int, dict[str, int]] = {}  # when a member joined or left last, by group and member
        self.removed: dict[int, int] = {}  # when a group was deleted, by its number
        self.restored: dict[int, int] = {}  # and when it came back

    def __iter__(self) -> Iterator[Group]:
        return (self.group(number) for number in range(self.count))

    def find(self, group_id: str) -> Group | None:
        """The group of this object id."""
        number = self._numbers.get(group_id.lower())
        return None if number is None else self.group(number)

    def member_count(self, group: Group) -> int:
        """How many direct members a group has."""
        return self._people.count if group.number == 0 else len(self._few(group.number))

    def member(self, group: Group, number: int) -> Member:
        """A direct member: a person, a group, or another object as it is served."""
        return self._people.person(number) if group.number == 0 else self._few(group.number)[number]

    def join(self, group: Group, person: Person, *, ticks: int) -> None:
        """Makes a person a direct member; not of group 0, which has everybody."""
        self._joined.setdefault(group.number, []).append(person)
        self._left.get(group.number, set()).discard(person.id)
        self._moved(group, person, ticks)

    def leave(self, group: Group, person: Person, *, ticks: int) -> None:
        """Ends a direct membership; not in group 0, which has everybody."""
        self._joined[group.number] = [each for each in self._joined.get(group.number, []) if each.id != person.id]
        self._left.setdefault(group.number, set()).add(person.id)
        self._moved(group, person, ticks)

    def remove(self, group: Group, *, ticks: int) -> None:
        """Deletes a group, which so is a member of no other any more."""
        self.removed[group.number] = ticks
        self._moved_in_parents(group, ticks)

    def restore(self, group: Group, *, ticks: int) -> None:
        """Brings a deleted group back, into the groups it was a member of."""
        del self.removed[group.number]
        self.restored[group.number] = ticks
        self._moved_in_parents(group, ticks)

    def members(self, group: Group) -> Iterator[Member]:
        """The direct members."""
        return (self.member(group, number) for number in range(self.member_count(group)))

    def moves(self, group: Group) -> Mapping[str, int]:
        """When a member joined or left a group last, by the member's id."""
        return self._moves.get(group.number, {})

    def reached_from(self, group: Group) -> Sequence[Member]:
        """All members, direct or through groups in the group, each once."""
        found: dict[str, Member] = {}
        waiting = [group]
        opened = {group.number}
        while waiting:
            opening = waiting.pop(0)
            for number in range(self.member_count(opening)):
                member = self.member(opening, number)
                found.setdefault(member["id"] if isinstance(member, dict) else member.id, member)
                if isinstance(member, Group) and member.number not in opened:
                    opened.add(member.number)
                    waiting.append(member)
        return list(found.values())

    def _moved_in_parents(self, group: Group, ticks: int) -> None:
        for parent, nested in _NESTED.items():
            if group.number in nested:
                self._moved(self.group(parent), group, ticks)

    def _moved(self, group: Group, member: Person | Group, ticks: int) -> None:
        self._moves.setdefault(group.number, {})[member.id] = ticks
        self._few.cache_clear()

    def _few_members(self, group_number: int) -> Sequence[Member]:
        size = _GROUP_SIZES[self._noise.number("group-size", group_number, below=len(_GROUP_SIZES))]
        circle = self._circles.circle(group_number, size, group_number % self._circles.count(size))
        at_first = [self._people.person(number) for number in circle.members]
        left = self._left.get(group_number, set())
        members = {person.id: person for person in (*at_first, *self._joined.get(group_number, ()))}
        people = [person for person in members.values() if person.id not in left]
        groups = [self.group(number) for number in _NESTED.get(group_number, ()) if number not in self.removed]
        return [*people, *groups, *(self._others() if group_number == 4 else ())]

    def _others(self) -> list[dict[str, Any]]:
        """Members that are neither users nor groups."""
        name = self._words.places[0]
        return [
            {"@odata.type": "#microsoft.graph.device", "id": self._noise.guid("device"), "displayName": name},
            {"@odata.type": "#microsoft.graph.orgContact", "id": self._noise.guid("contact"), "displayName": name},
            {
                "@odata.type": "#microsoft.graph.servicePrincipal",
                "id": self._noise.guid("app"),
                "displayName": "Exporter",
            },
        ]

    def _group(self, number: int) -> Group:
        kind = ("unified", "security", "mail-security", "distribution")[number % 4]
        name = self._words.groups[number % len(self._words.groups)]
        if number >= len(self._words.groups):
            name += f" {number}"
        mail = None if kind == "security" else f"{name.lower().replace(' ', '-')}@{DOMAIN}"
        return Group(number=number, id=self.ids[number], kind=kind, name=name, mail=mail)


def render_mailbox_settings(person: Person, context: DirectoryContext) -> dict[str, Any]:
    """The mailboxSettings of a user."""
    locale, locale_name = _LOCALES[person.number % 2]
    purpose = {MailboxKind.SHARED: "shared", MailboxKind.ROOM: "room"}.get(person.kind, "user")
    away = person.number % 11 == 0 or person.number in context.away
    reply = context.words.replies[person.number % len(context.words.replies)] if away else ""
    since, until = context.start_ticks, context.start_ticks + 7 * DAY
    return {
        "archiveFolder": context.noise.token("archive", person.number),
        "timeZone": "W. Europe Standard Time" if person.number % 2 else "UTC",
        "delegateMeetingMessageDeliveryOptions": "sendToDelegateOnly",
        "dateFormat": "dd.MM.yyyy",
        "timeFormat": "HH:mm",
        "userPurpose": purpose,
        "automaticRepliesSetting": {
            "status": "scheduled" if away else "disabled",
            "externalAudience": "all",
            "internalReplyMessage": reply,
            "externalReplyMessage": reply,
            "scheduledStartDateTime": {"dateTime": to_local_text(since), "timeZone": "UTC"},
            "scheduledEndDateTime": {"dateTime": to_local_text(until), "timeZone": "UTC"},
        },
        "language": {"locale": locale, "displayName": locale_name},
        "workingHours": {
            "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"],
            "startTime": "08:00:00.0000000",
            "endTime": "17:00:00.0000000",
            "timeZone": _custom_zone() if person.number % 13 == 6 else {"name": "W. Europe Standard Time"},
        },
    }


def _custom_zone() -> dict[str, Any]:
    offset = {"time": "02:00:00.0000000", "dayOccurrence": 4, "dayOfWeek": "sunday", "month": 10, "year": 0}
    return {
        "@odata.type": "#microsoft.graph.customTimeZone",
        "name": "Customized Time Zone",
        "bias": -60,
        "standardOffset": offset,
        "daylightOffset": {**offset, "month": 3, "daylightBias": -60},
    }
