"""Isotonic recalibration: what a score has meant so far, as a chance that only rises with the score.

Pool adjacent violators (Ayer et al. 1955), as Zadrozny and Elkan (2002) calibrate a classifier's scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from state.records import Record

if TYPE_CHECKING:
    from tools.statistics.bootstrap import Figures

FOLDS = 5
"""Parts of a cross-validation, where there are as many items."""


class Curve(Record):
    """A rising step function with straight lines between its steps."""

    scores: tuple[float, ...]
    """Rising."""
    chances: tuple[float, ...]
    """At each score, in [0, 1]; they do not fall."""

    def __call__(self, values: Sequence[float]) -> list[float]:
        """Return the chance at each value; beyond the ends that of the end."""
        import numpy as np

        return [float(chance) for chance in np.interp(values, self.scores, self.chances)]


def isotonic_curve(scores: Sequence[float], hits: Sequence[float]) -> Curve:
    """Return the rising function with the least squared error.

    Args:
        scores: one for each item; at least one.
        hits: 1 where what the score speaks of was so, else 0.

    Raises:
        ValueError: there are no items, or not as many of both.
    """
    from tools.statistics.bootstrap import paired_columns

    given, true = paired_columns(scores, hits)
    blocks: list[list[float]] = []  # sum of hits, items, least and greatest score
    for score, sum_, count in _by_score(given, true):
        blocks.append([sum_, count, score, score])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            later = blocks.pop()
            blocks[-1] = [blocks[-1][0] + later[0], blocks[-1][1] + later[1], blocks[-1][2], later[3]]
    knots = [(end, block[0] / block[1]) for block in blocks for end in dict.fromkeys(block[2:])]
    return Curve(scores=tuple(score for score, _ in knots), chances=tuple(chance for _, chance in knots))


def out_of_fold(scores: Sequence[float], hits: Sequence[float], *, seed: int = 0) -> list[float]:
    """Return each item's chance by a curve that was fitted without it: cross-validation over ``FOLDS`` parts.

    Args:
        scores: one for each item; at least two.
        hits: as for ``isotonic_curve``.
        seed: of the division into parts.

    Raises:
        ValueError: there are fewer than two items, or not as many of both.
    """
    import numpy as np

    from tools.statistics.bootstrap import paired_columns

    given, true = paired_columns(scores, hits)
    if len(given) < 2:
        raise ValueError("a curve that is fitted without an item needs at least two of them")
    parts = np.random.default_rng(seed).permutation(len(given)) % min(FOLDS, len(given))
    found = np.empty(len(given))
    for part in np.unique(parts):
        held = parts == part
        curve = isotonic_curve([float(score) for score in given[~held]], [float(hit) for hit in true[~held]])
        found[held] = curve([float(score) for score in given[held]])
    return [float(chance) for chance in found]


def squared_errors(chances: Sequence[float], hits: Sequence[float]) -> list[float]:
    """Return the squared error of each chance; their mean is Brier's score (1950): 0 is best, 0.25 is a coin's."""
    return [(chance - hit) ** 2 for chance, hit in zip(chances, hits, strict=True)]


def _by_score(scores: Figures, hits: Figures) -> list[tuple[float, float, float]]:
    import numpy as np

    levels, at, counts = np.unique(scores, return_inverse=True, return_counts=True)
    sums = np.bincount(at, weights=hits)
    return [(float(a), float(b), float(c)) for a, b, c in zip(levels, sums, counts, strict=True)]
