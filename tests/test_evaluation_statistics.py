"""Paired statistics: exact where they can be, and honest where nothing differs."""

from __future__ import annotations

import tracemalloc
from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.evaluation.statistics import holm, mcnemar, paired_bootstrap, sign_flip

scores = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=40)
answers = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)


def split(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [base for base, _ in pairs], [adapter for _, adapter in pairs]


@given(scores, st.integers(0, 9))
def test_the_interval_lies_within_the_data_and_mirrors(pairs: list[tuple[float, float]], seed: int) -> None:
    base, adapter = split(pairs)
    interval = paired_bootstrap(base, adapter, 200, seed)
    differences = [after - before for before, after in pairs]
    assert interval.difference == pytest.approx(sum(differences) / len(differences), abs=1e-9)
    assert min(differences) - 1e-9 <= interval.low <= interval.high <= max(differences) + 1e-9
    mirrored = paired_bootstrap(adapter, base, 200, seed)
    assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low), abs=1e-9)
    assert paired_bootstrap(base, adapter, 200, seed) == interval


def test_the_interval_agrees_with_the_normal_approximation_on_much_data() -> None:
    generator = np.random.default_rng(3)
    base = generator.normal(0, 1, 2000)
    adapter = base + generator.normal(0.1, 0.5, 2000)
    interval = paired_bootstrap(list(base), list(adapter), 4000, 1)
    spread = 1.96 * np.std(adapter - base, ddof=1) / 2000**0.5
    assert interval.low == pytest.approx(interval.difference - spread, abs=0.003)
    assert interval.high == pytest.approx(interval.difference + spread, abs=0.003)


def test_the_bootstrap_needs_little_memory() -> None:
    tracemalloc.start()
    paired_bootstrap([0.0] * 20_000, [1.0] * 20_000, 400, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6, "8 million draws of 8 bytes twice over would be 128 MB"


@pytest.mark.parametrize("statistic", [paired_bootstrap, sign_flip])
def test_scores_that_do_not_pair_are_refused(statistic) -> None:  # type: ignore[no-untyped-def]
    for base, adapter in ([], []), ([1.0], [1.0, 2.0]):
        with pytest.raises(ValueError, match="as many on both sides"):
            statistic(base, adapter, 100, 0)
    with pytest.raises(ValueError):
        mcnemar([True], [])


@given(answers)
def test_mcnemar_is_the_binomial_test_on_what_differs(pairs: list[tuple[bool, bool]]) -> None:
    base, adapter = [before for before, _ in pairs], [after for _, after in pairs]
    gained = sum(after and not before for before, after in pairs)
    lost = sum(before and not after for before, after in pairs)
    n = gained + lost
    observed = comb(n, gained)
    exact = sum(comb(n, k) for k in range(n + 1) if comb(n, k) <= observed) / 2**n
    assert mcnemar(base, adapter) == pytest.approx(exact)
    assert mcnemar(adapter, base) == pytest.approx(exact)


def test_mcnemar_on_known_and_on_large_counts() -> None:
    assert mcnemar([], []) == 1.0
    assert mcnemar(list(np.zeros(200, dtype=bool)), list(np.ones(200, dtype=bool))) < 1e-50
    assert mcnemar([False] * 6, [True] * 6) == pytest.approx(2 / 64)
    assert mcnemar([False] * 5000 + [True] * 4000, [True] * 5000 + [False] * 4000) < 1e-20


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=8))
@settings(max_examples=40)
def test_the_sign_flip_test_agrees_with_all_sign_patterns(differences: list[int]) -> None:
    changed = [d for d in differences if d]
    observed = abs(sum(changed))
    patterns = list(product((-1, 1), repeat=len(changed)))
    larger = sum(abs(sum(s * d for s, d in zip(signs, changed, strict=True))) >= observed for signs in patterns)
    exact = larger / len(patterns)
    assert sign_flip([0.0] * len(differences), [float(d) for d in differences], 4000, 0) == pytest.approx(
        exact, abs=0.05
    )


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_keeps_the_order_and_is_bonferroni_for_the_least(pvalues: list[float]) -> None:
    corrected = holm(pvalues)
    assert all(p <= c <= 1 for p, c in zip(pvalues, corrected, strict=True))
    for i, j in product(range(len(pvalues)), repeat=2):
        assert pvalues[i] > pvalues[j] or corrected[i] <= corrected[j]
    if pvalues:
        assert min(corrected) == pytest.approx(min(1.0, len(pvalues) * min(pvalues)))


def test_holm_on_a_known_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@pytest.mark.parametrize(("size", "rate"), [(30, 0.15), (60, 0.2), (300, 0.15)])
def test_a_model_against_itself_is_called_different_as_seldom_as_promised(size: int, rate: float) -> None:
    """Two samplings of one model over 600 seeds: each side is shown in at most 2.5% of them, but for chance."""
    generator = np.random.default_rng(size)
    better = worse = 0
    for seed in range(600):
        ease = generator.beta(rate * 4, (1 - rate) * 4, size)
        base, adapter = generator.random(size) < ease, generator.random(size) < ease
        if mcnemar(list(base), list(adapter)) > 0.05:
            continue
        interval = paired_bootstrap(list(base.astype(float)), list(adapter.astype(float)), 300, seed)
        better += interval.low > 0
        worse += interval.high < 0
    assert better <= 0.04 * 600 and worse <= 0.04 * 600
