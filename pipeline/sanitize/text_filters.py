"""What rules may keep of free text: nothing but listed phrases, matching parts, matching words, or its size.

Each filter takes text and returns what may leave, in the meaning Psoxy gives it; blank text is the caller's
matter.
https://docs.worklytics.co/psoxy (checked 2026-11)
"""

import re
from collections.abc import Sequence

from pipeline.sanitize.java_regex import compile_java
from pipeline.sanitize.java_text import json_text, trim, utf16_length

_SPACES = re.compile(r"\s+", re.ASCII)


def redact_matches(text: str, patterns: Sequence[re.Pattern[str]]) -> str:
    """`text` without any match of any pattern, which are applied one after the other."""
    for pattern in patterns:
        text = pattern.sub("", text)
    return text


def phrase_pattern(phrase: str) -> re.Pattern[str]:
    """For `keep_phrases`: a phrase between word boundaries, in any ASCII case, before blanks and colons."""
    return re.compile(rf"\b({re.escape(phrase)})[\s:]*\b", re.ASCII | re.IGNORECASE)


def keep_phrases(text: str, phrases: Sequence[re.Pattern[str]]) -> str:
    """The first occurrence of each phrase as `text` spells it, in the order of the list, joined by commas."""
    return ",".join(match[1] for match in (phrase.search(text) for phrase in phrases) if match)


def exception_pattern(regex: str) -> re.Pattern[str]:
    """Finds a part for `keep_longest_match`; raises UntranslatableRegex.

    The regular expression stands inside a group, as in Psoxy: its own groups count from 2.
    """
    return compile_java(f".*?({regex}).*?")


def keep_longest_match(text: str, patterns: Sequence[re.Pattern[str]]) -> str:
    """The longest of the parts that the patterns find, the first of equals; empty where none does.

    Text of several lines is only searched where a pattern itself crosses lines.
    """
    parts = [match[1] for match in (pattern.fullmatch(text) for pattern in patterns) if match]
    return max(parts, key=utf16_length, default="")


def keep_tokens(text: str, filters: Sequence[re.Pattern[str]], delimiter: re.Pattern[str] | None) -> str | None:
    """The pieces between delimiters that a filter matches in full, joined by blanks; None where none is left.

    Without a delimiter the whole text is one piece.
    """
    pieces = [text] if delimiter is None else split(text, delimiter)
    kept = trim(" ".join(piece for piece in pieces if any(each.fullmatch(piece) for each in filters)))
    return kept or None


def split(text: str, delimiter: re.Pattern[str]) -> list[str]:
    """The pieces as Java's `split` gives them: without empty ones at the end, with one at the start."""
    pieces: list[str] = []
    position = 0
    for match in delimiter.finditer(text):
        if match.end() > 0:  # an empty match at the very start parts nothing
            pieces.append(text[position : match.start()])
            position = match.end()
    pieces.append(text[position:])
    while len(pieces) > 1 and not pieces[-1]:
        pieces.pop()
    return pieces


def text_digest(text: str, keywords: Sequence[str] = ()) -> dict[str, object]:
    """Size of a text: `length` in UTF-16 units, `word_count`, and the count of each keyword that occurs."""
    words = len(_SPACES.split(trim(text))) if text else 0
    hits = {keyword: len(phrase_pattern(keyword).findall(text)) for keyword in keywords}
    found: dict[str, object] = {keyword: count for keyword, count in sorted(hits.items()) if count}
    digest: dict[str, object] = {"keywords": found} if found else {}
    return digest | {"length": utf16_length(text), "word_count": words}


def digest_text(text: str, keywords: Sequence[str] = ()) -> str:
    """`text_digest` as JSON text."""
    return json_text(text_digest(text, keywords))
