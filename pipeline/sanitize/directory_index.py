"""The tenant's own people as the egress guard knows them: addresses, phone numbers, full names.

Nothing readable is kept: every entry is a keyed digest under a key of this process, in memory only. It is filled
from the raw pages of the user directory while they are read.
https://learn.microsoft.com/graph/api/resources/user (checked 2026-11)

A name counts when it has two or more words; `May`, `Sales` or `Canada` alone would be found everywhere. Two kinds of
display names are no names of people, or not only: those that two or more users have as department, office or the like
(shared mailboxes and rooms are users too), and those made of ordinary words only (`Will May`), which count as written.
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

import msgspec

from pipeline.digests import GrowingDigests, keyed_digest

# Asked of Graph for this index alone: no rule keeps them, so they are in no column and in no file.
EXTRA_SELECT = {"entra_users": ("displayName", "businessPhones", "mobilePhone")}

MAX_NAME_WORDS = 4  # a longer name is known by its first four words
MIN_PHONE_DIGITS = 8  # of a directory's own numbers; internal extensions are shorter
MAX_TENANT_DOMAINS = 500  # beyond that the domains are not used to narrow down a search

_WORD = re.compile(r"[^\W_]+")
_ASIDE = re.compile(r"\([^)]*\)|\[[^\]]*\]")  # `Anna Schmidt (Contoso)`
_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\"'/=?&]+@[A-Za-z0-9.-]+")
_DOMAIN = re.compile(r"[a-z0-9.-]+")
_DIGITS = re.compile(r"\+?\d[\d ()./\-]{5,24}\d")

# English words that are given or family names as well, and mean nothing personal beside each other.
_ORDINARY = frozenset({
    "april", "art", "august", "banks", "best", "bill", "black", "bob", "bright", "brown", "canada", "case",
    "chase", "chip", "church", "day", "dean", "drew", "early", "east", "field", "first", "frank", "good", "grace",
    "grant", "gray", "green", "grey", "hall", "head", "hope", "house", "hunter", "iris", "jack", "joy", "june",
    "king", "lake", "last", "late", "little", "long", "love", "major", "mark", "marsh", "mason", "may", "miles",
    "north", "page", "park", "pat", "price", "ray", "rich", "rivers", "rob", "rose", "sales", "sandy", "sharp",
    "short", "south", "stone", "street", "strong", "sue", "summer", "west", "white", "will", "winter", "wise",
    "wood", "woods", "young",
})  # fmt: skip


class _User(msgspec.Struct, rename="camel"):
    display_name: str | None = None
    mail: str | None = None
    user_principal_name: str | None = None
    other_mails: list[str] | None = None
    proxy_addresses: list[str] | None = None
    im_addresses: list[str] | None = None
    business_phones: list[str] | None = None
    mobile_phone: str | None = None
    department: str | None = None
    company_name: str | None = None
    office_location: str | None = None
    city: str | None = None
    state: str | None = None
    country: str | None = None


class DirectoryIndex:
    """Whether a text holds an address, a number or a full name of the tenant. Threads may share it."""

    dataset = "entra_users"  # whose raw pages it learns from

    def __init__(self, *, key: bytes | None = None) -> None:
        """`key` is for tests; by default every process has its own."""
        self._key = key or secrets.token_bytes(32)
        self._addresses = GrowingDigests()
        self._phones = GrowingDigests()
        self._first_words = GrowingDigests()
        self._names = GrowingDigests()
        self._labels: dict[int, int] = {}  # a label, and the first user who has it
        self._shared_labels: set[int] = set()
        self._domains: set[str] = set()
        self._ordered_domains: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"DirectoryIndex(addresses={len(self._addresses)}, names={len(self._names)})"

    @property
    def generation(self) -> int:
        """Grows with what the index knows; a verdict is as good as the generation it was found in."""
        return len(self._addresses) + len(self._phones) + len(self._names) + len(self._shared_labels)

    @property
    def domains(self) -> Sequence[str] | None:
        """Lower-case domains of all addresses; None when there are too many to be of use."""
        if len(self._domains) > MAX_TENANT_DOMAINS:
            return None
        if len(self._ordered_domains) != len(self._domains):  # every unit asks; seldom is there a new one
            self._ordered_domains = sorted(self._domains)
        return self._ordered_domains

    def learn(self, records: bytes) -> None:
        """Take in a raw page of users; the same page twice changes nothing.

        What has an unexpected type is left out; the sanitizer decides about it.
        """
        try:
            raw_users = msgspec.json.decode(records, type=list[msgspec.Raw])
        except msgspec.DecodeError:
            return
        for raw in raw_users:
            try:
                self._add(msgspec.json.decode(raw, type=_User))
            except msgspec.DecodeError:
                continue

    def holds_person(self, text: str) -> bool:
        """Whether anything of anybody in the directory stands in the text."""
        return self.holds_name(text) or self.holds_entry(text)

    def holds_name(self, text: str) -> bool:
        """Whether a full display name of the directory stands in the text, as words of its own."""
        words = _WORD.findall(unquote(text) if "%" in text else text)
        for start, word in enumerate(words[:-1]):
            if self._hash(word.casefold()) not in self._first_words:
                continue
            for length in range(2, min(MAX_NAME_WORDS, len(words) - start) + 1):
                if self._is_name(words[start : start + length]):
                    return True
        return False

    def holds_entry(self, text: str) -> bool:
        """Whether an address, sign-in name or phone number of the directory stands in the text."""
        if "@" in text or "%40" in text:
            plain = unquote(text) if "%" in text else text
            if any(map(self._is_address, _ADDRESS.findall(plain))):
                return True
        return any(map(self._is_phone, _DIGITS.findall(text)))

    def _add(self, user: _User) -> None:
        for address in (user.mail, user.user_principal_name, *_all(user.other_mails), *_all(user.im_addresses)):
            self._add_address(address)
        for alias in _all(user.proxy_addresses):
            self._add_address(alias.partition(":")[2])
        for phone in (user.mobile_phone, *_all(user.business_phones)):
            digits = _digits(phone or "")
            if len(digits) >= MIN_PHONE_DIGITS:
                self._phones.add(self._hash(digits))
        if user.display_name:
            self._add_name(user.display_name)
        labels = (user.department, user.company_name, user.office_location, user.city, user.state, user.country)
        owner = self._hash((user.user_principal_name or "").casefold())
        for label in filter(None, labels):
            entry = self._name_hash(_WORD.findall(label))
            if self._labels.setdefault(entry, owner) != owner:
                self._shared_labels.add(entry)

    def _add_address(self, address: str | None) -> None:
        if address and "@" in address:
            self._addresses.add(self._hash(address.casefold()))
            domain = address.rpartition("@")[2].casefold()
            if _DOMAIN.fullmatch(domain):
                self._domains.add(domain)

    def _add_name(self, name: str) -> None:
        plain = _ASIDE.sub(" ", name)
        if len(plain.split()) < 2:
            return
        family, comma, given = plain.partition(",")
        for form in (plain, f"{given} {family}") if comma else (plain,):
            words = _WORD.findall(form)[:MAX_NAME_WORDS]
            if len(words) > 1:
                self._first_words.add(self._hash(words[0].casefold()))
                self._names.add(self._name_hash(words))

    def _is_address(self, found: str) -> bool:
        """By its domain first: a digest takes ten times as long, and most addresses in texts are somebody else's."""
        address = found.casefold().rstrip(".-")  # the end of a sentence
        return address.rpartition("@")[2] in self._domains and self._hash(address) in self._addresses

    def _is_phone(self, run: str) -> bool:
        digits = _digits(run)
        return len(digits) >= MIN_PHONE_DIGITS and self._hash(digits) in self._phones

    def _is_name(self, words: Sequence[str]) -> bool:
        entry = self._name_hash(words)
        return entry in self._names and entry not in self._shared_labels

    def _name_hash(self, words: Sequence[str]) -> int:
        """Of the words in lower case, or as written where they are ordinary words."""
        lowered = [word.casefold() for word in words]
        ordinary = all(word in _ORDINARY for word in lowered)
        return self._hash("=" + " ".join(words) if ordinary else " ".join(lowered))

    def _hash(self, text: str) -> int:
        return keyed_digest(text, key=self._key)


def _all(texts: Iterable[str] | None) -> Iterable[str]:
    return texts or ()


def _digits(text: str) -> str:
    """The digits of a phone number, without the zeros that stand for `+` or a trunk prefix."""
    return "".join(filter(str.isdigit, text)).lstrip("0")
