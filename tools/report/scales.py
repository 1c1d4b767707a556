"""From values to places on a chart: a linear scale, the ticks of an axis, and numbers as a person writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_WHOLE_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A linear map from values to pixels.

    Attributes:
        low: the value at ``start``; below ``high``.
        high: the value at ``end``.
        start: pixels.
        end: pixels; below ``start`` for an axis that points up.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value, kept within the axis, to a hundredth of a pixel."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(1.0, max(0.0, share)) * (self.end - self.start), 2)


def ticks(low: float, high: float, about: int = 5, *, whole: bool = False) -> list[float]:
    """Return round values at even distances, in order, that enclose ``low`` and ``high``.

    Args:
        low: the least value to show; finite.
        high: the greatest; finite. Where the two are equal, an axis around them is returned.
        about: how many intervals are wanted; at most two more come out.
        whole: whether only whole values make sense, such as for steps.

    Returns:
        At least two values; the first is at most ``low`` and the last at least ``high``.
    """
    low, high = min(low, high), max(low, high)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        room = abs(high) / 2 or 0.5
        low, high = low - room, high + room
    step = _round_step((high - low) / about, _WHOLE_STEPS if whole else _STEPS)
    step = max(1.0, step) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Values next to 0 may round to one mark, and an axis has two.
    return [float(f"{number * step:.12g}") for number in range(first, max(last, first + 1) + 1)]


def _round_step(raw: float, steps: Sequence[float]) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return power * next((step for step in steps if step * power >= raw * (1 - 1e-9)), 10.0)


def finite(values: Iterable[float | None]) -> list[float]:
    """Return the values that can be drawn."""
    return [value for value in values if value is not None and math.isfinite(value)]


def thinned(points: Sequence[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return at most ``most`` points: all of them, or the means of as many equal stretches."""
    if len(points) <= most:
        return list(points)
    cuts = [round(number * len(points) / most) for number in range(most + 1)]
    parts = [points[start:end] for start, end in pairwise(cuts)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def number(value: float) -> str:
    """Return a number for a person: three significant digits, commas at thousands, no trailing zeros."""
    if not math.isfinite(value):
        return "not a number"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")
    if abs(value) < 1e-3:
        return f"{value:.1e}".replace("-", "\N{MINUS SIGN}")
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "\N{MINUS SIGN}")


def signed(value: float, places: int = 1) -> str:
    """Return a difference with its sign, as a person writes it."""
    text = f"{value:+.{places}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text[1:]


def duration(seconds: float) -> str:
    """Return a time in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
