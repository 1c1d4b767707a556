"""How well a score tells two kinds of items apart (Hanley and McNeil 1982). It takes draws of a bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tools.statistics.bootstrap import Figures


def share_in_order(scores: npt.ArrayLike, hits: npt.ArrayLike) -> Figures:
    """Return how often a hit scores above a miss, over all pairs of one of each: the area under the ROC curve.

    Args:
        scores: shape (..., units); equal scores count half.
        hits: 1 for a hit, 0 for a miss, of the same units.

    Returns:
        Shape (...): 1 where every hit scores above every miss, 0.5 by chance. Where there are hits alone or misses
        alone nothing is told apart: 0.5.
    """
    given, true = np.asarray(scores, np.float64), np.asarray(hits, np.float64)
    order = np.argsort(given, axis=-1)
    rising, true = np.take_along_axis(given, order, axis=-1), np.take_along_axis(true, order, axis=-1)
    ranks = _shared_ranks(rising)
    good = true.sum(axis=-1)
    pairs = good * (true.shape[-1] - good)
    above = (ranks * true).sum(axis=-1) - good * (good - 1) / 2
    shares: Figures = np.where(pairs > 0, above / np.maximum(pairs, 1), 0.5)
    return shares


def _shared_ranks(rising: Figures) -> Figures:
    """Return ranks from 0 of values that are sorted along the last axis; equal values share their mean rank."""
    places = np.broadcast_to(np.arange(rising.shape[-1]), rising.shape)
    differs = rising[..., 1:] != rising[..., :-1]
    edge = np.ones((*rising.shape[:-1], 1), dtype=bool)
    first = np.maximum.accumulate(np.where(np.concatenate([edge, differs], axis=-1), places, 0), axis=-1)
    ends = np.where(np.concatenate([differs, edge], axis=-1), places, rising.shape[-1])
    last = np.minimum.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    ranks: Figures = (first + last) / 2
    return ranks
