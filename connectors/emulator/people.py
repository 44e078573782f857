"""The people of the tenant, the rooms and shared mailboxes among them, and outsiders who write to them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from connectors.emulator.noise import Noise
from connectors.emulator.profile import NOT_HUMAN, MailboxKind, TenantProfile
from connectors.emulator.words import ascii_word, family_name, given_name

DOMAIN = "alderbrook.example"
ALIAS_DOMAIN = "alder.example"
FALLBACK_DOMAIN = "alderbrook.onmicrosoft.com"
PARTNER_DOMAINS = ("partner-one.example", "lieferant.example", "mail.example", "consulting.example")
OUTSIDERS = 240

Recipient = dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user of the tenant. `number` is its place in the directory, from 0."""

    number: int
    id: str
    kind: MailboxKind
    given_name: str
    family_name: str
    display_name: str
    upn: str
    mail: str | None
    alias: str  # a second address that reaches the same mailbox
    legacy_dn: str  # an X.500 address of old mail
    phone: str
    recipient: Recipient = field(repr=False)
    recipient_by_alias: Recipient = field(repr=False)
    recipient_by_dn: Recipient = field(repr=False)

    @property
    def nickname(self) -> str:
        """What stands before the @ of the user principal name."""
        return self.upn.rpartition("@")[0]

    @property
    def other_mail(self) -> str:
        """A private address."""
        return f"{self.given_name.lower()}.private{self.number}@mail.example"

    @property
    def is_guest(self) -> bool:
        """Invited from another organisation."""
        return self.kind is MailboxKind.GUEST

    @property
    def is_human(self) -> bool:
        """Neither a shared mailbox nor a room."""
        return self.kind not in NOT_HUMAN

    @property
    def has_mailbox(self) -> bool:
        """Exchange Online holds a mailbox, readable or not."""
        without = (MailboxKind.NO_MAILBOX, MailboxKind.INVALID_USER, MailboxKind.UNLICENSED, MailboxKind.GUEST)
        return self.kind not in without


class People:
    """All users of a tenant by number, by object id, and by user principal name."""

    def __init__(self, noise: Noise, *, count: int, profile: TenantProfile) -> None:
        self._noise = noise
        self.count = count
        self._kinds = _special_kinds(noise, count, profile)
        self.ids: Sequence[str] = tuple(noise.guid("user", number) for number in range(count))
        self._numbers = {user_id: number for number, user_id in enumerate(self.ids)}
        self.person = lru_cache(maxsize=20_000)(self._person)
        self.outsider = lru_cache(maxsize=OUTSIDERS)(self._outsider)

    def __iter__(self) -> Iterator[Person]:
        return (self.person(number) for number in range(self.count))

    def kind(self, number: int) -> MailboxKind:
        """What is special about the user of this number."""
        return self._kinds.get(number, MailboxKind.NORMAL)

    def numbers_without(self, *kinds: MailboxKind) -> list[int]:
        """The numbers of everybody who is of none of these kinds."""
        return [number for number in range(self.count) if self.kind(number) not in kinds]

    def of_kind(self, kind: MailboxKind) -> tuple[str, ...]:
        """Object ids of the users of this kind."""
        return tuple(self.ids[number] for number in range(self.count) if self.kind(number) is kind)

    def find(self, name: str) -> Person | None:
        """The user of this object id or user principal name."""
        number = self._numbers.get(name.lower())
        if number is None and "@" in name:
            number = self._number_in_upn(name)
        return None if number is None else self.person(number)

    def _number_in_upn(self, upn: str) -> int | None:
        digits = "".join(char for char in upn.partition("@")[0].partition("_")[0].partition("#")[0] if char.isdigit())
        if not digits or int(digits) >= self.count:
            return None
        return int(digits) if self.person(int(digits)).upn.lower() == upn.lower() else None

    def _person(self, number: int) -> Person:
        noise, kind = self._noise, self.kind(number)
        given, family = given_name(noise, "user", number), family_name(noise, "user", number)
        local = f"{ascii_word(given)}.{ascii_word(family)}{number}"
        display = f"{given} {family}"
        upn = mail = f"{local}@{DOMAIN}"
        if "'" in family:  # an apostrophe is allowed in a user principal name
            upn = mail = f"{ascii_word(given)}.o'{ascii_word(family)[1:]}{number}@{DOMAIN}"
        if kind is MailboxKind.GUEST:
            partner = PARTNER_DOMAINS[number % len(PARTNER_DOMAINS)]
            mail, upn = f"{local}@{partner}", f"{local}_{partner}#EXT#@{FALLBACK_DOMAIN}"
        alias = f"{ascii_word(family)}.{ascii_word(given)}{number}@{ALIAS_DOMAIN}"
        legacy_dn = (
            "/O=EXCHANGELABS/OU=EXCHANGE ADMINISTRATIVE GROUP (FYDIBOHF23SPDLT)/CN=RECIPIENTS/CN="
            f"{noise.token('dn', number)[:12].upper()}-{ascii_word(family).upper()}{number}"
        )
        return Person(
            number=number,
            id=self.ids[number],
            kind=kind,
            given_name=given,
            family_name=family,
            display_name=display,
            upn=upn,
            mail=None if kind is MailboxKind.INVALID_USER else mail,
            alias=alias,
            legacy_dn=legacy_dn,
            phone=f"+49 30 {5_000_000 + number}",
            recipient=recipient(display, mail),
            recipient_by_alias=recipient(display, alias),
            recipient_by_dn=recipient(display, legacy_dn),
        )

    def _outsider(self, number: int) -> Recipient:
        given, family = given_name(self._noise, "outsider", number), family_name(self._noise, "outsider", number)
        domain = PARTNER_DOMAINS[number % len(PARTNER_DOMAINS)]
        return recipient(f"{given} {family}", f"{ascii_word(given)}.{ascii_word(family)}{number}x@{domain}")

    def planted(self) -> Iterator[tuple[str, str]]:
        """Everything that names a person or leads to one, with what it is."""
        for person in self:
            yield "name", person.display_name
            yield "name", person.given_name
            yield "name", person.family_name
            yield "upn", person.upn
            yield "nickname", person.nickname
            yield "address", person.other_mail
            yield "phone", person.phone
            for address in (person.recipient, person.recipient_by_alias, person.recipient_by_dn):
                yield "address", address["emailAddress"]["address"]
        for number in range(OUTSIDERS):
            yield "name", self.outsider(number)["emailAddress"]["name"]
            yield "address", self.outsider(number)["emailAddress"]["address"]


def recipient(name: str, address: str) -> Recipient:
    """A Graph `recipient`."""
    return {"emailAddress": {"name": name, "address": address}}


def _special_kinds(noise: Noise, count: int, profile: TenantProfile) -> dict[int, MailboxKind]:
    """Which numbers are special: at most half of the users, chosen by the seed; large mailboxes stay normal."""
    wanted = [kind for kind, number in profile.mailboxes.items() for _ in range(number)]
    ordinary = [number for number in range(count) if number not in profile.large_mailboxes]
    ordinary.sort(key=lambda number: noise.bytes("special", number))
    if len(wanted) > count // 2:  # a small tenant: one of each kind as far as it goes
        wanted = list(dict.fromkeys(wanted))[: count // 2]
    return dict(zip(ordinary, wanted, strict=False))
