"""A call that fails by itself is told from a server that is down, and a server that is down is left alone."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import CallFailed, CallRefused, EndpointFailing, EndpointUnreachable, RateLimited
from state.request import Endpoint
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint import health, retries
from tools.endpoint.chat import ChatCall
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.health import IN_A_ROW, PAUSE_SECONDS, Health
from tools.endpoint.http_transport import HttpTransport


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BACKOFF", lambda state: 0.0)


def asker(url: str, ledger: MemoryLedger, **spec: float) -> LedgeredEndpoint:
    made = Endpoint.model_validate({"base_url": url, "model": MODEL, "attempts": 2, **spec})
    return LedgeredEndpoint(HttpTransport(url), ledger, made, "run")


def calls(count: int, text: str = "What is a river?") -> list[ChatCall]:
    messages = ({"role": "user", "content": text},)
    return [ChatCall(purpose="test", messages=messages, draw=draw) for draw in range(count)]


async def ends(endpoint: LedgeredEndpoint, asked: list[ChatCall]) -> list[type]:
    made = await asyncio.gather(*(endpoint.complete(call) for call in asked), return_exceptions=True)
    return [type(end) for end in made]


@pytest.mark.parametrize(
    ("failure", "kind", "tries"), [("500", EndpointFailing, 2), ("429:0", RateLimited, 2), ("400", CallRefused, 1)]
)
async def test_a_server_that_fails_every_call_stops_the_step_after_a_row_of_them(
    failure: str, kind: type[Exception], tries: int
) -> None:
    ledger = MemoryLedger()
    with ScriptedServer(fail_when={"": failure}) as server:
        found = await ends(asker(server.url, ledger, concurrency=4), calls(200))
    assert found.count(kind) == IN_A_ROW - 1 and found.count(EndpointUnreachable) == 200 - IN_A_ROW + 1
    assert IN_A_ROW * tries <= len(server.requests) <= (IN_A_ROW + 3) * tries
    assert all(recorded.status == "failed" for recorded in ledger.calls.values())
    assert len(ledger.calls) <= IN_A_ROW + 3, "what was not asked is not recorded"


async def test_the_error_says_what_happened_and_what_to_do() -> None:
    with ScriptedServer(fail_when={"": "500"}) as server:
        endpoint = asker(server.url, MemoryLedger())
        await ends(endpoint, calls(IN_A_ROW))
        with pytest.raises(EndpointUnreachable) as caught:
            await endpoint.complete(calls(1, "And a brook?")[0])
    assert f"{IN_A_ROW} calls in a row failed" in str(caught.value) and "resume when" in str(caught.value)
    assert f"{server.url} failed with status 500" in str(caught.value)


async def test_many_calls_that_fail_beside_answered_ones_fail_by_themselves() -> None:
    with ScriptedServer(fail_when={"poison": "500"}, latency=0.005) as server:
        endpoint = asker(server.url, MemoryLedger(), concurrency=16)
        mixed = [call for pair in zip(calls(60), calls(60, "poison"), strict=True) for call in pair]
        found = await ends(endpoint, mixed)
    assert EndpointUnreachable not in found
    assert found.count(EndpointFailing) == 60


async def test_one_text_with_more_calls_than_the_row_ends_failed_on_a_later_visit() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(fail_when={"poison": "500"}) as server:
        endpoint = asker(server.url, ledger, concurrency=4)
        visits = 0
        while EndpointUnreachable in await ends(endpoint, calls(50, "poison")):
            visits += 1
            for known in (await _shared_healths()).values():
                known.paused_until = 0.0  # the rest is over
            assert visits < 5
    assert visits == 2


async def _shared_healths() -> dict[tuple[str, str], Health]:
    from tools.endpoint.loop import shared

    return (await shared()).healths


async def test_a_server_that_is_well_again_is_asked_after_its_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PAUSE_SECONDS", 0.2)
    with ScriptedServer(failures=["500"] * 2 * IN_A_ROW) as server:
        endpoint = asker(server.url, MemoryLedger(), concurrency=4)
        assert EndpointUnreachable in await ends(endpoint, calls(IN_A_ROW))
        assert await ends(endpoint, calls(1, "At once?")) == [EndpointUnreachable]
        await asyncio.sleep(0.2)
        assert EndpointUnreachable not in await ends(endpoint, calls(3, "Later?"))
        assert (await _shared_healths())[server.url, MODEL].failures == 0


async def test_answers_on_record_are_given_while_the_server_rests() -> None:
    ledger = MemoryLedger()
    with ScriptedServer() as server:
        endpoint = asker(server.url, ledger)
        (call,) = calls(1)
        first = await endpoint.complete(call)
    with pytest.raises(EndpointUnreachable, match="no connection"):
        await endpoint.complete(calls(1, "Are you there?")[0])
    assert (await endpoint.complete(call)).text == first.text


async def test_a_server_that_is_gone_is_found_out_once_and_not_by_every_call() -> None:
    with ScriptedServer() as server:
        endpoint = asker(server.url, MemoryLedger(), concurrency=4)
    found = await ends(endpoint, calls(100))
    assert set(found) == {EndpointUnreachable}
    assert len(endpoint.ledger.calls) <= 4, "the first wave alone was tried"  # type: ignore[attr-defined]  # it is the memory one


@given(st.lists(st.booleans(), max_size=100))
def test_the_server_is_down_exactly_after_a_row_of_failures(answered: list[bool]) -> None:
    known, row = Health(), 0
    for now, good in enumerate(answered):
        if good:
            known.answered(now)
            row = 0
        else:
            row += 1
            assert known.failed(now - 0.5, before=False) == (row == IN_A_ROW)
            row %= IN_A_ROW


def test_a_failure_that_is_known_from_before_or_overlaps_an_answer_never_counts() -> None:
    known = Health()
    known.answered(5.0)
    assert not any(known.failed(4.0, before=False) or known.failed(9.0, before=True) for _ in range(10 * IN_A_ROW))


def test_a_rest_ends_by_time_or_by_an_answer() -> None:
    known = Health()
    assert not known.paused(0.0)
    known.pause(1.0, "why")
    assert known.paused(1.0 + PAUSE_SECONDS / 2) and not known.paused(1.0 + PAUSE_SECONDS)
    known.answered(2.0)
    assert not known.paused(2.0)


def test_every_error_that_fails_one_call_is_a_call_failed() -> None:
    assert all(issubclass(kind, CallFailed) for kind in (EndpointFailing, RateLimited, CallRefused))
    assert not issubclass(EndpointUnreachable, CallFailed)
