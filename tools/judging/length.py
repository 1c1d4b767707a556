"""Preference for length: how far a choice or rating follows the number of characters. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


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


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Return ranks from 0; equal values share their mean rank."""
    _, inverse, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    ranks: npt.NDArray[np.float64] = (ends - (counts + 1) / 2)[inverse]
    return ranks
