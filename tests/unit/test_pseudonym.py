"""Tokens equal those of a Psoxy with the same salt and key, and no input makes them fail or leak."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.sanitize.java_regex import compile_java
from pipeline.sanitize.pseudonym import Pseudonymizer, UnexpectedType, is_token, salt_fingerprint

SALT = "acme-exporter-vector-salt"
KEY = "acme-exporter-vector-key"
H1 = "tcoSjWgpOzw0u0g7_SRE7H_C027u1SoCoFIN4Byxabk"
TOKEN_1 = f"t~{H1}@example.org"
GUID = "3f2b1c00-aaaa-4bbb-8ccc-0123456789ab"
SMTP = compile_java("(?i)^smtp:(.*)$")
SEALED = "p~tcoSjWgpOzw0u0g7_SRE7H_C027u1SoCoFIN4ByxabnRIRWnCVlmHZ_tgsWKkuglElM_263AZ3L8ga8H3NytxA"

VECTORS: list[tuple[int, object, str | None]] = [
    (1, "dana@example.org", TOKEN_1),
    (2, "Dana@Example.ORG", f"t~{H1}@Example.ORG"),
    (3, "dana+news@example.org", TOKEN_1),
    (4, "DANA+a+b@example.org", TOKEN_1),
    (5, " dana@example.org ", TOKEN_1),
    (6, "dana @ example.org", TOKEN_1),
    (7, "Dana Fox <dana@example.org>", TOKEN_1),
    (8, '"Fox, Dana" <dana@example.org>', TOKEN_1),
    (9, '"Dána Fox"<dana@example.org>', TOKEN_1),
    (10, "<dana@example.org>", TOKEN_1),
    (11, "dana@example.org (home)", TOKEN_1),
    (12, '"dana"@example.org', TOKEN_1),
    (13, "d.ana@example.org", "t~tzkpS25NKufX-knmvOIRLWj1bpdobbI2bsLqGRbzAXo@example.org"),
    (14, '"da na"@example.org', "t~QTGPTAW_J38vKqykOfEojmbo-_CjJGg79-WwIqkozBk@example.org"),
    (15, "+tag@example.org", "t~qK4k3LLJLxJsLxaxv80lVfTHqeQC9l9TvrviSGgVZT8@example.org"),
    (16, "o'hara@example.org", "t~G1cR9RzJVjR18I7Wz75oZGpNXDuKbBnxyfRk8BUZoNY@example.org"),
    (
        17,
        "dana_x.net#EXT#@tenant.onmicrosoft.com",
        "t~s3gh7i-VWY0hecIQACyRL2A4OjoFhuBLFTe7KzbkR3A@tenant.onmicrosoft.com",
    ),
    (18, "dana@example.org\n", "t~xvWuV-5XuGgr692XMi8LhZaXDnpzulxxRLNRyzC3qmc"),
    (19, "Dana F. Fox <dana@example.org>", "t~z2ihIT2fqm3H-hMCjn7vlY8dxHLlTVaA03z32sfTpWI"),
    (20, "Dána <dana@example.org>", "t~X_9_DHcWnt_CrGWdgMFmMouTVw_ww4aZxusHWEpG0V4"),
    (21, "dana@localhost", "t~LjISuxS0jMaKZdUSwo8bd0pxgK9hWHIanac29FzKKtw"),
    (22, "dana@[10.0.0.1]", "t~FE1e4ih_srwlFbOYJvIp2NnUvRE6-1RCVUaC2hjn4a4"),
    (23, "dana@example.xn--p1ai", "t~I6bhZnm9vPdDOAZKBB0LZf_TPXkVX4xhfuS3kSXS6nA"),
    (24, "dana@ex_ample.org", "t~OYhDXZVCUuYVwtCiox3bFFqay9ftcOaDvGPnCXlVswQ"),
    (25, "dána@example.org", "t~Tzx2V7Uav5WcCPEUA0uGOaJjYyDed9CCgzAD4VoTkL8"),
    (26, "dana\u00a0@example.org", "t~h1D5zo3LVxyAIZEeUCWjq-k9YGpSFSGYXCVt5tLJ3zg"),
    (27, "smtp:dana@example.org", "t~BVGEkGGUXRVyDmWIvZgYcpM6vNtSvrQ6jO1IyL3rBgI"),
    (28, "dana@example.org, lee@example.org", "t~oVx0MstjzU1GCxw6-fmFpr0TjgcuDhxzkRyWhLzZ_rw"),
    (
        29,
        "/o=Org/ou=Exchange Administrative Group (ABC)/cn=Recipients/cn=dana",
        "t~jznri_f_5HZ_yEt_eyRwEIB_CJF9DZlozedwX70snmE",
    ),
    (30, "dana", "t~k9TPGPQmxWPyuqCGNQ-_d8hi57ixeK7X9ZUaz4yQM2s"),
    (31, "Dana", "t~wWwS_QgoExU2VXhOmdXh_Y8kRv_Pjjxc6NpDlMpQ5kk"),
    (32, " dana", "t~e8hrTYmB07B3IsEGIpH5AtLItIGRn5XzcZT8yU1u9Yo"),
    (33, "10042", "t~LS3kRRE2-K25QxBgjI2CYuPcTGQY_jV_6N9z_KwURWE"),
    (33, 10042, "t~LS3kRRE2-K25QxBgjI2CYuPcTGQY_jV_6N9z_KwURWE"),
    (34, GUID, "t~y4VItAacqbLSk1ZsXMdT3kVHeg-3yIJ5G1jfGCKuMm4"),
    (35, GUID.upper(), "t~m12nRK2LreYK-edjz7sgnC5SOX_U-YtRBeASD80u6PM"),
    (36, "İsmail", "t~bk2Ed-uZEUvRdLEXu5_JKw5YAcrpThxCZcvV_8kqItY"),
    (37, "😀", "t~T6a-ssMcMINbqLdGQHHYNdaXs7pA78tukbYcQOcaBjo"),
    (38, TOKEN_1, "t~G8iYHuR28jT5Efgy83TugxdqXQ5-u3UvqQZS2JsoaRs@example.org"),
    (39, None, None),
    (39, "", None),
    (39, "  ", None),
    (40, 3.5, "t~3f3oWatqN1cLVoWqMKvTSRz246KVwp0qmIPoL1hXQ0U"),
    (40, Decimal("3.50"), "t~3f3oWatqN1cLVoWqMKvTSRz246KVwp0qmIPoL1hXQ0U"),
    (40, "3.5", "t~3f3oWatqN1cLVoWqMKvTSRz246KVwp0qmIPoL1hXQ0U"),
]

JSON_DANA = f'{{"domain":"example.org","hash":"{H1}"}}'
ROW_43 = f'{{"domain":"Example.ORG","hash":"{H1}","original":"Dana@Example.ORG"}}'
ROW_44 = '{"hash":"LS3kRRE2-K25QxBgjI2CYuPcTGQY_jV_6N9z_KwURWE","original":"10042"}'
ROW_47 = "p~tcoSjWgpOzw0u0g7_SRE7H_C027u1SoCoFIN4ByxabnburG-oS66GOAlDxLrEY-oBzVm_XQ_wyjkSlMjx7ai5g@example.org"
ROW_48 = "p~y4VItAacqbLSk1ZsXMdT3kVHeg-3yIJ5G1jfGCKuMm7FSMIg3xKr5FNVprMCFQiWQvyCaNByyR5NwRPp2cR82hv2bkeCC4Fv4mDb1RA1JXI"
ROW_49 = "p~Y6orT5hGqEhKN2fhCVlNny3WwGRTpjFBrHY6J9LLpTnkXraAezwgXzpmP3IsDTP98McihyY5_xVFKmIxFJ4z0g"
ROW_54 = f"t~{H1}@example.org,t~9exjkr21oY5I5qCwad8w7Y32VSTfBycyWXSFjOVCCGY@example.org"
ROW_55 = f"t~{H1}@h~CN8u-wCjfz2OyyBP8CZTCd1tFqIGptLfT_1ADTOE8g0"
ROW_56 = f"t~{H1}@e~CN8u-wCjfz2OyyBP8CZTCd1tFqIGptLfT_1ADTOE8g2k_5iV0bqg9oFbs-QqhoMc"


def make(**options: Any) -> Pseudonymizer:
    return Pseudonymizer(**{"salt": SALT, "encryption_key": KEY} | options)


PSEUDONYMS = make()


@pytest.mark.parametrize(("row", "value", "token"), VECTORS)
def test_token_equals_its_vector(row: int, value: object, token: str | None) -> None:
    """Rows 1 to 40: what is recognised as an address, its canonical form, and the token."""
    assert PSEUDONYMS.token(value) == token


def test_tokens_in_bulk_equal_the_vectors_before_and_after_they_are_cached() -> None:
    """The fast path and its cache give what the careful path gives, in order, with repetitions."""
    rows = [(value, token) for _, value, token in VECTORS if value is None or isinstance(value, str)] * 2
    for _ in range(2):
        assert PSEUDONYMS.tokens([value for value, _ in rows]) == [token for _, token in rows]


@pytest.mark.parametrize(
    ("row", "actual", "expected"),
    [
        (41, make(canonicalization="ignore-dots").token("d.a.n.a+x@Example.org"), f"t~{H1}@Example.org"),
        (42, PSEUDONYMS.as_json("dana@example.org"), JSON_DANA),
        (43, PSEUDONYMS.as_json("Dana@Example.ORG", include_original=True), ROW_43),
        (44, PSEUDONYMS.as_json("10042", include_original=True), ROW_44),
        (45, PSEUDONYMS.as_json(None), "null"),
        (45, PSEUDONYMS.as_json(" "), "null"),
        (46, PSEUDONYMS.reversible("dana@example.org"), f"{SEALED}@example.org"),
        (47, PSEUDONYMS.reversible("Dana@example.org"), ROW_47),
        (48, PSEUDONYMS.reversible(GUID), ROW_48),
        (49, PSEUDONYMS.tokenize("19:abc_def@thread.v2"), ROW_49),
        (50, PSEUDONYMS.tokenize("dana@example.org"), SEALED),
        (51, PSEUDONYMS.regex_matches("SMTP:Dana@Example.org", SMTP), f"SMTP:t~{H1}@Example.org"),
        (
            52,
            PSEUDONYMS.regex_matches("smtp:not-an-email", SMTP),
            "smtp:t~8ijhwbmcO3n4zWA3-Zoq5wqaLNdm0fgtEt35IP6cbb0",
        ),
        (53, PSEUDONYMS.regex_matches("SIP:dana@example.org", SMTP), None),
        (53, PSEUDONYMS.regex_matches("smtp:", SMTP), None),
        (53, PSEUDONYMS.regex_matches("smtp: ", SMTP), None),
        (53, PSEUDONYMS.regex_matches("X500:/o=Org/cn=dana", SMTP), None),
        (53, PSEUDONYMS.regex_matches(None, SMTP), None),
        (54, PSEUDONYMS.email_header('"Fox, Dana" <dana@example.org>, lee@example.org'), ROW_54),
        (55, make(domains="tokenize", domain_salt="domain-salt").token("dana@example.org"), ROW_55),
        (
            56,
            make(domains="encrypt", domain_salt="domain-salt", domain_key="domain-key").token("dana@example.org"),
            ROW_56,
        ),
        (57, make(domains="redact").token("dana@example.org"), f"t~{H1}"),
        (58, PSEUDONYMS.hash_ip("192.0.2.7"), "t~aXUlJiYImq4EsU0tglLIQw6mFIZqUeiHt93-olfrdt8"),
        (59, PSEUDONYMS.hash_ip("2001:DB8::1"), "t~UpmVOc7GZ_OIW7XfSFjxeVuOHLF_QlbRlE0E4e9tKWM"),
        (60, salt_fingerprint(SALT), "tKjRZjXOS4D1XIr8BtXvzqrIOqhtAmD6Qm.bUslJkjo"),
    ],
)
def test_other_forms_equal_their_vectors(row: int, actual: str | None, expected: str | None) -> None:
    """Rows 41 to 60: canonical forms, encodings, domains, IP addresses, the fingerprint of the salt."""
    assert actual == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "boolean"),
        (False, "boolean"),
        ({"a": "dana"}, "object"),
        (["dana"], "array"),
        (10**5000, "number"),
    ],
    ids=["true", "false", "object", "array", "endless"],
)
def test_types_without_a_pseudonym_are_refused_without_showing_the_value(value: object, kind: str) -> None:
    """Booleans, objects, arrays and endless numbers raise an error which names the type alone."""
    for method in (PSEUDONYMS.token, PSEUDONYMS.reversible, PSEUDONYMS.hash_only, PSEUDONYMS.as_json):
        with pytest.raises(UnexpectedType) as caught:
            method(value)
        assert caught.value.kind == kind
        assert "dana" not in str(caught.value)


def test_regex_and_header_pseudonyms_take_text_only() -> None:
    """Numbers are identifiers for `token`, but an error where text is searched."""
    with pytest.raises(UnexpectedType):
        PSEUDONYMS.regex_matches(5, SMTP)
    with pytest.raises(UnexpectedType):
        PSEUDONYMS.email_header(5)


def test_regex_replaces_every_match_and_only_the_first_group() -> None:
    """Text around the matches stays as it is; without a group the whole match is replaced."""
    dana, lee = PSEUDONYMS.token("dana"), PSEUDONYMS.token("lee")
    assert PSEUDONYMS.regex_matches("a=dana;a=lee;b", compile_java("a=([a-z]+);")) == f"a={dana};a={lee};b"
    assert PSEUDONYMS.regex_matches("<dana> <lee>", compile_java("[a-z]+")) == f"<{dana}> <{lee}>"
    assert PSEUDONYMS.regex_matches("x", compile_java("(a)|x")) is None


def test_regex_can_give_reversible_tokens() -> None:
    """The replaced part takes the reversible form when asked for."""
    expected = f"smtp:{PSEUDONYMS.reversible('dana@example.org')}"
    assert PSEUDONYMS.regex_matches("smtp:dana@example.org", SMTP, reversible=True) == expected


def test_a_raw_token_is_never_taken_for_an_address() -> None:
    """The text is hashed as it stands and no domain stays behind; blank text has no token."""
    assert PSEUDONYMS.raw_token("dana") == PSEUDONYMS.token("dana")
    assert PSEUDONYMS.raw_token("dana@example.org") == f"t~{H1}"
    assert PSEUDONYMS.raw_token("Dana@example.org") != f"t~{H1}"
    assert PSEUDONYMS.raw_token(" ") is None


def test_tokenize_with_a_pattern_replaces_every_occurrence_of_its_group() -> None:
    """A link keeps its shape; one the pattern does not match stays, as the rules of Psoxy have it."""
    pattern = compile_java("^https://h/users/([a-z]+)/.*$")
    sealed = PSEUDONYMS.tokenize("dana")
    assert PSEUDONYMS.tokenize("https://h/users/dana/x?u=dana", pattern) == f"https://h/users/{sealed}/x?u={sealed}"
    assert PSEUDONYMS.tokenize("https://h/teams/dana/x", pattern) == "https://h/teams/dana/x"
    others: list[object] = [" ", None, 5, True, {}]
    assert [PSEUDONYMS.tokenize(value) for value in others] == [" ", None, None, None, None]


@pytest.mark.parametrize("header", ["a@b.org,,c@d.org", "a@b.org,", "Dana Fox", "a@b.org; c@d.org"])
def test_a_header_that_is_no_address_list_has_no_tokens(header: str) -> None:
    """One part that is not understood drops the whole header."""
    assert PSEUDONYMS.email_header(header) is None


def test_header_of_groups_and_as_json() -> None:
    """The members of a group count like the others; JSON gives an array; blank gives empty text."""
    dana = PSEUDONYMS.token("dana@example.org")
    assert (
        PSEUDONYMS.email_header("team: dana@example.org, DANA@example.org;, dana@example.org")
        == f"{dana},{dana},{dana}"
    )
    assert (
        PSEUDONYMS.email_header("dana@example.org, Dana <dana@example.org>", as_json=True)
        == f"[{JSON_DANA},{JSON_DANA}]"
    )
    assert PSEUDONYMS.email_header(" ") == ""
    assert PSEUDONYMS.email_header(None) is None


@pytest.mark.parametrize(("one", "other"), [("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:0:0::1", "2001:DB8::1")])
def test_spellings_of_one_ip_address_have_one_hash(one: str, other: str) -> None:
    """IPv6 is compared without compression, mapped IPv4 as IPv4."""
    assert PSEUDONYMS.hash_ip(one) == PSEUDONYMS.hash_ip(other)
    assert PSEUDONYMS.encrypt_ip(one) == PSEUDONYMS.encrypt_ip(other)


def test_what_is_no_ip_address_never_passes() -> None:
    """Text with a zone, brackets, a port or anything else becomes None; blank text stays."""
    for value in ("fe80::1%eth0", "[::1]", "192.0.2.7:80", "dana", 7, None, True):
        assert PSEUDONYMS.hash_ip(value) is None
        assert PSEUDONYMS.encrypt_ip(value) is None
    assert PSEUDONYMS.hash_ip(" ") == " "
    assert PSEUDONYMS.encrypt_ip("") == ""


def test_an_encrypted_ip_address_carries_the_hash_of_the_hashed_one() -> None:
    """Both kinds of IP pseudonym join on the first 42 characters."""
    sealed, hashed = PSEUDONYMS.encrypt_ip("192.0.2.7"), PSEUDONYMS.hash_ip("192.0.2.7")
    assert sealed is not None
    assert hashed is not None
    assert sealed[2:44] == hashed[2:44]
    assert make(ip_salt="other").hash_ip("192.0.2.7") != hashed


def test_without_a_key_only_irreversible_forms_work() -> None:
    """A missing encryption key is a fault of the configuration, told before anything is written."""
    pseudonyms = Pseudonymizer(salt=SALT)
    assert pseudonyms.token("dana@example.org") == TOKEN_1
    assert not pseudonyms.can_reverse
    with pytest.raises(ConfigurationError, match="encryption_key"):
        pseudonyms.reversible("dana@example.org")
    with pytest.raises(ConfigurationError, match="encryption_key"):
        Pseudonymizer(salt=SALT, domains="encrypt")
    with pytest.raises(ConfigurationError, match="salt"):
        Pseudonymizer(salt="")


def test_no_secret_is_shown() -> None:
    """Neither salt nor keys appear where a pseudonymizer is printed or compared."""
    secrets = {"salt": "S-a-l-t", "encryption_key": "K-e-y", "domain_salt": "DS-1", "ip_key": "IK-1"}
    shown = repr(make(**secrets)) + str(make(**secrets)) + f"{make(**secrets)}"
    assert not [secret for secret in secrets.values() if secret in shown]


@pytest.mark.parametrize("domains", ["preserve", "tokenize", "encrypt", "redact"])
@pytest.mark.parametrize("canonicalization", ["strict", "ignore-dots"])
def test_bulk_and_single_tokens_agree_in_every_mode(domains: str, canonicalization: str) -> None:
    """Whatever the mode, the fast path changes nothing."""
    pseudonyms = make(domains=domains, canonicalization=canonicalization, cache_entries=8)
    values = [value for _, value, _ in VECTORS if value is None or isinstance(value, str)]
    assert pseudonyms.tokens(values) == [pseudonyms.token(value) for value in values]


def test_threads_share_one_pseudonymizer() -> None:
    """Two threads that race through a cache too small for their values still get the right tokens."""
    pseudonyms = make(cache_entries=64)
    names = [f"user{number % 150}@example.org" for number in range(4_000)]
    expected = [PSEUDONYMS.token(name) for name in names]
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(pseudonyms.tokens, [names, names[::-1], names, names[::-1]]))
    assert results == [expected, expected[::-1], expected, expected[::-1]]


@given(st.text() | st.from_regex(r"[a-z .+\"<>()\\@\r\n\t-]{0,20}@[a-z.-]{0,8}", fullmatch=True))
def test_every_text_has_a_token_or_is_blank(text: str) -> None:
    """`token` is total on text: it never raises, and gives nothing but the agreed form."""
    token = PSEUDONYMS.token(text)
    assert token is None or is_token(token)
    assert PSEUDONYMS.tokens([text]) == [token]


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=6))
def test_no_identifier_shows_through_its_token(text: str) -> None:
    """The value is not found in its pseudonym; what stands behind the `@` is a domain, kept on purpose."""
    for form in (PSEUDONYMS.token(text), PSEUDONYMS.reversible(text), PSEUDONYMS.as_json(text)):
        assert form is None or text not in form.partition("@")[0]


PLAIN = st.from_regex(
    r"[A-Za-z0-9_'#]{1,8}(\.[a-zA-Z]{1,4})?(\+[a-z]{0,3})?@[A-Za-z0-9]{1,6}\.[A-Za-z]{2,5}", fullmatch=True
)


@given(PLAIN, st.sampled_from(["{}", " {} ", "<{}>", "Dana Fox <{}>", "{} (home)"]))
def test_the_canonical_form_is_its_own(address: str, dress: str) -> None:
    """Case, dress and a second canonicalization change nothing of the hash."""
    local, _, domain = address.lower().partition("@")
    canonical = f"{local.partition('+')[0]}@{domain}"
    for spelling in (address.upper(), address.lower(), canonical):
        assert PSEUDONYMS.hash_only(dress.format(spelling)) == PSEUDONYMS.hash_only(address)


def test_no_local_part_shows_through_its_token() -> None:
    """Addresses in every dress lose their local part and display name."""
    chance = random.Random(20_261)
    dresses = [
        "{}@example.org",
        " {}@Example.org ",
        "Zyx {} <{}@example.org>",
        '"{}"@example.org',
        "({}) {}@example.org",
    ]
    for _ in range(2_000):
        name = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=8))
        text = chance.choice(dresses).replace("{}", name)
        for form in (PSEUDONYMS.token(text), PSEUDONYMS.reversible(text), PSEUDONYMS.as_json(text)):
            assert form is not None
            assert name not in form


def test_tokens_are_told_from_identifiers() -> None:
    """The form of a token is recognised with and without domain, and nothing shorter is."""
    for token in (TOKEN_1, f"t~{H1}", ROW_48, ROW_55, ROW_56, f"{SEALED}@example.org"):
        assert is_token(token)
    for text in ("dana@example.org", "t~abc", f"t~{H1}x", f"x{TOKEN_1}", f"{TOKEN_1} ", GUID, ""):
        assert not is_token(text)


def test_json_form_escapes_like_the_proxy() -> None:
    """Control characters take upper-case hexadecimal escapes, other characters stay as they are."""
    text = PSEUDONYMS.as_json('é"\x1f', include_original=True)
    assert text.endswith('"original":"é\\"\\u001F"}')
    assert json.loads(text)["original"] == 'é"\x1f'
