"""Every call is paid for once: the ledger, the budget, retries, limits and cancellation, over real loopback HTTP."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from state.calls import OverCap
from state.errors import (
    AnswerInvalid,
    BudgetExceeded,
    CallRefused,
    EndpointFailing,
    EndpointRefused,
    LeaseLost,
    RateLimited,
    StorageError,
)
from state.pipeline import RateLimits
from state.request import Endpoint
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint import client, retries, sending
from tools.endpoint.budget import Account, most_it_can_cost, price
from tools.endpoint.chat import ChatCall, Likelihood, LikelihoodCall
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.failures import TryAgain
from tools.endpoint.http_transport import HttpTransport
from tools.endpoint.loop import await_sent
from tools.endpoint.transport import NoLikelihoods, Reply, chat_body
from tools.endpoint.weights import CAN

CALL = ChatCall(purpose="test", messages=({"role": "user", "content": "What is a river?"},), max_tokens=64)


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BACKOFF", lambda state: 0.0)


def endpoint(server: ScriptedServer, ledger: MemoryLedger, run_id: str = "run", **spec: float) -> LedgeredEndpoint:
    made = Endpoint.model_validate({"base_url": server.url, "model": MODEL, **spec})
    return LedgeredEndpoint(HttpTransport(server.url, ["sk-test"]), ledger, made, run_id)


def draws(count: int) -> list[ChatCall]:
    return [CALL.model_copy(update={"draw": draw, "seed": draw}) for draw in range(count)]


async def until(condition: object, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # type: ignore[operator]  # any callable
            await asyncio.sleep(0.005)


async def test_a_call_is_paid_for_once_and_recorded_in_full() -> None:
    ledger = MemoryLedger()
    with ScriptedServer() as server:
        first = await endpoint(server, ledger, input_price=1.0, output_price=2.0).complete(CALL)
        again = await endpoint(server, ledger, run_id="later").complete(CALL.model_copy(update={"purpose": "other"}))
    assert len(server.requests) == 1
    recorded = ledger.calls[first.key]
    assert first.cost == recorded.cost == (first.prompt_tokens + 2 * first.completion_tokens) / 1e6 > 0
    assert (again.text, again.from_ledger, again.cost) == (first.text, True, 0.0)
    assert not first.from_ledger
    assert recorded.request == server.requests[0].body
    assert (recorded.status, recorded.attempts, recorded.run_id, recorded.model) == ("answered", 1, "run", MODEL)
    assert recorded.started_at <= recorded.finished_at and recorded.started_at.tzinfo is not None
    assert ledger.uses == {("run", first.key, "test"), ("later", first.key, "other")}
    assert "sk-test" not in recorded.model_dump_json()


async def test_draws_are_calls_of_their_own() -> None:
    ledger = MemoryLedger()
    with ScriptedServer() as server:
        made = await asyncio.gather(*(endpoint(server, ledger).complete(call) for call in draws(5)))
    assert len({c.key for c in made}) == len(server.requests) == 5


async def test_the_same_call_at_the_same_time_is_made_once() -> None:
    ledger = MemoryLedger(delay=0.01)
    with ScriptedServer(latency=0.05) as server:
        asked = (endpoint(server, ledger, run_id=f"run-{i % 2}", input_price=1.0).complete(CALL) for i in range(20))
        made = await asyncio.gather(*asked)
    assert len(server.requests) == 1 and ledger.writes == 1
    assert sum(not c.from_ledger for c in made) == 1
    assert sum(c.cost for c in made) == pytest.approx(next(iter(ledger.calls.values())).cost)


async def test_retries_until_it_answers_and_counts_them() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(failures=["500", "drop", "429:0.01", "503:0.01"]) as server:
        made = await endpoint(server, ledger).complete(CALL)
    assert ledger.calls[made.key].attempts == len(server.requests) == 5
    assert ledger.calls[made.key].status == "answered"


@pytest.mark.parametrize(("wish", "least"), [("429:0.3", 0.3), ("503:0.3", 0.3), ("429:date", 0.0)])
async def test_retry_after_is_honoured(wish: str, least: float) -> None:
    with ScriptedServer(failures=[wish]) as server:
        await endpoint(server, MemoryLedger()).complete(CALL)
    waited = server.requests[1].at - server.requests[0].at
    assert least <= waited < 2.0


async def test_a_server_that_asks_for_an_hour_is_left_alone() -> None:
    with ScriptedServer(failures=["429:3600"]) as server:
        with pytest.raises(RateLimited):
            await endpoint(server, MemoryLedger()).complete(CALL)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("failure", "kind", "requests"),
    [
        ("429:0", RateLimited, 3),
        ("500", EndpointFailing, 3),
        ("400", CallRefused, 1),
        ("401", EndpointRefused, 1),
    ],
)
async def test_a_failed_call_is_recorded_and_tried_again_by_the_next_run(
    failure: str, kind: type[Exception], requests: int
) -> None:
    ledger = MemoryLedger()
    with ScriptedServer(failures=[failure] * requests) as server:
        with pytest.raises(kind):
            await endpoint(server, ledger, attempts=3, input_price=1.0).complete(CALL)
        assert len(server.requests) == requests
        (recorded,) = ledger.calls.values()
        assert (recorded.status, recorded.attempts, recorded.cost) == ("failed", requests, 0.0)
        assert recorded.error and "\n" not in recorded.error
        assert ledger.uses == {("run", recorded.key, "test")}
        assert (await endpoint(server, ledger).complete(CALL)).text
    assert ledger.calls[recorded.key].status == "answered"


async def test_a_slow_answer_counts_as_a_failed_try() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(failures=["timeout"]) as server:
        made = await endpoint(server, ledger, timeout=0.2).complete(CALL)
    assert ledger.calls[made.key].attempts == 2


async def test_calls_in_flight_are_limited_over_all_askers_of_a_server() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(latency=0.02) as server:
        askers = [endpoint(server, ledger, run_id=f"run-{i}", concurrency=3) for i in range(4)]
        await asyncio.gather(*(askers[i % 4].complete(call) for i, call in enumerate(draws(24))))
    assert server.most_in_flight == 3


async def test_a_call_that_could_pass_the_cap_is_not_made() -> None:
    ledger = MemoryLedger(cap=0.002)
    with ScriptedServer() as server:
        asker = endpoint(server, ledger, input_price=1.0, output_price=10.0)
        outcomes = await asyncio.gather(*(asker.complete(call) for call in draws(20)), return_exceptions=True)
        stopped = [o for o in outcomes if isinstance(o, BudgetExceeded)]
        made = [o for o in outcomes if not isinstance(o, BaseException)]
        assert len(stopped) + len(made) == 20 and len(made) == len(server.requests) >= 2 and stopped
        assert stopped[0].cap == 0.002 and stopped[-1].spent == await ledger.spent("run") <= 0.002
        ledger.limit = 1.0
        await asyncio.gather(*(asker.complete(call) for call in draws(20)))
    assert len(server.requests) == 20


async def test_the_cap_counts_calls_in_flight_and_waits_for_them() -> None:
    body = chat_body(CALL, MODEL)
    spec = Endpoint(input_price=0.0, output_price=1000.0)
    most = most_it_can_cost(spec, body, CALL.max_tokens)
    ledger = MemoryLedger(cap=1.5 * most)
    with ScriptedServer(latency=0.05, answer=lambda body: "short") as server:
        asker = endpoint(server, ledger, output_price=1000.0)
        await asyncio.gather(*(asker.complete(call) for call in draws(4)))
    assert server.most_in_flight == 1 and len(server.requests) == 4


async def test_what_costs_nothing_needs_no_budget() -> None:
    with ScriptedServer() as server:
        assert (await endpoint(server, MemoryLedger(cap=0.0)).complete(CALL)).cost == 0.0


async def test_a_run_without_money_does_not_stop_another_that_asks_the_same() -> None:
    ledger = MemoryLedger()

    async def cap(run_id: str) -> float | None:
        return 0.0 if run_id == "poor" else None

    ledger.cap = cap  # type: ignore[method-assign]  # a cap for each run
    with ScriptedServer() as server:
        askers = [endpoint(server, ledger, run_id=name, output_price=1.0) for name in ("poor", "rich")]
        poor, rich = await asyncio.gather(*(a.complete(CALL) for a in askers), return_exceptions=True)
    assert isinstance(poor, BudgetExceeded) and not isinstance(rich, BaseException)
    assert len(server.requests) == 1


async def test_an_answer_that_arrived_is_recorded_when_the_asker_is_cancelled() -> None:
    ledger = MemoryLedger(delay=0.2)
    with ScriptedServer() as server:
        task = asyncio.create_task(endpoint(server, ledger).complete(CALL))
        await until(lambda: server.answered)
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ledger.writes == 1, "the cancelled asker waits for the write of what it paid for"


async def test_a_call_that_was_sent_is_brought_to_its_end_when_the_asker_is_cancelled() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(latency=0.2) as server:
        task = asyncio.create_task(endpoint(server, ledger).complete(CALL))
        await until(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ledger.writes == 0
        await until(lambda: ledger.writes)
        assert (await endpoint(server, ledger).complete(CALL)).from_ledger
    assert len(server.requests) == 1


async def test_an_orderly_end_waits_for_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    ledger = MemoryLedger()
    with ScriptedServer(latency=0.3) as server:
        tasks = [asyncio.create_task(endpoint(server, ledger).complete(call)) for call in draws(3)]
        await until(lambda: len(server.requests) == 3)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await await_sent(MemoryLedger())
        assert ledger.writes == 0
        assert caplog.messages == []
        await await_sent(ledger)
        assert ledger.writes == 3 and "waiting for 3 answers" in caplog.text
    await await_sent(ledger)


async def test_a_call_that_waits_for_its_turn_is_dropped_when_the_asker_is_cancelled() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(latency=0.1) as server:
        asker = endpoint(server, ledger, concurrency=1)
        first, second = (asyncio.create_task(asker.complete(call)) for call in draws(2))
        await until(lambda: server.requests)
        second.cancel()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        await asker.complete(CALL.model_copy(update={"draw": 9}))
    assert len(server.requests) == 2 and ledger.writes == 2


async def test_one_of_two_askers_of_a_call_may_go() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(latency=0.1) as server:
        asker = endpoint(server, ledger)
        first, second = (asyncio.create_task(asker.complete(CALL)) for _ in range(2))
        await until(lambda: server.requests)
        first.cancel()
        assert (await second).text
    assert len(server.requests) == 1


class Grade(BaseModel):
    """A judge's answer."""

    model_config = ConfigDict(extra="forbid")
    score: int = Field(ge=0, le=100)
    reason: str = Field(max_length=60)


async def test_complete_as_sends_a_strict_schema_and_returns_the_model() -> None:
    with ScriptedServer() as server:
        grade, completion = await endpoint(server, MemoryLedger()).complete_as(Grade, CALL)
    sent = server.requests[0].body["response_format"]
    assert sent["type"] == "json_schema" and sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"]["required"] == ["score", "reason"]
    assert 0 <= grade.score <= 100 and grade.reason in completion.text


@pytest.mark.parametrize("failure", ["invalid", "truncated", "empty", "refusal"])
async def test_a_wrong_answer_gets_one_second_question_that_says_what_is_wrong(failure: str) -> None:
    ledger = MemoryLedger()
    with ScriptedServer(failures=[failure]) as server:
        grade, completion = await endpoint(server, ledger).complete_as(Grade, CALL)
        again, _ = await endpoint(server, ledger).complete_as(Grade, CALL)
    assert again == grade
    second = server.requests[1]
    assert [m["role"] for m in second.body["messages"]] == ["user", "assistant", "user"]
    assert "cannot be used" in second.body["messages"][2]["content"]
    assert second.body["messages"][1]["content"]
    assert len(ledger.calls) == 2 and completion.key in ledger.calls


async def test_two_wrong_answers_are_an_error_and_both_are_paid_for_once() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(fail_when={"river": "invalid"}) as server:
        for _ in range(2):
            with pytest.raises(AnswerInvalid, match="Grade"):
                await endpoint(server, ledger).complete_as(Grade, CALL)
    assert len(server.requests) == 2
    assert [call.status for call in ledger.calls.values()] == ["answered", "answered"]


async def test_any_mixture_of_failures_ends_with_every_call_answered_once() -> None:
    chance = random.Random(3)
    script = [chance.choice(["ok", "500", "429:0", "drop", "503:0"]) for _ in range(60)]
    ledger = MemoryLedger()
    with ScriptedServer(failures=script) as server:
        asker = endpoint(server, ledger, attempts=20)
        await asyncio.gather(*(asker.complete(call) for call in draws(40)))
    assert len(server.answered) == 40 == len(ledger.calls)
    assert sum(call.attempts for call in ledger.calls.values()) == len(server.requests)


class Instant(NoLikelihoods):
    """A transport that answers at once, for tests of arithmetic."""

    can = HttpTransport.can
    limits = RateLimits()

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        return chat_body(call, model)

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        await asyncio.sleep(0)
        used = 1 + call.draw * 7 % call.max_tokens
        return Reply(text="x", finish_reason="stop", prompt_tokens=5, completion_tokens=used)


async def test_likelihoods_of_this_machine_are_asked_together_and_its_answers_are_not() -> None:
    class Busy(Instant):
        can = CAN
        now = most = 0

        async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
            await self.work()
            return Reply(text="x", finish_reason="stop", prompt_tokens=5, completion_tokens=1)

        async def likelihood(self, call: LikelihoodCall, model: str) -> Likelihood:
            await self.work()
            return Likelihood(log_likelihood=-1.0, tokens=1)

        async def work(self) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.01)
            self.now -= 1

    for likely, most in ((True, 12), (False, 2)):
        transport = Busy()
        asker = LedgeredEndpoint(transport, MemoryLedger(), Endpoint(model="m", concurrency=2), "run")
        texts = [LikelihoodCall(purpose="judge", messages=CALL.messages, completion=str(n)) for n in range(12)]
        await asyncio.gather(*(map(asker.likelihood, texts) if likely else map(asker.complete, draws(12))))
        assert transport.most == most


@settings(max_examples=30)
@given(st.floats(0.0, 0.02), st.integers(1, 30), st.integers(1, 8))
def test_no_order_of_calls_passes_the_cap(cap: float, count: int, concurrency: int) -> None:
    async def run() -> None:
        ledger = MemoryLedger(cap=cap)
        spec = Endpoint(model="m", input_price=1.0, output_price=20.0, concurrency=concurrency)
        asker = LedgeredEndpoint(Instant(), ledger, spec, "run")
        outcomes = await asyncio.gather(*(asker.complete(call) for call in draws(count)), return_exceptions=True)
        stopped = [o for o in outcomes if isinstance(o, BaseException)]
        assert all(isinstance(o, BudgetExceeded) for o in stopped)
        spent = await ledger.spent("run")
        assert spent <= cap
        if stopped:
            assert spent + most_it_can_cost(spec, chat_body(CALL, "m"), CALL.max_tokens) > cap - 1e-4

    asyncio.run(run())


@given(st.text(max_size=200), st.integers(1, 500))
def test_the_bound_counts_more_tokens_than_any_tokenizer_finds(text: str, max_tokens: int) -> None:
    spec = Endpoint(input_price=3.0, output_price=5.0)
    body = chat_body(CALL.model_copy(update={"messages": ({"role": "user", "content": text},)}), "m")
    tokens = len(text.encode("utf-8", "surrogatepass"))
    assert most_it_can_cost(spec, body, max_tokens) >= price(spec, tokens, max_tokens)


async def test_an_account_is_read_anew_when_nothing_is_in_flight() -> None:
    ledger = MemoryLedger(cap=1.0)
    account = Account(ledger, "run")
    await account.reserve(0.9)
    await ledger.release("run", 0.9)
    account.settle()
    ledger.limit = 0.6
    with pytest.raises(BudgetExceeded):
        await account.reserve(0.7)
    ledger.limit = 2.0
    await account.reserve(0.7)


@pytest.fixture
async def loop_errors() -> AsyncIterator[list[dict[str, object]]]:
    seen: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    yield seen


async def test_a_failed_call_that_nobody_waits_for_makes_no_noise(loop_errors: list[dict[str, object]]) -> None:
    ledger = MemoryLedger()
    with ScriptedServer(latency=0.05, failures=["400"]) as server:
        task = asyncio.create_task(endpoint(server, ledger).complete(CALL))
        await until(lambda: server.requests)
        task.cancel()
        await until(lambda: ledger.writes)
    del task
    await asyncio.sleep(0)
    assert loop_errors == []


def test_loops_come_and_go_with_nothing_left_open(recwarn: pytest.WarningsRecorder) -> None:
    with ScriptedServer() as server:
        ledger = MemoryLedger()
        for call in draws(3):
            asyncio.run(endpoint(server, ledger).complete(call))
    from tools.endpoint import loop

    assert len(server.requests) == 3
    assert not [life for life in loop._shared if life.is_closed()]
    assert not [w for w in recwarn if issubclass(w.category, ResourceWarning)]


async def test_the_first_write_that_fails_stops_all_sending_and_keeps_no_one_waiting() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(latency=0.05) as server:
        asker = endpoint(server, ledger, concurrency=4)
        asked = [asyncio.create_task(asker.complete(call)) for call in draws(60)]
        await until(lambda: ledger.writes >= 8)
        ledger.full = True
        ended = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(result, StorageError) for result in ended if isinstance(result, BaseException))
    lost = len(server.requests) - ledger.writes
    assert 1 <= lost <= 4 and sum(isinstance(result, StorageError) for result in ended) == 60 - ledger.writes


async def test_no_try_is_made_again_where_nothing_can_be_kept_and_the_row_does_not_count_as_failed() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(failures=["503:0.2"] * 2) as server:
        asked = asyncio.create_task(endpoint(server, ledger).complete(CALL))
        await until(lambda: server.requests)
        ledger.failed_writes += 1
        with pytest.raises(StorageError):
            await asked
        assert len(server.requests) <= 2
        assert (await endpoint(server, ledger).complete(CALL)).text, "work that begins anew sends again"


async def test_a_refusal_is_not_hidden_by_a_write_that_fails_behind_it() -> None:
    ledger = MemoryLedger()

    async def use(*_: str) -> None:
        raise StorageError("database is locked")

    ledger.use = use  # type: ignore[method-assign]  # the database fails
    with ScriptedServer(failures=["401"]) as server, pytest.raises(EndpointRefused):
        await endpoint(server, ledger).complete(CALL)


async def test_what_a_run_could_not_read_is_asked_again_by_the_next() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(fail_when={"river": "invalid"}) as server:
        with pytest.raises(AnswerInvalid):
            await endpoint(server, ledger, "first").complete_as(Grade, CALL)
        assert [bool(call.error) for call in ledger.calls.values()] == [True, True]
        server.fail_when.clear()
        grade, again = await endpoint(server, ledger, "second").complete_as(Grade, CALL)
        assert len(server.requests) == 3 and not again.from_ledger
        third, known = await endpoint(server, ledger, "third").complete_as(Grade, CALL)
    assert third == grade and known.from_ledger and len(server.requests) == 3
    assert sum(call.run_id == "first" for call in ledger.calls.values()) == 2, "what was paid for stays in the books"


async def test_a_command_asks_again_what_an_earlier_one_could_not_use() -> None:
    ledger = MemoryLedger()
    with ScriptedServer(fail_when={"river": "invalid"}) as server:
        for times in (2, 4):
            asked = endpoint(server, ledger)
            asked._since = datetime.now(UTC)
            for _ in range(2):
                with pytest.raises(AnswerInvalid):
                    await asked.complete_as(Grade, CALL)
            assert len(server.requests) == times


async def test_who_was_stopped_while_connecting_asks_once_more_before_the_first_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Lost(MemoryLedger):
        async def reserve(self, run_id: str, dollars: float) -> OverCap | None:
            if dollars:
                return await super().reserve(run_id, dollars)
            raise LeaseLost("run run was taken over by another-machine:1")

    # Allowed and looked at in time; then a minute goes by until the connection stands.
    clock = chain([0.0, 0.0], repeat(60.0))
    clocks = SimpleNamespace(clock_gettime=lambda _: next(clock), monotonic=time.monotonic)
    for module in (client, sending):
        monkeypatch.setattr(module, "time", clocks)
    with ScriptedServer() as server:
        with pytest.raises(LeaseLost):
            await endpoint(server, Lost(cap=1.0), input_price=1.0, output_price=1.0).complete(CALL)
        assert server.requests == []


class Late(NoLikelihoods):
    """A transport whose first tries have no answer in time, and whose later ones may have none, either."""

    can, limits = HttpTransport.can, RateLimits()

    def __init__(self, hangs: bool) -> None:
        self.hangs, self.tries, self.under_way, self.most = hangs, 0, 0, 0

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        return chat_body(call, model)

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        self.tries += 1
        first = self.tries <= 8
        self.under_way += not first
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(timeout if first or self.hangs else 0.001)
            if first or self.hangs:
                raise TryAgain(EndpointFailing("no answer in time"), late=True)
        finally:
            self.under_way -= not first
        return Reply(text="x", finish_reason="stop", prompt_tokens=5, completion_tokens=5)


@pytest.mark.parametrize("hangs", [False, True])
async def test_what_a_slow_server_did_not_answer_is_asked_again_one_at_a_time(hangs: bool) -> None:
    """Eight at a time through a proxy: each that was not waited for went on behind it, and none was ever answered."""
    transport = Late(hangs)
    spec = Endpoint(model="m", concurrency=8, timeout=0.05, attempts=2 if hangs else 20)
    asker = LedgeredEndpoint(transport, MemoryLedger(), spec, "run")
    found = await asyncio.gather(*(asker.complete(call) for call in draws(8)), return_exceptions=True)
    if hangs:
        assert transport.most > 1, "but none waits longer than all its tries may take"
        assert all("no answer in time" in str(one) for one in found)
    else:
        assert transport.most == 1 and not any(isinstance(one, BaseException) for one in found)
    assert transport.tries == 16
