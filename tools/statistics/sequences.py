"""Confidence sequences: intervals of a mean that hold at every moment, however often one looks and when one stops.

They are found by betting (Waudby-Smith & Ramdas 2023, "Estimating means of bounded random variables by betting"). Who
bets against a mean that is the true one does not get rich: by Ville's inequality the wealth ever reaches 1/a with a
probability of at most a. So a mean against which somebody has got rich is ruled out, for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tools.statistics.bootstrap import Estimate

if TYPE_CHECKING:
    import numpy.typing as npt

    from tools.statistics.bootstrap import Figures

LEVEL = 0.05
"""The chance that the interval ever misses the mean."""
STAKES = tuple(0.9 * 2 ** (-step / 2) for step in range(10))
"""Shares of the wealth that are bet, by ten gamblers with equal purses: large ones find large differences soon, small
ones find small differences. The price of not knowing is a factor of ten at most, 2.3 nats."""
_HALVINGS = 40
"""Of the range in which an end of the interval is looked for."""


def confidence_sequence(values: npt.ArrayLike, low: float, high: float, level: float = LEVEL) -> Estimate:
    """Return the mean of values so far, with what is left of its confidence sequence.

    Args:
        values: in the order in which they came, independent of each other or with the same mean given those before.
            Few or none give the whole range.
        low: the least a value can be.
        high: the most it can be, above ``low``.
        level: the chance that the interval, at any time, misses the mean.

    Raises:
        ValueError: a value lies outside of the range.
    """
    import numpy as np

    given = np.asarray(values, dtype=np.float64)
    if given.size and not (low <= given.min() and given.max() <= high):
        raise ValueError(f"the values must lie in {low:g} to {high:g}, not {given.min():g} to {given.max():g}")
    scaled = (given - low) / (high - low)
    least, most = _lower_end(scaled, level / 2), 1 - _lower_end(1 - scaled, level / 2)
    value = float(given.mean()) if given.size else (low + high) / 2
    return Estimate(value=value, low=low + (high - low) * least, high=low + (high - low) * most)


def log_wealth(values: Figures, mean: float) -> Figures:
    """Return the logarithm of the wealth after each bet that the mean is above ``mean``, from a purse of 1.

    Args:
        values: shape (..., n), each in [0, 1].
        mean: above 0.

    Returns:
        Shape (..., n).
    """
    import numpy as np

    gains = values / mean - 1
    purses = [np.cumsum(np.log1p(stake * gains), axis=-1) for stake in STAKES]
    wealth: Figures = np.logaddexp.reduce(purses, axis=0) - np.log(len(STAKES))
    return wealth


def matched_differences(challenger: Sequence[float], current: Sequence[float], share: float) -> list[float]:
    """Return differences that do not depend on each other: each rating of the challenger less the mean of some others.

    As many ratings of the current version are taken for each as there are to come: nine, where the challenger serves
    a tenth. So nearly all ratings count, and the differences have one mean, that of the versions.

    Args:
        challenger: its ratings in the order in which they came.
        current: those of the version it stands against, from the same time.
        share: of the traffic that the challenger serves, in (0, 1).
    """
    import numpy as np

    block = max(1, round((1 - share) / share))
    pairs = min(len(challenger), len(current) // block)
    ours = np.asarray(challenger[:pairs], dtype=np.float64)
    theirs = np.asarray(current[: pairs * block], dtype=np.float64).reshape(pairs, block).mean(axis=1)
    return [float(difference) for difference in ours - theirs]


def _lower_end(values: Figures, chance: float) -> float:
    """Return the largest mean in [0, 1] that somebody who bets on a larger one has ever got rich against; 0 for none.

    Against a smaller mean all bets win more, so that what is ruled out is everything below that one.
    """
    import numpy as np

    if not values.size:
        return 0.0
    enough = np.log(1 / chance)
    least, most = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        if log_wealth(values, middle).max() >= enough:
            least = middle
        else:
            most = middle
    return least
