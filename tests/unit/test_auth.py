"""Tokens: one request at a time, renewed ahead, kept while good. A scripted issuer, in virtual time."""

import asyncio
import threading

import pytest

from connectors.graph.aadsts import SERVICE_PATIENCE_S, refused
from connectors.graph.auth import MOST_INVALIDATIONS, RENEW_AGAIN_S, Tokens
from connectors.graph.issuer import Issued, NotIssued
from pipeline.errors import SourceRefused
from tests.virtual_time import now_s, virtual_clock, virtual_time


class ScriptedIssuer:
    """Gives what the script says, then tokens for an hour; must never be called twice at once."""

    def __init__(self, *script: Issued | NotIssued) -> None:
        self._script = list(script)
        self._busy = threading.Lock()
        self.calls = 0

    def issue(self, claims: str = "") -> Issued:
        assert self._busy.acquire(blocking=False), "two token requests at the same time"
        try:
            self.calls += 1
            step = self._script.pop(0) if self._script else Issued(f"token-{self.calls}", 3_600)
        finally:
            self._busy.release()
        if isinstance(step, NotIssued):
            raise step
        return step


def _tokens(issuer: ScriptedIssuer, *, patience_s: float = SERVICE_PATIENCE_S) -> Tokens:
    return Tokens(issuer, patience_s=patience_s, clock=virtual_clock())


def _failing(code: int, *, pause_s: float = 61) -> NotIssued:
    refusal, patience_s = refused(code)
    return NotIssued(refusal, pause_s=pause_s, patience_s=patience_s)


@virtual_time
async def test_twenty_callers_make_one_request() -> None:
    """Single flight on a cold start."""
    issuer = ScriptedIssuer()
    tokens = _tokens(issuer)
    assert set(await asyncio.gather(*(tokens.token() for _ in range(20)))) == {"token-1"}
    assert issuer.calls == 1


@virtual_time
async def test_a_token_is_renewed_ten_minutes_before_its_end() -> None:
    """Early enough that no request meets an expired one."""
    issuer = ScriptedIssuer()
    tokens = _tokens(issuer)
    assert await tokens.token() == "token-1"
    await asyncio.sleep(2_999)
    assert await tokens.token() == "token-1"
    await asyncio.sleep(2)
    assert await tokens.token() == "token-2"


@virtual_time
async def test_a_short_lived_token_keeps_three_quarters_of_its_life() -> None:
    """A service that issues 200 seconds is not asked for every request."""
    issuer = ScriptedIssuer(Issued("short", 200))
    tokens = _tokens(issuer)
    await tokens.token()
    await asyncio.sleep(149)
    assert await tokens.token() == "short"
    await asyncio.sleep(2)
    assert await tokens.token() == "token-2"


@virtual_time
async def test_the_service_may_ask_for_an_earlier_renewal() -> None:
    """`refresh_in` is followed."""
    tokens = _tokens(ScriptedIssuer(Issued("long", 86_400, refresh_s=1_000)))
    await tokens.token()
    await asyncio.sleep(1_001)
    assert await tokens.token() == "token-2"


@virtual_time
async def test_a_failing_early_renewal_costs_nothing() -> None:
    """The valid token stays in use and the service is left alone for a while; then it is asked again."""
    down = _failing(90033)
    issuer = ScriptedIssuer(Issued("good", 3_600), down, down)
    tokens = _tokens(issuer)
    await tokens.token()
    await asyncio.sleep(3_100)
    assert await tokens.token() == "good"
    assert await tokens.token() == "good"
    assert (issuer.calls, now_s()) == (2, 3_100)
    await asyncio.sleep(RENEW_AGAIN_S)
    assert await tokens.token() == "good"
    await asyncio.sleep(RENEW_AGAIN_S)
    assert await tokens.token() == "token-4"


@virtual_time
async def test_even_a_final_refusal_waits_for_the_end_of_a_valid_token() -> None:
    """A secret that expires at noon does not stop the requests its last token still carries."""
    expired = _failing(7000222)
    tokens = _tokens(ScriptedIssuer(Issued("good", 3_600), expired, expired))
    await tokens.token()
    await asyncio.sleep(3_500)
    assert await tokens.token() == "good"
    await asyncio.sleep(101)
    with pytest.raises(SourceRefused) as stopped:
        await tokens.token()
    assert stopped.value.code == "AADSTS7000222"


@virtual_time
async def test_a_new_federated_credential_is_waited_for() -> None:
    """Entra learns of it within minutes; each try waits out MSAL's replay."""
    issuer = ScriptedIssuer(_failing(70021), _failing(70021))
    assert await _tokens(issuer).token() == "token-3"
    assert now_s() == 122


@virtual_time
async def test_patience_ends() -> None:
    """After five minutes the cause and the remedy come out."""
    with pytest.raises(SourceRefused) as stopped:
        await _tokens(ScriptedIssuer(*[_failing(70021)] * 10)).token()
    assert stopped.value.code == "AADSTS70021"
    assert 240 <= now_s() <= 300


@virtual_time
async def test_a_caller_may_have_less_patience() -> None:
    """A diagnosis does not wait ten minutes for an answer."""
    with pytest.raises(SourceRefused):
        await _tokens(ScriptedIssuer(*[_failing(90033)] * 10), patience_s=30).token()
    assert now_s() == 0


@virtual_time
async def test_a_wrong_secret_is_not_tried_twice() -> None:
    """Nothing about it changes with time."""
    issuer = ScriptedIssuer(_failing(7000215))
    with pytest.raises(SourceRefused):
        await _tokens(issuer).token()
    assert (issuer.calls, now_s()) == (1, 0)


@virtual_time
async def test_a_refused_token_is_replaced_once_for_all() -> None:
    """Many requests meet the same 401; one new token serves them all."""
    issuer = ScriptedIssuer()
    tokens = _tokens(issuer)
    old = await tokens.token()
    for _ in range(20):
        tokens.invalidate(old)
    assert set(await asyncio.gather(*(tokens.token() for _ in range(20)))) == {"token-2"}
    assert issuer.calls == 2


@virtual_time
async def test_a_missing_permission_does_not_cause_a_storm_of_tokens() -> None:
    """Every mailbox is refused, each asks for a new token: after a few the one at hand is kept for a while."""
    issuer = ScriptedIssuer()
    tokens = _tokens(issuer)
    for _ in range(50):
        tokens.invalidate(await tokens.token())
    assert issuer.calls == 1 + MOST_INVALIDATIONS
    await asyncio.sleep(601)
    tokens.invalidate(await tokens.token())
    await tokens.token()
    assert issuer.calls == 2 + MOST_INVALIDATIONS
