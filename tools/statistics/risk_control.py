"""How much a judge may decide alone: the narrowest review band that keeps a stated error rate.

Conformal risk control (Angelopoulos et al. 2022, arXiv:2208.02814) orders nested sets by one number and takes the
smallest one whose bounded risk is low enough on labelled data. Its bound holds in expectation, and for losses that only
fall as the set grows. The error *among what is decided alone* is a share of a changing number of items, and it is to
hold with a confidence. So the bound here is a test martingale (Ville 1939; Waudby-Smith and Ramdas 2023): a bet
against "the error is above the rate" that grows with every right decision and falls with every wrong one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from state.records import Record

if TYPE_CHECKING:
    from tools.statistics.bootstrap import Figures

LEAST_LABELS = 30
"""Labels from which a band is looked for; with fewer the fixed thresholds stay."""
_BETS = 20
"""Sizes that the bet is spread over: their mean is a martingale as each of them is."""


class CertainPart(Record):
    """The items that a judge may decide alone: those above a certainty."""

    above: float
    """The certainty; items at or below it go to people. 0 where the judge may decide all."""
    decided: int = Field(ge=1)
    """Labelled items above it."""
    wrong: int = Field(ge=0)
    """Those among them that the judge decided otherwise than people."""


def certain_part(
    certainty: Sequence[float],
    wrong: Sequence[bool],
    rate: float,
    confidence: float,
    weights: Sequence[float] | None = None,
) -> CertainPart | None:
    """Return the largest part of the items that the judge decides with an error of at most ``rate``.

    The labelled items are taken from the most certain one down. Up to where the error of the population crosses the
    rate, they are drawn from items whose error is the rate at most, in no order that matters; from there on each is
    wrong with a larger chance. So the bet, a supermartingale from that point on, passes ``1 / (1 - confidence)`` later
    with a chance of ``1 - confidence`` at most, and the last place where it stands above that is far enough. This needs
    an error that does not fall as the certainty falls. What an item adds to the bet is in proportion to its weight, so
    that the bet is fair where labels are drawn more densely in one part than in another.

    Args:
        certainty: of each labelled item, at least 0: how far its score is from where the decision turns.
        wrong: whether the judge, deciding alone, decides otherwise than a person did.
        rate: the error that may be among what is decided alone, above 0 and below 1.
        confidence: with which it is kept, above 0 and below 1; over draws of the labels.
        weights: how many items each one stands for, above 0: one over the chance with which it came to be labelled.
            ``None`` where that is the same for all.

    Returns:
        The part; ``None`` where the labels show none, or there are fewer than ``LEAST_LABELS``.

    Raises:
        ValueError: the sequences differ in length, or a rate or confidence is out of bounds.
    """
    import numpy as np

    if not (0 < rate < 1 and 0 < confidence < 1):
        raise ValueError(f"rate and confidence lie between 0 and 1, not {rate:g} and {confidence:g}")
    stands_for = np.ones(len(certainty)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(certainty) == len(wrong) == len(stands_for):
        counts = f"{len(certainty)} certainties, {len(wrong)} decisions and {len(stands_for)} weights"
        raise ValueError(f"{counts} are not of the same items")
    if len(certainty) < LEAST_LABELS:
        return None
    order = np.argsort(-np.asarray(certainty, dtype=np.float64), kind="stable")
    falling, missed = np.asarray(certainty, dtype=np.float64)[order], np.asarray(wrong, dtype=np.float64)[order]
    # A certainty that two items share divides nothing: both are on one side of it.
    ends = np.append(falling[1:] < falling[:-1], True)
    shown = np.flatnonzero((_log_bet(missed, stands_for[order], rate) >= -np.log(1 - confidence)) & ends)
    if not len(shown):
        return None
    last = int(shown[-1])
    above = float((falling[last] + falling[last + 1]) / 2) if last + 1 < len(falling) else 0.0
    return CertainPart(above=above, decided=last + 1, wrong=int(missed[: last + 1].sum()))


def _log_bet(missed: Figures, weights: Figures, rate: float) -> Figures:
    """Return the logarithm of what a bet of 1 is worth after each item: the mean of ``_BETS`` bets of growing size."""
    import numpy as np

    sizes = np.arange(1, _BETS + 1)[:, None] / _BETS / (1 - rate)
    with np.errstate(divide="ignore"):  # the largest bet is lost with the first miss
        steps = np.log(np.maximum(1 + sizes * (weights / weights.max()) * (rate - missed), 0))
    found: Figures = np.logaddexp.reduce(steps.cumsum(axis=1), axis=0) - np.log(_BETS)
    return found


def more_labels(rate: float, confidence: float) -> int:
    """Return the labels without a miss after which the first part can be shown; with any, it takes more."""
    import numpy as np

    many = np.zeros(100_000)
    return max(LEAST_LABELS, int(np.argmax(_log_bet(many, many + 1, rate) >= -np.log(1 - confidence))) + 1)
