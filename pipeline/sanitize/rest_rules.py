"""What a rules file for API data says: which endpoints it knows, and what is done to the answer of each.

An operator's file may have been written for a proxy that sees requests. Here no request is filtered: the
endpoint is chosen by the path a record was read from, or by its shape, and its augments, schema and
transforms are applied to the records.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl

from pipeline.sanitize.jsonpath import JsonPath
from pipeline.sanitize.response_schema import ResponseSchema

Encoding = Literal["URL_SAFE_TOKEN", "JSON", "URL_SAFE_HASH_ONLY"]

# Stand for an id in the shape of a path. Files that pseudonymize ids expect a reversible token in its place.
PLAIN_ID = "00000000-0000-0000-0000-000000000000"
TOKEN_ID = "p~" + "A" * 64

_REVERSIBLE = re.compile(r"p~[a-zA-Z0-9_-]{43,}(?:@[A-Za-z0-9.-]+)?")


@dataclass(frozen=True, slots=True)
class Transform:
    """One step of an endpoint: a method, the places it works on, and its options (those of other methods are empty)."""

    method: str
    paths: tuple[JsonPath, ...]
    only_when: JsonPath | None = None
    encoding: Encoding = "URL_SAFE_TOKEN"
    include_original: bool = False
    include_reversible: bool = False
    pattern: re.Pattern[str] | None = None
    patterns: tuple[re.Pattern[str], ...] = ()
    delimiter: re.Pattern[str] | None = None
    keywords: tuple[str, ...] = ()
    inner_path: JsonPath | None = None

    @property
    def needs_key(self) -> bool:
        """Whether it makes something reversible."""
        return self.include_reversible or self.method in {"tokenize", "encryptIp"}


@dataclass(frozen=True, slots=True)
class Augment:
    """An addition made before everything else: `+<member>:<function>` beside each member that is found."""

    function: str
    paths: tuple[JsonPath, ...]
    inner_path: JsonPath | None = None
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParameterSchema:
    """Which values of a path or query parameter an endpoint is for."""

    type: str = ""
    format: str = ""
    pattern: re.Pattern[str] | None = None
    values: tuple[str, ...] = ()
    any_of: tuple["ParameterSchema", ...] = ()
    required: bool = False

    def accepts(self, value: str) -> bool:
        return (
            (self.type != "integer" or re.fullmatch(r"-?\d+", value, re.ASCII) is not None)
            and (self.type != "number" or re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII) is not None)
            and (not self.format.endswith("pseudonym") or _REVERSIBLE.fullmatch(value) is not None)
            and (self.pattern is None or self.pattern.fullmatch(value) is not None)
            and (not self.values or value in self.values)
            and (not self.any_of or any(each.accepts(value) for each in self.any_of))
        )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One kind of answer. `pattern` matches the path, or path and query when the file gives a regular expression."""

    name: str
    pattern: re.Pattern[str]
    matches_query: bool
    transforms: tuple[Transform, ...] = ()
    augments: tuple[Augment, ...] = ()
    schema: ResponseSchema | None = None
    parameters: tuple[str, ...] = ()
    parameter_schemas: Mapping[str, ParameterSchema] = field(default_factory=dict)
    query_schemas: Mapping[str, ParameterSchema] = field(default_factory=dict)
    allowed_query: frozenset[str] | None = None
    methods: frozenset[str] = frozenset()

    def matches(self, url: str) -> bool:
        """Whether the endpoint is for reading this relative URL, such as `/v1.0/users?$top=5`."""
        path, _, query = url.partition("?")
        match = self.pattern.fullmatch(url if self.matches_query else path)
        if match is None or (self.methods and "GET" not in self.methods):
            return False
        for name, value in zip(self.parameters, match.groups(), strict=False):
            if name in self.parameter_schemas and not self.parameter_schemas[name].accepts(value):
                return False
        return self._allows(parse_qsl(query, keep_blank_values=True))

    def _allows(self, query: Sequence[tuple[str, str]]) -> bool:
        given = {name.lower(): value for name, value in query}
        if self.allowed_query is not None and not self.allowed_query.issuperset(given):
            return False
        return all(
            schema.accepts(given[name.lower()]) if name.lower() in given else not schema.required
            for name, schema in self.query_schemas.items()
        )


@dataclass(frozen=True, slots=True)
class RestRules:
    """A rules file for API data."""

    endpoints: tuple[Endpoint, ...]

    def match(self, url: str) -> Endpoint | None:
        """The first endpoint for a relative URL."""
        return next((endpoint for endpoint in self.endpoints if endpoint.matches(url)), None)

    def match_shape(self, shape: str) -> Endpoint | None:
        """The endpoint for a path in which `{}` stands for each id, be it a plain one or a reversible token."""
        found = (self.match(shape.replace("{}", each)) for each in (PLAIN_ID, TOKEN_ID))
        return next((endpoint for endpoint in found if endpoint is not None), None)
