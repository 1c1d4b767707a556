"""Tests of a difference, paired or not, and the correction for several of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from tools.statistics.bootstrap import CELLS, paired_columns


def sign_flip(base: Sequence[float], adapter: Sequence[float], resamples: int, seed: int) -> float:
    """Return the two-sided p of the paired permutation test: how often random signs give as large a difference.

    Under the null hypothesis each prompt's difference is as likely as its negative. The observed signs count as one of
    the draws, so that p is never 0 (Phipson & Smyth 2010).

    Args:
        base: one score for each prompt.
        adapter: the scores of the same prompts in the same order.
        resamples: random sign patterns.
        seed: of the draws.

    Raises:
        ValueError: there are no scores, or not as many on both sides.
    """
    import numpy as np

    before, after = paired_columns(base, adapter)
    differences = after - before
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    observed = abs(differences.sum())
    slack = 1e-9 * np.abs(differences).sum()
    generator = np.random.default_rng(seed)
    step = max(1, CELLS // len(differences))
    as_large = 0
    for start in range(0, resamples, step):
        signs = generator.integers(0, 2, (min(step, resamples - start), len(differences)), dtype=np.int8) * 2.0 - 1.0
        as_large += int((np.abs(signs @ differences) >= observed - slack).sum())
    return (as_large + 1) / (resamples + 1)


def label_shuffle(a: Sequence[float], b: Sequence[float], resamples: int, seed: int) -> float:
    """Return the two-sided p of the permutation test of two means: how often random halves differ as much.

    Under the null hypothesis a value is as likely in the one sample as in the other. The observed split counts as one
    of the draws, so that p is never 0 (Phipson & Smyth 2010).

    Args:
        a: one number for each unit.
        b: the same of other units.
        resamples: random splits.
        seed: of the draws.

    Raises:
        ValueError: a sample is empty.
    """
    import numpy as np

    (first,), (second,) = paired_columns(a), paired_columns(b)
    pooled = np.concatenate([first, second])
    # Of the sums of equally many values, that of the first sample alone tells how far the means are apart.
    expected = len(first) * pooled.mean()
    observed, slack = abs(first.sum() - expected), 1e-9 * np.abs(pooled).sum()
    generator = np.random.default_rng(seed)
    step = max(1, CELLS // len(pooled))
    as_large = 0
    for start in range(0, resamples, step):
        drawn = generator.permuted(np.tile(pooled, (min(step, resamples - start), 1)), axis=1)[:, : len(first)]
        as_large += int((np.abs(drawn.sum(axis=1) - expected) >= observed - slack).sum())
    return (as_large + 1) / (resamples + 1)


def mcnemar(base: Sequence[bool], adapter: Sequence[bool]) -> float:
    """Return the two-sided exact p of McNemar's test: the binomial test on the prompts where the two differ.

    Args:
        base: whether each prompt was passed.
        adapter: the same for the same prompts in the same order.

    Raises:
        ValueError: there are not as many on both sides.
    """
    pairs = list(zip(base, adapter, strict=True))
    gained = sum(1 for before, after in pairs if after and not before)
    lost = sum(1 for before, after in pairs if before and not after)
    both = gained + lost
    tail, term = 0, 1
    for wins in range(min(gained, lost) + 1):
        tail += term
        term = term * (both - wins) // (wins + 1)
    return min(1.0, 2 * tail / (1 << both))


def holm(pvalues: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method (1979), in the given order.

    Args:
        pvalues: each in [0, 1].
    """
    order = sorted(range(len(pvalues)), key=pvalues.__getitem__)
    corrected = [0.0] * len(pvalues)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(pvalues) - rank) * pvalues[index]))
        corrected[index] = highest
    return corrected


def wilson_interval(successes: float, trials: float, level: float = 0.05) -> tuple[float, float]:
    """Return the score interval of a share (Wilson 1927), which holds at the borders and for few trials.

    Args:
        successes: how many of the trials succeeded; a tie may count half.
        trials: at least 1; no whole number where they are weighted.
        level: the two-sided error; 0.05 for a 95% interval.
    """
    share, z = successes / trials, NormalDist().inv_cdf(1 - level / 2)
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return max(0.0, middle - half), min(1.0, middle + half)
