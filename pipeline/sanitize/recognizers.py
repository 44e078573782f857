"""Finds personal identifiers in free text: addresses, phone numbers, IP addresses.

Used where people type what they like: the `free-text` treatment empties such a text, so that what it lets pass has
none of them. Finding too much costs a text, finding too little leaks one, so the patterns lean to the former.
"""

import ipaddress
import re
from urllib.parse import unquote

MIN_PHONE_DIGITS = 7  # shorter runs are room numbers, times, years
MAX_PHONE_DIGITS = 15  # E.164

_ADDRESS = re.compile(r"[^\s@<>()\[\],;:\"]+@[^\s@<>()\[\],;:\"]+\.[^\s@<>()\[\],;:\".]{2,}")
_PHONE = re.compile(r"(?<![\w.])(?:\+|\(|\d)[\d ()./\-\u00a0\u2010-\u2013]{5,24}\d(?![\w])")
_DATE = re.compile(r"^\d{4}-\d\d-\d\d$|^\d{1,2}[./-]\d{1,2}[./-]\d{2,4}$|^\d{4} ?- ?\d{4}$")
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")  # its groups can be digits only
_THREAD_SPACE = re.compile(r"@(?:thread\.(?:v2|tacv2|skype)|unq\.gbl\.spaces)\b")  # ends a Teams thread id


def holds_identifier(text: str) -> bool:
    """Whether the text contains an address, a phone number or an IP address."""
    return holds_address(text) or holds_phone(text) or holds_ip(text)


def holds_address(text: str) -> bool:
    """An e-mail address or UPN, also one that is percent-encoded in a link."""
    if "%40" in text:
        text = unquote(text)
    return "@" in text and bool(_ADDRESS.search(_THREAD_SPACE.sub(" ", text)))


def holds_phone(text: str) -> bool:
    """A run of digits as people write phone numbers; not in links, whose meeting numbers look alike, nor in GUIDs."""
    for match in _PHONE.finditer(_GUID.sub(" ", _URL.sub(" ", text))):
        run = match.group().strip()
        digits = sum(character.isdigit() for character in run)
        if MIN_PHONE_DIGITS <= digits <= MAX_PHONE_DIGITS and not _DATE.match(run):
            return True
    return False


def holds_ip(text: str) -> bool:
    without_links = _URL.sub(" ", text)
    candidates = _IPV4.findall(without_links)
    if ":" in without_links:
        candidates += [found for found in _IPV6.findall(without_links) if found.count(":") > 2 or "::" in found]
    return any(_is_ip(candidate) for candidate in candidates)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
