"""Reads rules files in the grammar of Psoxy's REST rules, strictly: whatever is not known is a fault with its line.

The text may be YAML or JSON, plain, as base64, or as base64 of gzip. All faults are collected before the file
is refused. Rules for bulk files (columnar, record, multi-type) are recognised and refused: they are not meant
for API data.
https://docs.worklytics.co/psoxy (checked 2026-11)
"""

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Mapping
from typing import cast

import yaml

from pipeline.errors import ConfigurationError
from pipeline.sanitize.java_regex import UntranslatableRegex, compile_java
from pipeline.sanitize.jsonpath import JsonPath, compile_path
from pipeline.sanitize.response_schema import ResponseSchema, Schema, SchemaReader
from pipeline.sanitize.rest_rules import Augment, Encoding, Endpoint, ParameterSchema, RestRules, Transform
from pipeline.sanitize.text_filters import exception_pattern, phrase_pattern
from pipeline.sanitize.yaml_nodes import Checker, YamlFaultError, is_explicitly_null, read_yaml, tag_of

MAX_RULES_BYTES = 1 << 20  # unpacked; the largest public rules file is below 100 kB

_TOP = ("endpoints", "allowedRequestHeaders", "definitions", "allowAllEndpoints", "defaultScopeIdForSource")
_BULK = {
    "fileRules": "multi-type",
    "columnsToPseudonymize": "columnar",
    "columnsToPseudonymizeIfPresent": "columnar",
    "columnsToRedact": "columnar",
    "columnsToInclude": "columnar",
    "columnsToRename": "columnar",
    "columnsToDuplicate": "columnar",
    "fieldsToTransform": "columnar",
    "pseudonymFormat": "columnar",
    "delimiter": "columnar",
    "transforms": "record",
    "format": "record",
    "outputSchemaFilter": "record",
}
_ENDPOINT = (
    *("pathTemplate", "pathRegex", "pathParameterSchemas", "allowedQueryParams", "queryParamSchemas"),
    *("allowedMethods", "allowedRequestHeaders", "allowedRequestHeadersToForward", "requestBody"),
    *("responseSchema", "augments", "transforms"),
)
_PARAMETER = ("type", "format", "pattern", "enum", "anyOf", "required")
_PARAMETER_TYPES = ("string", "integer", "number")
_PARAMETER_FORMATS = ("reversible-pseudonym", "pseudonym")
_COMMON = ("method", "jsonPaths", "applyOnlyWhen", "fields")
_METHODS: Mapping[str, tuple[str, ...]] = {
    "redact": (),
    "redactRegexMatches": ("redactions",),
    "redactExceptPhrases": ("allowedPhrases",),
    "redactExceptSubstringsMatchingRegexes": ("exceptions",),
    "pseudonymize": ("includeOriginal", "includeReversible", "onlyIfRegex", "encoding"),
    "pseudonymizeEmailHeader": ("encoding",),
    "pseudonymizeRegexMatches": ("regex", "includeReversible"),
    "filterTokenByRegex": ("delimiter", "filters"),
    "tokenize": ("regex",),
    "textDigest": ("isJsonEscaped", "jsonPathToProcessWhenEscaped", "keywords"),
    "hashIp": (),
    "encryptIp": (),
}
_PATTERN_LISTS: Mapping[str, tuple[str, Callable[[str], re.Pattern[str]]]] = {
    "redactRegexMatches": ("redactions", compile_java),
    "redactExceptPhrases": ("allowedPhrases", phrase_pattern),
    "redactExceptSubstringsMatchingRegexes": ("exceptions", exception_pattern),
    "filterTokenByRegex": ("filters", compile_java),
}
_AUGMENTS: Mapping[str, tuple[str, ...]] = {
    "textDigest": ("jsonPaths", "innerJsonPath", "outputSchema", "keywords"),
    "sentenceMetadata": ("jsonPaths", "innerJsonPath", "outputSchema", "taxonomy", "hedgeWords", "constraintWords"),
}
_ENCODINGS = ("URL_SAFE_TOKEN", "JSON", "URL_SAFE_HASH_ONLY")
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]+={0,2}\s*")
_GZIP = b"\x1f\x8b"
_TEMPLATE_PARAMETER = re.compile(r"\{([^{}?]*)(\??)\}")


def load_rest_rules(data: bytes | str, *, name: str = "rules.yaml") -> RestRules:
    """The rules in `data`.

    Raises:
        ConfigurationError: `faults` has one line for each thing that is wrong, with `name` and the line in
        the file.
    """
    checker = Checker()
    try:
        root = read_yaml(unpack_rules(data.encode() if isinstance(data, str) else data))
    except YamlFaultError as error:
        raise ConfigurationError(f"{name}: {error}") from None
    if root is None:
        raise ConfigurationError(f"{name}: empty")
    rules = _Reader(checker).rules(root)
    if checker.faults:
        raise ConfigurationError(*(f"{name}: {fault}" for fault in checker.faults))
    return rules


def unpack_rules(data: bytes) -> str:
    """The YAML text of a rules file: as it is, base64 of it, or base64 of it gzipped. Raises YamlFaultError."""
    if _BASE64.fullmatch(data):
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        except binascii.Error:
            raise YamlFaultError("neither YAML nor base64") from None
        if data.startswith(_GZIP):
            data = _gunzip(data)
    if len(data) > MAX_RULES_BYTES:
        raise YamlFaultError(f"larger than {MAX_RULES_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise YamlFaultError("not UTF-8") from None


def _gunzip(data: bytes) -> bytes:
    """Unpacked up to one byte above the limit, so that no small file can fill the memory."""
    try:
        return zlib.decompressobj(wbits=31).decompress(data, MAX_RULES_BYTES + 1)
    except zlib.error:
        raise YamlFaultError("damaged gzip data") from None


class _Reader:
    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self._schemas = SchemaReader(checker)

    def rules(self, root: yaml.Node) -> RestRules:
        if shape := self._bulk_shape(root):
            self._checker.fault(root, "", f"these are {shape} rules for bulk files, not rules for API data")
            return RestRules(())
        members = self._checker.members(root, "", _TOP)
        if self._checker.flag(members.get("allowAllEndpoints"), "allowAllEndpoints"):
            self._checker.fault(
                members["allowAllEndpoints"],
                "allowAllEndpoints",
                "would let data of unlisted endpoints pass as it is; list the endpoints instead",
            )
        definitions = self._schemas.definitions(members.get("definitions"), "definitions")
        endpoints = [
            self._endpoint(node, path, definitions)
            for node, path in self._checker.items(members.get("endpoints"), "endpoints")
        ]
        if not endpoints:
            self._checker.fault(members.get("endpoints", root), "endpoints", "none are listed")
        self._schemas.check_references(definitions)
        return RestRules(tuple(endpoint for endpoint in endpoints if endpoint is not None))

    def _bulk_shape(self, root: yaml.Node) -> str | None:
        names = [key.value for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
        if "endpoints" in names:
            return None
        return next((_BULK[name] for name in _BULK if name in names), None)

    def _endpoint(self, node: yaml.Node, path: str, definitions: Mapping[str, Schema]) -> Endpoint | None:
        members = self._checker.members(node, path, _ENDPOINT)
        schema_node = members.get("responseSchema")
        schema = self._schemas.root(schema_node, f"{path}.responseSchema") if schema_node else None
        transforms = [
            self._transform(each, where)
            for each, where in self._checker.items(members.get("transforms"), f"{path}.transforms")
        ]
        augments = [
            self._augment(each, where)
            for each, where in self._checker.items(members.get("augments"), f"{path}.augments")
        ]
        parameter_schemas = self._parameters(members.get("pathParameterSchemas"), f"{path}.pathParameterSchemas")
        query_schemas = self._parameters(members.get("queryParamSchemas"), f"{path}.queryParamSchemas")
        allowed_query = self._checker.texts(members.get("allowedQueryParams"), f"{path}.allowedQueryParams")
        methods = self._checker.texts(members.get("allowedMethods"), f"{path}.allowedMethods")
        template = self._checker.text(members.get("pathTemplate"), f"{path}.pathTemplate")
        regex = self._checker.text(members.get("pathRegex"), f"{path}.pathRegex")
        if (template is None) == (regex is None):
            self._checker.fault(node, path, "needs either pathTemplate or pathRegex")
            return None
        if template is not None:
            pattern: re.Pattern[str] | None = _template_pattern(template)
        else:
            pattern = self._checker.compile(members["pathRegex"], f"{path}.pathRegex", _path_pattern)
        if pattern is None:
            return None
        return Endpoint(
            name=template or regex or "",
            pattern=pattern,
            matches_query=template is None,
            transforms=tuple(transform for transform in transforms if transform is not None),
            augments=tuple(augment for augment in augments if augment is not None),
            schema=ResponseSchema(schema, definitions) if schema is not None else None,
            parameters=tuple(found[1] for found in _TEMPLATE_PARAMETER.finditer(template or "")),
            parameter_schemas=parameter_schemas,
            query_schemas=query_schemas,
            allowed_query=frozenset(map(str.lower, allowed_query)) if "allowedQueryParams" in members else None,
            methods=frozenset(map(str.upper, methods)),
        )

    def _parameters(self, node: yaml.Node | None, path: str) -> dict[str, ParameterSchema]:
        members = self._checker.members(node, path) if node is not None else {}
        return {name: self._parameter(each, f"{path}.{name}") for name, each in members.items()}

    def _parameter(self, node: yaml.Node, path: str) -> ParameterSchema:
        members = self._checker.members(node, path, _PARAMETER)
        return ParameterSchema(
            type=self._checker.choice(members.get("type"), f"{path}.type", _PARAMETER_TYPES, ""),
            format=self._checker.choice(members.get("format"), f"{path}.format", _PARAMETER_FORMATS, ""),
            pattern=self._checker.compile(members.get("pattern"), f"{path}.pattern", compile_java),
            values=self._checker.texts(members.get("enum"), f"{path}.enum"),
            any_of=tuple(
                self._parameter(each, where)
                for each, where in self._checker.items(members.get("anyOf"), f"{path}.anyOf")
            ),
            required=self._checker.flag(members.get("required"), f"{path}.required"),
        )

    def _method(self, node: yaml.Node, path: str, known: Mapping[str, object]) -> str | None:
        """The kind of an entry: its tag, or its member `method`."""
        method = tag_of(node)
        if not method and isinstance(node, yaml.MappingNode):
            method = next((str(value.value) for key, value in node.value if key.value == "method"), "")
        if not method:
            self._checker.fault(node, path, "says no method; write it as a tag such as !<redact>")
            return None
        word = yaml.ScalarNode("", method, node.start_mark)
        return self._checker.choice(word, path, tuple(known), "") or None

    def _transform(self, node: yaml.Node, path: str) -> Transform | None:
        method = self._method(node, path, _METHODS)
        if method is None:
            return None
        check = self._checker
        members = check.members(node, path, (*_COMMON, *_METHODS[method]))
        encoding = check.choice(members.get("encoding"), f"{path}.encoding", _ENCODINGS, "URL_SAFE_TOKEN")
        include_original = check.flag(members.get("includeOriginal"), f"{path}.includeOriginal")
        if include_original and encoding == "URL_SAFE_TOKEN":
            check.fault(node, f"{path}.includeOriginal", "only goes with the encoding JSON")
        if encoding == "URL_SAFE_HASH_ONLY" and method == "pseudonymizeEmailHeader":
            check.fault(node, f"{path}.encoding", "an address header is URL_SAFE_TOKEN or JSON")
        return Transform(
            method=method,
            paths=self._paths(node, members, path),
            only_when=self._only_when(members.get("applyOnlyWhen"), f"{path}.applyOnlyWhen"),
            encoding=cast("Encoding", encoding),
            include_original=include_original,
            include_reversible=check.flag(members.get("includeReversible"), f"{path}.includeReversible"),
            pattern=self._pattern(method, node, members, path),
            patterns=self._patterns(method, node, members, path),
            delimiter=self._delimiter(method, node, members, path),
            keywords=check.texts(members.get("keywords"), f"{path}.keywords"),
            inner_path=self._inner_path(members, path),
        )

    def _augment(self, node: yaml.Node, path: str) -> Augment | None:
        function = self._method(node, path, _AUGMENTS)
        if function is None:
            return None
        if function != "textDigest":
            self._checker.fault(node, path, f"{function} needs a language model, which this product does not have")
            return None
        members = self._checker.members(node, path, ("method", *_AUGMENTS[function]))
        inner = self._checker.compile(members.get("innerJsonPath"), f"{path}.innerJsonPath", compile_path)
        keywords = self._checker.texts(members.get("keywords"), f"{path}.keywords")
        return Augment(function, self._paths(node, members, path), inner, keywords)

    def _paths(self, node: yaml.Node, members: Mapping[str, yaml.Node], path: str) -> tuple[JsonPath, ...]:
        if "jsonPaths" not in members:
            self._checker.fault(node, f"{path}.jsonPaths", "missing")
        return self._checker.compile_all(members.get("jsonPaths"), f"{path}.jsonPaths", compile_path)

    def _only_when(self, node: yaml.Node | None, path: str) -> JsonPath | None:
        if node is None or not str(node.value).strip():
            return None
        condition = self._checker.compile(node, path, compile_path)
        if condition is not None and condition.is_definite:
            self._checker.fault(node, path, "has to be a path with a scan, a wildcard or a filter")
        return condition

    def _pattern(
        self, method: str, node: yaml.Node, members: Mapping[str, yaml.Node], path: str
    ) -> re.Pattern[str] | None:
        if method == "pseudonymizeRegexMatches" and "regex" not in members:
            self._checker.fault(node, f"{path}.regex", "missing")
        make = _with_group if method == "tokenize" else compile_java
        return self._checker.compile(members.get("regex"), f"{path}.regex", make)

    def _patterns(
        self, method: str, node: yaml.Node, members: Mapping[str, yaml.Node], path: str
    ) -> tuple[re.Pattern[str], ...]:
        if method not in _PATTERN_LISTS:
            return ()
        name, make = _PATTERN_LISTS[method]
        if name not in members:
            self._checker.fault(node, f"{path}.{name}", "missing")
        patterns = self._checker.compile_all(members.get(name), f"{path}.{name}", make)
        if name == "redactions" and name in members and not members[name].value:
            self._checker.fault(members[name], f"{path}.{name}", "an empty list would let everything pass")
        return patterns

    def _delimiter(
        self, method: str, node: yaml.Node, members: Mapping[str, yaml.Node], path: str
    ) -> re.Pattern[str] | None:
        """Blanks unless the file says otherwise; an explicit null makes the whole value one token."""
        if method != "filterTokenByRegex" or is_explicitly_null(node, "delimiter"):
            return None
        if "delimiter" in members:
            return self._checker.compile(members["delimiter"], f"{path}.delimiter", compile_java)
        return compile_java(r"\s+")

    def _inner_path(self, members: Mapping[str, yaml.Node], path: str) -> JsonPath | None:
        """Of a textDigest: both members are needed to look into JSON inside text."""
        name = "jsonPathToProcessWhenEscaped"
        inner = self._checker.compile(members.get(name), f"{path}.{name}", compile_path)
        escaped = self._checker.flag(members.get("isJsonEscaped"), f"{path}.isJsonEscaped")
        return inner if escaped else None


def _template_pattern(template: str) -> re.Pattern[str]:
    """A template matches a path in any case; `{name}` is one segment, `{name?}` may be empty."""
    pieces: list[str] = []
    position = 0
    for found in _TEMPLATE_PARAMETER.finditer(template):
        pieces += re.escape(template[position : found.start()]), "([^/]*)" if found[2] else "([^/]+)"
        position = found.end()
    return re.compile("".join(pieces) + re.escape(template[position:]), re.ASCII | re.IGNORECASE)


def _path_pattern(regex: str) -> re.Pattern[str]:
    return compile_java(f"(?i){regex}")


def _with_group(regex: str) -> re.Pattern[str]:
    pattern = compile_java(regex)
    if not pattern.groups:
        raise UntranslatableRegex(f"regular expression {regex!r}: needs a group for the part that is tokenized")
    return pattern
