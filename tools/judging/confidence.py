"""Confidence in a judgement: how well judges, repeated draws and checks agree. Pure.

Each disagreement is a number in [0, 1], and the confidence is the product of what each leaves:
``(1 - judges / 2) * (1 - draws) * (1 - checks / 2)``. Judges score different things, and checks prove only a part, so
each of the two can take half at most. Draws repeat the same question, so they can take all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev

from state.records import CheckResult

SPREAD = 50.0
"""The largest standard deviation that scores in [0, 100] can have."""


def between_judges(scores: Mapping[str, float]) -> float:
    """Return how far the judges disagree: the standard deviation of their own scores over the largest possible.

    Args:
        scores: own score by dimension, 0 to 100, before caps.
    """
    return pstdev(scores.values()) / SPREAD if len(scores) > 1 else 0.0


def between_draws(draws: Sequence[Mapping[str, float]]) -> float:
    """Return how far repeated draws disagree: the mean over dimensions of their standard deviation.

    Args:
        draws: own scores by dimension, one mapping a draw; 0 for a single draw, which shows nothing.
    """
    if len(draws) < 2:
        return 0.0
    return fmean(pstdev([draw[d] for draw in draws]) / SPREAD for d in draws[0])


def from_checks(scores: Mapping[str, float], checks: Sequence[CheckResult]) -> float:
    """Return how far the judges overlooked proven faults: their mean score of the dimensions with one, over 100.

    Args:
        scores: own score by dimension, 0 to 100, before caps.
        checks: the checks of the text; only a failed one proves a fault.
    """
    failed = {check.dimension for check in checks if check.passed is False} & scores.keys()
    return fmean(scores[d] for d in failed) / 100 if failed else 0.0


def confidence(draws: Sequence[Mapping[str, float]], checks: Sequence[CheckResult]) -> float:
    """Return the confidence in [0, 1], rounded to three digits.

    Args:
        draws: own scores by dimension, one mapping a draw; at least one.
        checks: the checks of the judged text.
    """
    means = {d: fmean(draw[d] for draw in draws) for d in draws[0]}
    left = (1 - between_judges(means) / 2) * (1 - between_draws(draws)) * (1 - from_checks(means, checks) / 2)
    return round(left, 3)
