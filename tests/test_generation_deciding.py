from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.generation.deciding import FAILED_ROUNDS, GROWTH, UNKNOWN_RESET, GenerationFacts, decide_next_round

SHARES = st.floats(0, 1)
FACTS = st.builds(
    GenerationFacts,
    accepted=st.integers(0, 200),
    target=st.integers(0, 200),
    rounds_done=st.integers(0, 6),
    rounds=st.integers(1, 6),
    batch_size=st.integers(2, 20),
    demonstrations=st.integers(1, 10),
    prompt_tokens=st.integers(0, 4000),
    completion_tokens=st.integers(1, 4000),
    input_price=st.floats(0, 100),
    output_price=st.floats(0, 100),
    calls=st.integers(0, 100),
    gained=st.integers(0, 20),
    accepted_per_call=st.none() | st.floats(0, 20),
    offered=st.integers(0, 300),
    novelty=st.none() | SHARES,
    min_diversity=SHARES,
    failed_rounds=st.integers(0, 4),
    budget_left=st.none() | st.floats(-1, 2),
    requests_left=st.none() | st.integers(0, 5),
    tokens_left=st.none() | st.integers(0, 9000),
    reset_seconds=st.none() | st.floats(0, 500),
)


def facts(**changes: Any) -> GenerationFacts:
    """Return the middle of an ordinary run, changed."""
    base: dict[str, Any] = {
        "accepted": 10,
        "target": 24,
        "rounds_done": 1,
        "rounds": 3,
        "prompt_tokens": 500,
        "completion_tokens": 1700,
        "input_price": 1.0,
        "output_price": 10.0,
        "calls": 4,
        "gained": 10,
        "accepted_per_call": 2.5,
        "offered": 16,
        "novelty": 0.8,
    }
    return GenerationFacts.model_validate({**base, **changes})


def round_price(known: GenerationFacts, size: int, calls: int) -> float:
    new = max(size - known.demonstrations, 1) / max(known.batch_size - known.demonstrations, 1)
    completion = known.completion_tokens * min(1.0, new)
    return calls * (known.prompt_tokens * known.input_price + completion * known.output_price) / 1e6


@given(FACTS)
@settings(max_examples=500)
def test_what_holds_whatever_is_known(known: GenerationFacts) -> None:
    decision = decide_next_round(known)
    assert decide_next_round(known) == decision
    assert decision.reason and "\n" not in decision.reason
    ended = known.accepted >= known.target or known.rounds_done >= known.rounds or known.failed_rounds >= FAILED_ROUNDS
    if ended:
        assert decision.action == "stop"
    if decision.action == "stop":
        assert (decision.calls, decision.batch_size, decision.wait_seconds) == (0, 0, 0)
        assert ended or known.budget_left is not None
        return
    assert 2 <= decision.batch_size <= known.batch_size
    assert decision.batch_size > min(known.demonstrations, known.batch_size - 1)
    assert decision.calls >= 1
    assert not known.calls or decision.calls <= (GROWTH if known.gained else 1) * known.calls
    assert (decision.wait_seconds > 0) <= (decision.action == "wait")
    if known.budget_left is not None:
        assert round_price(known, decision.batch_size, decision.calls) <= max(known.budget_left, 0) * (1 + 1e-9)
    if known.requests_left == 0:
        assert decision.action == "wait"
    if decision.action == "shrink":
        assert decision.batch_size < known.batch_size
    if decision.action in ("proceed", "retry"):
        assert decision.batch_size == known.batch_size
    if decision.action == "retry":
        assert known.rounds_done and (known.offered == 0 or (known.novelty or 0) < known.min_diversity)


@given(FACTS, st.integers(1, 200), st.floats(-1, 2), st.floats(0, 1))
def test_more_money_never_means_a_smaller_round(known: GenerationFacts, missing: int, left: float, more: float) -> None:
    known = known.model_copy(update={"target": known.accepted + missing, "budget_left": left})
    richer = decide_next_round(known.model_copy(update={"budget_left": left + more}))
    assert richer.batch_size >= decide_next_round(known).batch_size


@given(FACTS)
def test_the_loop_ends(known: GenerationFacts) -> None:
    """A run whose rounds all bring nothing stops after the last of them."""
    for _ in range(known.rounds + 1):
        decision = decide_next_round(known)
        if decision.action == "stop":
            return
        known = known.model_copy(
            update={"rounds_done": known.rounds_done + 1, "calls": decision.calls, "offered": 0, "novelty": None}
        )
    raise AssertionError("the loop went on after the last round")


def test_an_ordinary_round_proceeds_with_what_is_missing() -> None:
    decision = decide_next_round(facts())
    assert (decision.action, decision.batch_size, decision.wait_seconds) == ("proceed", 20, 0)
    assert decision.calls == 6  # 14 missing at 2.5 a call
    assert "10 of 24 accepted, round 2 of 3" in decision.reason


def test_the_first_round_assumes_that_half_is_accepted() -> None:
    decision = decide_next_round(
        facts(accepted=0, rounds_done=0, calls=0, accepted_per_call=None, offered=0, novelty=None)
    )
    assert (decision.action, decision.calls) == ("proceed", 3)  # 24 at 8.5 a call


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"accepted": 24}, "the target is reached: 24 of 24"),
        ({"target": 0, "accepted": 0}, "the target is reached"),
        ({"rounds_done": 3}, "all 3 rounds are done: 10 of 24"),
        ({"failed_rounds": 2, "offered": 0}, "2 rounds in a row without an answer"),
        ({"budget_left": 0.0001}, "do not pay for the smallest batch"),
        ({"budget_left": -0.5}, "$0.0000 left"),
    ],
)
def test_stop(changes: dict[str, Any], reason: str) -> None:
    decision = decide_next_round(facts(**changes))
    assert decision.action == "stop"
    assert reason in decision.reason


@pytest.mark.parametrize(
    ("changes", "size", "calls", "reason"),
    [
        ({"budget_left": 0.0105}, 13, 1, "the budget pays for no more"),  # 500 and 100 a task: 0.0005 + 0.001 * 10
        ({"tokens_left": 1000}, 8, 1, "the rate limit has room for no more"),
        ({"failed_rounds": 1, "offered": 0}, 10, 14, "no call of the last round was answered"),
    ],
)
def test_shrink(changes: dict[str, Any], size: int, calls: int, reason: str) -> None:
    decision = decide_next_round(facts(**changes))
    assert decision.action == "shrink"
    assert (decision.batch_size, decision.calls) == (size, calls)
    assert f"asking {size} tasks a call instead of 20: {reason}" == decision.reason


def test_a_budget_for_few_full_calls_means_few_calls() -> None:
    decision = decide_next_round(facts(budget_left=0.06))  # 0.0175 a call
    assert (decision.action, decision.batch_size, decision.calls) == ("proceed", 20, 3)


@pytest.mark.parametrize("limit", [{"requests_left": 0}, {"tokens_left": 550}])
def test_wait_then_make_the_round(limit: dict[str, int]) -> None:
    decision = decide_next_round(facts(**limit, reset_seconds=12.5))
    assert (decision.action, decision.wait_seconds) == ("wait", 12.5)
    assert (decision.batch_size, decision.calls) == (20, 6)
    assert decide_next_round(facts(**limit)).wait_seconds == UNKNOWN_RESET


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"novelty": 0.29}, "only 29% of the last round was novel, 30% asked"),
        ({"offered": 0, "novelty": None}, "held no usable row"),
    ],
)
def test_retry(changes: dict[str, Any], reason: str) -> None:
    decision = decide_next_round(facts(**changes))
    assert (decision.action, decision.batch_size) == ("retry", 20)
    assert reason in decision.reason


@given(FACTS, st.integers(1, 5))
def test_rounds_that_bring_nothing_new_never_cost_more_than_the_first_of_them(known: GenerationFacts, row: int) -> None:
    made = []
    for _ in range(row):
        decision = decide_next_round(known)
        if decision.action == "stop":
            break
        made.append(decision.calls)
        changes = {"rounds_done": known.rounds_done + 1, "calls": decision.calls, "gained": 0, "novelty": 0.0}
        known = known.model_copy(update=changes)
    assert made == sorted(made, reverse=True) or known.budget_left is not None
    assert not made or max(made) == made[0]


def test_a_server_that_repeats_one_task_is_not_asked_more_and_more() -> None:
    """It was asked 1, 4, 16, 64, 256 and 1,024 times in six rounds, for one row."""
    known, made = facts(accepted=0, target=24, rounds=6, rounds_done=0, calls=0, accepted_per_call=None), []
    while (decision := decide_next_round(known)).action != "stop":
        made.append(decision.calls)
        first = known.rounds_done == 0
        changes: dict[str, Any] = {"rounds_done": known.rounds_done + 1, "calls": decision.calls, "accepted": 1}
        changes |= {"gained": int(first), "accepted_per_call": 1 / sum(made), "novelty": 0.02}
        known = known.model_copy(update=changes)
    assert len(made) == 6 and made[0] == 3 and set(made[1:]) == {12}


def test_novelty_at_the_threshold_is_enough() -> None:
    assert decide_next_round(facts(novelty=0.3)).action == "proceed"
