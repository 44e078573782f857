"""Rules files are read as they are meant, or refused with every fault and its line."""

import base64
import gzip
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.sanitize.grammar import MAX_RULES_BYTES, load_rest_rules
from pipeline.sanitize.rest_rules import TOKEN_ID
from tests.unit import psoxy_tables as tables

SMALL = """
endpoints:
  - pathTemplate: "/v1.0/widgets/{widgetId}"
    allowedQueryParams: ["$select"]
    transforms:
      - !<redact>
        jsonPaths: ["$..secretNote"]
      - !pseudonymize
        jsonPaths:
          - "$..owner.mail"
        encoding: "JSON"
        includeOriginal: true
      - method: redactExceptPhrases
        jsonPaths: ["$..title"]
        allowedPhrases: [1:1, no, "stand-up"]
"""


def faults_of(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_rest_rules(text, name="r.yaml")
    return [fault.removeprefix("r.yaml: ") for fault in caught.value.faults]


def with_transform(*lines: str) -> str:
    body = "\n        ".join(lines)
    return f"endpoints:\n  - pathTemplate: /a\n    transforms:\n      - {body}\n"


def test_a_small_file_is_read() -> None:
    """Verbatim tags, local tags and `method` all name a transform; options get their defaults."""
    (endpoint,) = load_rest_rules(SMALL).endpoints
    redact, pseudonymize, phrases = endpoint.transforms
    assert [redact.method, pseudonymize.method, phrases.method] == ["redact", "pseudonymize", "redactExceptPhrases"]
    assert [path.text for path in pseudonymize.paths] == ["$..owner.mail"]
    assert (pseudonymize.encoding, pseudonymize.include_original) == ("JSON", True)
    assert redact.encoding == "URL_SAFE_TOKEN"
    assert [bool(pattern.search("1:1 no stand-up")) for pattern in phrases.patterns] == [True, True, True]


@pytest.mark.parametrize(
    "carrier",
    [
        str.encode,
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: base64.b64encode(text.encode()),
        lambda text: base64.encodebytes(gzip.compress(text.encode())),
    ],
    ids=["plain", "byte order mark", "base64", "gzip"],
)
def test_every_carrier_holds_the_same_rules(carrier: object) -> None:
    """A settings value may be plain text, base64, or base64 of gzip."""
    assert callable(carrier)
    assert load_rest_rules(carrier(SMALL)).endpoints[0].name == "/v1.0/widgets/{widgetId}"


def test_json_is_yaml() -> None:
    """A file in JSON names its methods with a member."""
    text = '{"endpoints": [{"pathRegex": "^/a$", "transforms": [{"method": "redact", "jsonPaths": ["$..b"]}]}]}'
    assert load_rest_rules(text).endpoints[0].transforms[0].method == "redact"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in dir(tables)
        if isinstance(getattr(tables, name), list) and isinstance(getattr(tables, name)[0], dict)
    ],
)
def test_files_of_every_source_are_read(name: str) -> None:
    """Entra, mail, calendar, Teams, OneDrive and Copilot, in all variants."""
    endpoints = getattr(tables, name)
    rules = load_rest_rules(tables.render(endpoints, tables.DRIVE_DEFINITIONS))
    assert len(rules.endpoints) == len(endpoints)


def test_all_faults_are_told_at_once_with_their_lines() -> None:
    """Unknown keys name the nearest known one; nothing stops at the first fault."""
    text = """endpoints:
  - pathTemplate: "/a"
    alowedQueryParams: []
    transforms:
      - !<redact>
        jsonPath: ["$..a"]
      - !<pseudonymise>
        jsonPaths: ["$..a"]
      - !<pseudonymize>
        jsonPaths: ["$..a"]
        encoding: TOKEN
        includeOriginal: maybe
definitons: {}
"""
    assert faults_of(text) == [
        "line 3: endpoints[0].alowedQueryParams: unknown key; did you mean allowedQueryParams?",
        "line 5: endpoints[0].transforms[0].jsonPaths: missing",
        "line 6: endpoints[0].transforms[0].jsonPath: unknown key; did you mean jsonPaths?",
        (
            "line 7: endpoints[0].transforms[1]: 'pseudonymise' is not one of redact, redactRegexMatches, "
            "redactExceptPhrases, redactExceptSubstringsMatchingRegexes, pseudonymize, pseudonymizeEmailHeader, "
            "pseudonymizeRegexMatches, filterTokenByRegex, tokenize, textDigest, hashIp, encryptIp; "
            "did you mean pseudonymize?"
        ),
        (
            "line 11: endpoints[0].transforms[2].encoding: 'TOKEN' is not one of URL_SAFE_TOKEN, JSON, "
            "URL_SAFE_HASH_ONLY; did you mean URL_SAFE_TOKEN?"
        ),
        "line 12: endpoints[0].transforms[2].includeOriginal: expected true or false",
        "line 13: definitons: unknown key; did you mean definitions?",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        ("# nothing", "empty"),
        ("[]", "expected a mapping"),
        ("endpoints: []", "none are listed"),
        ("endpoints: {}", "expected a list"),
        ("allowedRequestHeaders: []", "none are listed"),
        ("endpoints: [{pathTemplate: /a}]\nallowAllEndpoints: true", "list the endpoints instead"),
        ("endpoints: [{transforms: []}]", "needs either"),
        ("endpoints: [{pathTemplate: /a, pathRegex: /a}]", "needs either"),
        ("endpoints: [{pathRegex: '('}]", "regular expression '(?i)('"),
        ("endpoints: [{pathTemplate: /a, pathTemplate: /b}]", "given twice"),
        ("endpoints: [", "not YAML"),
        ("a: &x [1]\nb: *x", "anchors"),
        ("a: &x [*x]", "anchors"),
        ("\x00", "not YAML"),
        (b"\xff\xfe\xff: 1", "not UTF-8"),
        ("a: " + "b" * MAX_RULES_BYTES, "larger than"),
        (base64.b64encode(gzip.compress(b" " * 50_000_000)), "larger than"),
        (base64.b64encode(b"\x1f\x8b damaged"), "damaged"),
        ("AAAAA", "base64"),
        ("[" * 5000, "not YAML"),
        (with_transform("jsonPaths: [$..a]"), "says no method"),
        (with_transform("!<redact>", "jsonPaths: $..a"), "expected a list"),
        (with_transform("!<redact>", "jsonPaths: [[]]"), "expected text"),
        (with_transform("!<redact>", "jsonPaths: ['$..a[1:2]']"), "path '$..a[1:2]'"),
        (with_transform("!<redact>", "jsonPaths: [$]"), "the root alone"),
        (with_transform("!<redact>", "jsonPaths: [$..a]", "applyOnlyWhen: $.b"), "a scan, a wildcard or a filter"),
        (with_transform("!<redact>", "jsonPaths: [$..a]", "encoding: JSON"), "unknown key"),
        (with_transform("!<pseudonymize>", "jsonPaths: [$..a]", "includeOriginal: true"), "only goes with"),
        (with_transform("!<pseudonymizeRegexMatches>", "jsonPaths: [$..a]"), "regex: missing"),
        (with_transform("!<pseudonymizeEmailHeader>", "jsonPaths: [$..a]", "encoding: URL_SAFE_HASH_ONLY"), "header"),
        (with_transform("!<tokenize>", "jsonPaths: [$..a]", "regex: abc"), "needs a group"),
        (with_transform("!<redactRegexMatches>", "jsonPaths: [$..a]"), "redactions: missing"),
        (with_transform("!<redactRegexMatches>", "jsonPaths: [$..a]", "redactions: []"), "everything pass"),
        (with_transform("!<redactRegexMatches>", "jsonPaths: [$..a]", "redactions: ['[a&&b]']"), "intersection"),
        (with_transform("!<filterTokenByRegex>", "jsonPaths: [$..a]"), "filters: missing"),
        ("endpoints: [{pathTemplate: /a, responseSchema: {maxLength: 1}}]", "maxLength: unknown key"),
        ("endpoints: [{pathTemplate: /a, responseSchema: {type: text}}]", "'text' is not one of"),
        ("endpoints: [{pathTemplate: /a, responseSchema: {$ref: '#/definitions/B'}}]", "no such schema"),
        ("endpoints: [{pathTemplate: /a, responseSchema: {$ref: '#'}}]", "refers to itself"),
        (
            (
                "endpoints: [{pathTemplate: /a}]\n"
                "definitions: {A: {$ref: '#/definitions/B'}, B: {$ref: '#/definitions/A'}}"
            ),
            "refers to itself",
        ),
        ("endpoints: [{pathTemplate: /a, pathParameterSchemas: {a: {form: x}}}]", "did you mean format?"),
        ("endpoints: [{pathTemplate: /a, augments: [!<sentenceMetadata> {jsonPaths: []}]}]", "language model"),
        ("endpoints: [{pathTemplate: /a, augments: [!<redact> {jsonPaths: []}]}]", "'redact' is not one of"),
    ],
)
def test_faulty_files_are_refused(text: str | bytes, fault: str) -> None:
    """What would be misread, or would let data pass, is told to the operator."""
    assert any(fault in each for each in faults_of(text))


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("columnsToPseudonymize: [mail]\ndelimiter: ','", "columnar"),
        ("pseudonymFormat: JSON", "columnar"),
        ("format: NDJSON\ntransforms:\n  - redact: foo", "record"),
        ("fileRules:\n  /export/{week}.csv:\n    columnsToRedact: [a]", "multi-type"),
    ],
)
def test_rules_for_bulk_files_are_recognised(text: str, shape: str) -> None:
    """One fault says what the file is for, in place of a list of unknown keys."""
    assert faults_of(text) == [f"line 1: these are {shape} rules for bulk files, not rules for API data"]


def test_no_fault_shows_more_than_the_file_says() -> None:
    """The name of the file stands before every fault, also when there is no line."""
    with pytest.raises(ConfigurationError) as caught:
        load_rest_rules("", name="teams.yaml")
    assert caught.value.faults == ("teams.yaml: empty",)


@pytest.mark.parametrize(
    ("endpoint", "matching", "others"),
    [
        (
            {"pathTemplate": "/v1.0/Widgets/{id}"},
            ["/v1.0/widgets/5", "/v1.0/widgets/5?$top=1"],
            ["/v1.0/widgets/", "/v1.0/widgets/5/x", "/v1x0/widgets/5"],
        ),
        ({"pathTemplate": "/a/{x?}/b"}, ["/a//b", "/a/1/b"], ["/a/b"]),
        ({"pathTemplate": "/f(from={a},to={b})"}, ["/f(from=1,to=2)"], ["/f(from=,to=2)"]),
        ({"pathRegex": "^/a/[^/]*$"}, ["/A/x?y=1"], ["/a/x/y", "/b/a/x"]),
        ({"pathTemplate": "/a", "allowedQueryParams": ["$Top"]}, ["/a", "/a?$top=1"], ["/a?$skip=1", "/a?$top=1&x"]),
        ({"pathTemplate": "/a", "allowedQueryParams": []}, ["/a"], ["/a?x=1"]),
        ({"pathTemplate": "/a", "allowedMethods": ["get"]}, ["/a"], []),
        ({"pathTemplate": "/a", "allowedMethods": ["POST"]}, [], ["/a"]),
        (
            {"pathTemplate": "/a/{u}", "pathParameterSchemas": {"u": {"format": "reversible-pseudonym"}}},
            [f"/a/{TOKEN_ID}"],
            ["/a/5"],
        ),
        (
            {"pathTemplate": "/a", "queryParamSchemas": {"n": {"type": "integer", "required": True}}},
            ["/a?n=-5", "/a?N=5"],
            ["/a", "/a?n=x", "/a?n=5.5"],
        ),
        (
            {"pathTemplate": "/a", "queryParamSchemas": {"n": {"type": "number"}, "s": {"enum": ["x", "y"]}}},
            ["/a", "/a?n=5.5", "/a?s=y"],
            ["/a?n=5.", "/a?s=z"],
        ),
        (
            {"pathTemplate": "/a/{p}", "pathParameterSchemas": {"p": {"anyOf": [{"pattern": "x+"}, {"enum": ["y"]}]}}},
            ["/a/xx", "/a/y"],
            ["/a/xy"],
        ),
    ],
)
def test_endpoints_match(endpoint: dict[str, object], matching: list[str], others: list[str]) -> None:
    """Templates see the path, regular expressions path and query, both in any case; parameters have to fit."""
    rules = load_rest_rules(tables.render([endpoint | {"transforms": []}]))
    assert [url for url in matching if rules.match(url) is None] == []
    assert [url for url in others if rules.match(url) is not None] == []


@pytest.mark.parametrize(
    ("file", "shape", "pattern"),
    [
        (tables.ENTRA_ID, "/v1.0/users", "^/v1.0/users/?[^/]*"),
        (tables.ENTRA_ID, "/v1.0/groups/{}/members", "^/v1.0/groups/[^/]*/members.*"),
        (tables.OUTLOOK_MAIL, "/v1.0/users/{}/messages/{}", "^/v1.0/users/[^/]*/messages/[^/]*"),
        (tables.OUTLOOK_MAIL_NO_APP_IDS, "/v1.0/users/{}/messages/{}", f"{tables.NO_APP_ID_USER}/messages/[^/]*"),
        (
            tables.OUTLOOK_CAL_NO_APP_IDS,
            "/v1.0/users/{}/calendar/calendarView?startDateTime=x",
            f"{tables.NO_APP_ID_USER}{tables.CALENDAR_TAIL}",
        ),
        (tables.TEAMS, "/v1.0/communications/callRecords/{}", tables.CALL_RECORDS),
        (tables.TEAMS_NO_USER_IDS, "/v1.0/users/{}/chats", f"{tables.NO_APP_ID_USER}/chats(\\?.*)?"),
        (tables.ONEDRIVE_NO_APP_IDS, "/v1.0/users/{}/drives", "/v1.0/users/{userId}/drives"),
        (tables.COPILOT, tables.COPILOT_PATH.replace("{id}", "{}"), tables.COPILOT_PATH),
    ],
)
def test_a_kind_of_record_finds_its_endpoint(file: list[dict[str, object]], shape: str, pattern: str) -> None:
    """Files that expect tokens in place of ids are matched with one, others with a plain id."""
    rules = load_rest_rules(tables.render(file, tables.DRIVE_DEFINITIONS))
    endpoint = rules.match_shape(shape)
    assert endpoint is not None
    assert endpoint.name == pattern
    assert rules.match_shape("/v1.0/unheard/of") is None


@given(st.text() | st.binary())
def test_loading_is_total(data: str | bytes) -> None:
    """Any file at all is rules, or a configuration error."""
    with suppress(ConfigurationError):
        load_rest_rules(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
