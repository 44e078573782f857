"""The words of which names and texts are made; every set is finite, so that everything planted can be listed.

Free text always contains `MARKER`. Names are coined: long enough that none turns up by chance in a hash.
"""

from collections.abc import Iterator

from connectors.emulator.noise import Noise

MARKER = "planted-"

_GIVEN_HEADS = ("Mari", "Torva", "Elen", "Jora", "Kasi", "Livi", "Ormu", "Peri", "Quen", "Rosa", "Seve", "Tami")
_GIVEN_TAILS = ("sela", "linde", "tonia", "bert", "dronia", "miro", "vinja", "zella", "ndrik", "lotte")
_FAMILY_HEADS = ("Ahren", "Bosch", "Calder", "Dravo", "Espin", "Fjell", "Gurr", "Hamel", "Iriba", "Karsu")
_FAMILY_TAILS = ("owicz", "berghe", "ström", "ffelin", "adze", "inescu", "ardottir", "okwuma", "ishita", "antes")
_ANIMALS = ("otter", "heron", "lynx", "gecko", "ibis", "marten", "plover", "skink", "tapir", "vole")
_ASCII = str.maketrans({"ö": "o", "'": ""})

_SUBJECTS = ("Budget review", "Re: offer for", "Lunch with", "Salary of", "FW: contract", "Diagnosis", "Draft of")
_SENTENCES = (
    "Please keep this between us",
    "The figures for the board are attached",
    "I will be in hospital on Thursday",
    "Call me on my private number",
    "We should let the supplier go",
    "My new address is below",
)
_TOPICS = ("Project", "Taskforce", "Coffee round", "Merger", "Hiring for")
_PLACES = ("Room", "Building", "Home of", "Café", "Clinic")
_FILES = ("offer", "payslip", "minutes", "contract")
_GROUPS = ("Works council", "Sales", "Research", "Finance", "Facilities")
_JOBS = ("Engineer", "Accountant", "Director", "Nurse", "Analyst")
DEPARTMENTS = ("Sales", "Research", "Finance", "Operations", "People")
CITIES = ("Aldenau", "Brixby", "Corvella", "Dunmore")


def given_name(noise: Noise, kind: str, number: int) -> str:
    """A first name."""
    return _pick(noise, "given", kind, number, _GIVEN_HEADS) + _pick(noise, "given2", kind, number, _GIVEN_TAILS)


def family_name(noise: Noise, kind: str, number: int) -> str:
    """A family name; one in twenty has an apostrophe."""
    name = _pick(noise, "family", kind, number, _FAMILY_HEADS)
    name += _pick(noise, "family2", kind, number, _FAMILY_TAILS)
    return f"O'{name}" if noise.number("apostrophe:" + kind, number, below=20) == 0 else name


def ascii_word(name: str) -> str:
    """A name as part of an address."""
    return name.lower().translate(_ASCII)


class Vocabulary:
    """The texts of one tenant, as tuples to choose from."""

    def __init__(self, noise: Noise) -> None:
        self._noise = noise
        self.subjects = self._texts("subject", _SUBJECTS, 180)
        self.sentences = self._texts("sentence", _SENTENCES, 240)
        self.topics = self._texts("topic", _TOPICS, 60)
        self.places = self._texts("place", _PLACES, 40)
        self.files = tuple(f"{text}.docx" for text in self._texts("file", _FILES, 40))
        self.groups = self._texts("group", _GROUPS, 400)
        self.jobs = self._texts("job", _JOBS, 30)
        self.replies = self._texts("reply", ("I am away until", "Reach my deputy at"), 12)
        self.categories = self._texts("category", ("Private", "Client"), 8)
        self.passcodes = tuple(noise.token("passcode", number)[:12] for number in range(24))

    def by_kind(self) -> Iterator[tuple[str, str]]:
        """Every text with what it is."""
        for kind in ("subjects", "sentences", "topics", "places", "files", "groups", "jobs", "replies"):
            for text in getattr(self, kind):
                yield _KINDS[kind], text
        for text in self.categories:
            yield "category", text
        for text in self.passcodes:
            yield "passcode", text

    def _texts(self, kind: str, phrases: tuple[str, ...], count: int) -> tuple[str, ...]:
        return tuple(
            f"{phrases[number % len(phrases)]} {MARKER}{_ANIMALS[number % 10]}-{kind}-"
            f"{self._noise.number('word:' + kind, number, below=10**6):06d}"
            for number in range(count)
        )


_KINDS = {
    "subjects": "subject",
    "sentences": "body",
    "topics": "topic",
    "places": "location",
    "files": "file",
    "groups": "group",
    "jobs": "job",
    "replies": "body",
}


def _pick(noise: Noise, what: str, kind: str, number: int, words: tuple[str, ...]) -> str:
    return words[noise.number(f"{what}:{kind}", number, below=len(words))]
