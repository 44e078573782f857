"""Reads YAML strictly: no arbitrary types, no accidental dates, no key twice, no value in a complaint."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

_QUOTED = re.compile(r"'([^']*)'")
_ONE_CHARACTER = re.compile(r".|\\[a-z\\]|\\x[0-9a-f]{2}")  # as Python's repr shows it
_TOKENS = frozenset(token.id for token in yaml.tokens.__dict__.values() if hasattr(token, "id"))


class YamlFaultError(Exception):
    """The text is not the YAML we accept; `complaints` says what and where, without values."""

    def __init__(self, complaints: list[str]) -> None:
        self.complaints = complaints
        super().__init__("; ".join(complaints))


class _Loader(yaml.SafeLoader):
    """The safe subset, in which `2026-11-19` stays text: no setting is a date of YAML's."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: bytes | str) -> Any:
    """The one document in `text`, None when it is empty. Raises YamlFaultError with line and column."""
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        if complaints := list(_key_complaints(root, seen=set())):
            raise YamlFaultError(complaints)
        return loader.construct_document(root)
    except yaml.YAMLError as error:
        raise YamlFaultError([_complaint(error)]) from None
    except (ValueError, RecursionError):  # a tagged value that is not what its tag says; endless nesting
        raise YamlFaultError(["a value cannot be read"]) from None
    finally:
        if loader is not None:
            loader.dispose()


def _key_complaints(node: yaml.Node, *, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:  # an alias to a node above or beside
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _key_complaints(item, seen=seen)
    elif isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                pass
            elif key.tag != "tag:yaml.org,2002:str":
                yield f"{_place(key.start_mark)}: a key is plain text; quote it if it looks like another type"
            elif key.value in names:
                yield f"{_place(key.start_mark)}: the key {key.value} is given twice"
            else:
                names.add(key.value)
            yield from _key_complaints(value, seen=seen)


def _complaint(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = _QUOTED.sub(_without_text, error.problem or "not valid YAML")
        return f"{_place(mark)}: {problem}" if mark else problem
    return "not readable as UTF-8 text"


def _without_text(quoted: re.Match[str]) -> str:
    """What the parser quotes, unless it comes from the text: single characters and token names stay."""
    return quoted[0] if _ONE_CHARACTER.fullmatch(quoted[1]) or quoted[1] in _TOKENS else "'…'"


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"
