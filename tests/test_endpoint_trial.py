"""A model none of whose first answers can be used is not asked for the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from state.errors import AnswerInvalid, AnswersUnusable
from state.request import Endpoint
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint import trial
from tools.endpoint.chat import ChatCall, Completion
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.http_transport import HttpTransport
from tools.endpoint.trial import FIRST


class Grade(BaseModel):
    score: int
    reason: str


def asker(server: ScriptedServer, ledger: MemoryLedger, concurrency: int = 64) -> LedgeredEndpoint:
    spec = Endpoint(base_url=server.url, model=MODEL, concurrency=concurrency)
    return LedgeredEndpoint(HttpTransport(server.url), ledger, spec, "run")


def calls(count: int, text: str = "Grade this.", purpose: str = "judge.accuracy") -> list[ChatCall]:
    messages = ({"role": "user", "content": text},)
    return [ChatCall(purpose=purpose, messages=messages, draw=draw, max_tokens=60) for draw in range(count)]


async def ends(endpoint: LedgeredEndpoint, asked: list[ChatCall]) -> list[Any]:
    return await asyncio.gather(*(endpoint.complete_as(Grade, call) for call in asked), return_exceptions=True)


async def test_a_judge_that_cannot_answer_in_json_is_asked_no_more_than_its_trial() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(fail_when={"": "invalid"}) as server:
        found = await ends(asker(server, ledger), calls(200))
    kinds = [type(end) for end in found]
    assert kinds.count(AnswerInvalid) == FIRST - 1 and kinds.count(AnswersUnusable) == 200 - FIRST + 1
    assert len(server.requests) == len(ledger.calls) == 2 * FIRST, "630 were paid for"
    said = str(next(end for end in found if isinstance(end, AnswersUnusable)))
    assert "'I would give it eight of ten.'" in said and "models.judge" in said and "judge.max_tokens" in said
    assert "\n" not in said


async def test_one_usable_answer_ends_the_trial() -> None:
    with ScriptedServer(fail_when={"poison": "invalid"}, latency=0.005) as server:
        mixed = [*calls(FIRST - 1, "poison"), *calls(1), *calls(50, "poison and more")]
        found = await ends(asker(server, MemoryLedger()), mixed)
    kinds = [type(end) for end in found]
    assert AnswersUnusable not in kinds and kinds.count(AnswerInvalid) == 50 + FIRST - 1
    assert server.most_in_flight > FIRST


async def test_each_purpose_and_each_run_has_a_trial_of_its_own() -> None:
    with ScriptedServer(fail_when={"poison": "invalid"}) as server:
        endpoint = asker(server, MemoryLedger())
        await ends(endpoint, calls(1))
        found = await ends(endpoint, calls(20, "poison", purpose="gate"))
    assert AnswersUnusable in {type(end) for end in found}


async def test_a_step_that_is_resumed_pays_for_nothing_twice_and_comes_further(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PAUSE_SECONDS", 0.0)
    ledger = MemoryLedger()
    with ScriptedServer(fail_when={"": "invalid"}) as server:
        await ends(asker(server, ledger, concurrency=1), calls(FIRST))
        assert len(server.requests) == 2 * FIRST
        server.fail_when = {}
        found = await ends(asker(server, ledger), calls(2 * FIRST))
    kinds = [type(end) for end in found]
    assert kinds.count(AnswerInvalid) == FIRST and AnswersUnusable not in kinds
    assert len(server.requests) == 3 * FIRST, "what was of no use is not asked again"


async def test_the_rest_of_a_step_is_refused_without_being_asked() -> None:
    with ScriptedServer(fail_when={"": "invalid"}) as server:
        endpoint = asker(server, MemoryLedger())
        await ends(endpoint, calls(FIRST))
        asked = len(server.requests)
        assert [type(end) for end in await ends(endpoint, calls(9, "Another."))] == [AnswersUnusable] * 9
        assert len(server.requests) == asked


async def test_plain_answers_are_on_trial_where_the_asker_says_what_is_of_no_use() -> None:
    def empty(completion: Completion) -> str:
        return "" if completion.text else "it is empty"

    with ScriptedServer(fail_when={"": "empty"}) as server:
        endpoint = asker(server, MemoryLedger())
        asked = calls(50, purpose="respond")
        found = await asyncio.gather(*(endpoint.complete(call, empty) for call in asked), return_exceptions=True)
        assert len(server.requests) == FIRST
        assert sum(isinstance(end, AnswersUnusable) for end in found) == 50 - FIRST + 1
        assert "models.policy" in str(found[-1])
        assert (await endpoint.complete(calls(1, "Anything?")[0])).text == "", "who does not care is answered"
