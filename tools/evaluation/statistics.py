"""Paired statistics: a bootstrap interval, two tests, a correction for several of them, and a win rate less length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from state.records import Record

_CELLS = 2_000_000
"""Numbers drawn at a time: 16 MB, whatever the size of the data."""
_RIDGE = (1e-3, 1.0)
"""Of the intercept and the slope of the length-controlled win rate."""


class Interval(Record):
    """A mean difference, adapter less base, with its 95% interval."""

    difference: float
    low: float
    high: float


def paired_bootstrap(base: Sequence[float], adapter: Sequence[float], resamples: int, seed: int) -> Interval:
    """Return the mean paired difference and its 95% percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13).

    Args:
        base: one score for each prompt, of any scale.
        adapter: the scores of the same prompts in the same order.
        resamples: draws with replacement, at least 1.
        seed: of the draws; equal input gives an equal interval.

    Raises:
        ValueError: no scores, or not as many on both sides.
    """
    differences = _differences(base, adapter)
    size = len(differences)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    step = max(1, _CELLS // size)
    for start in range(0, resamples, step):
        drawn = generator.integers(0, size, (min(step, resamples - start), size), dtype=np.int64)
        means[start : start + len(drawn)] = differences[drawn].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(difference=float(differences.mean()), low=float(low), high=float(high))


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
        ValueError: no scores, or not as many on both sides.
    """
    differences = _differences(base, adapter)
    differences = differences[differences != 0]
    if not len(differences):
        return 1.0
    observed = abs(differences.sum())
    slack = 1e-9 * np.abs(differences).sum()
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // len(differences))
    as_large = 0
    for start in range(0, resamples, step):
        signs = generator.integers(0, 2, (min(step, resamples - start), len(differences)), dtype=np.int8) * 2.0 - 1.0
        as_large += int((np.abs(signs @ differences) >= observed - slack).sum())
    return (as_large + 1) / (resamples + 1)


def mcnemar(base: Sequence[bool], adapter: Sequence[bool]) -> float:
    """Return the two-sided exact p of McNemar's test: the binomial test on the prompts where the two differ.

    Args:
        base: whether each prompt was passed.
        adapter: the same for the same prompts in the same order.

    Raises:
        ValueError: not as many on both sides.
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


def length_controlled_rate(
    points: Sequence[float], longer: Sequence[float], resamples: int, seed: int
) -> tuple[float, float, float]:
    """Return the win rate that would be left if both answers were equally long, with its 95% bootstrap interval.

    A logistic regression of the preference on tanh(difference in length / its standard deviation), read where that is
    0: the length-controlled win rate of AlpacaEval 2 (Dubois et al. 2024), for one pair of models and without its term
    for each instruction's difficulty. The slope has a ridge of 1, since some dozen pairs would otherwise let chance
    speak for length; the intercept one of 0.001, so that it is finite where every pair was won.

    Args:
        points: 1 for a pair won, 0 for a lost one, 0.5 for a tie; at least one.
        longer: by how much the answer that may win is longer, in any unit, for each pair.
        resamples: draws of the pairs with replacement.
        seed: of the draws; equal input gives an equal result.

    Raises:
        ValueError: no pairs, or not as many lengths.
    """
    _differences(points, longer)
    won, lengths = np.asarray(points, dtype=np.float64), np.asarray(longer, dtype=np.float64)
    spread = lengths.std()
    slant = np.tanh(lengths / spread) if spread else np.zeros_like(lengths)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(won), np.full(len(won), 1 / len(won)), resamples)
    intercepts = _logistic_intercepts(won, slant, np.vstack([np.ones(len(won)), counts]))
    rates = 1 / (1 + np.exp(-intercepts))
    low, high = np.quantile(rates[1:], (0.025, 0.975))
    return float(rates[0]), float(low), float(high)


def _logistic_intercepts(
    won: npt.NDArray[np.float64], slant: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the intercept of a ridge logistic regression for each row of weights, by Newton's method."""
    intercept, slope = np.zeros(len(counts)), np.zeros(len(counts))
    for _ in range(60):
        chance = 1 / (1 + np.exp(-(intercept[:, None] + slope[:, None] * slant)))
        off, weight = counts * (won - chance), counts * chance * (1 - chance)
        up, along = off.sum(1) - _RIDGE[0] * intercept, off @ slant - _RIDGE[1] * slope
        a, b, d = weight.sum(1) + _RIDGE[0], weight @ slant, weight @ slant**2 + _RIDGE[1]
        scale = a * d - b * b
        # A Newton step may leap far where every pair was won: one unit at a time still gets there.
        intercept = intercept + np.clip((d * up - b * along) / scale, -1, 1)
        slope = slope + np.clip((a * along - b * up) / scale, -1, 1)
    return intercept


def _differences(base: Sequence[float], adapter: Sequence[float]) -> npt.NDArray[np.float64]:
    if len(base) != len(adapter) or not len(base):
        raise ValueError(
            f"paired scores must be as many on both sides and at least 1, not {len(base)} and {len(adapter)}"
        )
    return np.asarray(adapter, dtype=np.float64) - np.asarray(base, dtype=np.float64)
