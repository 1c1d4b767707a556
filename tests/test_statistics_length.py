"""Preference for length: what it is, and what is left of a win rate without it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from tools.statistics.length import length_controlled_rate, longer_share, rank_correlation
from tools.statistics.significance import wilson_interval

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


EVEN = [(0.0, 0.0)] * 12 + [(0.0, 1.0)] * 6 + [(0.0, -1.0)] * 6 + [(0.0, -2.0), (0.5, 1.0)]


@example(EVEN)
@given(duels)
def test_the_rate_at_equal_length_mirrors_and_stays_a_share(pairs: list[tuple[float, float]]) -> None:
    points, longer = [won for won, _ in pairs], [length for _, length in pairs]
    found = length_controlled_rate(points, longer)
    mirrored = length_controlled_rate([1 - won for won in points], [-length for length in longer])
    assert (found is None) == (mirrored is None)
    if found is not None and mirrored is not None:
        assert 0 <= found.low <= found.value <= found.high <= 1
        ends = (mirrored.value, mirrored.low, mirrored.high)
        assert ends == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low), abs=1e-9)


@given(duels)
def test_the_unit_of_length_does_not_count(pairs: list[tuple[float, float]]) -> None:
    points, longer = [won for won, _ in pairs], [length for _, length in pairs]
    scaled = length_controlled_rate(points, [length * 2 for length in longer])
    assert scaled == length_controlled_rate(points, longer)


def preference(kind: str, longer: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the choices of a judge who looks at length alone."""
    if kind == "always the longer":
        return np.where(longer > 0, 1.0, np.where(longer < 0, 0.0, 0.5))
    chosen = (generator.random(len(longer)) < 1 / (1 + np.exp(-longer / 20))).astype(float)
    return chosen


@pytest.mark.parametrize("kind", ["always the longer", "often the longer"])
@pytest.mark.parametrize("pairs", [24, 60, 200])
@pytest.mark.parametrize("mean", [20, 45])
def test_a_judge_who_looks_at_length_alone_is_seldom_given_a_preference(kind: str, pairs: int, mean: int) -> None:
    generator = np.random.default_rng(7)
    claims = 0
    for _ in range(300):
        longer = np.rint(generator.normal(mean, 30, pairs))
        found = length_controlled_rate(list(preference(kind, longer, generator)), list(longer))
        claims += found is not None and not found.low <= 0.5 <= found.high
    assert claims / 300 <= 0.05


def test_where_one_side_is_nearly_always_longer_nothing_is_claimed() -> None:
    longer = np.random.default_rng(0).normal(60, 30, 100)
    assert length_controlled_rate([1.0] * 100, list(longer)) is None
    assert length_controlled_rate([1.0] * 60, [7.0] * 60) is None


def test_a_true_preference_is_found_beside_one_for_length() -> None:
    generator = np.random.default_rng(1)
    longer = np.rint(generator.normal(20, 30, 300))
    points = (generator.random(300) < 1 / (1 + np.exp(-(1.2 + longer / 20)))).astype(float)
    found = length_controlled_rate(list(points), list(longer))
    assert found is not None and found.low > 0.5 and found.value < points.mean()
    equal = length_controlled_rate([1.0] * 30, [0.0] * 30)
    assert equal is not None and equal.value == 1 and equal.low > 0.85
    with pytest.raises(ValueError, match="as many on both sides"):
        length_controlled_rate([1.0], [])


@given(st.integers(1, 500), st.integers(0, 500))
def test_the_interval_of_a_share_is_scipys(trials: int, successes: int) -> None:
    successes = min(successes, trials)
    expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-6)
