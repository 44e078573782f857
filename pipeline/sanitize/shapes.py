"""What the texts of a column may look like, derived from how they are treated.

A closed shape is a pattern that every value has to match in full; it leaves no room for a name, an address or a phone
number. Where what Microsoft or a person writes is passed on, there is no such pattern: the column is open. Empty text
has every shape, because it says nothing. Patterns are in the syntax of RE2, without anchors.

ISO 8601 forms of times and durations: https://learn.microsoft.com/graph/api/resources/workinghours and
https://learn.microsoft.com/graph/api/resources/callendedeventmessagedetail; thread ids:
https://learn.microsoft.com/graph/api/resources/chat; item ids: https://learn.microsoft.com/graph/outlook-immutable-id;
locales: https://learn.microsoft.com/graph/api/resources/localeinfo (all checked 2026-11).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.sanitize.columns import TEXT_TYPES
from pipeline.sanitize.pseudonym import DomainHandling
from pipeline.sanitize.rules import DROP, KEEP, RULES_FILE, FieldRule, Profile, ShapeName

_HASH = "[A-Za-z0-9_-]{43}"
_TOKEN = f"t~{_HASH}"
_ANY_TOKEN = f"(?:{_TOKEN}|p~[A-Za-z0-9_-]{{43,}})"
_GUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_WORD = "[A-Za-z][A-Za-z0-9_]{0,63}"
_DOMAINS: Mapping[DomainHandling, str | None] = {
    "preserve": r"[A-Za-z0-9][A-Za-z0-9.-]*\.[A-Za-z]{2,26}",
    "tokenize": f"h~{_HASH}",
    "encrypt": "e~[A-Za-z0-9_-]{43,}",
    "redact": None,
}

# What a rule may declare of values that are kept as Microsoft sends them.
_DECLARED: Mapping[ShapeName, str] = {
    "guid": _GUID,
    "number": "[0-9]{1,20}",
    "item-id": "[A-Za-z0-9_=+/-]{16,}",  # base64 of either alphabet; too long for a name or a phone number
    "word": _WORD,  # of a list that Microsoft documents, whose words may become more
    "language-tag": "[A-Za-z]{2,8}(?:[_-](?:[A-Za-z]{1,8}|[0-9]{3}|[0-9][A-Za-z0-9]{3})){0,4}",
    "thread-id": "(?:19|48):[A-Za-z0-9_=:.~-]+(?:@[A-Za-z0-9.]+)?",
}
_ITEM_ID_CHARACTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_=+/-"
_BY_TYPE: Mapping[str, str] = {
    "guid": _GUID,
    "enum": rf"{_WORD}(?:, ?{_WORD})*",  # flags come as a list
    "time-of-day": r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,7})?",
    "duration": r"-?P(?:[0-9]+[YMWD])*(?:T(?:[0-9]+(?:\.[0-9]+)?[HMS])+)?",
}
_ODATA_TYPE = r"#?[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*"
_OPEN_TREATMENTS = frozenset({"title-phrases", "zoom-links", "free-text", RULES_FILE})


@dataclass(frozen=True, slots=True)
class Shape:
    """A closed shape: `name` for messages, `pattern` for the whole value.

    Some shapes can be proved without matching: texts that are `t~` and a hash followed by what matches `token_rest`
    have it, and texts of at least `shortest` characters, all out of `alphabet`.
    """

    name: str
    pattern: str
    token_rest: str | None = None
    alphabet: bytes = b""
    shortest: int = 0


@dataclass(frozen=True, slots=True)
class TokenForms:
    """How the privacy settings spell pseudonyms; without `domains` every way to spell them is accepted."""

    domains: DomainHandling | None = "preserve"
    group_original: bool = True


def declared_shape(rule: FieldRule, profile: Profile, forms: TokenForms) -> Shape | None:
    """The closed shape of a text column in this profile; None where it is open."""
    if rule.type not in TEXT_TYPES:
        raise ValueError(f"{rule.path}: not a text column")
    treatment = rule.treatment(profile)
    if treatment in _OPEN_TREATMENTS:
        return None
    if treatment == KEEP:
        return _kept(rule)
    return Shape(treatment, _treated(treatment, forms), token_rest=_token_rest(treatment, forms))


def is_known(treatment: str) -> bool:
    """Whether there is anything to say about the texts that a treatment makes."""
    return treatment == KEEP or treatment in _OPEN_TREATMENTS or treatment in _patterns(TokenForms())


def _kept(rule: FieldRule) -> Shape | None:
    if rule.shape == "item-id":
        return Shape("item-id", _DECLARED["item-id"], alphabet=_ITEM_ID_CHARACTERS, shortest=16)
    if rule.shape is not None:
        return Shape(rule.shape, _DECLARED[rule.shape])
    if rule.steps[-1].name == "@odata.type":
        return Shape("@odata.type", _ODATA_TYPE)
    pattern = _BY_TYPE.get(rule.type)
    return None if pattern is None else Shape(rule.type, pattern)


def _token_rest(treatment: str, forms: TokenForms) -> str | None:
    """What may follow the hash where a treatment makes `t~` tokens of texts; None where it makes something else."""
    if treatment in {"tokenize", "message-id-host"}:
        return ""
    if treatment in {"pseudonymize", "pseudonymize-reversible"}:
        domain = _domain(forms)
        return f"(?:@{domain})?" if domain else ""
    return None


def _domain(forms: TokenForms) -> str | None:
    if forms.domains is None:
        return f"(?:{'|'.join(filter(None, _DOMAINS.values()))})"
    return _DOMAINS[forms.domains]


def _treated(treatment: str, forms: TokenForms) -> str:
    """What a treatment makes of every text. A treatment that is not here has no column, which is found at start-up."""
    return _patterns(forms)[treatment]


def _patterns(forms: TokenForms) -> Mapping[str, str]:
    domain = _domain(forms)
    suffix = f"(?:@{domain})?" if domain else ""
    token = f"{_TOKEN}{suffix}"
    thread = rf"(?:19:(?:meeting_)?(?:{_TOKEN})?(?:_(?:{_TOKEN})?)?@[A-Za-z0-9.]+|{token})"
    member = f'(?:"domain":"{domain}",)?' if domain else ""
    original = r'(?:,"original":"(?:[^"\\]|\\.)*")?' if forms.group_original else ""
    return {
        DROP: "",
        "pseudonymize": token,
        "pseudonymize-reversible": f"{_ANY_TOKEN}{suffix}",
        "pseudonymize-smtp": f"[Ss][Mm][Tt][Pp]:{token}",
        "tokenize": _ANY_TOKEN,
        "message-id-host": _TOKEN,
        "keep-guid": f"(?:{_GUID}|{token})",
        "chat-id": thread,
        "join-url": rf"https?://[a-z0-9.-]+(?:/l/meetup-join/{thread}/[0-9]+(?:\?Oid={token})?)?",
        "group-address": rf'(?:null|\{{{member}"hash":"{_HASH}"{original}\}})',
    }
