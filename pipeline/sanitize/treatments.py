"""Treatments by name: what `pseudonymize`, `title-phrases` and the others do to the texts of a column.

A treatment rewrites the *distinct* texts of a batch. It is total on text and null; what it cannot treat, it drops.
`keep` and `drop` are no treatments of values: the first leaves a column alone, the second never reads it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import pyarrow as pa

from pipeline.sanitize.java_text import is_blank
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.recognizers import holds_identifier
from pipeline.sanitize.text_filters import keep_phrases, keep_tokens, phrase_pattern, redact_matches
from pipeline.sanitize.thread_ids import treat_join_url, treat_links_into_teams, treat_thread_id
from pipeline.sanitize.title_phrases import TITLE_PHRASES
from pipeline.sanitize.token_columns import token_column

Texts = Sequence[str | None]
Rewrite = Callable[[Texts], list[str | None]]

_HASHED = frozenset({"pseudonymize", "message-id-host"})  # one token a text
_SMTP = re.compile(r"(?i)^smtp:(.*)\Z", re.ASCII)  # as a whole line: nothing may stay behind the token
_PASSCODE = (re.compile(r"(?i)pwd=[^&]*", re.ASCII),)
_ZOOM_LINKS = (re.compile(r"https://[^.]+\.zoom\.us/.*", re.ASCII),)
_BLANKS = re.compile(r"\s+", re.ASCII)
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_PHRASES = tuple(phrase_pattern(phrase) for phrase in TITLE_PHRASES)


class Treatments(Mapping[str, Rewrite]):
    """All treatments of values, bound to one salt and the options of the privacy settings."""

    def __init__(
        self,
        pseudonymizer: Pseudonymizer,
        *,
        group_original: bool,
        holds_person: Callable[[str], bool] = lambda _text: False,
    ) -> None:
        """`group_original` keeps a group's own address readable inside the JSON form of its pseudonym.

        `holds_person` finds names, addresses and numbers of the tenant's people, where its directory is at hand.
        """
        self._pseudonymizer = pseudonymizer
        self._holds_person = holds_person
        self._group_original = group_original
        token = pseudonymizer.remembered_token
        self._rewrites: dict[str, Rewrite] = {
            "pseudonymize": pseudonymizer.tokens,
            "pseudonymize-reversible": _each(self._reversible) if pseudonymizer.can_reverse else pseudonymizer.tokens,
            "pseudonymize-smtp": _each(lambda text: pseudonymizer.regex_matches(text, _SMTP)),
            "tokenize": _each(self._tokenize),
            "group-address": _each(self._group_address),
            "message-id-host": pseudonymizer.raw_tokens,
            "keep-guid": _each(self._keep_guid),
            "chat-id": _each(lambda text: None if is_blank(text) else treat_thread_id(text, token)),
            "join-url": _each(lambda text: treat_join_url(text, token)),
            "title-phrases": _each(lambda text: text if is_blank(text) else keep_phrases(text, _PHRASES)),
            "zoom-links": _each(self._zoom_links),
            "free-text": _each(self._free_text),
        }  # fmt: skip

    def __getitem__(self, name: str) -> Rewrite:
        return self._rewrites[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rewrites)

    def __len__(self) -> int:
        return len(self._rewrites)

    def once(self, name: str, values: pa.Array) -> pa.Array:
        """A column whose texts hardly ever repeat, treated: nothing about them is remembered."""
        rewrite = self._rewrites[name]
        if name in _HASHED:
            tokens = token_column(values, self._pseudonymizer, addresses=name != "message-id-host")
            if tokens is not None:
                return tokens
        if rewrite == self._pseudonymizer.tokens:
            rewrite = self._pseudonymizer.tokens_once
        return pa.array(rewrite(values.to_pylist()), pa.string())

    def _reversible(self, text: str) -> str | None:
        return self._pseudonymizer.reversible(text)

    def _tokenize(self, text: str) -> str | None:
        """Of the raw text: no canonical form, no domain. Without an encryption key only its hash part."""
        if self._pseudonymizer.can_reverse:
            return None if is_blank(text) else self._pseudonymizer.tokenize(text)
        return self._token_of_raw_text(text)

    def _token_of_raw_text(self, text: str) -> str | None:
        """A token that never takes the text for an address, so that no host name stays behind as its domain."""
        return self._pseudonymizer.raw_token(text)

    def _group_address(self, text: str) -> str:
        return self._pseudonymizer.as_json(text, include_original=self._group_original)

    def _keep_guid(self, text: str) -> str | None:
        """An Entra object id stays; a phone number, address or Skype name in its place does not."""
        return text if _GUID.fullmatch(text) else self._pseudonymizer.token(text)

    def _free_text(self, text: str) -> str | None:
        """What people typed, unless it holds an identifier; a text that is one address becomes its pseudonym."""
        if is_blank(text):
            return text
        if "@" in text:
            token = self._pseudonymizer.token(text)
            if token is not None and "@" in token:
                return token
        return self._cut_passcode(treat_links_into_teams(text, self._pseudonymizer.token))

    def _cut_passcode(self, text: str) -> str | None:
        return text if is_blank(text) else self._unless_personal(redact_matches(text, _PASSCODE))

    def _zoom_links(self, text: str) -> str | None:
        """The links with whatever is glued to them, which can be the end of a signature."""
        if is_blank(text):
            return text
        links = keep_tokens(redact_matches(text, _PASSCODE), _ZOOM_LINKS, _BLANKS)
        return None if links is None else self._unless_personal(links)

    def _unless_personal(self, text: str) -> str | None:
        """The egress guard would refuse such a text, and with it the whole unit: it is emptied instead."""
        return None if holds_identifier(text) or self._holds_person(text) else text


def _each(treat: Callable[[str], str | None]) -> Rewrite:
    """A treatment of one text as a treatment of many, with null left null."""

    def rewrite(texts: Texts) -> list[str | None]:
        return [None if text is None else treat(text) for text in texts]

    return rewrite
