r"""Java regular expressions as Python ones, because rules files of Psoxy are written in Java's dialect.

Where the dialects differ the pattern is rewritten: named groups, inline flags anywhere, `\Q…\E`, `.`, `^` and
`$` with Java's line ends, POSIX classes. What has no equal in `re` is refused with the name of the construct;
nothing is guessed. Patterns are compiled with `re.ASCII`: in Java `\w`, `\d`, `\s`, `\b` and the
case-insensitive flag mean ASCII.
https://docs.oracle.com/en/java/javase/21/docs/api/java.base/java/util/regex/Pattern.html (checked 2026-11)

A pattern can still be slow on hostile text, in Java as in Python: rules files are written by operators and
trusted.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

_LINE_ENDS = r"\n\r\x85\u2028\u2029"
_ANY = rf"[^{_LINE_ENDS}]"
_END_OF_TEXT = r"(?:(?=\r\n\Z)|(?=(?<!\r)\n\Z)|(?=[\r\x85\u2028\u2029]\Z)|\Z)"
_END_OF_LINE = r"(?:(?=[\r\x85\u2028\u2029])|(?=(?<!\r)\n)|\Z)"
_START_OF_LINE = r"(?:\A|(?!\Z)(?:(?<=[\n\x85\u2028\u2029])|(?<=\r)(?!\n)))"

_BLANKS = r" \t\xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000"
_VERTICAL = r"\n\x0b\f\r\x85\u2028\u2029"
_CLASSES = {"h": _BLANKS, "v": _VERTICAL}
_SAME_CLASSES = "wWdDsS"
_ESCAPES = {  # by letter: the text, and whether a repetition may follow
    **{letter: (f"\\{letter}", True) for letter in _SAME_CLASSES},
    "b": (r"\b", False),
    "B": (r"\B", False),
    "A": (r"\A", False),
    "Z": (_END_OF_TEXT, False),
    "z": (r"\Z", False),
    "R": (rf"(?:\r\n|[{_VERTICAL}])", True),
}
_CONTROLS = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "a": "\a", "e": "\x1b"}
_POSIX = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7f",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9a-fA-F",
    "Space": r" \t-\r",
}
_OPENERS = ("(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>")
_NAMED = re.compile(r"\(\?<([A-Za-z][A-Za-z0-9]*)>")
_FLAGS = re.compile(r"\(\?([a-zA-Z]*)(?:-([a-zA-Z]*))?([:)])")
_REPETITION = re.compile(r"\{\d+(?:,\d*)?\}")
_CODE_POINT = re.compile(r"x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]+)\}|u([0-9A-Fa-f]{4})|0([0-3]?[0-7]{1,2})")


class UntranslatableRegex(ValueError):
    """A regular expression that Java would refuse, or that Python has no equal for; says what and where."""


@lru_cache(maxsize=1024)
def compile_java(pattern: str) -> re.Pattern[str]:
    """A pattern whose `search` and `fullmatch` do what Java's `find` and `matches` do."""
    translated = _Translator(pattern).translate()
    try:
        return re.compile(translated, re.ASCII)
    except (re.error, OverflowError) as error:
        raise UntranslatableRegex(f"regular expression {pattern!r}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Flags:
    ignore_case: bool = False
    dot_all: bool = False
    multiline: bool = False


@dataclass(slots=True)
class _Group:
    """An open group: the flags after it, its own case flag, whether its branch has an open `(?i)` scope."""

    outer: _Flags
    ignore_case: bool
    scoped: bool = False


class _Translator:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._position = 0
        self._out: list[str] = []
        self._flags = _Flags()
        self._groups = [_Group(self._flags, ignore_case=False)]
        self._captures = 0
        self._repeatable = False  # whether a repetition may follow

    def translate(self) -> str:
        while self._position < len(self._pattern):
            self._element(self._pattern[self._position])
        if len(self._groups) > 1:
            raise self._refused("group without an end")
        self._close_scope()
        return "".join(self._out)

    def _element(self, character: str) -> None:
        if character == "\\":
            self._escape()
        elif character == "[":
            self._emit(self._character_class())
        elif character == "(":
            self._open()
        elif character == ")":
            self._close()
        elif character == "|":
            self._branch()
        elif character in "*+?{":
            self._repetition(character)
        elif character == ".":
            self._advance(1, r"(?s:.)" if self._flags.dot_all else _ANY)
        elif character == "^":
            self._advance(1, _START_OF_LINE if self._flags.multiline else r"\A", repeatable=False)
        elif character == "$":
            self._advance(1, _END_OF_LINE if self._flags.multiline else _END_OF_TEXT, repeatable=False)
        else:
            self._advance(1, re.escape(character))

    def _emit(self, text: str, *, repeatable: bool = True) -> None:
        self._out.append(text)
        self._repeatable = repeatable

    def _advance(self, count: int, text: str, *, repeatable: bool = True) -> None:
        self._position += count
        self._emit(text, repeatable=repeatable)

    def _refused(self, construct: str) -> UntranslatableRegex:
        return UntranslatableRegex(
            f"regular expression {self._pattern!r}: {construct} at position {self._position} cannot be used"
        )

    # groups, branches, flags

    def _open(self) -> None:
        rest = self._pattern[self._position :]
        if not rest.startswith("(?"):
            self._captures += 1
            self._enter("(", 1)
        elif opener := next((opener for opener in _OPENERS if rest.startswith(opener)), None):
            self._enter(opener, len(opener))
        elif named := _NAMED.match(rest):
            self._captures += 1
            self._enter(f"(?P<{named[1]}>", named.end())
        elif flags := _FLAGS.match(rest):
            self._change_flags(flags)
        else:
            raise self._refused(f"group {rest[:4]!r}")

    def _enter(self, opener: str, length: int, flags: _Flags | None = None) -> None:
        inner = flags or self._flags
        self._groups.append(_Group(self._flags, ignore_case=inner.ignore_case))
        self._flags = inner
        self._advance(length, opener, repeatable=False)

    def _close(self) -> None:
        if len(self._groups) == 1:
            raise self._refused("')' without a group")
        self._close_scope()
        self._flags = self._groups.pop().outer
        self._advance(1, ")")

    def _branch(self) -> None:
        """A scope for `(?i)` ends with its branch, but the flag goes on: the next branch opens its own."""
        scoped = self._groups[-1].scoped
        self._close_scope()
        self._advance(1, "|", repeatable=False)
        if scoped:
            self._open_scope()

    def _change_flags(self, match: re.Match[str]) -> None:
        switched_on, switched_off, end = match[1], match[2] or "", match[3]
        unknown = set(switched_on + switched_off) - set("ism")
        if unknown:
            raise self._refused(f"inline flag {min(unknown)!r}")
        flags = self._flags
        for letters, value in ((switched_on, True), (switched_off, False)):
            flags = replace(
                flags,
                ignore_case=value if "i" in letters else flags.ignore_case,
                dot_all=value if "s" in letters else flags.dot_all,
                multiline=value if "m" in letters else flags.multiline,
            )
        if end == ":":
            self._enter(self._scope_opener(flags), match.end(), flags)
            return
        self._position += match.end()
        self._repeatable = False
        self._flags = flags
        self._close_scope()
        if flags.ignore_case != self._groups[-1].ignore_case:
            self._open_scope()

    @staticmethod
    def _scope_opener(flags: _Flags) -> str:
        """Only the case flag is left to Python; dots and line ends are spelt out."""
        return "(?i:" if flags.ignore_case else "(?-i:"

    def _open_scope(self) -> None:
        self._emit(self._scope_opener(self._flags), repeatable=False)
        self._groups[-1].scoped = True

    def _close_scope(self) -> None:
        if self._groups[-1].scoped:
            self._groups[-1].scoped = False
            self._emit(")", repeatable=False)

    def _repetition(self, character: str) -> None:
        if not self._repeatable:
            raise self._refused(f"repetition {character!r} of nothing")
        quantifier = character
        if character == "{":
            match = _REPETITION.match(self._pattern, self._position)
            if match is None:
                raise self._refused("'{' that is no repetition")
            quantifier = match[0]
        self._advance(len(quantifier), quantifier, repeatable=False)
        if self._pattern[self._position : self._position + 1] in {"?", "+"}:  # reluctant, possessive
            self._advance(1, self._pattern[self._position], repeatable=False)

    # escapes

    def _escape(self) -> None:
        rest = self._pattern[self._position + 1 :]
        letter = rest[:1]
        if rest.startswith(("b{", "B{")):
            raise self._refused(f"boundary \\{letter}{{…}}")
        if letter in _ESCAPES:
            text, repeatable = _ESCAPES[letter]
            self._advance(2, text, repeatable=repeatable)
        elif letter == "Q":
            self._quotation(rest)
        elif letter == "k":
            self._named_reference(rest)
        elif letter.isdecimal() and letter != "0":
            self._reference(rest)
        else:
            negated = letter in {"H", "V", "P"}
            members, length, _ = self._escaped_set(letter.lower() + rest[1:] if negated else rest)
            self._advance(1 + length, f"[{'^' if negated else ''}{members}]")

    def _quotation(self, rest: str) -> None:
        literal = rest[1:].partition("\\E")[0]
        self._position += len("\\Q") + len(literal) + len("\\E")
        for character in literal:
            self._emit(re.escape(character))

    def _named_reference(self, rest: str) -> None:
        match = re.match(r"k<([A-Za-z][A-Za-z0-9]*)>", rest)
        if match is None:
            raise self._refused("reference \\k")
        self._advance(1 + match.end(), f"(?P={match[1]})")

    def _reference(self, rest: str) -> None:
        """Java reads as many digits as there are groups for."""
        length = 1
        while rest[length : length + 1].isdecimal() and int(rest[: length + 1]) <= self._captures:
            length += 1
        if int(rest[:length]) > self._captures:
            raise self._refused(f"reference to missing group {rest[:length]}")
        self._advance(1 + length, rf"(?:\{rest[:length]})")

    def _escaped_set(self, rest: str) -> tuple[str, int, str | None]:
        r"""An escape, for brackets: its text, its length without the `\`, its character if it is one."""
        letter = rest[:1]
        if not letter:
            raise self._refused("'\\' at the end")
        if match := _CODE_POINT.match(rest):
            digits = match[1] or match[2] or match[3]
            code = int(digits, 16) if digits else int(match[4], 8)
            if code > 0x10FFFF:
                raise self._refused("code point")
            return re.escape(chr(code)), match.end(), chr(code)
        if letter in _CONTROLS:
            return re.escape(_CONTROLS[letter]), 1, _CONTROLS[letter]
        if letter == "c" and len(rest) > 1:
            return re.escape(chr(ord(rest[1]) ^ 64)), 2, chr(ord(rest[1]) ^ 64)
        if letter in _CLASSES:
            return _CLASSES[letter], 1, None
        if letter == "p":
            return self._property(rest)
        if letter.isascii() and letter.isalnum():
            raise self._refused(f"escape \\{letter}")
        return re.escape(letter), 1, letter

    def _property(self, rest: str) -> tuple[str, int, None]:
        match = re.match(r"p\{(\w+)\}", rest)
        if match is None or match[1] not in _POSIX:
            raise self._refused("character property \\p" + rest[1:].partition("}")[0] + "}")
        return _POSIX[match[1]], match.end(), None

    # character classes

    def _character_class(self) -> str:
        pattern = self._pattern
        self._position += 1
        negated = pattern.startswith("^", self._position)
        self._position += negated
        items: list[str] = []
        while True:
            character = pattern[self._position : self._position + 1]
            if not character:
                raise self._refused("character class without an end")
            if character == "]" and items:
                self._position += 1
                return f"[{'^' if negated else ''}{''.join(items)}]"
            if character == "[":
                raise self._refused("union of character classes")
            if pattern.startswith("&&", self._position):
                raise self._refused("intersection of character classes")
            items.append(self._class_item())

    def _class_item(self) -> str:
        text, single = self._class_member()
        following = self._pattern[self._position : self._position + 2]
        if single is None or not following.startswith("-") or following in {"-]", "-[", "-"}:
            return text
        self._position += 1
        end_text, end = self._class_member()
        if end is None or end < single:
            raise self._refused("range in a character class")
        return f"{text}-{end_text}"

    def _class_member(self) -> tuple[str, str | None]:
        """One member as Python writes it in brackets, and its character when it is a single one."""
        character = self._pattern[self._position]
        if character != "\\":
            self._position += 1
            return re.escape(character), character
        rest = self._pattern[self._position + 1 :]
        if rest[:1] in {"Q", "E"}:
            raise self._refused("quotation in a character class")
        if rest[:1] and rest[0] in _SAME_CLASSES:
            self._position += 2
            return f"\\{rest[0]}", None
        text, length, single = self._escaped_set(rest)
        self._position += 1 + length
        return text, single
