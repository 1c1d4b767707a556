"""The dimensions that the judges score. To add one: an entry here, and its judge's words in ``judging/agents.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Dimension:
    """One dimension of a judgement.

    Attributes:
        weight: its default share of the overall score; all of them sum to 1.
        cap: the highest score, in [0, 100], of a text that failed a check of this dimension.
    """

    weight: float
    cap: float


DIMENSIONS: Mapping[str, Dimension] = MappingProxyType(
    {
        "accuracy": Dimension(weight=0.30, cap=40.0),
        "compliance": Dimension(weight=0.25, cap=40.0),
        "brand_alignment": Dimension(weight=0.20, cap=50.0),
        "clarity": Dimension(weight=0.15, cap=60.0),
        "actionability": Dimension(weight=0.10, cap=60.0),
    }
)
"""All dimensions by name. Every cap is below 70, the score from which a text is accepted. What can be proved wrong
(sums, policies, written demands) has a lower cap than what is a matter of style."""
