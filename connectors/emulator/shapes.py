"""Which properties a kind of record has, and how `$select` takes some of them."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

Item = TypeVar("Item")
Context = TypeVar("Context")

ABSENT: Final = object()  # a getter's answer when the record does not carry the property at all
_NONE: Final[Mapping[str, Any]] = MappingProxyType({})


class UnknownProperty(ValueError):
    """`$select` names a property that the type does not have."""

    def __init__(self, name: str, type_name: str) -> None:
        super().__init__(f"Could not find a property named '{name}' on type '{type_name}'.")


class Shape(Generic[Item, Context]):
    """The properties of one type, each with the function that computes it, so that unselected ones cost nothing.

    `default` comes without `$select`, `on_request` only when named, `always` with every record.
    """

    def __init__(
        self,
        type_name: str,
        default: Mapping[str, Callable[[Item, Context], Any]],
        *,
        on_request: Mapping[str, Callable[[Item, Context], Any]] = _NONE,
        always: Mapping[str, Callable[[Item, Context], Any]] = _NONE,
    ) -> None:
        self.type_name = type_name
        self.default = dict(default)
        self.properties = {**always, **default, **on_request}
        self._always = dict(always)
        self.selection = lru_cache(maxsize=256)(self._selection)

    def render(self, item: Item, context: Context, selection: "Selection[Item, Context]") -> dict[str, Any]:
        """The record of `item`, with the properties of `selection`."""
        record = {}
        for name, get in selection:
            value = get(item, context)
            if value is not ABSENT:
                record[name] = value
        return record

    def value(self, item: Item, context: Context, path: str) -> Any:
        """The value at `a/b/c`; None where a part is missing. Raises UnknownProperty."""
        head, *rest = path.split("/")
        if head not in self.properties:
            raise UnknownProperty(head, self.type_name)
        value = self.properties[head](item, context)
        for part in rest:
            value = value.get(part) if isinstance(value, dict) else None
        return None if value is ABSENT else value

    def lookup(self, item: Item, context: Context) -> Callable[[str], Any]:
        """`value` for one item: what a filter asks."""
        return partial(self.value, item, context)

    def _selection(
        self, names: tuple[str, ...] | None, without: frozenset[str] = frozenset()
    ) -> "Selection[Item, Context]":
        chosen = dict(self._always)
        if names is None or "*" in names:
            chosen.update(self.default)
        for name in names or ():
            head = name.split("/")[0]
            if head != "*" and head not in self.properties:
                raise UnknownProperty(head, self.type_name)
        if names is not None:
            heads = {name.split("/")[0] for name in names}
            chosen.update({name: get for name, get in self.properties.items() if name in heads})
        return tuple((name, get) for name, get in chosen.items() if name not in without)


Selection = tuple[tuple[str, Callable[[Item, Context], Any]], ...]
