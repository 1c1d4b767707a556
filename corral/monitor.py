"""RLHFMonitor: whether feedback keeps its level, and whether a new version gets better feedback than the old. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

from corral.feedback import SyntheticFeedback
from state.errors import BadInput
from state.records import Record
from tools.statistics.bootstrap import Estimate, unpaired_bootstrap

ALERT_BELOW = 3.5
"""Mean rating under which an alert is raised."""


class FeedbackQuality(Record):
    """The figures of a batch of feedback."""

    count: int
    unjudged: int
    """Feedback without a rating; no other figure includes it."""
    mean_rating: float | None
    """1 to 5; ``None`` where nothing was rated."""
    chosen_share: float | None
    """Share with 4 or 5 stars."""
    mean_confidence: float | None
    ratings: dict[int, int]
    """How often each rating was given."""
    alert: str | None
    """What a person should know; ``None`` where nothing is wrong."""


class VersionComparison(Record):
    """Feedback on two versions of a model."""

    mean_a: float
    mean_b: float
    difference: Estimate
    """Mean rating of B minus that of A, with its 95% bootstrap interval over the answers of each."""
    winner: Literal["a", "b", "none"]
    """The version with the higher mean where the interval excludes 0."""
    summary: str


class RLHFMonitor:
    """Watches feedback over time.

    Args:
        alert_below: mean rating, 1 to 5, under which an alert is raised.

    Attributes:
        history: every batch tracked so far, in order.
    """

    def __init__(self, alert_below: float = ALERT_BELOW) -> None:
        if not 1 <= alert_below <= 5:
            raise BadInput(f"alert_below is a rating from 1 to 5, not {alert_below:g}")
        self.alert_below = alert_below
        self.history: list[FeedbackQuality] = []

    def track_feedback_quality(self, feedback: Sequence[SyntheticFeedback]) -> FeedbackQuality:
        """Return a batch's figures, keep them in ``history``, and raise an alert where the mean is too low.

        Raises:
            BadInput: the batch is empty.
        """
        if not feedback:
            raise BadInput("there is no feedback to track")
        rated = [f.overall_rating for f in feedback if f.overall_rating is not None]
        mean = fmean(rated) if rated else None
        quality = FeedbackQuality(
            count=len(feedback),
            unjudged=len(feedback) - len(rated),
            mean_rating=mean,
            chosen_share=sum(f.is_chosen for f in feedback) / len(rated) if rated else None,
            mean_confidence=fmean(f.confidence for f in feedback if f.overall_rating is not None) if rated else None,
            ratings=dict(sorted(Counter(rated).items())),
            alert=self._alert(mean, len(feedback)),
        )
        self.history.append(quality)
        return quality

    def _alert(self, mean: float | None, count: int) -> str | None:
        if mean is None:
            return f"none of {count} answers could be judged"
        return f"the mean rating {mean:.2f} is under {self.alert_below:g}" if mean < self.alert_below else None

    def compare_model_versions(
        self, a: Sequence[SyntheticFeedback], b: Sequence[SyntheticFeedback], *, seed: int = 0
    ) -> VersionComparison:
        """Compare the feedback on two versions; the answers need not be to the same prompts.

        Args:
            a: feedback on the one version.
            b: feedback on the other.
            seed: of the bootstrap.

        Raises:
            BadInput: a version has no rated answer.
        """
        ratings = [[f.overall_rating for f in version if f.overall_rating is not None] for version in (a, b)]
        if not all(ratings):
            raise BadInput(f"version {'a' if not ratings[0] else 'b'} has no rated answer to compare")
        difference = unpaired_bootstrap(ratings[0], ratings[1], seed=seed)
        means = [fmean(version) for version in ratings]
        winner: Literal["a", "b", "none"] = "b" if difference.low > 0 else "a" if difference.high < 0 else "none"
        figures = f"{difference.value:+.2f} stars (95% interval {difference.low:+.2f} to {difference.high:+.2f})"
        summary = f"no difference shown: {figures}" if winner == "none" else f"{winner.upper()} is better: {figures}"
        return VersionComparison(
            mean_a=means[0], mean_b=means[1], difference=difference, winner=winner, summary=summary
        )
