"""A round of generation whose budget ends: it goes on where it stopped, and what was paid for reaches the gate."""

from pathlib import Path

import pytest

from nodes.generate import first_facts, make_generate
from state.calls import CallStore
from state.errors import BudgetExceeded
from state.pipeline import NextRound, Overspend, PipelineState, RateLimits
from state.records import Sample
from state.request import Endpoint, RunRequest
from state.store import RecordStore
from tools.endpoint.chat import ChatCall, ChatEndpoint, Completion, Fault
from tools.endpoint.http_transport import HttpTransport
from tools.generation.deciding import decide_next_round

SEEDS = Path(__file__).parent.parent / "seeds" / "seed_tasks.jsonl"
REQUEST = RunRequest.model_validate({"sources": {"seeds": str(SEEDS), "prompts": None}, "generation": {"target": 40}})
PLAN = NextRound(action="proceed", reason="", calls=3, batch_size=6)


class Generator:
    """Answers each call with one task of its own, as long as there is money; notes what it was asked and paid for."""

    model = "scripted"
    limits = RateLimits()
    can = HttpTransport.can

    def __init__(self, money: int) -> None:
        self.money = money
        self.paid: dict[str, str] = {}

    async def complete(self, call: ChatCall, fault: Fault | None = None) -> Completion:
        key = call.key("scripted", self.model)
        if key not in self.paid:
            if len(self.paid) == self.money:
                raise BudgetExceeded(spent=1.0, cap=1.0)
            number = len(self.paid)
            self.paid[key] = f" Name {number} rivers of a country.\n4. Input:\n<noinput>\n4. Output:\nRiver {number}."
        return Completion(text=self.paid[key], finish_reason="stop", key=key)


async def visit(store: RecordStore, generator: Generator, **state: object) -> PipelineState:
    async def open_endpoint(spec: Endpoint, run_id: str) -> ChatEndpoint:
        return generator  # type: ignore[return-value]  # the node calls complete alone

    given = {"run_id": "run", "request": REQUEST, "next_round": PLAN, **state}
    return await make_generate(store, CallStore(store.database), open_endpoint)(given)  # type: ignore[arg-type]  # the part that it reads


@pytest.fixture(autouse=True)
async def noted_run(store: RecordStore) -> None:
    await store.open_run("run", REQUEST)


async def test_a_round_goes_on_where_its_money_ended(store: RecordStore) -> None:
    generator = Generator(money=2)
    first = await visit(store, generator)
    assert first.get("overspend") is not None and "round" not in first, "the round is not over"
    generator.money = 9
    second = await visit(store, generator)
    assert (second["round"], second["round_calls"], second["overspend"]) == (1, 3, None)
    assert len(generator.paid) == 3, "the calls of the round, and no others"
    assert {s.round for s in await store.find("run", Sample)} == {1}
    assert {s.call for s in await store.find("run", Sample)} == set(generator.paid)


async def test_a_round_whose_money_is_not_raised_ends_with_what_was_paid_for(store: RecordStore) -> None:
    generator = Generator(money=2)
    await visit(store, generator)
    last = await visit(store, generator, capped=True)
    assert last["round"] == 1 and last["overspend"] is not None and last["failed_rounds"] == 0
    assert len(generator.paid) == 2 and {s.round for s in await store.find("run", Sample)} == {1}


PAID = {"base_url": "https://api.openai.com/v1", "model": "gpt-4o-mini"}


def first_plan(cap: float | None, limits: RateLimits | None = None, **generation: int) -> NextRound:
    """Return the first decision on a paid generator."""
    given = REQUEST.model_dump(exclude_unset=True) | {"models": {"generator": PAID}}
    request = RunRequest.model_validate({**given, "generation": {"target": 1000, **generation}})
    return decide_next_round(first_facts(request, cap, limits or RateLimits()))


def test_the_first_decision_knows_money_prices_and_the_length_of_the_prompt() -> None:
    assert first_plan(None).calls == 118
    assert first_plan(0.0001).action == "stop", "118 calls were planned under less than one costs"
    small = first_plan(0.001)
    assert small.calls == 1 and small.action == "proceed"
    assert 1 < first_plan(0.01).calls < first_plan(0.05).calls < 118


def test_the_first_decision_knows_the_rate_limit() -> None:
    assert first_plan(None, RateLimits(requests=0, reset_seconds=3)).wait_seconds == 3
    assert first_plan(None, RateLimits(tokens=10)).action == "wait"


async def test_a_budget_below_the_smallest_batch_is_asked_about_before_anything_is_asked(store: RecordStore) -> None:
    generator = Generator(money=9)
    request = RunRequest.model_validate(
        REQUEST.model_dump(exclude_unset=True) | {"models": {"generator": PAID}, "budget": {"dollars": 1e-6}}
    )
    await store.open_run("poor", request)
    poor: dict[str, object] = {"run_id": "poor", "request": request, "next_round": None}
    assert (await visit(store, generator, **poor))["overspend"] == Overspend(spent=0, cap=1e-6)
    assert await visit(store, generator, **poor, capped=True) == {"round": 0}
    assert not generator.paid
    await CallStore(store.database).raise_cap("poor", 1.0)
    assert (await visit(store, generator, **poor))["round"] == 1 and generator.paid
