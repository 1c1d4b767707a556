"""Intervals and tests: exact where they can be, honest where nothing differs, and the same as others compute."""

from __future__ import annotations

import gc
import random
import tracemalloc
from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from tools.statistics.agreement import krippendorffs_alpha
from tools.statistics.bootstrap import (
    Estimate,
    bootstrap,
    mean,
    paired_bootstrap,
    ratio_of_sums,
    unpaired_bootstrap,
)
from tools.statistics.significance import holm, label_shuffle, mcnemar, sign_flip

scores = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=40)
answers = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)
EARLIER = [
    *(-0.00080586171416, -0.12204373912633, 0.11599711411958),
    *(-0.02758620689655, -0.21283802333562, 0.16438356164384),
    *(-0.04912280701754, -0.36949286268315, 0.27307725324429),
    *(0.69469696969697, 0.13636363636364, 1.24625),
]
"""Value, low and high: a paired mean, a ratio, an alpha, and two samples drawn apart."""


def split(pairs: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [base for base, _ in pairs], [adapter for _, adapter in pairs]


@given(scores, st.integers(0, 9))
def test_the_interval_lies_within_the_data_and_mirrors(pairs: list[tuple[float, float]], seed: int) -> None:
    base, adapter = split(pairs)
    interval = paired_bootstrap(base, adapter, 200, seed)
    differences = [after - before for before, after in pairs]
    assert interval.value == pytest.approx(sum(differences) / len(differences), abs=1e-9)
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
    assert interval.low == pytest.approx(interval.value - spread, abs=0.003)
    assert interval.high == pytest.approx(interval.value + spread, abs=0.003)


def test_the_bootstrap_needs_little_memory() -> None:
    tracemalloc.start()
    paired_bootstrap([0.0] * 20_000, [1.0] * 20_000, 400, 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80e6, "8 million draws of 8 bytes twice over would be 128 MB"


@pytest.mark.parametrize("resamples", [1, 300])
@pytest.mark.parametrize("size", [1, 2, 37])
def test_the_interval_is_scipys_for_the_same_draws(size: int, resamples: int) -> None:
    values = np.random.default_rng(size).normal(size=size)
    found = bootstrap(mean, values, resamples=resamples, seed=5)
    drawn = values[np.random.default_rng(5).integers(0, size, (resamples, size))]
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn.mean(axis=1), [0.025, 0.975]), abs=1e-12)
    if size > 1:
        theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=1)
        ours = bootstrap(mean, values, resamples=5000, seed=2)
        assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.06)
        assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.06)


def test_two_samples_are_drawn_apart_as_in_scipy() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(3, 1, 50), generator.normal(4, 1, 70)
    ours = unpaired_bootstrap(a, b, 5000, seed=1)
    theirs = stats.bootstrap(
        (a, b), lambda x, y, axis: y.mean(axis) - x.mean(axis), n_resamples=5000, method="percentile", rng=2
    )
    assert ours.value == pytest.approx(b.mean() - a.mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.03)
    with pytest.raises(ValueError):
        unpaired_bootstrap([], [1.0])


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 3)), min_size=1, max_size=30))
def test_a_ratio_of_equal_wholes_is_a_mean(units: list[tuple[int, int]]) -> None:
    parts, wholes = [part for part, _ in units], [whole for _, whole in units]
    level = bootstrap(ratio_of_sums, parts, [2] * len(parts), resamples=50)
    assert level == bootstrap(mean, [part / 2 for part in parts], resamples=50)
    assert bootstrap(ratio_of_sums, parts, wholes, resamples=50).value == pytest.approx(sum(parts) / sum(wholes))


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_an_estimate_of_an_earlier_version_is_read(value: float, low: float, high: float) -> None:
    """It had ``difference`` for the value, and was called an interval."""
    earlier = {"difference": value, "low": low, "high": high}
    now = Estimate(value=value, low=low, high=high)
    assert Estimate.model_validate(earlier) == now == Estimate.model_validate_json(now.model_dump_json())
    assert set(now.model_dump()) == {"value", "low", "high"}
    with pytest.raises(ValidationError):
        Estimate.model_validate(earlier | {"value": value})


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


@given(answers)
@settings(max_examples=40)
def test_mcnemar_is_that_of_scipy_and_statsmodels(pairs: list[tuple[bool, bool]]) -> None:
    base, adapter = [before for before, _ in pairs], [after for _, after in pairs]
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    table = [[pairs.count((True, True)), lost], [gained, pairs.count((False, False))]]
    assert mcnemar(base, adapter) == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
    if gained + lost:
        assert mcnemar(base, adapter) == pytest.approx(stats.binomtest(gained, gained + lost).pvalue)


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


@given(st.lists(st.integers(-3, 3).filter(bool), min_size=2, max_size=8))
@settings(max_examples=20)
def test_the_sign_flip_test_is_scipys_permutation_test(differences: list[int]) -> None:
    exact = stats.permutation_test(
        (np.array(differences, float), np.zeros(len(differences))),
        lambda a, b, axis: (a - b).sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    found = sign_flip([0.0] * len(differences), [float(d) for d in differences], 4000, 1)
    # Scipy doubles the smaller tail; the statistic is symmetric under flips, so that both tails are alike.
    assert found == pytest.approx(min(1.0, exact.pvalue), abs=0.05)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.lists(st.integers(1, 5), min_size=1, max_size=5))
@settings(max_examples=40)
def test_the_label_shuffle_agrees_with_all_splits(a: list[int], b: list[int]) -> None:
    pooled = [*a, *b]
    splits = [[pooled[i] for i in chosen] for chosen in combinations(range(len(pooled)), len(a))]
    expected = len(a) * sum(pooled) / len(pooled)
    larger = sum(abs(sum(split) - expected) >= abs(sum(a) - expected) - 1e-9 for split in splits)
    assert label_shuffle(a, b, 4000, 0) == pytest.approx(larger / len(splits), abs=0.05)


def test_the_label_shuffle_is_the_two_sample_test_where_there_are_many() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.normal(0, 1, 400), generator.normal(0.15, 1, 300)
    assert label_shuffle(list(a), list(b), 8000, 1) == pytest.approx(stats.ttest_ind(a, b).pvalue, abs=0.02)
    with pytest.raises(ValueError):
        label_shuffle([], [1.0], 10, 0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(pvalues: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # It collects the garbage of the whole process each time: half a second where all tests' libraries are loaded.
        patch.setattr(gc, "collect", lambda: 0)
        theirs = multipletests(pvalues, method="holm")[1]
    assert holm(pvalues) == pytest.approx(list(theirs))


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


def test_the_figures_are_those_of_corral_0_1() -> None:
    """Four bootstraps became one: for the same seed each gives what it gave, and old scoreboards can be compared."""
    draw = random.Random(5)
    a, b = ([draw.random() for _ in range(60)] for _ in range(2))
    counts = [draw.randint(1, 4) for _ in range(50)]
    gained = [draw.randint(-count, count) for count in counts]
    old, new = [draw.randint(1, 5) for _ in range(40)], [draw.randint(2, 5) for _ in range(33)]
    found = [
        paired_bootstrap(a, b, 2000, 7),
        bootstrap(ratio_of_sums, gained, counts, resamples=1500, seed=4),
        bootstrap(lambda x, y: krippendorffs_alpha([x, y], "interval"), old[:33], new, seed=2),
        unpaired_bootstrap(old, new, seed=6),
    ]
    assert [figure for one in found for figure in (one.value, one.low, one.high)] == pytest.approx(EARLIER, abs=1e-12)
