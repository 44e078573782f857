"""Claims challenges: what is read out of the header, and what is not taken for one."""

import base64
import json

import pytest

from connectors.graph.challenge import LONGEST_CLAIMS, demanded_claims

CLAIMS = json.dumps({"access_token": {"nbf": {"essential": True, "value": "1764000000"}}})
TEXT = base64.b64encode(CLAIMS.encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        f'Bearer realm="", authorization_uri="https://l.test/authorize", error="insufficient_claims", claims="{TEXT}"',
        f'Bearer claims="{TEXT}", error="insufficient_claims"',
        f'bearer Error="insufficient_claims",CLAIMS="{TEXT.rstrip("=")}"',
    ],
)
def test_the_claims_are_found(header: str) -> None:
    """In any order, among other headers, with or without padding."""
    assert demanded_claims(['Basic realm="x"', header]) == CLAIMS


@pytest.mark.parametrize(
    "header",
    [
        'Bearer realm=""',
        'Bearer error="invalid_token", claims="' + TEXT + '"',
        'Bearer error="insufficient_claims"',
        'Bearer error="insufficient_claims", claims="%%%"',
        'Bearer error="insufficient_claims", claims="/w=="',
        'Bearer error="insufficient_claims", claims="' + base64.b64encode(b"[1]").decode() + '"',
        'Bearer error="insufficient_claims", claims="' + "A" * (LONGEST_CLAIMS + 1) + '"',
        "",
    ],
)
def test_anything_else_is_an_ordinary_401(header: str) -> None:
    """No challenge, another error, no claims, or claims that are no JSON object of a reasonable size."""
    assert demanded_claims([header]) == ""
