"""Records of any dataset as JSON text, ordinary ones and ones with every oddity a server could send.

They are made from the rules alone: a value for each property the rules name, kept or dropped, and some they do not.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from pipeline.sanitize.rules import DatasetRules, FieldType, parse_path

GUIDS = ("3f2b1c00-aaaa-4bbb-8ccc-0123456789ab", "0d9e8f7a-1111-4222-9333-ba9876543210")
TEXTS = (
    "dana@example.org", "Dana Fox <Dana@Example.ORG>", "dana_x.net#EXT#@tenant.example.com", "smtp:d.fox@example.org",
    "SMTP:Dana@Example.org", "SIP:dana@example.org", "dana", "10042", "Ann, Bo", "none", "Sales",
    "Weekly Focus Time: planning", "call +1 555 010 2030", "room 12 at 192.0.2.7", "https://x.zoom.us/j/5?pwd=abc x",
    "19:meeting_MzQ@thread.v2", f"19:{GUIDS[0]}_{GUIDS[1]}@unq.gbl.spaces", "19:abc@thread.tacv2", "19:@thread.v2",
    f"https://teams.microsoft.com/l/meetup-join/19%3ameeting_MzQ%40thread.v2/0?context=%7b%22Oid%22%3a%22{GUIDS[0]}%22%7d",
    "https://example.org/join?pwd=1", "<abc.def@mail.example.org>", "AAMkAGI2TG93AAA=", *GUIDS,
)  # fmt: skip
INSTANTS = (
    "2026-03-02T09:00:00Z", "2026-03-02T09:00:00.123Z", "2026-03-02T09:00:00.123456Z", "2026-03-02T23:59:59.9Z",
)  # fmt: skip
LOCAL_INSTANTS = ("2026-03-02T09:00:00.0000000", "2026-03-02T09:00:00", "2026-03-02T10:30:00.5")
SEVEN_DIGITS = "2026-03-02T09:00:00.1234567"
ODD_INSTANTS = (
    "2026-03-02T10:00:00+01:00", "2026-03-02T10:00:00-23:59", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00Z", "2026-03-02", "2026-03-02Z",
    "2026-03-02T09Z", "2026-03-02 09:00Z", "2026-03-02T09:00:00ZZ", "2026-03-02T09:00:60Z", "2026-02-30T09:00:00Z",
    "20260302T090000Z", "2026-W10-1T09:00:00Z", "2026-03-02T09:00:00,5Z", "2026-03-02T09:00:00.123456.7Z",
    "2026-03-02T09:00:00.1234567junk", "2026-03-02T09:00:00.12345678901Z", "yesterday", "", "Z", " ",
    "2026-03-02T09:00:00+01:00Z",
)  # fmt: skip
MAX_ODDITIES = 3

Oddity = Callable[["_Draft"], None]


@dataclass(slots=True)
class _Draft:
    """A record in the making: its members as pairs, so that a name can stand there twice."""

    random: Random
    kept: Sequence[str]
    types: dict[str, FieldType]
    dropped: Sequence[str]
    members: dict[str, str] = field(default_factory=dict)  # path -> JSON text of the leaf or list item
    raw: str | None = None
    twice: list[str] = field(default_factory=list)

    def some_kept(self) -> str:
        return self.random.choice(self.kept)

    def some_left_behind(self) -> str:
        return self.random.choice([*self.dropped, "unknownProperty", "unknown.inner"])

    def of_type(self, *types: FieldType) -> list[str]:
        return [path for path in self.kept if self.types[path] in types]


class WildRecords:
    """Makes records of one dataset; `occurred` counts the oddities that are in them."""

    def __init__(self, rules: DatasetRules, random: Random, *, text: Callable[[str], str] | None = None) -> None:
        """`text` chooses what stands in the text at a path; otherwise it is one of `TEXTS`."""
        self._text = text or (lambda _: random.choice(TEXTS))
        self.occurred: Counter[str] = Counter()
        self._random = random
        self._types: dict[str, FieldType] = {rule.path: rule.type for rule in rules.fields}
        self._kept = list(self._types)
        self._dropped = list(rules.dropped)

    def ordinary(self) -> bytes:
        """What Graph sends: every property of the right type, some null, some missing."""
        return _text(self._draft()).encode("utf-8", "surrogatepass")

    def wild(self) -> bytes:
        """A record with up to three oddities; half of them have none."""
        draft = self._draft()
        if self._random.random() < 0.5:
            for name in self._random.sample(sorted(ODDITIES), self._random.randint(1, MAX_ODDITIES)):
                before = (dict(draft.members), draft.raw, list(draft.twice))
                ODDITIES[name](draft)
                self.occurred[name] += (dict(draft.members), draft.raw, list(draft.twice)) != before
        text = draft.raw if draft.raw is not None else _text(draft)
        return text.encode("utf-8", "surrogateescape")

    def _draft(self) -> _Draft:
        draft = _Draft(self._random, self._kept, self._types, self._dropped)
        for path in self._kept:
            if path != "id" and self._random.random() < 0.25:
                continue
            draft.members[path] = self._value(path)
        if "id" in self._types:
            draft.members["id"] = json.dumps(f"AAMkAGI2{self._random.getrandbits(60):x}")
        for path in self._random.sample(self._dropped, min(3, len(self._dropped))):
            draft.members[path] = json.dumps(self._text(path))
        return draft

    def _value(self, path: str) -> str:
        random = self._random
        match self._types[path]:
            case "boolean":
                return random.choice(("true", "false"))
            case "int32":
                return random.choice(("0", "7", "-1", "-0", "2147483647", "-2147483648"))
            case "int64":
                return random.choice(("0", "9223372036854775807", "-9223372036854775808"))
            case "double":
                return random.choice(("0", "1.5", "-2e3", "0.1e1", "123456789012345678901", "1e-400", "-0.0"))
            case "instant":
                return json.dumps(random.choice(INSTANTS))
            case "local-instant":
                return json.dumps(random.choice(LOCAL_INSTANTS))
            case _:
                return json.dumps(self._text(path))


def _put_anywhere(*values: str) -> Oddity:
    def oddity(draft: _Draft) -> None:
        draft.members[draft.some_kept()] = draft.random.choice(values)

    return oddity


def _put_into_text(*values: str) -> Oddity:
    def oddity(draft: _Draft) -> None:
        texts = [path for path in draft.of_type("string", "enum", "guid") if path != "id"]
        if texts:
            draft.members[draft.random.choice(texts)] = draft.random.choice(values)

    return oddity


def _put_into(types: Sequence[FieldType], *values: str) -> Oddity:
    def oddity(draft: _Draft) -> None:
        if paths := draft.of_type(*types):
            draft.members[draft.random.choice(paths)] = draft.random.choice(values)

    return oddity


def _put_behind(*values: str) -> Oddity:
    """Into a property that nothing reads."""

    def oddity(draft: _Draft) -> None:
        draft.members[draft.some_left_behind()] = draft.random.choice(values)

    return oddity


def _put_key(*values: str) -> Oddity:
    def oddity(draft: _Draft) -> None:
        if "id" in draft.members:
            draft.members["id"] = draft.random.choice(values)

    return oddity


def _missing_key(draft: _Draft) -> None:
    draft.members.pop("id", None)


def _missing(draft: _Draft) -> None:
    for path in draft.random.sample(sorted(draft.members), len(draft.members) // 2):
        if path != "id":
            del draft.members[path]


def _null_structure(draft: _Draft) -> None:
    """A list or object is null, empty, or of the wrong kind, instead of what it should hold."""
    nested = [path for path in draft.kept if "." in path or path.endswith("[]")]
    if nested:
        path = draft.random.choice(nested)
        name = parse_path(path)[0].name
        for other in [known for known in draft.members if parse_path(known)[0].name == name]:
            del draft.members[other]
        draft.members[name] = draft.random.choice(("null", "[]", "{}", "[null]", "[{}]", '"text"', "[[]]", "3"))


def _duplicate_key(draft: _Draft) -> None:
    draft.twice.append(draft.random.choice(sorted(draft.members)) if draft.members else "unknownProperty")


def _no_object(draft: _Draft) -> None:
    draft.raw = draft.random.choice(("null", "5", '"text"', "[]", "true", "1.5", "{}"))


def _no_json(draft: _Draft) -> None:
    draft.raw = draft.random.choice(('{"id":"a\x01b"}', r'{"id":"\x"}', '{"id":01}', '{"id":}', '{"id" "a"}', "nul"))


ODDITIES: dict[str, Oddity] = {
    "unicode": _put_into_text('"İsmail 😀 Łódź"', '"\\u0130\\ud83d\\ude00"', '"dána@example.org"', '"a\\u00a0@b.org"'),
    "null": _put_anywhere("null"),
    "missing": _missing,
    "wrong type": _put_anywhere("true", "7", "1.5", '"text"', "[]", "{}", '[["x"]]', '{"x":{}}'),
    "wrong structure": _null_structure,
    "deep nesting left behind": _put_behind("[" * 100 + "]" * 100, '{"a":' * 90 + "1" + "}" * 90),
    "deep nesting": _put_anywhere("[" * 100 + "]" * 100, '{"a":' * 90 + "null" + "}" * 90),
    "duplicate key": _duplicate_key,
    "seven digits": _put_into(("instant", "local-instant"), f'"{SEVEN_DIGITS}Z"', f'"{SEVEN_DIGITS}"'),
    "odd instant": _put_into(("instant", "local-instant"), *map(json.dumps, ODD_INSTANTS)),
    "escape": _put_into_text(r'"a\/b\n\t\"\\\u0041"', r'"\\ud800"', r'"d\u0061na@example.org"'),
    "lone surrogate": _put_into_text(r'"\ud800"', r'"a\udc00@example.org"', r'"\ude00\ud83d"', r'"dana\ud800 fox"'),
    "lone surrogate left behind": _put_behind(r'"\ud800"', r'{"\udfff":1}'),
    "NUL": _put_into_text(r'"\u0000"', r'"dana\u0000@example.org"', r'"\u0000\u0000dana"'),
    "NUL left behind": _put_behind(r'"\u0000"', r'{"id\u0000":1}'),
    "huge integer": _put_into(
        ("int32", "int64", "double"), "2147483648", "9223372036854775808", "-" + "9" * 30, "1" * 400, "1e400", "1.0"
    ),
    "huge integer left behind": _put_behind("1" * 5000, "1e999", "-" + "9" * 400),
    "empty text": _put_into_text('""', '" "', '" \\t"', '"\\u00a0"'),
    "invalid UTF-8": _put_into_text('"a\udcff\udcfe"', '"dana\udce9@example.org"', '"\udced\udca0\udc80"'),
    "invalid UTF-8 left behind": _put_behind('"\udcff"'),
    "blank key": _put_key('""', '"  "', '"\\t"', '"\\u00a0"'),
    "null key": _put_key("null"),
    "missing key": _missing_key,
    "no object": _no_object,
    "no JSON": _no_json,
}  # fmt: skip


def _text(draft: _Draft) -> str:
    """The record as JSON text, its members nested as their paths say, in random order."""
    tree: dict[str, object] = {}
    order = sorted(draft.members)
    draft.random.shuffle(order)
    for path in order:
        _insert(tree, [f"{step.name}{'[]' if step.many else ''}" for step in parse_path(path)], draft.members[path])
    return _object(tree, [parse_path(path)[0].name for path in draft.twice], draft.random)


def _insert(tree: dict[str, object], names: list[str], text: str) -> None:
    for name in names[:-1]:
        inner = tree.setdefault(name, {})
        if not isinstance(inner, dict):
            return  # a text stands there already
        tree = inner
    tree.setdefault(names[-1], text)


def _object(tree: dict[str, object], twice: Sequence[str], random: Random) -> str:
    members = []
    for name, value in tree.items():
        member = f"{json.dumps(name.removesuffix('[]'))}:{_member(name, value, random)}"
        members += [member] * (2 if name.removesuffix("[]") in twice else 1)
    return "{" + ",".join(members) + "}"


def _member(name: str, value: object, random: Random) -> str:
    text = _object(value, (), random) if isinstance(value, dict) else str(value)
    if not name.endswith("[]"):
        return text
    return random.choice((f"[{text}]", f"[{text},{text}]", f"[null,{text}]"))
