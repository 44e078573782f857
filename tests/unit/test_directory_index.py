"""What the index knows of a tenant's people, and how it finds them in a text."""

from collections.abc import Mapping

import msgspec
import pytest

from pipeline.sanitize.columns import output_schema
from pipeline.sanitize.directory_index import EXTRA_SELECT, DirectoryIndex
from pipeline.sanitize.rules import built_in_rules


def index(*users: Mapping[str, object]) -> DirectoryIndex:
    directory = DirectoryIndex(key=b"a key for tests")
    directory.learn(msgspec.json.encode(users))
    return directory


ANNA = {
    "displayName": "Anna Schmidt",
    "mail": "anna.schmidt@contoso.com",
    "userPrincipalName": "aschmidt@corp.contoso.com",
    "proxyAddresses": ["SMTP:a.schmidt@contoso.org", "X500:/o=x"],
    "businessPhones": ["+49 (30) 901 820-11"],
    "mobilePhone": None,
}


@pytest.mark.parametrize(
    "text",
    [
        "Anna Schmidt",
        "anna SCHMIDT",
        "with Anna Schmidt, Room 3",
        "Anna  Schmidt's desk",
        "https://contoso.com/anna-schmidt",
        "meet?who=Anna%20Schmidt",
        "x_Anna_Schmidt_y",
    ],
)
def test_a_full_name_is_found_as_words_of_its_own(text: str) -> None:
    """In any case, with any separator between its words, also percent-encoded."""
    assert index(ANNA).holds_name(text)


@pytest.mark.parametrize(
    "text", ["Anna", "Schmidt", "Anna Schmidtke", "Hanna Schmidt", "Schmidt, Anna", "", "Anna B. Schmidt"]
)
def test_parts_and_longer_words_are_no_name(text: str) -> None:
    """One word of it, a word that only begins with it, another order: not this name."""
    assert not index(ANNA).holds_name(text)


def test_a_name_with_a_comma_is_known_in_both_orders() -> None:
    """Many directories write the family name first, and add a company in brackets."""
    directory = index({"displayName": "Schmidt, Anna (Contoso)"})
    assert directory.holds_name("Anna Schmidt")
    assert directory.holds_name("Schmidt, Anna")
    assert not directory.holds_name("Contoso Anna")


def test_a_name_of_one_word_is_none() -> None:
    """May, Sales and Canada are found everywhere."""
    directory = index(*({"displayName": name} for name in ("May", "Sales", "Canada", "O'Hara")))
    assert not any(
        directory.holds_name(text) for text in ("May", "in May", "Sales Canada", "O'Hara", "to Sales, Canada")
    )


def test_a_long_name_is_known_by_its_first_four_words() -> None:
    """Longer runs are not compared."""
    directory = index({"displayName": "María José de la Cruz Fernández"})
    assert directory.holds_name("room of maría josé de la cruz")
    assert not directory.holds_name("maría josé")


def test_a_name_of_ordinary_words_counts_as_written() -> None:
    """`Will May` is a person, `will may` is grammar."""
    directory = index({"displayName": "Will May"})
    assert directory.holds_name("desk of Will May")
    assert not directory.holds_name("we will may be late")


def test_a_department_is_no_name_although_a_mailbox_is_called_like_it() -> None:
    """What two users have as department is a label; what one user has could be a slip of the pen."""
    mailbox = {"displayName": "Human Resources", "userPrincipalName": "hr@contoso.com"}
    staff = [{"userPrincipalName": f"u{n}@contoso.com", "department": "human resources"} for n in range(2)]
    assert index(mailbox, staff[0]).holds_name("Human Resources")
    assert not index(mailbox, *staff).holds_name("Human Resources")
    same_twice = index(mailbox, staff[0], staff[0])
    assert same_twice.holds_name("Human Resources")


def test_addresses_sign_in_names_and_numbers_are_found() -> None:
    """In any case and spelling; those of strangers are not in the directory."""
    directory = index(ANNA)
    for text in (
        "<Anna.Schmidt@contoso.com>", "x%3Daschmidt%40corp.contoso.com", "A.SCHMIDT@CONTOSO.ORG",
        "call 0049 30 90182011 now", "+49 30 90182011", "Ask a.schmidt@contoso.org.",
    ):  # fmt: skip
        assert directory.holds_entry(text), text
    for text in ("bob@contoso.com", "+49 30 90182012", "4930901820119", "contoso.com", "<x.1@mail.contoso.com>"):
        assert not directory.holds_entry(text), text


def test_a_damaged_user_or_page_is_left_out() -> None:
    """The sanitizer decides about it; the others are learnt."""
    directory = index({"displayName": 7}, ANNA)
    directory.learn(b"not json")
    assert directory.holds_name("Anna Schmidt")


def test_reading_a_page_again_changes_nothing() -> None:
    """The generation tells whether there is something new."""
    directory = index(ANNA)
    before = directory.generation
    directory.learn(msgspec.json.encode([ANNA]))
    assert directory.generation == before
    directory.learn(msgspec.json.encode([{"displayName": "Bo Ek"}]))
    assert directory.generation > before


def test_nothing_readable_is_kept() -> None:
    """Neither the repr nor any entry contains a name, an address or a number; domains are no personal data."""
    directory = index(ANNA)
    entries = [vars(directory)[name] for name in vars(directory) if name != "_domains"]
    held = f"{directory!r} {entries!r}".lower()
    assert not any(part in held for part in ("anna", "schmidt", "90182011"))


def test_two_processes_share_no_hash() -> None:
    """The key is drawn anew, so what leaks from one memory cannot be looked up in another."""
    one, other = DirectoryIndex(), DirectoryIndex()
    for directory in (one, other):
        directory.learn(msgspec.json.encode([ANNA]))
    assert set(vars(one)["_addresses"]).isdisjoint(vars(other)["_addresses"])


def test_what_is_asked_for_the_index_alone_is_in_no_column() -> None:
    """Names and numbers are selected so that the guard can compare; the rules drop them in every profile."""
    for dataset, names in EXTRA_SELECT.items():
        rules = built_in_rules()[dataset]
        assert set(names) <= set(rules.dropped)
        assert not set(names) & set(output_schema(rules).names)
