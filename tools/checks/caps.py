"""What a failed check leaves of a judge's score."""

from __future__ import annotations

from collections.abc import Iterable

from state.dimensions import DIMENSIONS
from state.records import CheckResult


def cap(score: float, dimension: str, results: Iterable[CheckResult]) -> tuple[float, CheckResult | None]:
    """Lower a score where a check of its dimension failed.

    Args:
        score: the judge's own score, 0 to 100.
        dimension: one of ``DIMENSIONS``, or one of a request's own, which no check belongs to.
        results: the checks of the judged text, of all dimensions.

    Returns:
        The score after the cap, and the first failed check that lowered it; ``None`` where the score stands.
    """
    failed = next((r for r in results if r.dimension == dimension and r.passed is False), None)
    limit = DIMENSIONS[dimension].cap if failed is not None else score
    return (limit, failed) if score > limit else (score, None)
