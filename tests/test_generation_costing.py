from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.calls import PurposeTally
from state.request import Endpoint, Evaluation, Generation, Judging, Models, RunRequest, Sampling, Sources
from tools.candidates.scaffold import SHOWN
from tools.generation.costing import (
    JUDGES,
    LIKELIHOODS,
    MESSAGE_TOKENS,
    RUBRIC_TOKENS,
    compare,
    estimate,
    estimate_tokens,
    generation_calls,
)
from tools.sources.seeds import SeedInstance, SeedTask

PRICED = Endpoint(base_url="https://api.example.org/v1", model="m", input_price=2.0, output_price=10.0)
SEEDS = [
    SeedTask(
        id=str(number),
        name=str(number),
        instruction="Say what a river is.",
        instances=(SeedInstance(input="x" * 18, output="Water."),),
    )
    for number in range(4)
]
QUESTION = 10
"""20 bytes, a blank line and 18 bytes, at 4 a token."""


def request(**changes: object) -> RunRequest:
    return RunRequest.model_validate(
        {
            "models": Models(generator=PRICED, policy=PRICED, judge=PRICED),
            "generation": Generation(target=17, max_tokens=1000),
            "sampling": Sampling(candidates=2, max_tokens=50, scaffold_draws=0, repairs=0),
            "judge": Judging(draws=3, max_tokens=100),
            "evaluate": Evaluation(judged_pairs=5, max_tokens=20),
            **changes,
        }
    )


def test_the_arithmetic() -> None:
    expected = estimate(request(), SEEDS, prompts_count=3)
    generate, respond, judge, evaluate = expected.stages
    assert (generate.stage, generate.calls, generate.completion_tokens) == ("generate", 2, 2000)
    assert 2 * 300 < generate.prompt_tokens < 2 * 500
    assert (respond.stage, respond.calls) == ("respond", 40)
    assert (respond.prompt_tokens, respond.completion_tokens) == (40 * (QUESTION + MESSAGE_TOKENS), 40 * 50)
    assert (judge.stage, judge.calls) == ("judge", 40 * JUDGES * 3 + 2 * 5)
    rubric = RUBRIC_TOKENS + QUESTION + 2 * MESSAGE_TOKENS
    assert judge.prompt_tokens == 720 * (rubric + 50) + 10 * (rubric + 2 * 20)
    assert judge.completion_tokens == 73_000
    assert evaluate.calls == 0, "no prompt is held out"
    for row in (generate, respond, judge, expected.total):
        assert row.dollars == pytest.approx((row.prompt_tokens * 2 + row.completion_tokens * 10) / 1e6)
    assert expected.total.calls == 2 + 40 + 730


def test_a_given_prompt_may_need_examples_and_repairs_and_a_generated_one_never() -> None:
    more = request(sampling=Sampling(candidates=2, max_tokens=50, scaffold_draws=3, repairs=1))
    _, respond, judge, _ = estimate(more, SEEDS, prompts_count=3).stages
    assert respond.calls == 40 + 3 * 3 and judge.calls == (40 + 3 * (3 + 1)) * JUDGES * 3 + 2 * 5
    shown = QUESTION + SHOWN * (QUESTION + 50) + MESSAGE_TOKENS
    assert respond.prompt_tokens == 40 * (QUESTION + MESSAGE_TOKENS) + 9 * shown


def test_the_embedded_models_cost_nothing() -> None:
    expected = estimate(RunRequest(), SEEDS, prompts_count=100)
    assert expected.total.dollars == 0
    assert expected.total.calls > 0


def test_the_embedded_judge_reads_likelihoods_and_the_evaluation_is_counted() -> None:
    local = request(models=Models(), evaluate=Evaluation(judged_pairs=5, max_tokens=20, sampled_draws=2))
    *_, judge, evaluate = estimate(local, SEEDS, prompts_count=3, heldout_count=7).stages
    assert judge.calls == (40 + 2 * 5) * LIKELIHOODS and judge.dollars == 0
    assert evaluate.calls == 2 * 7 * (1 + 2) and evaluate.dollars == 0
    fewer = request(evaluate=Evaluation(limit=4, sampled_draws=0))
    assert estimate(fewer, SEEDS, prompts_count=3, heldout_count=7).stages[-1].calls == 2 * 4


def test_the_prompt_limit_counts() -> None:
    limited = request(sources=Sources(prompt_limit=3))
    assert estimate(limited, SEEDS, prompts_count=500) == estimate(request(), SEEDS, prompts_count=3)


def test_no_generation_costs_nothing() -> None:
    expected = estimate(request(generation=Generation(target=0)), SEEDS, prompts_count=5)
    assert expected.stages[0].calls == expected.stages[0].dollars == 0
    assert expected.stages[1].calls == 10


@given(st.integers(0, 10_000), st.integers(2, 20), st.integers(1, 10))
def test_more_instructions_take_no_fewer_calls(target: int, batch: int, demonstrations: int) -> None:
    settings = Generation(target=target, tasks_per_call=batch, demonstrations=demonstrations)
    more = settings.model_copy(update={"target": target + 1})
    assert generation_calls(settings) <= generation_calls(more) <= generation_calls(settings) + 2
    assert (generation_calls(settings) == 0) == (target == 0)


def test_tokens_of_text() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "abcd", "abcde", "éé", "\ud800")] == [0, 1, 1, 2, 1, 1]


def spent(purpose: str, calls: int, dollars: float, *, failed: int = 0, from_ledger: int = 0) -> PurposeTally:
    return PurposeTally(
        purpose=purpose, answered=calls - failed + from_ledger, failed=failed, from_ledger=from_ledger,
        prompt_tokens=10 * calls, completion_tokens=calls, cost=dollars,
    )  # fmt: skip


def test_the_true_cost_stands_beside_the_estimate() -> None:
    expected = estimate(request(), SEEDS, prompts_count=3)
    actual = [
        spent("generate", 5, 0.5, failed=1, from_ledger=3),
        spent("judge.accuracy", 7, 0.25),
        spent("judge.clarity", 7, 0.5),
    ]
    rows = compare(expected, [*actual, spent("probe", 1, 0.125)])
    assert [row.stage for row in rows] == ["generate", "respond", "judge", "evaluate", "probe", "total"]
    assert [row.estimated for row in rows[:4]] == list(expected.stages)
    assert [row.actual.dollars for row in rows] == [0.5, 0.0, 0.75, 0.0, 0.125, 1.375]
    assert [row.actual.calls for row in rows] == [5, 0, 14, 0, 1, 20]
    assert rows[2].actual.prompt_tokens == 140
    assert rows[0].ratio == pytest.approx(0.5 / expected.stages[0].dollars)
    assert (rows[1].ratio, rows[3].ratio, rows[4].ratio) == (0.0, None, None)
    assert rows[5].estimated == expected.total
