"""Intervals of shares, of paired gains and of kappa that hold for few units, at the borders, and for units in clusters.

Rows of one prompt resemble each other. As many independent rows as tell as much are the *effective* rows: all rows over
the design effect (Kish 1965), the variance of the share between clusters over that of as many independent rows. At the
borders, where all rows say the same, that variance is 0 and says nothing: there each cluster counts as one row.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from statistics import NormalDist

import numpy as np

from tools.statistics.bootstrap import Estimate
from tools.statistics.significance import wilson_interval

LEVEL = 0.05
"""The two-sided error of an interval: 95%."""


def effective_rows(hits: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Return how many independent rows tell as much as these.

    Args:
        hits: one a row, in [0, 1]; at least one.
        clusters: what each row belongs to, such as its prompt.
    """
    values = np.asarray(hits, dtype=np.float64)
    _, places = np.unique(_numbered(clusters), return_inverse=True)
    count, groups = len(values), int(places.max()) + 1
    sizes = np.bincount(places)
    least = count**2 / float((sizes**2).sum())
    share = float(values.mean())
    alone = share * (1 - share) / count
    if alone == 0 or groups == 1:
        return least
    sums = np.bincount(places, weights=values - share)
    between = float((sums**2).sum()) / count**2 * groups / (groups - 1)
    return min(float(count), max(1.0, count * alone / between)) if between else float(count)


def share_interval(hits: Sequence[float], clusters: Sequence[Hashable], level: float = LEVEL) -> Estimate:
    """Return the mean of values in [0, 1], mostly 0 or 1, with Wilson's score interval over the effective rows.

    Args:
        hits: one a row; at least one.
        clusters: what each row belongs to.
        level: the two-sided error.
    """
    share, rows = float(np.mean(hits)), effective_rows(hits, clusters)
    low, high = wilson_interval(share * rows, rows, level)
    return Estimate(value=share, low=low, high=high)


def gain_interval(
    ours: Sequence[float], theirs: Sequence[float], clusters: Sequence[Hashable], level: float = LEVEL
) -> Estimate:
    """Return the mean paired difference of hits, ours less theirs, with its interval.

    It rests on the rows where the two differ, as McNemar's test does: how many there are is taken as it is, and the
    share of them that we win has a score interval over its effective rows.

    Args:
        ours: 0 or 1 for each row; at least one.
        theirs: the same of the other, or its expected hits in [0, 1].
        clusters: what each row belongs to.
        level: the two-sided error.
    """
    ahead = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    differ = np.flatnonzero(ahead)
    value, size = float(ahead.mean()), float(np.abs(ahead).sum()) / len(ahead)
    if not len(differ):
        return Estimate(value=0.0, low=0.0, high=0.0)
    weights, won = np.abs(ahead[differ]), [float(one > 0) for one in ahead[differ]]
    # Rows of unequal weight tell less than as many of one: Kish again.
    equal = float(weights.sum()) ** 2 / (len(weights) * float((weights**2).sum()))
    rows = equal * effective_rows(won, [clusters[int(place)] for place in differ])
    low, high = wilson_interval((value / size + 1) / 2 * rows, rows, level)
    return Estimate(value=value, low=(2 * low - 1) * size, high=(2 * high - 1) * size)


def kappa_interval(share: float, chance: float, rows: float, level: float = LEVEL) -> Estimate:
    """Return Cohen's kappa with the score interval of the agreement that it rests on.

    Chance agreement is taken as it was found: it moves far less than the agreement does.

    Args:
        share: of rows on which two raters agree.
        chance: the share on which they would agree by chance, by what each of them chose.
        rows: the effective rows.
        level: the two-sided error.
    """
    if chance >= 1:
        return Estimate(value=0.0, low=-1.0, high=0.0)
    low, high = wilson_interval(share * rows, rows, level)
    value, least, most = ((one - chance) / (1 - chance) for one in (share, low, high))
    return Estimate(value=value, low=max(-1.0, least), high=min(1.0, most))


def correlation_interval(value: float, rows: float, level: float = LEVEL) -> Estimate:
    """Return a correlation-like figure, such as a weighted kappa, with Fisher's interval (1915) by effective rows.

    Args:
        value: in [-1, 1]; at the borders it is taken as half a row away from them.
        rows: the effective rows.
        level: the two-sided error.
    """
    inner = min(1 - 0.5 / max(1.0, rows), max(-1 + 0.5 / max(1.0, rows), value))
    half = NormalDist().inv_cdf(1 - level / 2) / np.sqrt(max(1.0, rows - 3))
    low, high = (float(np.tanh(np.arctanh(inner) + side * half)) for side in (-1, 1))
    return Estimate(value=value, low=min(low, value), high=max(high, value))


def _numbered(clusters: Sequence[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(one, len(numbers)) for one in clusters]
