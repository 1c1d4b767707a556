"""What a paired yes-or-no comparison can show: exact power of McNemar's test, and the sizes that follow from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist, stdev

LEVEL = 0.05
"""Two-sided significance level of a claim."""
POWER = 0.8
"""The chance with which a difference is to be shown, where nothing else is said."""
MOST_PROMPTS = 20_000


@lru_cache(maxsize=4096)
def _least_wins(differing: int, level: float) -> int:
    """Return the fewest wins that McNemar's exact two-sided test calls better; more than all where none are enough.

    Args:
        differing: prompts where the two differ.
        level: of the test.
    """
    tail, best = 0, differing + 1
    for wins in range(differing, differing // 2, -1):
        tail += math.comb(differing, wins)
        if 2 * tail > level * (1 << differing):
            break
        best = wins
    return best


def mcnemar_power(prompts: int, difference: float, discordant: float, level: float = LEVEL) -> float:
    """Return the chance that a true difference is called better.

    Args:
        prompts: compared in pairs, at least 1.
        difference: gained less lost, as a share of the prompts; at most ``discordant``.
        discordant: share of the prompts on which the two differ, in (0, 1].
        level: of the two-sided test.
    """
    win = min(1.0, (1 + difference / discordant) / 2)
    found = 0.0
    for differing in range(prompts + 1):
        chance = _binomial(prompts, differing, discordant)
        if chance > 1e-12:
            least = _least_wins(differing, level)
            found += chance * sum(_binomial(differing, wins, win) for wins in range(least, differing + 1))
    return min(1.0, found)


def prompts_needed(difference: float, discordant: float, power: float = POWER, level: float = LEVEL) -> int:
    """Return about how many prompts show a difference with this chance (Connor 1987, with a continuity correction).

    Args:
        difference: in (0, discordant].
        discordant: share of the prompts on which the two differ.
        power: the chance.
        level: of the two-sided test.
    """
    alpha, beta = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(power)
    spread = math.sqrt(max(0.0, discordant - difference**2))
    plain = ((alpha * math.sqrt(discordant) + beta * spread) / difference) ** 2
    return min(MOST_PROMPTS, math.ceil(plain + 1 / difference))


def detectable_difference(prompts: int, discordant: float, power: float = POWER, level: float = LEVEL) -> float | None:
    """Return the least difference that so many prompts show with this chance; ``None`` where they can show none.

    Args:
        prompts: compared in pairs.
        discordant: share of the prompts on which the two differ, in [0, 1].
        power: the chance.
        level: of the two-sided test.
    """
    low, high = 0.0, discordant
    if not discordant or prompts_needed(discordant, discordant, power, level) > prompts:
        return None
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if prompts_needed(middle, discordant, power, level) <= prompts else (middle, high)
    return high


def detectable_mean(differences: Sequence[float], power: float = POWER, level: float = LEVEL) -> float | None:
    """Return the least mean difference that as many units of this spread show; ``None`` where there is no spread.

    Args:
        differences: one a unit.
        power: the chance.
        level: of the two-sided test.
    """
    if len(differences) < 2 or not (spread := stdev(differences)):
        return None
    alpha, beta = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(power)
    return (alpha + beta) * spread / math.sqrt(len(differences))


def _binomial(count: int, part: int, share: float) -> float:
    if share in (0.0, 1.0):
        return float(part == (count if share else 0))
    logarithm = math.lgamma(count + 1) - math.lgamma(part + 1) - math.lgamma(count - part + 1)
    return math.exp(logarithm + part * math.log(share) + (count - part) * math.log(1 - share))
