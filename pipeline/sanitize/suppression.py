"""Takes excluded people out of other people's records, before any rule sees them (`scope.suppress`).

Raw records are looked at value by value, whatever the dataset, the profile or the rules: built-in rules, the
interpreter of single records and an operator's file all get records in which these people do not occur.

    a text that is, or holds, an identifier of an excluded person   null
    an item of a list with such a text outside of further lists     the item is gone: recipient, attendee, member, …
    a record whose own `id` is that of an excluded person           the record is gone: a user, a member of a group
    an object id inside a longer text (chat id, join link)          a stand-in that leads to nobody

A one-on-one chat goes by the object ids of its two members, and its id is a key. The stand-in of the excluded one is
made, under the salt, of both ids together: it is the same in every dataset and every run, and another in every chat.
Ids that hold such a text in base64, as those of chat members do, are treated like the text.

Identifiers are object ids, mail and sign-in addresses in every form that has the same pseudonym, and the X.500
addresses of old mail. What leads to a person only for somebody who knows it stays: a message's internet id, a thread's.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from pipeline.digests import Digests
from pipeline.model import Window
from pipeline.ports import RowFilter
from pipeline.sanitize.columnar import UnreadablePage
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.record_rules import Rejected, decode_record, split_array

NOBODY = "00000000-0000-0000-0000-000000000000"
REMEMBERED_TEXTS = 100_000
MOST_DECODINGS = 3  # times that a text may be percent-encoded

_GUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_GUIDS = re.compile(_GUID)
_GUIDS_IN_BYTES = re.compile(_GUID.encode())
_PAIR = re.compile(f"({_GUID})_({_GUID})")
_ONLY_GUID = re.compile(rf"(?:\d+:)?(?:[a-z]+:)*\{{?({_GUID})\}}?", re.IGNORECASE)  # also as Teams writes it: 8:orgid:…
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"/=?&]+@[A-Za-z0-9.-]*[A-Za-z0-9]")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]*:(?=.)")  # smtp:, SIP:, X500:, mailto:
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{48,}={0,2}")
_GUID_CHARACTERS = 36


class Forms:
    """The comparable forms of identifiers."""

    def __init__(self, pseudonymizer: Pseudonymizer) -> None:
        self._canonical = pseudonymizer.canonical

    def of(self, text: str) -> Iterator[str]:
        """Every identifier that `text` is or holds, an object id inside a longer text aside; in any letter case."""
        plain = _unquoted(text).strip()
        if found := _ONLY_GUID.fullmatch(plain):
            yield found[1]
        if "@" in plain:
            yield from self._addresses(plain)
        without_kind = _KIND.sub("", plain, count=1)
        if without_kind.startswith("/"):
            yield without_kind

    def _addresses(self, plain: str) -> Iterator[str]:
        yield self._canonical(plain)
        for found in _ADDRESS.findall(plain):
            yield self._canonical(found)
            bare = found.strip("'`{}|")
            if bare != found:
                yield self._canonical(bare)


class Suppressor:
    """Rewrites pages of raw records. Safe to use from several threads."""

    def __init__(self, pseudonymizer: Pseudonymizer, forms: Forms, *, excluded: Callable[[], Digests]) -> None:
        """`excluded` is asked when the first page comes, after the scope is settled."""
        self._token = pseudonymizer.raw_token
        self._forms = forms
        self._excluded = excluded
        self._seen: dict[str, str | None] = {}

    def page(self, page: bytes, originals: dict[str, str]) -> bytes:
        """The page without excluded people; `originals` is given what each rewritten text was.

        A record that cannot be looked into becomes null, and is rejected by whoever reads the page.

        Raises:
            UnreadablePage: the page is no JSON array.
        """
        walk = _Walk(self._text, originals)
        try:
            records = _page.decode(page)
            cleaned = [record for record in map(walk.record, records) if record is not _GONE]
        except (msgspec.DecodeError, ValueError, RecursionError):  # no JSON, no UTF-8, too deep
            return self._one_by_one(page, walk)
        return _json(cleaned) if walk.has_changed else page

    def _one_by_one(self, page: bytes, walk: "_Walk") -> bytes:
        try:
            texts = split_array(page)
        except ValueError:
            raise UnreadablePage("a page is no JSON array") from None
        kept: list[bytes] = []
        for text in texts:
            walk.has_changed = False
            try:
                record = walk.record(decode_record(text))
            except Rejected:
                kept.append(b"null")
                continue
            if record is not _GONE:
                kept.append(_json(record) if walk.has_changed else text)
        return b"[" + b",".join(kept) + b"]"

    def _text(self, text: str) -> str | None:
        """The text; another where somebody stood inside it; None where it is an excluded person's."""
        if len(text) < _GUID_CHARACTERS and "@" not in text and "%" not in text and "/" not in text:
            return text
        try:
            return self._seen[text]
        except KeyError:
            pass
        if len(self._seen) >= REMEMBERED_TEXTS:
            self._seen = {}
        rewritten = self._seen[text] = self._rewritten(text)
        return rewritten

    def _rewritten(self, text: str) -> str | None:
        excluded = self._excluded()
        if any(form in excluded for form in self._forms.of(text)):
            return None
        rewritten = _PAIR.sub(self._without_pair, text)
        rewritten = _GUIDS.sub(lambda found: NOBODY if found[0] in excluded else found[0], rewritten)
        return self._inside_base64(rewritten) if rewritten == text and _BASE64.fullmatch(text) else rewritten

    def _without_pair(self, pair: re.Match[str]) -> str:
        excluded = self._excluded()
        first, second = pair.groups()
        return "_".join(
            self._stand_in(f"{place}:{pair[0].lower()}") if each in excluded else each
            for place, each in enumerate((first, second))
        )

    def _stand_in(self, text: str) -> str:
        """A GUID of its own for the text, the same under one salt."""
        token = self._token(text) or ""
        hexadecimal = base64.urlsafe_b64decode(token.removeprefix("t~") + "=").hex()[:32]
        return "-".join((hexadecimal[:8], hexadecimal[8:12], hexadecimal[12:16], hexadecimal[16:20], hexadecimal[20:]))

    def _inside_base64(self, text: str) -> str:
        is_url_safe = "-" in text or "_" in text
        padding = "=" * (-len(text) % 4)
        try:
            data = base64.b64decode(text + padding, altchars=b"-_" if is_url_safe else None, validate=True)
        except binascii.Error:
            return text
        if not any(found.decode() in self._excluded() for found in _GUIDS_IN_BYTES.findall(data)):
            return text
        inner = data.decode("latin-1")
        rewritten = _PAIR.sub(self._without_pair, inner)
        rewritten = _GUIDS.sub(lambda found: NOBODY if found[0] in self._excluded() else found[0], rewritten)
        encoded = base64.b64encode(rewritten.encode("latin-1"), altchars=b"-_" if is_url_safe else None).decode()
        return encoded[: len(text)]


class _Sanitizer(Protocol):
    def clean(
        self, pages: Sequence[bytes], *, window: Window | None, row_filter: RowFilter | None, scan: bool
    ) -> Any: ...

    def whole(self, batches: Sequence[Any]) -> Any: ...


@dataclass(frozen=True, slots=True)
class SuppressingSanitizer:
    """A sanitizer of one dataset to which excluded people are unknown."""

    inner: _Sanitizer
    suppressor: Suppressor

    def clean(
        self,
        pages: Sequence[bytes],
        *,
        window: Window | None = None,
        row_filter: RowFilter | None = None,
        scan: bool = False,
    ) -> Any:
        """As the inner one; `row_filter` is asked about texts as they were. Raises: UnreadablePage."""
        originals: dict[str, str] = {}
        cleaned = [self.suppressor.page(page, originals) for page in pages]
        return self.inner.clean(cleaned, window=window, row_filter=_of_originals(row_filter, originals), scan=scan)

    def whole(self, batches: Sequence[Any]) -> Any:
        """The rows of a unit, each key once: the one read last."""
        return self.inner.whole(batches)


def _of_originals(row_filter: RowFilter | None, originals: Mapping[str, str]) -> RowFilter | None:
    if row_filter is None or not originals:
        return row_filter
    return RowFilter(row_filter.path, lambda text: row_filter.keeps(originals.get(text, text)))


class _Gone:
    """In the place of a record that is left out."""


_GONE = _Gone()


@dataclass(slots=True)
class _Walk:
    """Goes through records; what it leaves alone stays the same object."""

    rewrite: Callable[[str], str | None]
    originals: dict[str, str] = field(repr=False)
    has_changed: bool = False

    def record(self, record: Any) -> Any:
        """The record; `_GONE` where it is an excluded person itself."""
        cleaned, _ = self._value(record)
        if isinstance(record, dict) and isinstance(record.get("id"), str) and cleaned["id"] is None:
            return _GONE
        return cleaned

    def _value(self, value: Any) -> tuple[Any, bool]:
        """The value, and whether it names an excluded person outside of lists."""
        if isinstance(value, str):
            return self._leaf(value)
        if isinstance(value, dict):
            members = {name: self._value(member) for name, member in value.items()}
            names_person = any(names for _, names in members.values())
            return {name: cleaned for name, (cleaned, _) in members.items()}, names_person
        if isinstance(value, list):
            items = [self._value(item) for item in value]
            return [cleaned for cleaned, names_person in items if not names_person], False
        return value, False

    def _leaf(self, text: str) -> tuple[str | None, bool]:
        rewritten = self.rewrite(text)
        if rewritten is None:
            self.has_changed = True
            return None, True
        if rewritten != text:
            self.has_changed = True
            self.originals[rewritten] = text
        return rewritten, False


def _unquoted(text: str) -> str:
    for _ in range(MOST_DECODINGS):
        plain = unquote(text) if "%" in text else text
        if plain == text:
            break
        text = plain
    return text


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


_page = msgspec.json.Decoder(list[Any])
