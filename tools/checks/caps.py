"""Caps: what a failed check leaves of a judge's score."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from state.records import CheckResult

CAPS: Mapping[str, float] = MappingProxyType(
    {"accuracy": 40.0, "compliance": 40.0, "brand_alignment": 50.0, "clarity": 60.0, "actionability": 60.0}
)
"""The highest score, in [0, 100], of a dimension with a failed check. All lie under the acceptance threshold of 70.
What can be proved wrong (sums, policies, written demands) caps harder than what is a matter of style."""


def cap(score: float, dimension: str, results: Iterable[CheckResult]) -> tuple[float, CheckResult | None]:
    """Lower a score where a check of its dimension failed.

    Args:
        score: the judge's own score, 0 to 100.
        dimension: one of ``state.request.DIMENSIONS``.
        results: the checks of the judged text, of all dimensions.

    Returns:
        The score after the cap, and the first failed check that lowered it; ``None`` where the score stands.
    """
    failed = next((r for r in results if r.dimension == dimension and r.passed is False), None)
    limit = CAPS.get(dimension, 40.0)
    return (limit, failed) if failed is not None and score > limit else (score, None)
