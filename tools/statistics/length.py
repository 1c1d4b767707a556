"""Preference for length: how far ratings and choices follow it, and the win rate that is left without it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.statistics.bootstrap import Estimate, Figures, estimate_of, paired_columns

_RIDGE = (1e-3, 1.0)
"""Of the intercept and the slope of the length-controlled win rate."""


def longer_share(choices: Sequence[int], texts: Sequence[tuple[str, str]]) -> float | None:
    """Return how often the longer of two texts was chosen.

    Args:
        choices: 1 or 2, or 0 for a tie, which does not count.
        texts: both texts; pairs of one length do not count.

    Returns:
        A share in [0, 1]; 0.5 shows no preference. ``None`` where no pair counts.
    """
    counted = [
        (choice == 1) == (len(one) > len(other))
        for choice, (one, other) in zip(choices, texts, strict=True)
        if choice and len(one) != len(other)
    ]
    return round(sum(counted) / len(counted), 3) if counted else None


def rank_correlation(values: Sequence[float], texts: Sequence[str]) -> float | None:
    """Return Spearman's rank correlation of ratings with the texts' lengths; ``None`` where one of them is constant."""
    ours, theirs = _ranks(values), _ranks([len(text) for text in texts])
    if not ours.std() or not theirs.std():
        return None
    return round(float(np.corrcoef(ours, theirs)[0, 1]), 3)


def _ranks(values: Sequence[float]) -> Figures:
    """Return ranks from 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    ranks: Figures = (ends - (counts + 1) / 2)[inverse]
    return ranks


def length_controlled_rate(points: Sequence[float], longer: Sequence[float], resamples: int, seed: int) -> Estimate:
    """Return the win rate that would be left if both answers were equally long, with its bootstrap interval.

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
        ValueError: there are no pairs, or not as many lengths.
    """
    won, lengths = paired_columns(points, longer)
    spread = lengths.std()
    slant = np.tanh(lengths / spread) if spread else np.zeros_like(lengths)
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(len(won), np.full(len(won), 1 / len(won)), resamples)
    intercepts = _logistic_intercepts(won, slant, np.vstack([np.ones(len(won)), counts]))
    rates = 1 / (1 + np.exp(-intercepts))
    return estimate_of(float(rates[0]), rates[1:])


def _logistic_intercepts(won: Figures, slant: Figures, counts: Figures) -> Figures:
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
