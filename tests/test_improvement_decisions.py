"""When to retrain, who is served which version, and which version stays."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.promotion import crossings, ratings
from state.feedback import Feedback
from state.request import Improving
from tests.builders import NOON
from tools.improvement.promotion import RANGE, arm_of, decide_by_stars, decide_promotion
from tools.improvement.retraining import decide_retraining, first_ratings
from tools.statistics.sequences import LEVEL, confidence_sequence, log_wealth, matched_differences

SHARES = st.lists(st.floats(0, 1), max_size=60)


def said(stars: int | None, rater: str = "ada", hours: float = 0.0, **changes: Any) -> Feedback:
    fields = {"id": f"{rater}-{hours}", "answer_id": "a", "version": "v1-00000000", "rater": rater, "stars": stars}
    return Feedback.model_validate(fields | {"given_at": NOON - timedelta(hours=hours)} | changes)


def many(stars: list[int], hours: float = 1.0) -> list[Feedback]:
    return [said(one, f"rater-{n}", hours) for n, one in enumerate(stars)]


@pytest.mark.parametrize(
    ("feedback", "action", "reason"),
    [
        (many([2] * 99), "wait", "99 ratings in 7 days, fewer than 100"),
        (many([2] * 100), "retrain", "100 ratings in 7 days, and their mean 2.00 is below 3.5"),
        (many([3] * 50 + [4] * 50), "wait", "their mean 3.50 is not below 3.5"),
        (many([3] * 51 + [4] * 49), "retrain", "their mean 3.49 is below 3.5"),
        (many([1] * 100, hours=7 * 24 + 0.1), "wait", "0 ratings in 7 days"),
        (many([1] * 100, hours=-1.0), "wait", "0 ratings"),
        ([*many([1] * 99), said(None, "words alone")], "wait", "99 ratings"),
        ([], "wait", "0 ratings in 7 days, fewer than 100"),
    ],
)
def test_the_guides_rule(feedback: list[Feedback], action: str, reason: str) -> None:
    decision = decide_retraining(feedback, Improving(), NOON)
    assert decision.action == action and reason in decision.reason


@pytest.mark.parametrize(
    ("feedback", "action", "reason"),
    [
        (many([1] * 29), "wait", "29 raters, fewer than 30"),
        (many([2, 5] * 15), "wait", "not shown to be below 3.5"),
        (many([2, 3] * 60), "retrain", "shown to be below 3.5"),
        ([said(1, "one angry person", hours) for hours in range(500)], "wait", "1 raters, fewer than 30"),
    ],
)
def test_the_rule_that_holds_however_often_one_looks(feedback: list[Feedback], action: str, reason: str) -> None:
    decision = decide_retraining(feedback, Improving(rule="interval"), NOON)
    assert decision.action == action and reason in decision.reason
    assert decision.low is not None and decision.high is not None and decision.low <= decision.high


def test_the_first_rating_of_each_rater_counts() -> None:
    told = [said(None, "ada", 4), said(2, "ada", 3), said(5, "bob", 2), said(5, "ada", 1)]
    assert first_ratings(told) == [2, 5]


@given(SHARES, st.floats(0.01, 1), st.floats(0.01, 1))
def test_more_is_won_against_a_smaller_mean(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    against_low, against_high = (log_wealth(np.asarray(values), mean) for mean in (low, high))
    assert (against_low >= against_high - 1e-9).all()


@settings(max_examples=20)
@given(SHARES, st.integers(0, 60))
def test_a_confidence_sequence_narrows_and_stays_in_its_range(values: list[float], cut: int) -> None:
    before, after = (confidence_sequence(some, 0, 1) for some in (values[:cut], values))
    assert 0 <= before.low <= after.low + 1e-9 and after.high <= before.high + 1e-9 and before.high <= 1


@settings(max_examples=20)
@given(SHARES)
def test_a_confidence_sequence_looks_both_ways_alike(values: list[float]) -> None:
    one, other = confidence_sequence(values, 0, 1), confidence_sequence([1 - v for v in values], 0, 1)
    assert one.low == pytest.approx(1 - other.high, abs=1e-6) and one.high == pytest.approx(1 - other.low, abs=1e-6)


def test_it_ever_misses_the_mean_in_five_of_a_hundred_at_most() -> None:
    generator = np.random.default_rng(3)
    missed = 0
    for mean in (0.1, 0.5, 0.9):
        values = (generator.random((400, 400)) < mean).astype(float)
        either = (log_wealth(values, mean), log_wealth(1 - values, 1 - mean))
        missed += sum(int((one.max(axis=1) >= math.log(2 / LEVEL)).sum()) for one in either)
    assert missed <= 0.05 * 1200


def test_values_outside_of_the_range_are_refused() -> None:
    with pytest.raises(ValueError, match="must lie in 1 to 5, not 0 to 3"):
        confidence_sequence([3, 0], 1, 5)


def test_a_tenth_is_matched_with_nine_and_nobody_twice() -> None:
    assert matched_differences([5, 1, 4], [1.0] * 9 + [2.0] * 8, 0.1) == [4.0]
    assert matched_differences([5, 1], [1.0, 3.0, 9.0], 0.5) == [4.0, -2.0]


def test_a_better_challenger_is_promoted_a_worse_one_rolled_back_and_an_equal_one_neither() -> None:
    generator = np.random.default_rng(0)
    good, bad, same, current = (
        [float(one) for one in ratings(generator, gain, (400,))] for gain in (0.7, 0.0, 0.1, 0.0)
    )
    assert decide_by_stars(good, current, 0.5).action == "promote"
    assert decide_by_stars([max(1.0, one - 1) for one in bad], current, 0.5).action == "roll back"
    assert decide_by_stars(same, current, 0.5).action == "wait"
    assert decide_by_stars([], [], 0.1).action == "wait"
    flat = [4.0] * 400
    assert decide_by_stars(flat, flat, 0.5).action == "no difference shown"


def test_one_rater_alone_promotes_nothing() -> None:
    praise = [said(5, "a friend", hours) for hours in range(300)]
    assert decide_promotion(praise, many([1] * 300), 0.5).action == "wait"


def test_the_benchmark_looks_as_the_decision_does() -> None:
    """Its shortcut, one bet against each border, stops at the same rating as the interval that is told."""
    after, _ = crossings(0.5, 0.5, experiments=3, most=400, seed=5)
    generator = np.random.default_rng(5)
    ours, theirs = ratings(generator, 0.5, (3, 200)), ratings(generator, 0.0, (3, 200, 1))[..., 0]
    for one, stop in enumerate(after):
        if math.isfinite(stop):
            pairs = int(stop) // 2
            assert decide_by_stars(list(ours[one, :pairs]), list(theirs[one, :pairs]), 0.5).action == "promote"
            before = decide_by_stars(list(ours[one, : pairs - 1]), list(theirs[one, : pairs - 1]), 0.5)
            assert before.action == "wait"
    assert any(math.isfinite(stop) for stop in after)


def test_a_tenth_of_the_users_are_served_the_challenger_and_always_the_same_ones() -> None:
    users = [f"user-{n}" for n in range(5000)]
    arms = [arm_of(user, "v2-11111111", 0.1) for user in users]
    assert 0.08 < arms.count("canary") / len(arms) < 0.12
    assert arms == [arm_of(user, "v2-11111111", 0.1) for user in users]
    wider = [arm_of(user, "v2-11111111", 0.3) for user in users]
    assert all(later == "canary" for early, later in zip(arms, wider, strict=True) if early == "canary")
    assert arms != [arm_of(user, "v3-22222222", 0.1) for user in users]
    assert {arm_of(user, "v2-11111111", 0.0) for user in users} == {"current"}
    assert {arm_of(user, "v2-11111111", 1.0) for user in users} == {"canary"}


def test_a_difference_lies_in_the_range_of_stars() -> None:
    found = decide_by_stars([5.0], [1.0], 0.5).difference
    assert (found.low, found.high) == (-RANGE, RANGE) or -RANGE <= found.low <= found.value <= found.high <= RANGE
