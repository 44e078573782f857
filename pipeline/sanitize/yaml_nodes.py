"""YAML read node by node, so that every fault of an operator's file can be told with its line.

Scalars are taken as they are written: a phrase such as `1:1` or `no` stays text, whatever YAML would make of
it. Anchors are refused: the files in question have no use for them, and expanding them can exhaust memory.
https://pyyaml.org/wiki/PyYAMLDocumentation (checked 2026-11)
"""

from collections.abc import Callable, Collection
from typing import TypeVar

import yaml

from config.faults import nearest

_Compiled = TypeVar("_Compiled")
_NULL = "tag:yaml.org,2002:null"
_BOOLEANS = {"true": True, "false": False}


class YamlFaultError(ValueError):
    """The text is no YAML, or uses anchors; the message names the line."""


def read_yaml(text: str) -> yaml.Node | None:
    """The root node of a document, None for an empty one. Raises YamlFaultError."""
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise YamlFaultError(f"line {line}: anchors and aliases are not supported")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlFaultError(f"line {line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, YamlFaultError):
            raise
        raise YamlFaultError(f"not YAML: {type(error).__name__}") from None


def tag_of(node: yaml.Node) -> str:
    """A tag of the file's own, written `!<name>` or `!name`; empty for the tags of YAML itself."""
    tag = str(node.tag)
    return "" if tag.startswith("tag:yaml.org,") else tag.removeprefix("!")


class Checker:
    """Reads values out of nodes. What is wrong becomes a fault and an empty value, so that reading goes on."""

    def __init__(self) -> None:
        self._faults: list[tuple[int, str]] = []

    @property
    def faults(self) -> list[str]:
        """One line per fault, in the order of the file."""
        return [text for _, text in sorted(self._faults)]

    def fault(self, node: yaml.Node, path: str, message: str) -> None:
        line = node.start_mark.line + 1
        self._faults.append((line, f"line {line}: {path + ': ' if path else ''}{message}"))

    def members(self, node: yaml.Node, path: str, known: Collection[str] | None = None) -> dict[str, yaml.Node]:
        """The members of a mapping; members that are null count as absent, unknown ones are faults."""
        if not isinstance(node, yaml.MappingNode):
            self.fault(node, path, "expected a mapping")
            return {}
        found: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if known is not None and key not in known:
                self.fault(key_node, _join(path, key), f"unknown key{_suggestion(key, known)}")
            elif key in found:
                self.fault(key_node, _join(path, key), "given twice")
            elif not is_null(value):
                found[key] = value
        return found

    def items(self, node: yaml.Node | None, path: str) -> list[tuple[yaml.Node, str]]:
        """The items of a list, each with its path."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fault(node, path, "expected a list")
            return []
        return [(item, f"{path}[{index}]") for index, item in enumerate(node.value)]

    def text(self, node: yaml.Node | None, path: str) -> str | None:
        """A scalar, as written; None where there is none."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or is_null(node):
            self.fault(node, path, "expected text")
            return None
        return str(node.value)

    def texts(self, node: yaml.Node | None, path: str) -> tuple[str, ...]:
        return tuple(
            text for text in (self.text(item, where) for item, where in self.items(node, path)) if text is not None
        )

    def flag(self, node: yaml.Node | None, path: str) -> bool:
        """`true` or `false`; absent is false."""
        if node is None:
            return False
        value = _BOOLEANS.get(str(node.value).lower()) if isinstance(node, yaml.ScalarNode) else None
        if value is None:
            self.fault(node, path, "expected true or false")
        return bool(value)

    def choice(self, node: yaml.Node | None, path: str, known: Collection[str], default: str) -> str:
        word = self.text(node, path)
        if node is not None and word is not None and word not in known:
            self.fault(node, path, f"{word!r} is not one of {', '.join(known)}{_suggestion(word, known)}")
            return default
        return word or default

    def compile(self, node: yaml.Node | None, path: str, make: Callable[[str], _Compiled]) -> _Compiled | None:
        """What `make` gives for a text; its ValueError becomes a fault."""
        text = self.text(node, path)
        if node is None or text is None:
            return None
        try:
            return make(text)
        except ValueError as error:
            self.fault(node, path, str(error))
            return None

    def compile_all(self, node: yaml.Node | None, path: str, make: Callable[[str], _Compiled]) -> tuple[_Compiled, ...]:
        compiled = (self.compile(item, where, make) for item, where in self.items(node, path))
        return tuple(each for each in compiled if each is not None)


def is_explicitly_null(node: yaml.Node, name: str) -> bool:
    """Whether a mapping has a member of this name with nothing in it."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return any(key.value == name and is_null(value) for key, value in pairs)


def is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _NULL


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _suggestion(word: str, known: Collection[str]) -> str:
    match = nearest(word, known)
    return f"; did you mean {match}?" if match else ""
