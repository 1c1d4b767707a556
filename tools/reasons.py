"""Counts of the reasons why rows were not kept."""

from __future__ import annotations

from collections import Counter

OTHER = "other reasons"
"""What reasons that are not named are counted as."""
_MOST_REASONS = 2000
"""Different reasons kept while counting."""


def count_reason(reasons: Counter[str], reason: str, count: int) -> None:
    """Add to the counts of reasons; where there are too many different ones, any further ones are counted together."""
    reasons[reason if reason in reasons or len(reasons) < _MOST_REASONS else OTHER] += count
