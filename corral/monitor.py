"""RLHFMonitor: whether feedback keeps its level over time, and whether a new version gets better feedback."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from statistics import fmean

from corral.arguments import listed
from corral.feedback import Row, SyntheticFeedback
from corral.running import in_sync
from corral.tracing import LangSmithTracer
from state.errors import BadInput
from state.records import content_hash
from state.wording import number_of
from tools.improvement.quality import ALERT_BELOW, DayQuality, Drift, drifts
from tools.settings import Settings
from tools.statistics.bootstrap import RESAMPLES, Estimate, unpaired_bootstrap
from tools.statistics.significance import label_shuffle

Versions = Sequence[SyntheticFeedback]
LEVEL = 0.05
"""Two-sided error of the permutation test that names a winner."""
NONE = "none"
"""The winner where no difference is shown."""


class FeedbackQuality(Row):
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

    @property
    def average_rating(self) -> float | None:
        """The same as ``mean_rating``, in the guide's word."""
        return self.mean_rating


class VersionComparison(Row):
    """Feedback on two versions of a model."""

    version_a: str
    """Its name; ``a`` where none was given."""
    version_b: str

    mean_a: float
    mean_b: float
    difference: Estimate
    """Mean rating of B minus that of A, with its 95% bootstrap interval over the answers of each."""
    winner: str
    """The name of the version with the higher mean where the interval excludes 0 and a permutation test agrees, as it
    cannot with fewer than four ratings each; else ``none``."""
    summary: str

    @property
    def rating_delta(self) -> float:
        """Mean rating of B minus that of A; its interval is that of ``difference``."""
        return self.difference.value

    def row(self) -> dict[str, object]:
        """Return the columns: the fields, with the interval as ``low`` and ``high``."""
        difference = self.difference
        return self.model_dump(mode="json", exclude={"difference"}) | {
            "rating_delta": difference.value,
            "low": difference.low,
            "high": difference.high,
        }


class RLHFMonitor:
    """Watches feedback over time.

    Args:
        tracer: gets the figures of each batch and comparison as traces; ``None`` for none.
        alert_below: mean rating, 1 to 5, under which an alert is raised.
        settings: of the home whose database keeps the history; without them it is kept in memory alone.

    Attributes:
        history: every batch tracked so far by this object, in order.
    """

    def __init__(
        self,
        tracer: LangSmithTracer | None = None,
        *,
        alert_below: float = ALERT_BELOW,
        settings: Settings | None = None,
    ) -> None:
        if tracer is not None and not isinstance(tracer, LangSmithTracer):
            raise BadInput(f"tracer is a LangSmithTracer, not {type(tracer).__name__}; alert_below is given by name")
        if isinstance(alert_below, bool) or not isinstance(alert_below, int | float) or not 1 <= alert_below <= 5:
            raise BadInput(f"alert_below is a rating from 1 to 5, not {alert_below!r}")
        self.alert_below = alert_below
        self._settings, self._tracer = settings, tracer
        self.history: list[FeedbackQuality] = []

    def track_feedback_quality(
        self, feedback: Sequence[SyntheticFeedback], *, version: str = "", day: date | None = None
    ) -> FeedbackQuality:
        """Return a batch's figures, keep them, and raise an alert where the mean is too low; see the async form."""
        return in_sync(self.atrack_feedback_quality(feedback, version=version, day=day))

    async def atrack_feedback_quality(
        self, feedback: Sequence[SyntheticFeedback], *, version: str = "", day: date | None = None
    ) -> FeedbackQuality:
        """Return a batch's figures, keep them, and raise an alert where the mean is too low.

        Args:
            feedback: the batch. In the database the same batch of the same day counts once.
            version: whose answers were rated.
            day: when; today, where it is not given.

        Raises:
            BadInput: the batch is empty, or holds something else.
            StorageError: the database cannot be written.
        """
        feedback = _given_feedback(feedback, "feedback")
        if not feedback:
            raise BadInput("there is no feedback to track")
        if not isinstance(version, str):
            raise BadInput(f"version must be a text, not {version!r}")
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
            await _track(self._settings, feedback, version, when)
        if self._tracer is not None:
            self._tracer.note("feedback quality", {"version": version, "answers": len(feedback)}, quality.row())
        return quality

    def quality_by_day(self) -> list[DayQuality]:
        """Return the home's history by day; see ``aquality_by_day``."""
        return in_sync(self.aquality_by_day())

    async def aquality_by_day(self) -> list[DayQuality]:
        """Return the home's whole history by day, judge and version: of runs, of people, and what was tracked.

        Raises:
            BadInput: the monitor has no home.
        """
        if self._settings is None:
            raise BadInput("this monitor keeps nothing; make it with RLHFMonitor(settings=load_settings())")
        return await _history(self._settings)

    def drift(self) -> list[Drift]:
        """Return each judge's last week against its first, with an interval; errors as for ``aquality_by_day``."""
        return in_sync(self.adrift())

    async def adrift(self) -> list[Drift]:
        """Return each judge's last week against its first, with an interval; errors as for ``aquality_by_day``."""
        return drifts(await self.aquality_by_day())

    def _alert(self, mean: float | None, count: int) -> str | None:
        if mean is None:
            return f"{number_of(count, 'answer')}, and none could be judged"
        return f"the mean rating {mean:.2f} is under {self.alert_below:g}" if mean < self.alert_below else None

    def compare_model_versions(self, *given: str | Versions, seed: int = 0) -> VersionComparison:
        """Compare the feedback on two versions; the answers need not be to the same prompts.

        Args:
            *given: the names of the two versions and the feedback on each, as in ``("v1", "v2", a, b)``; without names
                they are ``a`` and ``b``.
            seed: of the bootstrap.

        Raises:
            BadInput: something else was given, the names are equal, or a version has no rated answer.
        """
        names, batches = _named(given)
        given_feedback = [_given_feedback(batch, name) for name, batch in zip(names, batches, strict=True)]
        ratings = [[f.overall_rating for f in batch if f.overall_rating is not None] for batch in given_feedback]
        if not all(ratings):
            raise BadInput(f"version {names[0] if not ratings[0] else names[1]} has no rated answer to compare")
        difference = unpaired_bootstrap(ratings[0], ratings[1], seed=seed)
        winner = NONE
        if label_shuffle(ratings[0], ratings[1], RESAMPLES, seed) < LEVEL:
            winner = names[1] if difference.low > 0 else names[0] if difference.high < 0 else NONE
        figures = f"{difference.value:+.2f} stars (95% interval {difference.low:+.2f} to {difference.high:+.2f})"
        shown = winner.upper() if len(winner) == 1 else winner
        found = VersionComparison(
            version_a=names[0],
            version_b=names[1],
            mean_a=fmean(ratings[0]),
            mean_b=fmean(ratings[1]),
            difference=difference,
            winner=winner,
            summary=f"no difference shown: {figures}" if winner == NONE else f"{shown} is better: {figures}",
        )
        if self._tracer is not None:
            self._tracer.note("version comparison", {"version_a": names[0], "version_b": names[1]}, found.row())
        return found

    async def acompare_model_versions(self, *given: str | Versions, seed: int = 0) -> VersionComparison:
        """Do the same beside an event loop: the bootstrap works in a thread."""
        return await asyncio.to_thread(self.compare_model_versions, *given, seed=seed)


def _named(given: Sequence[str | Versions]) -> tuple[tuple[str, str], tuple[Versions, Versions]]:
    match given:
        case [str(one), str(other), first, second] if not isinstance(first, str) and not isinstance(second, str):
            if one == other or NONE in (one, other):
                raise BadInput(f"two versions need two names, and none of them is {NONE!r}; not {one!r} and {other!r}")
            return (one, other), (first, second)
        case [first, second] if not isinstance(first, str) and not isinstance(second, str):
            return ("a", "b"), (first, second)
        case _:
            raise BadInput('give two names and the feedback on each: compare_model_versions("v1", "v2", a, b)')


def _given_feedback(given: Sequence[SyntheticFeedback], name: str) -> list[SyntheticFeedback]:
    found = listed(given, name)
    for number, one in enumerate(found):
        if not isinstance(one, SyntheticFeedback):
            raise BadInput(f"{name}: {number} is no feedback, as generate_batch returns it, but {type(one).__name__}")
    return found


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
