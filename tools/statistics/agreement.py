"""How far raters agree beyond chance (Cohen 1960 and 1968, Krippendorff 2011). All of it takes draws of a bootstrap.

Ratings are numbers, along the last axis one for each unit. Axes before it are draws, which are measured at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, assert_never

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tools.statistics.bootstrap import Figures

Level = Literal["nominal", "interval"]
"""How far two ratings stand apart: ``nominal`` counts every difference alike, ``interval`` by its square."""
_ROUNDING = 1e-12
"""Disagreement by chance below this part of its terms is a rounding error: all ratings are the same."""


def share_equal(ours: npt.ArrayLike, theirs: npt.ArrayLike) -> Figures:
    """Return the share of units where two raters say the same.

    Args:
        ours: shape (..., units); at least one unit.
        theirs: the other's ratings of the same units.
    """
    shares: Figures = np.equal(ours, theirs).mean(axis=-1)
    return shares


def cohens_kappa(ours: npt.ArrayLike, theirs: npt.ArrayLike, level: Level = "nominal") -> Figures:
    """Return Cohen's kappa (1960), or for ``interval`` its quadratically weighted form (1968).

    Args:
        ours: shape (..., units); at least one unit.
        theirs: the other's ratings of the same units.
        level: how far two ratings stand apart.

    Returns:
        Shape (...): 1 for perfect agreement, 0 for chance, below 0 for worse. Where both raters gave one and the same
        rating to all units, chance alone explains it: 0.

    Raises:
        ValueError: there are not as many ratings on both sides.
    """
    mine, yours = _coordinates(np.stack([np.asarray(ours, np.float64), np.asarray(theirs, np.float64)]), level)
    observed = ((mine - yours) ** 2).mean(axis=-1).sum(axis=0)
    squares = ((mine**2).mean(axis=-1) + (yours**2).mean(axis=-1)).sum(axis=0)
    products = (mine.mean(axis=-1) * yours.mean(axis=-1)).sum(axis=0)
    return _beyond_chance(observed, squares - 2 * products, squares)


def krippendorffs_alpha(ratings: npt.ArrayLike, level: Level = "nominal") -> Figures:
    """Return Krippendorff's alpha (2011, Computing Krippendorff's Alpha-Reliability).

    Args:
        ratings: shape (raters, ..., units); ``None`` or NaN where a rater did not rate.
        level: how far two ratings stand apart.

    Returns:
        Shape (...): 1 for perfect agreement, 0 for chance. Where all ratings are the same, or no unit has two: 0.
    """
    given = np.asarray(ratings, dtype=np.float64)
    raters = (~np.isnan(given)).sum(axis=0)
    # A unit that one rater alone has rated says nothing of agreement.
    given = np.where(raters > 1, given, np.nan)
    raters = np.where(raters > 1, raters, 0)
    count = raters.sum(axis=-1)
    coordinates = np.nan_to_num(_coordinates(given, level))
    sums, squares = coordinates.sum(axis=0), (coordinates**2).sum(axis=0)
    within = ((raters * squares - sums**2) / np.maximum(raters - 1, 1)).sum(axis=-1).sum(axis=0)
    terms = count * squares.sum(axis=-1).sum(axis=0)
    return _beyond_chance((count - 1) * within, terms - (sums.sum(axis=-1) ** 2).sum(axis=0), terms)


def _coordinates(ratings: Figures, level: Level) -> Figures:
    """Return points whose squared distances are in proportion to how far the ratings stand apart.

    Args:
        ratings: shape (raters, ..., units).
        level: ``nominal`` gives one coordinate for each rating that occurs, ``interval`` a single one.

    Returns:
        Shape (raters, coordinates, ..., units); NaN where there is no rating.
    """
    known = ratings[~np.isnan(ratings)]
    match level:
        case "nominal":
            marks = np.stack([ratings == rating for rating in np.unique(known)] or [ratings], axis=1)
            return np.where(np.isnan(ratings)[:, None], np.nan, marks)
        case "interval":
            return (ratings - (known.min() if known.size else 0.0))[:, None]
        case _:
            assert_never(level)


def _beyond_chance(observed: Figures, expected: Figures, terms: Figures) -> Figures:
    """Return one less observed over expected disagreement; 0 where none is expected.

    Args:
        observed: disagreement.
        expected: disagreement by chance, a difference of terms.
        terms: the size of those terms.
    """
    differ = expected > _ROUNDING * terms
    shares: Figures = np.where(differ, 1 - observed / np.where(differ, expected, 1.0), 0.0)
    return shares
