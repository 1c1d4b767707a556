"""The estimate before a run, learned from the ledger's past or from priors, and the truth beside it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.calls import CallStore, PurposeTally, TokenUse
from state.records import content_hash
from state.request import (
    Endpoint,
    Evaluation,
    Gates,
    Generation,
    Judging,
    Models,
    RunRequest,
    Sampling,
    Sources,
    Training,
)
from tests.builders import call
from tools.config import load_request
from tools.generation.costing import CostEstimate, StageEstimate, compare
from tools.generation.deciding import decide_next_round
from tools.generation.estimating import (
    ACCEPTED,
    JUDGES,
    LIKELIHOODS,
    NEEDING,
    RUBRIC,
    TEMPLATE,
    TEXTS,
    estimate,
    generated,
)
from tools.generation.pacing import expected_measuring, expected_seconds
from tools.generation.past import APART, ENOUGH, Past, learned, use_of
from tools.generation.planning import needs_of
from tools.generation.spans import Span, in_interval, known, span, total
from tools.sources.prompts import load_prompts
from tools.sources.seeds import SeedInstance, SeedTask, load_seed_tasks

ROOT = Path(__file__).parent.parent
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
PROMPTS = ["p" * 40] * 3
QUESTION = 10
"""A quarter of 40 bytes."""
ENDS = st.lists(st.just(0.0) | st.floats(1e-6, 1e9), min_size=4, max_size=4).map(sorted)
SPANS = ENDS.map(lambda ends: span(*ends))


def request(**changes: object) -> RunRequest:
    return RunRequest.model_validate(
        {
            "models": Models(generator=PRICED, policy=PRICED, judge=PRICED),
            "generation": Generation(target=17, max_tokens=1000),
            "sampling": Sampling(candidates=2, max_tokens=50, scaffold_draws=0, repairs=0),
            "judge": Judging(draws=3, max_tokens=100),
            "evaluate": Evaluation(judged_pairs=5, max_tokens=20, sampled_draws=2),
            "train": Training(rounds=2),
            **changes,
        }
    )


def stages(expected: CostEstimate) -> dict[str, StageEstimate]:
    return {stage.stage: stage for stage in expected.stages}


def test_the_bound_is_the_arithmetic_of_the_settings() -> None:
    expected = estimate(request(generation=Generation(target=0)), SEEDS, PROMPTS, ["h" * 40] * 7)
    found = stages(expected)
    assert list(found) == ["generate", "gate", "respond", "judge", "evaluate"]
    assert found["generate"].calls == found["gate"].calls == known(0)
    respond, judge, evaluate = found["respond"], found["judge"], found["evaluate"]
    assert respond.calls == known(6), "three prompts, two draws each"
    assert respond.completion_tokens.most == 6 * 50
    assert respond.prompt_tokens.most == 6 * (4 * QUESTION + TEMPLATE.most)
    assert judge.calls.most == 2 * (6 * JUDGES * 3) + 2 * (2 * 5) * 2, "each asked for twice, pairs after each training"
    assert judge.completion_tokens.most == judge.calls.most * 100
    rubric = 4 * RUBRIC + 4 * QUESTION + TEMPLATE.most
    assert judge.prompt_tokens.most == 216 * (rubric + 50) + 40 * (rubric + 2 * 20)
    assert evaluate.calls.most == (1 + 2) * (7 * 3 + TEXTS.most) and evaluate.dollars == known(0)
    for row in found.values():
        if row.stage != "evaluate":
            for end in ("low", "expected", "high", "most"):
                tokens = getattr(row.prompt_tokens, end) * 2 + getattr(row.completion_tokens, end) * 10
                assert getattr(row.dollars, end) == pytest.approx(tokens / 1e6)
    assert expected.total.calls == total([row.calls for row in found.values()])
    assert expected.prices[0] == "generator m: $2 in and $10 out a million tokens (as the request says)"


def test_draws_that_are_needed_cost_more() -> None:
    more = request(sampling=Sampling(candidates=2, max_tokens=50, scaffold_draws=3, repairs=1))
    plain, further = (stages(estimate(one, SEEDS, PROMPTS, [])) for one in (request(), more))
    samples = plain["respond"].calls * 0.5
    assert further["respond"].calls.most == plain["respond"].calls.most + 3 * samples.most * NEEDING.most
    assert further["respond"].calls.low == plain["respond"].calls.low
    assert further["judge"].calls.most == plain["judge"].calls.most + 2 * samples.most * 4 * JUDGES * 3


def test_the_embedded_models_cost_nothing_and_judge_by_likelihoods() -> None:
    expected = estimate(RunRequest(), SEEDS, PROMPTS * 30, [])
    assert expected.total.dollars == known(0) and expected.total.calls.low > 0 and not expected.prices
    local = request(models=Models(), generation=Generation(target=0))
    judge = stages(estimate(local, SEEDS, PROMPTS, ["h"] * 5))["judge"]
    assert judge.calls.most == (6 + 2 * 2 * 5) * LIKELIHOODS and judge.tokens == known(0)


def test_limits_count() -> None:
    limited = request(sources=Sources(prompt_limit=3), evaluate=Evaluation(limit=4))
    three = request(evaluate=Evaluation(limit=4))
    assert estimate(limited, SEEDS, PROMPTS * 90, ["h"] * 9) == estimate(three, SEEDS, PROMPTS, ["h"] * 4)


def test_opinions_of_the_gate_are_counted_where_they_are_asked() -> None:
    gate = stages(estimate(request(gates=Gates(opinion=True)), SEEDS, PROMPTS, []))["gate"]
    assert 0 < gate.calls.low < gate.calls.expected < gate.calls.most and gate.dollars.expected > 0


def test_a_cap_bounds_the_dollars() -> None:
    capped = request(budget={"dollars": 0.001})
    assert estimate(capped, SEEDS, PROMPTS, []).total.dollars.most <= 0.001


def test_a_price_that_is_not_known_is_said() -> None:
    unknown = Models(judge=Endpoint(base_url="https://api.example.org/v1", model="m"))
    lines = estimate(request(models=unknown), SEEDS, PROMPTS, []).prices
    assert lines == ("judge m: its price is not known, so it counts as nothing",)


@given(st.integers(1, 3000), st.integers(2, 20), st.integers(1, 10), st.integers(1, 8))
def test_more_instructions_take_no_fewer_calls(target: int, batch: int, demonstrations: int, rounds: int) -> None:
    settings = Generation(target=target, tasks_per_call=batch, demonstrations=demonstrations, rounds=rounds)
    (calls, kept), (more, _) = (
        generated(needs_of(request(generation=settings.model_copy(update={"target": wanted})), SEEDS))
        for wanted in (target, target + 1)
    )
    assert calls.low >= 1 and kept.most >= calls.most, "each call may keep a row"
    assert calls.low <= more.low and calls.most <= more.most


def test_rounds_are_played_by_the_decisions_own_rule() -> None:
    """34 wanted at half of 17 a call: 4 calls; all kept, they are enough; of each call none, the round is repeated."""
    calls, kept = generated(needs_of(request(generation=Generation(target=34, rounds=3)), SEEDS))
    assert (calls.low, kept.high) == (4, 4 * 17)
    assert calls.most == 4 + 16 + 64 and kept.most == 84 * 17
    assert decide_next_round(needs_of(request(generation=Generation(target=34, rounds=3)), SEEDS)).calls == 4
    assert 4 < calls.expected < calls.high <= calls.most and ACCEPTED[0] * 17 < 1


@given(SPANS, SPANS, st.floats(0, 100))
def test_sums_and_products_keep_their_order(one: Span, other: Span, factor: float) -> None:
    for made in (one + other, one * other, one * factor, one + factor, one.whole(), one.capped(factor)):
        assert made.low <= made.expected <= made.high <= made.most
    assert one.holds(one.expected) and one.whole().low <= one.low and one.whole().most >= one.most


@given(SPANS, SPANS)
def test_a_product_is_no_wider_than_its_factors_together_and_no_narrower_than_one(one: Span, other: Span) -> None:
    made = one * other
    assert made == other * one
    assert one.low * other.low <= made.low and made.high <= one.high * other.high
    assert made.most == one.most * other.most and made.expected == one.expected * other.expected
    assert made.low <= one.low * other.expected * (1 + 1e-6) or not made.low
    assert made.high >= one.high * other.expected * (1 - 1e-6) or not made.expected


def test_intervals_in_words() -> None:
    assert in_interval(span(700, 953, 1500, 9000)) == "953 [700 to 1,500]"
    assert in_interval(known(12)) == "12"
    assert in_interval(span(0.5, 1, 2, 3), dollars=True) == "1.0000 [0.5000 to 2.0000]"


USE = TokenUse(purpose="judge.accuracy", model="m", calls=40, prompt_tokens=4000, completion_tokens=800)


def test_tokens_are_learned_from_the_past_by_purpose_and_model() -> None:
    other_run = USE.model_copy(update={"prompt_tokens": 8000})
    elsewhere = USE.model_copy(update={"model": "n", "prompt_tokens": 4_000_000})
    pairs = USE.model_copy(update={"purpose": "judge.pair", "calls": ENOUGH - 1})
    expected = estimate(request(), SEEDS, PROMPTS, [], [USE, other_run, elsewhere, pairs])
    assert expected.learned == 80
    judge = stages(expected)["judge"]
    each = judge.prompt_tokens.expected / judge.calls.expected
    assert each == pytest.approx(150, rel=0.01)
    assert judge.completion_tokens.expected / judge.calls.expected == pytest.approx(20, rel=0.01)
    assert stages(estimate(request(), SEEDS, PROMPTS, []))["judge"] != judge


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 500)), min_size=1), SPANS)
def test_what_earlier_runs_had_lies_in_what_is_learned(runs: list[tuple[int, int]], prior: Span) -> None:
    tokens, calls = zip(*runs, strict=True)
    found = learned(tokens, calls, prior)
    assert found.low <= found.expected <= found.high <= found.most and found.most >= prior.most
    assert all(found.holds(used / count) for used, count in runs)
    assert found.high >= found.expected * APART * (1 - 1e-9)


def test_uses_are_the_stages_but_for_calls_that_are_unlike_the_others() -> None:
    names = ["judge.accuracy", "judge:clarity", "judge.pair", "judge.likelihood", "evaluate.perplexity", "generate"]
    assert [use_of(name) for name in names] == ["judge", "judge", *names[2:]]
    assert Past([USE]).knows("judge", "m@0a1b2c") and not Past([USE]).knows("judge", "n")


async def test_the_ledger_sums_up_what_all_runs_used(calls: CallStore) -> None:
    for number in range(6):
        made = call(str(number)).model_copy(update={"run_id": f"run-{number % 2}", "purpose": "respond", "model": "m"})
        await calls.put(made.model_copy(update={"prompt_tokens": 10 + number, "completion_tokens": 2}))
    uses = sorted(await calls.token_uses(), key=lambda use: use.prompt_tokens)
    assert [(u.purpose, u.model, u.calls, u.prompt_tokens, u.completion_tokens) for u in uses] == [
        ("respond", "m", 3, 36, 6),
        ("respond", "m", 3, 39, 6),
    ]
    assert [use.prompt_tokens for use in await calls.token_uses(without="run-1")] == [36]


async def test_what_earlier_calls_took_tells_how_long_a_step_takes(calls: CallStore) -> None:
    request = RunRequest.model_validate(
        {
            "sampling": {"candidates": 3},
            "models": {
                "policy": {"base_url": "http://localhost:1/v1", "model": "m", "concurrency": 2},
                "judge": {"base_url": "http://localhost:1/v1", "model": "j"},
            },
        }
    )
    assert await expected_seconds(calls, "respond", request, 10) is None, "no call of it is known"
    for number, seconds in enumerate((2, 4)):
        made = call(str(number), purpose="respond", model="m")
        await calls.put(made.model_copy(update={"finished_at": made.started_at + timedelta(seconds=seconds)}))
    made = call("judged", purpose="judge.clarity", model="j")
    await calls.put(made.model_copy(update={"finished_at": made.started_at + timedelta(seconds=5)}))
    assert await expected_seconds(calls, "respond", request, 10) == pytest.approx(3 * 10 * 3 / 2)
    assert await expected_seconds(calls, "judge", request, 1) == pytest.approx(5), "six calls side by side"
    assert [await expected_seconds(calls, step, request, 9) for step in ("generate", "gate")] == [None, None]
    assert await expected_seconds(calls, "respond", request, 0) is None


async def test_earlier_evaluations_tell_how_long_one_takes(calls: CallStore) -> None:
    counts = {"evaluate": 10, "evaluate.perplexity": 1024}
    took = {"evaluate": ("base@12ab34cd", 6), "evaluate.ifeval": ("base@12ab34cd", 90), "other": ("base", 50)}
    for number, (purpose, (model, seconds)) in enumerate(took.items()):
        made = call(str(number), purpose=purpose, model=model)
        await calls.put(made.model_copy(update={"finished_at": made.started_at + timedelta(seconds=seconds)}))
    assert await expected_measuring(calls, "base", {"evaluate": 10}) == pytest.approx(2 * 6), "ten are answered at once"
    assert await expected_measuring(calls, "base", {"evaluate": 10}, models=1) == pytest.approx(6)
    assert await expected_measuring(calls, "base", counts) is None, "no text was read yet"
    assert await expected_measuring(calls, "another", {"evaluate": 10}) is None
    made = call("read", purpose="evaluate.perplexity", model="base@12ab34cd-bfloat16")
    await calls.put(made.model_copy(update={"finished_at": made.started_at + timedelta(seconds=4)}))
    assert await expected_measuring(calls, "base", counts) == pytest.approx(2 * (6 + 2 * 4)), "512 are read at once"
    assert await expected_measuring(calls, "base", {"evaluate": 0}) is None


async def test_of_a_large_ledger_a_sample_is_read(calls: CallStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.calls.SAMPLED", 60)
    await asyncio.gather(*(calls.put(call(content_hash(number))) for number in range(240)))
    (use,) = await calls.token_uses()
    assert 30 < use.calls < 100 and use.prompt_tokens == 3 * use.calls


def test_the_demos_truth_lies_in_the_interval() -> None:
    """It was said to be "at most about" so many calls, and that was one figure, far above the truth."""
    demo = load_request(ROOT / "seeds" / "demo.yaml", ["evaluate.limit=60"])
    prompts = load_prompts(ROOT / "seeds" / "prompts.jsonl", demo.evaluate.heldout_share)
    training, heldout = ([p.prompt for p in prompts if p.split == split] for split in ("train", "heldout"))
    expected = estimate(demo, load_seed_tasks(ROOT / "seeds" / "seed_tasks.jsonl"), training, heldout)
    for stage, (made, tokens_in, tokens_out) in DEMO.items():
        found = {**stages(expected), "total": expected.total}[stage]
        assert found.calls.holds(made), (stage, made, found.calls)
        assert found.prompt_tokens.holds(tokens_in), (stage, tokens_in, found.prompt_tokens)
        assert found.completion_tokens.holds(tokens_out), (stage, tokens_out, found.completion_tokens)


DEMO = {
    "generate": (2, 1_331, 731),
    "respond": (576, 69_598, 57_843),
    "judge": (388, 0, 0),
    "evaluate": (336, 12_864, 18_472),
    "total": (1_302, 83_793, 77_046),
}
"""Calls, tokens in and tokens out of each stage, of a run from an empty home on two cores, with 60 held-out prompts.
The judge's calls are those that the present judge makes over the 383 answers and 24 pairs of such a run."""


def spent(purpose: str, calls: int, dollars: float, *, failed: int = 0, from_ledger: int = 0) -> PurposeTally:
    return PurposeTally(
        purpose=purpose, answered=calls - failed + from_ledger, failed=failed, from_ledger=from_ledger,
        prompt_tokens=10 * calls, completion_tokens=calls, cost=dollars,
    )  # fmt: skip


def test_the_true_cost_stands_beside_the_estimate() -> None:
    expected = estimate(request(), SEEDS, PROMPTS, [])
    actual = [
        spent("generate", 5, 0.5, failed=1, from_ledger=3),
        spent("judge.accuracy", 7, 0.25),
        spent("judge.clarity", 7, 0.5),
    ]
    rows = compare(expected, [*actual, spent("probe", 1, 0.125)])
    assert [row.stage for row in rows] == ["generate", "gate", "respond", "judge", "evaluate", "probe", "total"]
    assert [row.estimated for row in rows[:5]] == list(expected.stages)
    assert [row.actual.dollars for row in rows] == [0.5, 0.0, 0.0, 0.75, 0.0, 0.125, 1.375]
    assert [row.actual.calls for row in rows] == [5, 0, 0, 14, 0, 1, 20]
    assert rows[3].actual.prompt_tokens == 140
    assert rows[0].ratio == pytest.approx(0.5 / expected.stages[0].dollars.expected)
    assert (rows[2].ratio, rows[4].ratio, rows[5].ratio) == (0.0, None, None)
    assert rows[6].estimated == expected.total


def test_a_preview_is_estimated_by_the_steps_that_it_takes() -> None:
    found = estimate(request(preview=True), SEEDS, PROMPTS, [])
    assert list(stages(found)) == ["generate", "gate", "respond", "judge"]
    assert found.total.calls.most == sum(stage.calls.most for stage in found.stages)
