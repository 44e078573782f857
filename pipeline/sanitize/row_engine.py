"""The row engine: applies a rules file to one JSON document, value by value, as a Psoxy proxy would.

    augments  ->  response schema  ->  transforms, in the order of the file, each path in the order of its
    list

Every transform sees the result of the ones before. A value a transform has no meaning for fails the document:
it is never passed on. The engine implements the rules grammar in full; it is what `sanitize` and operators'
own rules run through, and what the compiled engine is compared with.
https://docs.worklytics.co/psoxy (checked 2026-11)
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from pipeline.errors import ConfigurationError, ExportError
from pipeline.sanitize.java_text import is_blank, json_text
from pipeline.sanitize.jsonpath import Document, JsonPath, Place
from pipeline.sanitize.pseudonym import Pseudonymizer, UnexpectedType, is_token
from pipeline.sanitize.response_schema import ResponseSchema
from pipeline.sanitize.rest_rules import Augment, Endpoint, RestRules, Transform
from pipeline.sanitize.text_filters import (
    digest_text,
    keep_longest_match,
    keep_phrases,
    keep_tokens,
    redact_matches,
    text_digest,
)

MAX_DEPTH = 128  # Graph nests below 20 levels
MAX_VALUES = 2_000_000  # a page of 1,000 events holds about 200,000

Rewrite = Callable[[object], object]


class Reason(StrEnum):
    """Why a document cannot be sanitized."""

    WRONG_TYPE = "wrong_type"
    ALREADY_PSEUDONYMIZED = "already_pseudonymized"
    NOT_JSON = "not_json"
    MISSING_CONDITION = "missing_condition"
    REMOVED_BY_SCHEMA = "removed_by_schema"
    REMOVED_BY_RULE = "removed_by_rule"
    TOO_DEEP = "too_deep"
    TOO_LARGE = "too_large"


class RuleFailed(ExportError):
    """A document that cannot be sanitized. It has to be dropped: part of it may still be in the clear.

    `method` and `path` name the rule, the path as the rules file has it; they are empty where no rule is to blame.
    Nothing here holds a value.
    """

    def __init__(self, reason: Reason, *, method: str = "", path: str = "", detail: str = "") -> None:
        rule = f" ({method} of {path})" if path else ""
        super().__init__(f"{reason}{': ' if detail else ''}{detail}{rule}")
        self.reason = reason
        self.method = method
        self.path = path
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Sanitized:
    """The rows of those records that could be sanitized, and how many could not, by reason."""

    rows: list[object]
    rejected: Counter[str] = field(default_factory=Counter)


class RowEngine:
    """Sanitizes documents with the endpoints of one rules file. Safe to share between threads."""

    def __init__(self, rules: RestRules, pseudonymizer: Pseudonymizer, *, refuse_pseudonyms: bool = True) -> None:
        """With `refuse_pseudonyms` a document that arrives with a token where an identifier belongs is refused, because
        hashing a hash gives a pseudonym nobody else has. What the rules themselves hash twice is not refused.

        Raises:
            ConfigurationError: the rules make reversible tokens and there is no encryption key.
        """
        unmet = [
            f"{endpoint.name}: {transform.method} needs privacy.encryption_key"
            for endpoint in rules.endpoints
            for transform in endpoint.transforms
            if transform.needs_key and not pseudonymizer.can_reverse
        ]
        if unmet:
            raise ConfigurationError(*dict.fromkeys(unmet))
        self._pseudonymizer = pseudonymizer
        self._refuse_pseudonyms = refuse_pseudonyms

    def sanitize(self, endpoint: Endpoint, document: object) -> object:
        """The sanitized document, members in their old order. `document` is used up: it may be changed in place.

        Raises:
            RuleFailed: nothing of the document may be used.
        """
        return self._sanitize(endpoint, Document(document))

    def sanitize_records(self, endpoint: Endpoint, records: Iterable[object]) -> Sanitized:
        """Sanitizes each record as if it were alone in a page, and as an answer of its own: a path from the root,
        a condition and a schema may speak of either. A record that fails is left out and counted.
        """
        result = Sanitized([])
        for record in records:
            try:
                page = self._sanitize(endpoint, Document({"value": [record]}, wraps=True))
            except RuleFailed as failure:
                result.rejected[failure.reason] += 1
                continue
            rows = page.get("value") if isinstance(page, dict) else None
            if isinstance(rows, list) and len(rows) == 1:
                result.rows.append(rows[0])
            else:
                result.rejected[Reason.REMOVED_BY_RULE] += 1
        return result

    def _sanitize(self, endpoint: Endpoint, document: Document) -> object:
        _check_size(document.root.value)
        try:
            return self._treated(endpoint, document)
        except RecursionError:
            raise RuleFailed(Reason.TOO_DEEP) from None

    def _treated(self, endpoint: Endpoint, document: Document) -> object:
        if not any(name.startswith("+") for name in document.names()):
            for augment in endpoint.augments:
                _add(augment, document)
        if endpoint.schema is not None:
            _filter(endpoint.schema, document)
        ours: set[tuple[int, str | int]] = set()  # places that hold a pseudonym of our own making
        for transform in endpoint.transforms:
            if transform.only_when is not None and not _applies(transform.only_when, document):
                continue
            for path in transform.paths:
                try:
                    self._apply(transform, path.find(document), document, ours)
                except UnexpectedType as error:
                    detail = f"unexpected {error.kind}"
                    raise RuleFailed(
                        Reason.WRONG_TYPE, method=transform.method, path=path.text, detail=detail
                    ) from None
                except RuleFailed as failure:
                    raise RuleFailed(
                        failure.reason, method=transform.method, path=path.text, detail=failure.detail
                    ) from None
        return document.root.value

    def _apply(
        self, transform: Transform, places: Sequence[Place], document: Document, ours: set[tuple[int, str | int]]
    ) -> None:
        if transform.method == "redact":
            if any(place.container is document.root.container for place in places):
                raise RuleFailed(Reason.REMOVED_BY_RULE)
            if any(isinstance(place.value, (dict, list)) for place in places):
                document.changed()
            _remove(places)
            return
        rewrite = self._rewrite(transform)
        makes_pseudonyms = transform.method in _PSEUDONYMS
        for place in places:
            value = place.value
            address = (id(place.container), place.key)
            if self._refuse_pseudonyms and makes_pseudonyms and address not in ours and _holds_token(transform, value):
                raise RuleFailed(Reason.ALREADY_PSEUDONYMIZED, detail="the value is a token already")
            place.put(rewrite(value))
            if makes_pseudonyms:
                ours.add(address)
            if isinstance(value, (dict, list)):
                document.changed()

    def _rewrite(self, transform: Transform) -> Rewrite:
        """What a transform other than redact makes of a value."""
        return _REWRITES[transform.method](self._pseudonymizer, transform)


def _pseudonymize(pseudonymizer: Pseudonymizer, transform: Transform) -> Rewrite:
    if transform.encoding == "JSON":
        return partial(
            pseudonymizer.as_json,
            include_original=transform.include_original,
            include_reversible=transform.include_reversible,
        )
    if transform.encoding == "URL_SAFE_HASH_ONLY":
        return pseudonymizer.hash_only
    return pseudonymizer.reversible if transform.include_reversible else pseudonymizer.token


def _regex_matches(pseudonymizer: Pseudonymizer, transform: Transform) -> Rewrite:
    return partial(
        pseudonymizer.regex_matches, pattern=_needed(transform.pattern), reversible=transform.include_reversible
    )


def _email_header(pseudonymizer: Pseudonymizer, transform: Transform) -> Rewrite:
    return partial(pseudonymizer.email_header, as_json=transform.encoding == "JSON")


def _tokenize(pseudonymizer: Pseudonymizer, transform: Transform) -> Rewrite:
    return partial(pseudonymizer.tokenize, pattern=transform.pattern)


def _hash_ip(pseudonymizer: Pseudonymizer, _: Transform) -> Rewrite:
    return pseudonymizer.hash_ip


def _encrypt_ip(pseudonymizer: Pseudonymizer, _: Transform) -> Rewrite:
    return pseudonymizer.encrypt_ip


def _redact_matches(_: Pseudonymizer, transform: Transform) -> Rewrite:
    return _of_text(lambda text: redact_matches(text, transform.patterns))


def _keep_phrases(_: Pseudonymizer, transform: Transform) -> Rewrite:
    return _of_text(lambda text: keep_phrases(text, transform.patterns))


def _keep_longest_match(_: Pseudonymizer, transform: Transform) -> Rewrite:
    return _of_text(lambda text: keep_longest_match(text, transform.patterns))


def _keep_tokens(_: Pseudonymizer, transform: Transform) -> Rewrite:
    return _of_text(lambda text: keep_tokens(text, transform.patterns, transform.delimiter))


def _digest(_: Pseudonymizer, transform: Transform) -> Rewrite:
    def rewrite(value: object) -> object:
        if not isinstance(value, str):
            return None
        if transform.inner_path is None:
            return digest_text(value, transform.keywords)
        return _digest_inside(value, transform.inner_path, transform.keywords)

    return rewrite


_REWRITES: dict[str, Callable[[Pseudonymizer, Transform], Rewrite]] = {
    "pseudonymize": _pseudonymize,
    "pseudonymizeRegexMatches": _regex_matches,
    "pseudonymizeEmailHeader": _email_header,
    "tokenize": _tokenize,
    "hashIp": _hash_ip,
    "encryptIp": _encrypt_ip,
    "redactRegexMatches": _redact_matches,
    "redactExceptPhrases": _keep_phrases,
    "redactExceptSubstringsMatchingRegexes": _keep_longest_match,
    "filterTokenByRegex": _keep_tokens,
    "textDigest": _digest,
}
_PSEUDONYMS = frozenset(
    {"pseudonymize", "pseudonymizeRegexMatches", "pseudonymizeEmailHeader", "tokenize", "hashIp", "encryptIp"}
)


def _of_text(keep: Callable[[str], str | None]) -> Rewrite:
    """A text filter: blank text stays, what is no text becomes null."""

    def rewrite(value: object) -> object:
        if not isinstance(value, str):
            return None
        return value if is_blank(value) else keep(value)

    return rewrite


def _needed(pattern: re.Pattern[str] | None) -> re.Pattern[str]:
    if pattern is None:
        raise ValueError("a transform that searches text has a pattern")
    return pattern


def _filter(schema: ResponseSchema, document: Document) -> None:
    """Leaves what the schema declares."""
    if document.wraps:
        kept = [schema.apply_to_record(start.value) for start in list(document.starts)[1:]]
        if None in kept:
            raise RuleFailed(Reason.REMOVED_BY_SCHEMA)
        document.root.put({"value": kept})
    else:
        document.root.put(schema.apply(document.root.value))
    document.changed()


def _applies(condition: JsonPath, document: Document) -> bool:
    if condition.has_a_gap(document):
        raise RuleFailed(Reason.MISSING_CONDITION, method="applyOnlyWhen", path=condition.text)
    return bool(condition.find(document))


def _holds_token(transform: Transform, value: object) -> bool:
    """Whether the identifier that would be hashed is a pseudonym already."""
    if not isinstance(value, str):
        return False
    if transform.pattern is None:
        return is_token(value)
    group = 1 if transform.pattern.groups else 0
    return any(is_token(match[group] or "") for match in transform.pattern.finditer(value))


def _remove(places: Sequence[Place]) -> None:
    """Members go with their names; elements go from the end of an array, so that positions stay true."""
    elements: dict[int, tuple[list[object], set[int]]] = {}
    for place in places:
        if isinstance(place.container, dict):
            place.container.pop(str(place.key), None)
        elif isinstance(place.key, int):
            elements.setdefault(id(place.container), (place.container, set()))[1].add(place.key)
    for container, indexes in elements.values():
        for index in sorted(indexes, reverse=True):
            del container[index]


def _add(augment: Augment, document: Document) -> None:
    """Puts an addition beside each member found that holds text; what cannot be computed is left out."""
    for path in augment.paths:
        for place in path.find(document):
            value = place.value
            if not isinstance(place.container, dict) or not isinstance(value, str):
                continue
            try:
                addition: object = (
                    text_digest(value, augment.keywords)
                    if augment.inner_path is None
                    else _digest_inside(value, augment.inner_path, augment.keywords)
                )
            except RuleFailed:
                continue
            place.container[f"+{place.key}:{augment.function}"] = addition
        document.changed()


def _digest_inside(text: str, path: JsonPath, keywords: Sequence[str]) -> str:
    """Text that is JSON, with a digest for each text found at `path` and null for anything else found there."""
    try:
        inner = Document(json.loads(text, parse_constant=_refuse_constant))
    except (ValueError, RecursionError):
        raise RuleFailed(Reason.NOT_JSON) from None
    _check_size(inner.root.value)
    for place in path.find(inner):
        value = place.value
        place.put(digest_text(value, keywords) if isinstance(value, str) else None)
    return json_text(inner.root.value)


def _refuse_constant(_: str) -> object:
    raise ValueError("NaN and Infinity are no JSON")


def _check_size(document: object) -> None:
    """Raises RuleFailed for a document that would cost too much; itself it needs no recursion."""
    level = [document]
    values = 0
    for _ in range(MAX_DEPTH):
        values += len(level)
        if values > MAX_VALUES:
            raise RuleFailed(Reason.TOO_LARGE)
        level = [
            child
            for value in level
            if isinstance(value, (dict, list))
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return
    raise RuleFailed(Reason.TOO_DEEP)
