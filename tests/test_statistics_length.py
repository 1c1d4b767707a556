"""Preference for length: what it is, and what is left of a win rate without it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tools.statistics.length import length_controlled_rate, longer_share, rank_correlation

duels = st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.integers(-60, 60).map(float)), min_size=1, max_size=30)


def test_a_preference_for_length_is_seen() -> None:
    texts = [("long" * n, "s") for n in range(1, 9)]
    assert longer_share([1] * 8, texts) == 1.0
    assert longer_share([1, 2] * 4, texts) == 0.5
    assert longer_share([0] * 8, texts) is None
    assert rank_correlation([1, 2, 3], ["a", "aaaa", "aaaaaaaaa"]) == 1.0
    assert rank_correlation([3, 1, 1], ["a", "aa", "aaa"]) == pytest.approx(-0.866, abs=1e-3)
    assert rank_correlation([2, 2], ["a", "aa"]) is None


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 30)), min_size=2, max_size=40))
def test_the_rank_correlation_is_spearmans(rows: list[tuple[int, int]]) -> None:
    ratings, lengths = [rating for rating, _ in rows], [length for _, length in rows]
    found = rank_correlation(ratings, ["x" * length for length in lengths])
    if len(set(ratings)) == 1 or len(set(lengths)) == 1:
        assert found is None
    else:
        assert found == pytest.approx(stats.spearmanr(ratings, lengths).statistic, abs=6e-4)


@given(duels, st.integers(0, 3))
@settings(max_examples=60)
def test_the_controlled_rate_mirrors_and_stays_a_share(pairs: list[tuple[float, float]], seed: int) -> None:
    points, longer = [won for won, _ in pairs], [length for _, length in pairs]
    found = length_controlled_rate(points, longer, 100, seed)
    assert 0 <= found.low <= found.high <= 1 and 0 <= found.value <= 1
    mirrored = length_controlled_rate([1 - won for won in points], [-length for length in longer], 100, seed)
    ends = (mirrored.value, mirrored.low, mirrored.high)
    assert ends == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low), abs=1e-6)
    level = length_controlled_rate(points, [7.0] * len(points), 100, seed).value
    assert level == pytest.approx(sum(points) / len(points), abs=0.01)


@given(duels)
@settings(max_examples=30)
def test_the_controlled_rate_is_the_optimum_of_its_likelihood(pairs: list[tuple[float, float]]) -> None:
    won, longer = (np.array(column) for column in zip(*pairs, strict=True))
    slant = np.tanh(longer / longer.std()) if longer.std() else 0 * longer
    slopes = np.linspace(-6, 6, 1201)[:, None]

    def least_loss(intercept: float) -> float:
        """Return the penalised loss at an intercept, with the slope that suits it best."""
        line = intercept + slopes * slant
        losses = np.sum(np.logaddexp(0, line) - won * line, axis=1) + 0.5 * slopes[:, 0] ** 2
        return float(losses.min()) + 0.5e-3 * intercept**2

    value = length_controlled_rate(list(won), list(longer), 1, 0).value
    found = math.log(value / (1 - value))
    assert least_loss(found) <= min(least_loss(found - 0.2), least_loss(found + 0.2))


def test_a_judge_who_only_likes_length_is_seen_through() -> None:
    generator = np.random.default_rng(0)
    longer = generator.normal(20, 25, 400)
    points = (generator.random(400) < 1 / (1 + np.exp(-3 * np.tanh(longer / longer.std())))).astype(float)
    raw = points.mean()
    found = length_controlled_rate(list(points), list(longer), 400, 0)
    assert raw > 0.65 and found.low < 0.5 < found.high and abs(found.value - 0.5) < 0.08
    assert length_controlled_rate([1.0] * 20, list(longer[:20]), 100, 0).value > 0.95
    with pytest.raises(ValueError, match="as many on both sides"):
        length_controlled_rate([1.0], [], 10, 0)
