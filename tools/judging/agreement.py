"""How far two or more raters agree beyond chance, with bootstrap intervals. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import permutations
from typing import Any, Literal

import numpy as np

from state.records import Record

Level = Literal["nominal", "interval"]


class Estimate(Record):
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float


def share_equal(ours: Sequence[Hashable], theirs: Sequence[Hashable]) -> float:
    """Return the share of places where two raters say the same.

    Args:
        ours: one rating a unit; at least one.
        theirs: the other's ratings of the same units.
    """
    return sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(ours)


def cohens_kappa(ours: Sequence[float], theirs: Sequence[float], level: Level = "nominal") -> float:
    """Return Cohen's kappa (1960), or for ``interval`` its quadratically weighted form (Cohen 1968).

    Args:
        ours: one rating a unit; categories as numbers.
        theirs: the other's ratings of the same units.
        level: ``nominal`` counts every difference as one, ``interval`` by its square.

    Returns:
        1 for perfect agreement, 0 for chance, below 0 for worse. Where both raters gave one and the same rating to
        all units, chance alone explains it: 0.
    """
    distance = _DISTANCES[level]
    observed = sum(distance(a, b) for a, b in zip(ours, theirs, strict=True)) / len(ours)
    mine, yours = Counter(ours), Counter(theirs)
    expected = sum(m * y * distance(a, b) for a, m in mine.items() for b, y in yours.items()) / len(ours) ** 2
    return 1 - observed / expected if expected else 0.0


def krippendorffs_alpha(ratings: Sequence[Sequence[float | None]], level: Level = "nominal") -> float:
    """Return Krippendorff's alpha (2011, Computing Krippendorff's Alpha-Reliability).

    Args:
        ratings: one row a rater, one column a unit; ``None`` where a rater did not rate.
        level: how far two ratings stand apart: ``nominal`` or ``interval``.

    Returns:
        1 for perfect agreement, 0 for chance. Where all ratings are the same, or no unit has two: 0.
    """
    distance = _DISTANCES[level]
    units = [[value for value in unit if value is not None] for unit in zip(*ratings, strict=True)]
    pairable = [unit for unit in units if len(unit) > 1]
    total = Counter(value for unit in pairable for value in unit)
    count = total.total()
    observed = sum(sum(distance(a, b) for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in pairable)
    expected = sum(n * m * distance(a, b) for a, n in total.items() for b, m in total.items())
    return 1 - (count - 1) * observed / expected if expected else 0.0


_DISTANCES: dict[Level, Callable[[float, float], float]] = {
    "nominal": lambda a, b: float(a != b),
    "interval": lambda a, b: float((a - b) ** 2),
}


def bootstrap(measure: Callable[..., float], *columns: Sequence[Any], resamples: int = 2000, seed: int = 0) -> Estimate:
    """Return a figure over units with its 95% percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13).

    Args:
        measure: takes the columns and gives the figure.
        *columns: one value a unit each; units are drawn with replacement, whole.
        resamples: number of draws.
        seed: equal input gives an equal interval.
    """
    units = list(zip(*columns, strict=True))
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(units), (resamples, len(units)))
    values = [measure(*zip(*(units[i] for i in row), strict=True)) for row in drawn.tolist()]
    low, high = np.quantile(values, (0.025, 0.975))
    return Estimate(value=measure(*columns), low=float(low), high=float(high))
