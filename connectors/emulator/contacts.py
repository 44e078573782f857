"""The address book of each mailbox: folders of contacts that are outsiders, as a function of the seed and the present.

https://learn.microsoft.com/graph/api/resources/contact and .../contactfolder (checked 2026-11). A contact is made at
some time of the history and changed now and then; those made or changed in the future are not seen (so). What the
methods here add, change, move and remove is kept in memory. In every other mailbox the list of folders names the
default folder, too: whoever reads it twice gets its contacts twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from connectors.emulator.clock import Clock
from connectors.emulator.folders import Folder
from connectors.emulator.noise import Noise, spread
from connectors.emulator.people import OUTSIDERS, People, Person
from connectors.emulator.profile import TenantProfile
from connectors.emulator.shapes import Shape
from connectors.emulator.ticks import DAY, HOUR, SECOND, to_text
from connectors.emulator.words import MARKER, Vocabulary

DEFAULT = "contacts"
_TREE = (
    Folder(name=DEFAULT, title="Contacts", number=50),
    Folder(name="suppliers", title=f"Suppliers {MARKER}vole-contacts-01", number=51, parent=DEFAULT),
    Folder(name="nearby", title=f"Nearby {MARKER}vole-contacts-02", number=52, parent="suppliers"),
    Folder(name="press", title=f"Press {MARKER}vole-contacts-03", number=53, parent=DEFAULT),
)
FOLDERS = {folder.name: folder for folder in _TREE}
_LIES_IN = (DEFAULT, DEFAULT, DEFAULT, "suppliers", "nearby", "press")
_SPAN_DAYS = 120  # contacts are made so long around the beginning of the history, some of them later than now


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """An entry of an address book as it is now. `number` tells the entries of one owner apart."""

    owner: Person = field(repr=False)
    number: int
    noise: bytes = field(repr=False)
    folder: str
    created: int
    modified: int


class Contacts:
    """All address books."""

    def __init__(self, noise: Noise, people: People, profile: TenantProfile, *, clock: Clock, first_ticks: int) -> None:
        self._noise = noise
        self._people = people
        self._most = profile.contacts
        self._clock = clock
        self._first_ticks = first_ticks
        self._added: dict[int, list[Contact]] = {}
        self._changed: dict[tuple[int, int], Contact] = {}
        self._removed: set[tuple[int, int]] = set()

    def of(self, owner: Person, folder: str | None = None) -> list[Contact]:
        """The contacts in one folder or in all, in a stable order."""
        own = [self._contact(owner, number) for number in range(self._count(owner))]
        now = self._clock.ticks
        return [
            contact
            for each in (*own, *self._added.get(owner.number, ()))
            if each.created <= now and (owner.number, each.number) not in self._removed
            if (contact := self._now(each)).folder == folder or folder is None
        ]

    def add(self, owner: Person, *, count: int, folder: str, ticks: int) -> list[Contact]:
        """New entries. Raises KeyError where there is no such folder."""
        first = self._most + len(self._added.get(owner.number, ()))
        made = [
            replace(self._contact(owner, number), folder=FOLDERS[folder].name, created=ticks, modified=ticks)
            for number in range(first, first + count)
        ]
        self._added.setdefault(owner.number, []).extend(made)
        return made

    def edit(self, contact: Contact, *, ticks: int, folder: str | None = None) -> None:
        """Changes an entry, or moves it."""
        key = (contact.owner.number, contact.number)
        self._changed[key] = replace(contact, modified=ticks, folder=folder or contact.folder)

    def remove(self, contact: Contact) -> None:
        """Deletes an entry for good."""
        self._removed.add((contact.owner.number, contact.number))

    def find(self, owner: Person, contact_id: str) -> Contact:
        """The entry of this immutable id. Raises KeyError."""
        for contact in self.of(owner):
            if self.contact_id(contact, immutable=True) == contact_id:
                return contact
        raise KeyError("no such contact")

    def person_of(self, contact: Contact) -> dict[str, str]:
        """Name and address of whom the entry is about."""
        return self._people.outsider(spread(contact.noise[1:3], OUTSIDERS))["emailAddress"]

    def contact_id(self, contact: Contact, *, immutable: bool) -> str:
        """The id in the default or in the immutable format."""
        head = "AAkALg" if immutable else "AAMkAG"
        name = f"contact-{head}" + ("" if immutable else f"-{contact.folder}")  # the default format changes by a move
        return f"{head}{self._noise.token(name, contact.owner.number, contact.number)}AAA="

    def folder_id(self, owner: Person, folder: str) -> str:
        """The id of a folder; it has one format only."""
        return f"AAMkAC{self._noise.token('contact-folder', owner.number)}{FOLDERS[folder].number:04d}AAAA="

    def folders(self, owner: Person, parent: str) -> Sequence[Folder]:
        """The folders below `parent`, as they are listed."""
        below = [folder for folder in _TREE if folder.parent == parent]
        return [FOLDERS[DEFAULT], *below] if parent == DEFAULT and owner.number % 2 else below

    def find_folder(self, owner: Person, folder_id: str) -> str | None:
        """The name of the folder with this id."""
        if folder_id.lower() == DEFAULT:
            return DEFAULT
        return next((name for name in FOLDERS if self.folder_id(owner, name) == folder_id), None)

    def _count(self, owner: Person) -> int:
        return self._noise.number("contact-count", owner.number, below=self._most + 1)

    def _contact(self, owner: Person, number: int) -> Contact:
        noise = self._noise.bytes("contact", owner.number, number)
        created = self._first_ticks + (spread(noise[3:7], _SPAN_DAYS * 86_400) - _SPAN_DAYS * 57_600) * SECOND
        return Contact(
            owner=owner,
            number=number,
            noise=noise,
            folder=_LIES_IN[noise[7] % len(_LIES_IN)],
            created=created,
            modified=created,
        )

    def _now(self, contact: Contact) -> Contact:
        """With the change that a third of the contacts get some time after they were made."""
        made = self._changed.get((contact.owner.number, contact.number))
        if made is not None and made.modified <= self._clock.ticks:
            return made
        changed = contact.created + (1 + contact.noise[8]) * HOUR * 12
        if contact.noise[9] % 3 or changed > self._clock.ticks or contact.number >= self._most:
            return contact
        return replace(contact, modified=changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactContext:
    """What the JSON depends on besides the contact."""

    contacts: Contacts
    words: Vocabulary
    immutable_ids: bool


def _addresses(contact: Contact, context: ContactContext) -> list[dict[str, str]]:
    return [] if contact.noise[10] % 9 == 0 else [dict(context.contacts.person_of(contact))]


def _first_address(contact: Contact, context: ContactContext) -> dict[str, str] | None:
    return next(iter(_addresses(contact, context)), None)


def _name(contact: Contact, context: ContactContext) -> str:
    return context.contacts.person_of(contact)["name"]


def _phone(contact: Contact) -> str:
    return f"+1555{int.from_bytes(contact.noise[11:15]) % 10**8:08d}"


def _street(contact: Contact, context: ContactContext) -> dict[str, str]:
    return {"street": context.words.places[contact.noise[15] % len(context.words.places)], "city": "Aldenau"}


CONTACT: Shape[Contact, ContactContext] = Shape(
    "microsoft.graph.contact",
    {
        "@odata.etag": lambda c, _: f'W/"EQAAABYAAAB{c.noise[:8].hex()}"',
        "createdDateTime": lambda c, _: to_text(c.created),
        "lastModifiedDateTime": lambda c, _: to_text(c.modified),
        "changeKey": lambda c, _: f"EQAAABYAAAB{c.noise[:8].hex()}",
        "categories": lambda c, x: [x.words.categories[c.noise[16] % len(x.words.categories)]],
        "parentFolderId": lambda c, x: x.contacts.folder_id(c.owner, c.folder),
        "birthday": lambda c, _: to_text(-c.noise[17] * DAY) if c.noise[17] % 4 == 0 else None,
        "fileAs": _name,
        "displayName": _name,
        "givenName": lambda c, x: _name(c, x).partition(" ")[0],
        "middleName": lambda _c, _: None,
        "surname": lambda c, x: _name(c, x).partition(" ")[2],
        "nickName": lambda _c, _: None,
        "title": lambda _c, _: None,
        "imAddresses": lambda c, x: [address["address"] for address in _addresses(c, x)][: c.noise[18] % 2],
        "jobTitle": lambda c, x: x.words.jobs[c.noise[19] % len(x.words.jobs)],
        "companyName": lambda _c, _: "Partner One",
        "department": lambda _c, _: None,
        "officeLocation": lambda c, x: x.words.places[c.noise[20] % len(x.words.places)],
        "businessHomePage": lambda _c, _: None,
        "manager": lambda _c, _: None,
        "spouseName": lambda c, x: _name(c, x) if c.noise[21] % 5 == 0 else None,
        "personalNotes": lambda c, x: x.words.sentences[c.noise[22] % len(x.words.sentences)],
        "children": lambda _c, _: [],
        "homePhones": lambda c, _: [_phone(c)],
        "mobilePhone": lambda c, _: _phone(c),
        "businessPhones": lambda c, _: [_phone(c)],
        "emailAddresses": _addresses,
        "primaryEmailAddress": _first_address,
        "secondaryEmailAddress": lambda _c, _: None,
        "tertiaryEmailAddress": lambda _c, _: None,
        "homeAddress": _street,
        "businessAddress": lambda _c, _: {},
        "otherAddress": lambda _c, _: {},
    },
    always={"id": lambda c, x: x.contacts.contact_id(c, immutable=x.immutable_ids)},
)


def planted_phones(contacts: Contacts, owner: Person) -> list[str]:
    """The telephone numbers in an address book."""
    return [_phone(contact) for contact in contacts.of(owner)]


def render_folder(contacts: Contacts, folder: Folder, owner: Person) -> dict[str, Any]:
    """The JSON of a contact folder; how many folders it has is not told."""
    return {
        "id": contacts.folder_id(owner, folder.name),
        "parentFolderId": contacts.folder_id(owner, DEFAULT if folder.name == DEFAULT else folder.parent),
        "displayName": folder.title,
    }
