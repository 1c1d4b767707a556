"""A figure that is not known yet: what it is expected to be, an interval around that, and what it cannot exceed."""

from __future__ import annotations

import math
from typing import Self

from pydantic import Field, model_validator

from state.records import Record


class Span(Record):
    """An estimate, at least 0.

    Sums are taken end by end, so that they hold whatever goes together. The factors of a product are unknown apart from
    each other, so the intervals of their logarithms add as independent errors do, by their squares; the bound is the
    product of the bounds.
    """

    low: float = Field(ge=0)
    expected: float = Field(ge=0)
    high: float = Field(ge=0)
    most: float = Field(ge=0)
    """The bound."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.expected <= self.high <= self.most:
            raise ValueError(f"an estimate's ends must not cross: {self.ends}")
        return self

    @property
    def ends(self) -> tuple[float, float, float, float]:
        """The four figures, in their order."""
        return self.low, self.expected, self.high, self.most

    def __add__(self, other: Span | float) -> Span:
        return span(*(a + b for a, b in zip(self.ends, _ends(other), strict=True)))

    def __mul__(self, other: Span | float) -> Span:
        if not isinstance(other, Span):
            return span(*(end * other for end in self.ends))
        low, expected, high, most = (a * b for a, b in zip(self.ends, other.ends, strict=True))
        if low and expected:
            apart = math.hypot(math.log(self.expected / self.low), math.log(other.expected / other.low))
            low = max(low, min(expected, expected * math.exp(-apart)))
        if expected:
            apart = math.hypot(math.log(self.high / self.expected), math.log(other.high / other.expected))
            high = min(high, max(expected, expected * math.exp(apart)))
        return span(low, expected, high, most)

    def holds(self, value: float) -> bool:
        """Whether a value lies in the interval, but for rounding."""
        return self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)

    def capped(self, cap: float) -> Span:
        """Return the same with no end above a cap."""
        return span(*(min(end, cap) for end in self.ends))

    def whole(self) -> Span:
        """Return it in whole numbers: the interval and the bound rounded outwards."""
        low, expected, high, most = self.ends
        return span(math.floor(low), round(expected), math.ceil(high), math.ceil(most))


def span(low: float, expected: float, high: float, most: float) -> Span:
    """Return an estimate."""
    return Span(low=low, expected=expected, high=high, most=most)


def known(value: float) -> Span:
    """Return a figure that is known."""
    return span(value, value, value, value)


def total(parts: list[Span]) -> Span:
    """Return the sum of estimates."""
    return sum(parts, known(0))


def in_interval(estimate: Span, *, dollars: bool = False) -> str:
    """Return an estimate in words: ``953 [700 to 1,500]``, dollars with four digits; one figure where it is known."""
    low, expected, high, _ = (f"{end:,.4f}" if dollars else f"{end:,.0f}" for end in estimate.ends)
    return expected if low == high else f"{expected} [{low} to {high}]"


def _ends(value: Span | float) -> tuple[float, float, float, float]:
    return value.ends if isinstance(value, Span) else (value, value, value, value)
