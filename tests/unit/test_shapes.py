"""The declared shape of a column fits everything its treatment can give, and nothing that names a person."""

import re
from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sanitize.columns import TEXT_TYPES
from pipeline.sanitize.pseudonym import DomainHandling, Pseudonymizer
from pipeline.sanitize.rules import DROP, KEEP, PROFILES, FieldRule, Profile, RulesError, _parse_file, built_in_rules
from pipeline.sanitize.shapes import Shape, TokenForms, declared_shape
from pipeline.sanitize.treatments import Treatments

GUID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
CLOSED_TREATMENTS = (
    "pseudonymize", "pseudonymize-reversible", "pseudonymize-smtp", "tokenize", "message-id-host", "keep-guid",
    "chat-id", "join-url", "group-address",
)  # fmt: skip
DOMAINS: tuple[DomainHandling, ...] = ("preserve", "tokenize", "encrypt", "redact")
MEETUP = "https://teams.microsoft.com/l/meetup-join/19%3ameeting_Zm9v%40thread.v2/0?context=%7b%22Oid%22%3a%22{}%22%7d"

# What Graph, other mail systems and people put into such fields, and what they should not.
LIKELY_TEXTS = st.sampled_from([
    "", " ", "anna.schmidt@contoso.com", "Anna Schmidt <anna.schmidt@contoso.com>", "anna+news@Contoso.co.uk",
    "smtp:anna@contoso.com", "smtp:anna@contoso.com\n",
    "SMTP:Anna@contoso.com", "SIP:anna@contoso.com", GUID, "+49 30 1234567", "8:acs:x_y",
    f"19:{GUID}_{GUID}@unq.gbl.spaces", "19:meeting_Zm9v@thread.v2", "19:abc@thread.tacv2", "48:notes",
    MEETUP.format(GUID), MEETUP.format("anna@contoso.com"), MEETUP.format(" "), "https://example.zoom.us/j/1",
    "http://Anna Schmidt/room", "https://anna@contoso.com/", "https://[::1]/x", "Anna Schmidt", "null",
    "<abc.def@mail.contoso.com>", "a@b", "ä@contoso.com",
])  # fmt: skip


@cache
def treatments(domains: DomainHandling, *, key: str | None = "key", group_original: bool = True) -> Treatments:
    pseudonymizer = Pseudonymizer(salt="salt", encryption_key=key, domain_key="key", domains=domains)
    return Treatments(pseudonymizer, group_original=group_original)


def rule_with(treatment: str) -> FieldRule:
    return FieldRule("x", "string", dict.fromkeys(PROFILES, treatment), "why", "source")


def fits(shape: Shape | None, text: str) -> bool:
    assert shape is not None
    return text == "" or re.fullmatch(shape.pattern, text) is not None


@pytest.mark.parametrize(("treatment", "domains"), list(product(CLOSED_TREATMENTS, DOMAINS)))
@given(text=LIKELY_TEXTS | st.text(max_size=80))
def test_every_result_of_a_treatment_has_its_shape(treatment: str, domains: DomainHandling, text: str) -> None:
    """Whatever comes in, with or without an encryption key, what a closed treatment gives matches in full."""
    for key, original in product(("key", None), (True, False)):
        forms = TokenForms(domains=domains, group_original=original)
        shape = declared_shape(rule_with(treatment), "strict", forms)
        [result] = treatments(domains, key=key, group_original=original)[treatment]([text])
        assert result is None or fits(shape, result)


@pytest.mark.parametrize("treatment", [each for each in CLOSED_TREATMENTS if each != "group-address"])
@pytest.mark.parametrize("leak", ["anna.schmidt@contoso.com", "Anna Schmidt", "+49 30 1234567", "Anna", "5551234567"])
def test_no_closed_shape_lets_a_person_through(treatment: str, leak: str) -> None:
    """Name, address and number match none of the shapes, alone or behind a token."""
    shape = declared_shape(rule_with(treatment), "psoxy", TokenForms())
    [token] = treatments("preserve")["pseudonymize"](["x"])
    assert not fits(shape, leak)
    assert not fits(shape, f"{token} {leak}")


def test_a_domain_is_part_of_the_shape_only_as_configured() -> None:
    """With tokenized or removed domains a readable one is a breach."""
    token = "t~" + "a" * 43
    for domains in DOMAINS:
        shape = declared_shape(rule_with("pseudonymize"), "strict", TokenForms(domains=domains))
        assert fits(shape, f"{token}@contoso.com") is (domains == "preserve")


def test_a_groups_own_address_fits_only_where_it_may_stay() -> None:
    """The readable address inside the JSON form needs the option."""
    [text] = treatments("preserve")["group-address"](["team@contoso.com"])
    assert text is not None
    for allowed in (True, False):
        shape = declared_shape(rule_with("group-address"), "psoxy", TokenForms(group_original=allowed))
        assert fits(shape, text) is allowed


@pytest.mark.parametrize(
    ("dataset", "path", "good", "bad"),
    [
        ("mail_messages", "id", "AAMkAGI2TG93AAA=" + "A" * 100, "Anna Schmidt 1234567"),
        ("mail_messages", "@odata.type", "#microsoft.graph.eventMessageRequest", "anna@contoso.com"),
        ("mail_messages", "importance", "normal", "not normal at all"),
        ("teams_chat_messages", "id", "1612289992105", "+49 30 1234567"),
        ("teams_chats", "id", "19:meeting_Zm9vYmFy@thread.v2", "8:live:anna.schmidt"),
        ("teams_chats", "tenantId", GUID, "contoso"),
        ("mailbox_settings", "workingHours.startTime", "08:00:00.0000000", "08:00 at Anna's"),
        ("teams_chat_messages", "eventDetail.callDuration", "PT1H2M3.5S", "1 hour"),
        ("entra_users", "userType", "Guest", "anna@contoso.com"),
        ("entra_users", "usageLocation", "US", "Unter den Linden"),
        ("entra_groups", "visibility", "HiddenMembership", "hidden from Anna"),
        ("mailbox_settings", "language.locale", "en-US", "Anna Schmidt"),
        ("mailbox_settings", "language.locale", "zh-Hans-CN", "+49 30 1234567"),
        ("mailbox_settings", "language.locale", "es-ES_tradnl", "anna.schmidt"),
        ("mailbox_settings", "language.locale", "es-419", "x-4930123-4567890"),
        ("teams_direct_routing_calls", "correlationId", GUID, "anna"),
        ("teams_pstn_calls", "usageCountryCode", "DE", "+49"),
        ("teams_chat_messages", "policyViolation.verdictDetails", "allowOverride, allowReport", "Anna said so"),
    ],
)
def test_kept_values_of_known_form(dataset: str, path: str, good: str, bad: str) -> None:
    """Forms that Graph documents match; what does not look like them does not."""
    [rule] = [rule for rule in built_in_rules()[dataset].fields if rule.path == path]
    shape = declared_shape(rule, "psoxy", TokenForms())
    assert fits(shape, good)
    assert not fits(shape, bad)


def test_every_text_column_has_a_shape_or_is_open_on_purpose() -> None:
    """In the strict profile only service texts, fixed phrases and single-word settings are open."""
    open_columns = {
        f"{dataset}.{rule.path}"
        for dataset, rules in built_in_rules().items()
        for rule in rules.fields
        if rule.type in TEXT_TYPES and _is_open(rule, "strict")
    }
    assert all(_treatment(path) in {KEEP, "title-phrases"} for path in open_columns)
    assert not {path for path in open_columns if path.endswith((".id", "Url", "Link", ".address", ".email"))} - {
        "teams_channel_messages.from.application.id",
        "teams_channel_messages.mentions[].mentioned.application.id",
        "teams_channel_messages.eventDetail.initiator.application.id",
        "teams_chat_messages.from.application.id",
        "teams_chat_messages.mentions[].mentioned.application.id",
        "teams_chat_messages.eventDetail.initiator.application.id",
        "teams_call_records.organizer_v2.identity.application.id",
        "teams_call_records.participants_v2[].identity.application.id",
    }


def test_shape_without_a_kept_value_is_refused() -> None:
    """A `shape` that would never be looked at is a mistake in the rules; so is an exemption without a reason."""
    for extra in ({"shape": "number"}, {"exempt": {"phone": " "}}):
        field = {"type": "string", "psoxy": "pseudonymize", "why": "because", **extra}
        dataset = {"version": 1, "row": "r", "source": "s", "key": ["id"], "fields": {"id": field}, "dropped": {}}
        with pytest.raises(RulesError, match="id"):
            _parse_file({"connector": "c", "datasets": {"d": dataset}}, "f.yaml")


def _is_open(rule: FieldRule, profile: Profile) -> bool:
    return rule.treatment(profile) != DROP and declared_shape(rule, profile, TokenForms()) is None


def _treatment(path: str) -> str:
    dataset, _, inner = path.partition(".")
    return next(rule for rule in built_in_rules()[dataset].fields if rule.path == inner).treatment("strict")
