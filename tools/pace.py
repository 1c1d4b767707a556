"""How fast a step is and how long it has left: the rate of the last minute, and a range that says how sure it is. Pure.

What is done is taken for a Poisson process, of which ``n`` arrivals were seen: its rate lies, with 80% credibility, in
the range of a gamma distribution with ``n + 1/2`` (Jeffreys' prior; its quantiles by Wilson and Hilferty 1931). Calls
that run side by side end in bursts, which tell no more than one arrival each.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

WINDOW = 60.0
"""Seconds that a rate is of."""
FEWEST = 4
"""Arrivals that a rate is of at least, where there were so many: a slow step needs more than a minute."""
BURST = 0.5
"""Seconds within which arrivals are one burst."""
_Z = 1.2816
"""Of the 10% and 90% quantiles."""
Range = tuple[float, float | None]
"""Seconds: at least, and at most; ``None`` where nothing says so yet."""


@dataclass
class _Burst:
    """What was done at nearly one time."""

    began: float
    ended: float
    amount: float


class Pace:
    """The pace of one step.

    Args:
        began: when it began, in seconds of any clock.
        expected: seconds that it was estimated to take in all; ``None`` where nobody did.
    """

    def __init__(self, began: float, expected: float | None = None) -> None:
        self.began = began
        self.expected = expected
        self._bursts: deque[_Burst] = deque()
        self._before = began
        """When the burst ended that came before the first one kept."""
        self._warming = True
        """Whether no second burst has come: the first one took what it takes to load a model or to fill all slots."""

    def add(self, now: float, amount: float) -> None:
        """Count an amount that was done up to now; 0 changes nothing."""
        if amount <= 0:
            return
        if self._bursts and now - self._bursts[-1].began < BURST:
            self._bursts[-1].ended = now
            self._bursts[-1].amount += amount
        else:
            self._bursts.append(_Burst(began=now, ended=now, amount=amount))
        if self._warming and len(self._bursts) == 2:
            self._before, self._warming = self._bursts.popleft().ended, False
        while len(self._bursts) > FEWEST and now - self._bursts[0].ended > WINDOW:
            self._before = self._bursts.popleft().ended

    def rate(self, now: float) -> float | None:
        """Return what is done a second, by the last minute; ``None`` before anything is done."""
        seconds = now - self._before
        return sum(burst.amount for burst in self._bursts) / seconds if self._bursts and seconds > 0 else None

    def left(self, now: float, remaining: float) -> Range | None:
        """Return how long the rest takes.

        Args:
            now: the time.
            remaining: what is left to do.

        Returns:
            A range of seconds; where nothing was done yet half and twice what is left of what was expected, or what it
            takes at least: all may be worked on side by side, and end together. ``None`` where nothing is known.
        """
        seconds = now - self._before
        if not self._bursts:
            if self.expected is not None and (rest := self.expected - (now - self.began)) > 0:
                return rest / 2, 2 * rest
            return (seconds / gamma_range(0)[1], None) if seconds > 0 else None
        count = len(self._bursts)
        unit = sum(burst.amount for burst in self._bursts) / count
        slow, fast = (max(seconds, 1e-3) / (unit * bound) for bound in gamma_range(count))
        return remaining * fast, (remaining * slow if count > 1 else None)


def gamma_range(count: int) -> tuple[float, float]:
    """Return the 10% and 90% quantiles of a gamma distribution of the shape ``count + 1/2`` and the scale 1."""
    degrees = 2 * count + 1
    middle, spread = 1 - 2 / (9 * degrees), math.sqrt(2 / (9 * degrees))
    low, high = (degrees / 2 * max(0.0, middle + z * spread) ** 3 for z in (-_Z, _Z))
    return low, high


def left_in_words(left: Range | None) -> str:
    """Return a range for a person: ``2 to 3 min left``, ``about 40 s left``, ``over 5 min left``; empty for none."""
    if left is None:
        return ""
    low, high = left
    if high is None:
        return f"over {_rounded(low, *_unit(low))} left" if low >= 1 else ""
    number, name = _unit(high)
    first, last = _rounded(low, number, name), _rounded(high, number, name)
    if first == last:
        return f"about {last} left"
    return f"{first.rpartition(' ')[0]} to {last} left"


def rate_in_words(rate: float | None) -> str:
    """Return a rate for a person, such as ``2.3/s`` or ``14/min``; empty for none."""
    if not rate:
        return ""
    units = {"s": rate, "min": 60 * rate, "h": 3600 * rate}
    name = next((unit for unit, items in units.items() if items >= 1), "h")
    return f"{units[name]:.1f}/{name}" if units[name] < 10 else f"{units[name]:.0f}/{name}"


def _unit(seconds: float) -> tuple[float, str]:
    if seconds < 90:
        return 1.0, "s"
    return (60.0, "min") if seconds < 90 * 60 else (3600.0, "h")


def _rounded(seconds: float, unit: float, name: str) -> str:
    """Return a duration with the digits that a person reads: a range does not flicker between two looks."""
    value = seconds / unit
    if name == "s" and value > 10:
        value = 5 * round(value / 5)
    digits = 1 if name != "s" and value < 5 and round(value, 1) != round(value) else 0
    return f"{value:.{digits}f} {name}"
