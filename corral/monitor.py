"""RLHFMonitor: whether feedback keeps its level over time, and whether a new version gets better feedback."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from statistics import fmean
from typing import Any, Literal, TypeVar

from corral.feedback import SyntheticFeedback
from state.errors import BadInput
from state.records import Record, content_hash
from tools.improvement.quality import ALERT_BELOW, DayQuality, Drift, drifts
from tools.settings import Settings
from tools.statistics.bootstrap import Estimate, unpaired_bootstrap

T = TypeVar("T")


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
        settings: of the home whose database keeps the history; without them it is kept in memory alone.

    Attributes:
        history: every batch tracked so far by this object, in order.
    """

    def __init__(self, alert_below: float = ALERT_BELOW, *, settings: Settings | None = None) -> None:
        if not 1 <= alert_below <= 5:
            raise BadInput(f"alert_below is a rating from 1 to 5, not {alert_below:g}")
        self.alert_below = alert_below
        self._settings = settings
        self.history: list[FeedbackQuality] = []

    def track_feedback_quality(
        self, feedback: Sequence[SyntheticFeedback], *, version: str = "", day: date | None = None
    ) -> FeedbackQuality:
        """Return a batch's figures, keep them, and raise an alert where the mean is too low.

        Args:
            feedback: the batch. In the database the same batch of the same day counts once.
            version: whose answers were rated.
            day: when; today, where it is not given.

        Raises:
            BadInput: the batch is empty.
            StorageError: the database cannot be written.
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
        if self._settings is not None:
            when = day or datetime.now(UTC).date()
            _in_thread(_track(self._settings, feedback, version, when))
        return quality

    def quality_by_day(self) -> list[DayQuality]:
        """Return the home's whole history by day, judge and version: of runs, of people, and what was tracked.

        Raises:
            BadInput: the monitor has no home.
        """
        if self._settings is None:
            raise BadInput("this monitor keeps nothing; make it with RLHFMonitor(settings=load_settings())")
        return _in_thread(_history(self._settings))

    def drift(self) -> list[Drift]:
        """Return each judge's last week against its first, with an interval; errors as for ``quality_by_day``."""
        return drifts(self.quality_by_day())

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


async def _track(settings: Settings, feedback: Sequence[SyntheticFeedback], version: str, day: date) -> None:
    from graph.services import open_services

    async with open_services(settings) as services:
        for judge in sorted({one.judge for one in feedback}):
            rated = [one for one in feedback if one.judge == judge and one.overall_rating is not None]
            ratings = Counter(one.overall_rating for one in rated if one.overall_rating is not None)
            if ratings:
                quality = DayQuality(day=day, judge=judge, version=version, ratings=dict(sorted(ratings.items())))
                batch = [one.model_dump(mode="json") for one in rated]
                kept = quality.model_dump(mode="json")
                await services.feedback.track({"quality": kept, "batch": content_hash(batch)})


async def _history(settings: Settings) -> list[DayQuality]:
    from graph.quality import quality_history
    from graph.services import open_services

    async with open_services(settings) as services:
        return await quality_history(services)


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Do the work in a thread of its own: the caller may be within an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
