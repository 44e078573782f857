"""What is proved by counting characters has the shape, whatever text is planted."""

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import Profile, built_in_rules
from pipeline.sanitize.shape_proofs import have_shape, is_proved
from pipeline.sanitize.shapes import Shape, TokenForms, declared_shape
from pipeline.sanitize.token_columns import token_column

PSEUDONYMS = Pseudonymizer(salt="proof-salt-0123456789")
FIELDS = {rule.path: rule for rule in built_in_rules()["mail_messages"].fields}


def shape_of(path: str, profile: Profile) -> Shape:
    """The declared shape of a mail column that has one."""
    shape = declared_shape(FIELDS[path], profile, TokenForms())
    assert shape is not None
    return shape


TOKENS = shape_of("from.emailAddress.address", "strict")
BARE = shape_of("internetMessageId", "strict")
ITEM_IDS = shape_of("id", "psoxy")
ENUM = shape_of("importance", "strict")
HASH = "A" * 43

texts = st.one_of(
    st.sampled_from(
        ["", f"t~{HASH}", f"t~{HASH}@contoso.com", f"t~{HASH}@", f"t~{HASH}x", f"t~{HASH[1:]}", f"~t{HASH}"]
    ),
    st.text("t~Aa0_=@.-é \n", max_size=50),
    st.integers(0, 47).flatmap(
        lambda at: st.sampled_from("~t@ é\n+=").map(lambda odd: f"t~{HASH}@a"[:at] + odd + f"t~{HASH}@a"[at + 1 :])
    ),
)


@pytest.mark.parametrize("shape", [TOKENS, BARE, ITEM_IDS])
@given(values=st.lists(st.none() | texts, max_size=4))
def test_a_proof_is_never_wrong(shape: Shape, values: list[str | None]) -> None:
    """Whatever is proved, the pattern matches in full; also in a slice of a column."""
    column = pa.array(["zz", *values, "zz"], pa.string()).slice(1, len(values))
    if is_proved(column, shape):
        assert all(not value or re.fullmatch(shape.pattern, value) for value in values)


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        (TOKENS, PSEUDONYMS.tokens(["anna@contoso.com", "bob@fabrikam.example", "not an address"])),
        (BARE, PSEUDONYMS.raw_tokens(["<1@contoso.com>", None, "<2@contoso.com>"])),
        (ITEM_IDS, ["AAMkAGI2NGVhZTVlLTI1OGMtNDI4My1iZmE5LTA5OGJiZGEzMTc0YQ==", ""]),
        (TOKENS, [None, ""]),
        (TOKENS, []),
    ],
)
def test_what_the_treatments_make_is_proved(shape: Shape, values: list[str | None]) -> None:
    """The usual column costs no pattern."""
    assert is_proved(pa.array(values, pa.string()), shape)


@pytest.mark.parametrize("shape", [TOKENS, BARE, ITEM_IDS, ENUM])
@given(values=st.lists(texts.filter(bool), max_size=4))
def test_a_few_texts_have_the_shape_that_the_pattern_says(shape: Shape, values: list[str]) -> None:
    """Neither more nor fewer, whether they are proved or matched."""
    assert have_shape(values, shape) == all(re.fullmatch(shape.pattern, value) for value in values)


def test_a_shape_without_a_proof_is_left_to_its_pattern() -> None:
    """Enums, GUIDs and the like."""
    assert not is_proved(pa.array(["normal"]), Shape("enum", "[a-z]+"))


@pytest.mark.parametrize("addresses", [True, False])
@given(values=st.lists(st.none() | st.text("Aa@. \t\x1cé+b", max_size=8), max_size=4))
def test_tokens_of_a_column_are_those_of_its_texts(addresses: bool, values: list[str | None]) -> None:
    """Either the same tokens as one by one, or none where a text needs a closer look."""
    column = pa.array(["first", *values], pa.string()).slice(1)
    tokens = token_column(column, PSEUDONYMS, addresses=addresses)
    if tokens is not None:
        one_by_one = PSEUDONYMS.tokens_once if addresses else PSEUDONYMS.raw_tokens
        assert tokens.to_pylist() == one_by_one(values)


def test_ids_need_no_closer_look() -> None:
    """A column of ids is hashed as it is."""
    ids = ["AAMkAGI2", "AAMkAGI3"]
    tokens = token_column(pa.array(ids), PSEUDONYMS, addresses=True)
    assert tokens is not None
    assert tokens.to_pylist() == PSEUDONYMS.tokens_once(ids)
