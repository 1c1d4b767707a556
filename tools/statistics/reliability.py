"""Accuracy by confidence, as a reliability diagram shows it: whether a judge that is sure is right more often."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from state.records import Record

BINS = 5


class Bin(Record):
    """Rows of like confidence."""

    confidence: float
    """Mean, 0 to 1."""
    accuracy: float
    """Share that the judge got right, 0 to 1."""
    rows: int


def confidence_curve(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> tuple[Bin, ...]:
    """Return bins of as equal a size as can be, from the least to the most confident.

    Args:
        confidences: one a row, 0 to 1.
        right: whether the judge said what the person said.
        bins: at most so many; fewer where there are fewer rows.
    """
    rows = sorted(zip(confidences, right, strict=True))
    count = min(bins, len(rows))
    parts = [rows[len(rows) * i // count : len(rows) * (i + 1) // count] for i in range(count)]
    return tuple(
        Bin(
            confidence=round(fmean(c for c, _ in part), 3), accuracy=round(fmean(r for _, r in part), 3), rows=len(part)
        )
        for part in parts
    )
