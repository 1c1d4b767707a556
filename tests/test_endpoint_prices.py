"""What tokens cost: as the request says, by the list, or not known; and a cap that could not be kept is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.preflight import check_request
from state.errors import BadInput
from state.request import Endpoint, RunRequest
from tests.harness import Corral, refused
from tests.memory_ledger import MemoryLedger
from tools.endpoint import open_endpoint, price_of
from tools.endpoint.budget import price
from tools.endpoint.prices import NEARBY, Price, in_this_network, stated
from tools.settings import Settings

OPENAI, ELSEWHERE = "https://api.openai.com/v1", "https://models.example.org/v1"
PRICES = st.none() | st.floats(0, 1000)


def endpoint(url: str, model: str = "gpt-4o-mini", **prices: float) -> Endpoint:
    return Endpoint(base_url=url, model=model, **prices)


def test_a_known_model_has_the_prices_of_the_list() -> None:
    found = price_of(endpoint(OPENAI))
    assert found is not None and (found.input, found.output) == (0.15, 0.6)
    assert found.source == "genai-prices: openai gpt-4o-mini"
    named = price_of(Endpoint(base_url="langchain", model="openai:gpt-4o-mini"))
    assert named is not None and (named.input, named.output) == (0.15, 0.6)


@pytest.mark.parametrize(
    "spec",
    [
        endpoint(OPENAI, "a-model-of-tomorrow"),
        endpoint(ELSEWHERE),
        Endpoint(base_url="langchain", model="nobody:gpt-4o-mini"),
        endpoint(ELSEWHERE, input_price=1.0),
    ],
)
def test_what_nobody_lists_is_not_known(spec: Endpoint) -> None:
    assert price_of(spec) is None


@pytest.mark.parametrize(
    ("url", "near"),
    [
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://[::1]:1/v1", True),
        ("http://192.168.1.20:8000/v1", True),
        ("http://10.0.0.7/v1", True),
        ("http://100.64.1.2/v1", True),
        ("http://vllm:8000/v1", True),
        ("http://gpu.lan/v1", True),
        ("http://models.default.svc.cluster.local/v1", True),
        (OPENAI, False),
        ("http://8.8.8.8/v1", False),
        ("https://[2606:4700::1111]/v1", False),
        ("https://llm.company.com/v1", False),
    ],
)
def test_a_server_in_this_network_costs_nothing_unless_a_price_is_given(url: str, near: bool) -> None:
    assert in_this_network(url) is near
    assert (price_of(endpoint(url, "mine")) == NEARBY) is near
    given_price = price_of(endpoint(url, "mine", input_price=1.0, output_price=2.0))
    assert given_price is not None and (given_price.input, given_price.output) == (1.0, 2.0)
    assert given_price.source == "as the request says"


@pytest.mark.parametrize("word", ["embedded", "weights"])
def test_a_model_on_this_machine_costs_nothing(word: str) -> None:
    found = price_of(Endpoint(base_url=word))
    assert found is not None and found.input == found.output == 0


@given(PRICES, PRICES, st.none() | st.tuples(st.floats(0, 1000), st.floats(0, 1000)))
def test_what_the_owner_states_always_wins(prompt: float | None, completion: float | None, known: Any) -> None:
    listed = Price(input=known[0], output=known[1], source="the list") if known else None
    found = stated(endpoint(ELSEWHERE).model_copy(update={"input_price": prompt, "output_price": completion}), listed)
    wanted = [
        mine if mine is not None else theirs
        for mine, theirs in zip((prompt, completion), known or (None, None), strict=True)
    ]
    assert (None if found is None else [found.input, found.output]) == (None if None in wanted else wanted)


async def test_a_call_is_booked_at_the_listed_price_and_at_nothing_where_none_is_known() -> None:
    listed = await open_endpoint(endpoint(OPENAI), MemoryLedger(), "run", Settings())
    assert price(listed.spec, 1_000_000, 1_000_000) == pytest.approx(0.75)
    unknown = await open_endpoint(endpoint(ELSEWHERE), MemoryLedger(), "run", Settings())
    assert price(unknown.spec, 1_000_000, 1_000_000) == 0


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"base_url": ELSEWHERE}, "models.judge.input_price and models.judge.output_price"),
        ({"base_url": ELSEWHERE, "input_price": 1}, "set models.judge.output_price,"),
        (
            {"base_url": OPENAI, "model": "a-model-of-tomorrow"},
            "models.judge.input_price and models.judge.output_price",
        ),
        ({"base_url": "langchain", "model": "nobody:x"}, "models.judge.input_price and models.judge.output_price"),
    ],
)
def test_a_cap_that_cannot_be_reckoned_is_refused(spec: dict[str, Any], fields: str) -> None:
    request = {"budget": {"dollars": 0.01}, "models": {"judge": {"model": "m", **spec}}}
    with pytest.raises(BadInput, match="the budget cannot be kept") as refusal:
        check_request(RunRequest.model_validate(request))
    assert fields in str(refusal.value) and "\n" not in str(refusal.value)
    check_request(RunRequest.model_validate(request | {"budget": {}}))
    free = {"judge": {"model": "m", **spec, "input_price": 0, "output_price": 0}}
    check_request(RunRequest.model_validate(request | {"models": free}))


def test_only_models_that_are_asked_need_a_price() -> None:
    models = {"generator": {"base_url": ELSEWHERE, "model": "m"}}
    check_request(RunRequest.model_validate({"budget": {"dollars": 1}, "models": models, "generation": {"target": 0}}))


def test_a_model_that_the_program_brought_needs_its_price_stated() -> None:
    request = RunRequest.model_validate({"budget": {"dollars": 1}, "models": {"judge": {"model": "mine"}}})
    check_request(request)
    with pytest.raises(BadInput, match=r"models\.judge\.input_price"):
        check_request(request, plugged={"mine"})


def test_the_command_line_says_it_in_one_line(corral: Corral) -> None:
    model = [f"models.judge.base_url={ELSEWHERE}", "models.judge.model=m", "budget.dollars=0.01"]
    result = corral("run", *(word for setting in model for word in ("--set", setting)))
    refused(result, "the budget cannot be kept", "models.judge.input_price")
