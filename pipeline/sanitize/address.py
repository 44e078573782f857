"""Recognises mail addresses the way Psoxy does, because the answer decides what is hashed.

The grammar is a whole-string match in the manner of RFC 2822, with display names, comments and folded white
space, without domain literals, and with a host of ASCII labels under a top-level domain of 2 to 26 letters:

    address = bare / [phrase] [gap] "<" bare ">" [gap]
    bare    = local "@" domain                     local = [gap] (dotatom / quoted) [gap]
    phrase  = word *(fold word)                    word  = [gap] (atom / quoted name) [gap]
    gap     = *([fold] comment) ([fold] comment / fold)
    fold    = [*(SP / TAB) CR LF] 1*(SP / TAB)

Time is linear in the length of the text whatever it holds: every repetition below is possessive, so the
matcher never goes back, and each position is scanned a fixed number of times.
https://www.rfc-editor.org/rfc/rfc2822#section-3.4 (checked 2026-11)
"""

import re
from dataclasses import dataclass, field

_ATOM_CHARS = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_CONTROLS = r"\x01-\x08\x0b\x0c\x0e-\x1f\x7f"
_DOT_ATOM = rf"[{_ATOM_CHARS}]++(?:\.[{_ATOM_CHARS}]++)*+"
_DOMAIN = r"(?:(?!-)[A-Za-z0-9\-]{1,63}+(?<!-)\.)++[A-Za-z]{2,26}+"
_FOLD = r"(?:[ \t]*+\r\n)?+[ \t]++"
_PAIR = r"\\[\x01-\x09\x0b\x0c\x0e-\x7f]"

_PLAIN = re.compile(rf"({_DOT_ATOM})@({_DOMAIN})")
plain_address = _PLAIN.fullmatch
"""Matches the common case, `local@host.tld` and nothing else; group 1 is the local part, 2 the domain."""

_LOCAL = re.compile(_DOT_ATOM)
_HOST = re.compile(_DOMAIN)
_HOST_RUN = re.compile(r"[A-Za-z0-9.\-]++")
_ATOM = re.compile(rf"[{_ATOM_CHARS}]++")
_QUOTED = re.compile(rf'"(?:(?:{_FOLD})?+(?:[!#-\[\]-~{_CONTROLS}]|{_PAIR}))*+(?:{_FOLD})?+"')
_COMMENT = re.compile(rf"\((?:{_PAIR}|(?:{_FOLD})?+[!-'*-\[\]-~{_CONTROLS}])*+(?:{_FOLD})?+\)")
# In a quoted name the blank is also a character of its own. So a run of blanks may hold several line ends, as
# long as a blank which is not the first character after its line end stands between two of them.
_NAME_LINE = r"\r\n[ \t](?:\t*+ [ \t]*+(?=\r\n)|[ \t]*+(?!\r\n))"
_NAME_BLANKS = rf"[ \t]++(?:{_NAME_LINE})*+|(?:{_NAME_LINE})++"
_QUOTED_NAME = re.compile(rf'"(?:[^\x00-\x20\x7f\\"]|{_PAIR}|{_NAME_BLANKS})*+"')
_BLANKS = re.compile(r"(?:[ \t]*+\r\n(?=[ \t]))*+[ \t]++")


@dataclass(frozen=True, slots=True)
class Address:
    """Local part and domain as written; quotes around the local part are gone where it is valid without."""

    local: str = field(repr=False)
    domain: str = field(repr=False)


def parse_address(text: str) -> Address | None:
    """The address that `text` is as a whole, or None."""
    if plain := plain_address(text):
        return Address(plain[1], plain[2])
    if "@" not in text:
        return None
    found = _mailbox(text, 0)
    return found[0] if found is not None and found[1] == len(text) else None


def parse_address_list(text: str) -> list[Address] | None:
    """Every address of a comma-separated list, with those of groups (`name: a@b.org, c@d.org;`) in place.

    None where any part of the text is no address: an empty slot, a trailing comma, a name alone.
    """
    addresses: list[Address] = []
    position = 0
    while True:
        found = _mailbox(text, position)
        if found is not None:
            addresses.append(found[0])
            position = found[1]
        else:
            end = _group(text, position, addresses)
            if end is None:
                return None
            position = end
        if position == len(text):
            return addresses
        if text[position] != ",":
            return None
        position += 1


def _mailbox(text: str, start: int) -> tuple[Address, int] | None:
    """The longest `address` at `start` and where it ends."""
    return _bare(text, start) or _named(text, start)


def _group(text: str, start: int, addresses: list[Address]) -> int | None:
    position = _phrase(text, start)
    if position is None or not text.startswith(":", position):
        return None
    position += 1
    empty_end = _gap(text, position)
    if text.startswith(";", empty_end):
        return _gap(text, empty_end + 1)
    while (found := _mailbox(text, position)) is not None:
        addresses.append(found[0])
        position = found[1]
        if text.startswith(";", position):
            return _gap(text, position + 1)
        if not text.startswith(",", position):
            return None
        position += 1
    return None


def _named(text: str, start: int) -> tuple[Address, int] | None:
    position = _phrase(text, start)
    if position is None:
        position = _gap(text, start)
    if not text.startswith("<", position):
        return None
    found = _bare(text, position + 1)
    if found is None or not text.startswith(">", found[1]):
        return None
    return found[0], _gap(text, found[1] + 1)


def _bare(text: str, start: int) -> tuple[Address, int] | None:
    position = _gap(text, start)
    local = _LOCAL.match(text, position) or _QUOTED.match(text, position)
    if local is None:
        return None
    position = _gap(text, local.end())
    if not text.startswith("@", position):
        return None
    position = _gap(text, position + 1)
    run = _HOST_RUN.match(text, position)
    if run is None or not _HOST.fullmatch(text, position, run.end()):
        return None
    return Address(_without_quotes(local[0]), run[0]), _gap(text, run.end())


def _without_quotes(local: str) -> str:
    """The local part without its quotes, where `[gap] dotatom [gap]` is what they enclose."""
    if not local.startswith('"'):
        return local
    inner = local[1:-1]
    atom = _LOCAL.match(inner, _gap(inner, 0))
    return inner if atom is not None and _gap(inner, atom.end()) == len(inner) else local


def _phrase(text: str, start: int) -> int | None:
    """Where the words of a display name, and the gap behind them, end; None where there is no word."""
    position = _gap(text, start)
    while (word := _ATOM.match(text, position) or _QUOTED_NAME.match(text, position)) is not None:
        position, line_ends = _separator(text, word.end())
        if text.startswith("<", position):  # two gaps in a row: one run of blanks may be two folds
            return position if _folds_fit(line_ends, longest=2) else None
        if text.startswith(":", position):
            return position if _folds_fit(line_ends, longest=1) else None
        # Between words stands a fold with a gap on either side of it: one run of blanks may be three folds.
        if not line_ends or not _folds_fit(line_ends, longest=3):
            break
    return None


def _folds_fit(line_ends: list[int], *, longest: int) -> bool:
    """Whether every run of blanks is one fold, except one that may be of up to `longest` folds."""
    long_runs = [count for count in line_ends if count > 1]
    return not long_runs or (len(long_runs) == 1 and long_runs[0] <= longest)


def _gap(text: str, start: int) -> int:
    """Where the optional gap at `start` ends; a second line end within one run of blanks ends it early."""
    position, line_ends = _separator(text, start)
    if _folds_fit(line_ends, longest=1):
        return position
    return start  # nothing but a gap may hold blanks, so the caller fails at the first of them


def _separator(text: str, start: int) -> tuple[int, list[int]]:
    """Where the blanks and comments at `start` end, and the number of line ends in each run of blanks."""
    position = start
    line_ends: list[int] = []
    while True:
        if blanks := _BLANKS.match(text, position):
            line_ends.append(blanks[0].count("\r\n"))
            position = blanks.end()
        comment = _COMMENT.match(text, position)
        if comment is None:
            return position, line_ends
        position = comment.end()
